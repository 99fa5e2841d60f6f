"""Build the documentation as a site that needs nothing from elsewhere, with a search.

    python -m ops.site [FOLDER]

What builds it is installed once into an environment of its own, so that nothing else gets heavier.
Links and anchors are checked; a warning is an error.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOCAL = ROOT / ".local"
REQUIREMENTS = HERE / "requirements.txt"


def environment() -> Path:
    """Python that has the locked requirements. Only the first call needs a network."""
    folder = LOCAL / "site-venv"
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = f"{sys.version}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run(  # noqa: S603
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--require-hashes", "-r", REQUIREMENTS],
            check=True,
        )  # fmt: skip
        stamp.write_text(wanted, encoding="utf-8")
    return python


def build(site: Path, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Build the pages of a checkout into a folder; it names dead links and lost pages."""
    return subprocess.run(  # noqa: S603
        [environment(), "-m", "sphinx", "--quiet", "--fresh-env", "--fail-on-warning",
         "--conf-dir", root / "ops" / "site", "--doctree-dir", site.with_name("site-trees"),
         root, site],
        check=False, capture_output=True, text=True,
    )  # fmt: skip


def main() -> int:
    site = Path(sys.argv[1] if len(sys.argv) > 1 else LOCAL / "site").resolve()
    built = build(site)
    sys.stderr.write(built.stderr)
    if not built.returncode:
        sys.stdout.write(f"Open {site / 'index.html'}\n")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main())
