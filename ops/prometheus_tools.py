"""Find Prometheus and promtool, or get Debian's package of them without installing it.

Those that ``PROMETHEUS`` names the folder of come first, then those on the path, then those that
were unpacked into ``.local/prometheus`` before. As Debian's package is one file with two programs
that need nothing else, it is only unpacked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
UNPACKED = PROJECT / ".local" / "prometheus"


class NoPrometheusError(RuntimeError):
    """There is no Prometheus on this machine, and none can be had."""


def find() -> Path:
    """The folder with ``prometheus`` and ``promtool``.

    Raises
    ------
    NoPrometheusError
        If there are none, and apt cannot get them.
    """
    named = os.environ.get("PROMETHEUS")
    on_path = shutil.which("promtool")
    for folder in (
        Path(named) if named else None, Path(on_path).parent if on_path else None,
        UNPACKED / "usr" / "bin",
    ):  # fmt: skip
        if folder and (folder / "promtool").is_file() and (folder / "prometheus").is_file():
            return folder
    return _download()


def _download() -> Path:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NoPrometheusError(
            "no prometheus and promtool here, and no apt to get them. Set PROMETHEUS to the folder "
            "of both"
        )
    UNPACKED.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["apt-get", "download", "prometheus"],  # noqa: S607
        cwd=UNPACKED, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    packages = sorted(UNPACKED.glob("prometheus_*.deb"))
    if not packages:
        raise NoPrometheusError(f"apt-get download prometheus: {done.stderr.strip()[-300:]}")
    subprocess.run(["dpkg-deb", "-x", str(packages[-1]), str(UNPACKED)], check=True, timeout=120)  # noqa: S603, S607
    return UNPACKED / "usr" / "bin"
