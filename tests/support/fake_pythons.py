"""A machine with the interpreters on its path that a test puts there, and no others."""

from __future__ import annotations

import sys
from pathlib import Path

# This interpreter under another version, or without a module.
FAKE = """#!/bin/sh
shift
exec {python} -I -c 'import sys; {change}; exec(sys.argv.pop(1))' "$@"
"""
SHIM = "#!/bin/sh\necho 'pyenv: python: command not found' >&2\nexit 127\n"


class Machine:
    """Two folders on the path, and a pyenv."""

    def __init__(self, folder: Path) -> None:
        self.bin, self.later, self.pyenv = folder / "bin", folder / "later bin", folder / "pyenv"

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.bin}:{self.later}", "PYENV_ROOT": str(self.pyenv), "HOME": "/none"}

    def python(
        self, name: str, version: str = "", *, folder: Path | None = None, lacks: str = ""
    ) -> str:
        """Add an interpreter; its version is that of its name, unless one is given."""
        major, minor = (version or name.removeprefix("python")).split(".")
        change = f"sys.version_info = ({major}, {minor}, 9)"
        if lacks:
            change += f'; sys.modules["{lacks}"] = None'
        return self.program(name, FAKE.format(python=sys.executable, change=change), folder=folder)

    def shim(self, name: str) -> str:
        """Add what pyenv puts on the path for a version that is not in use."""
        return self.program(name, SHIM)

    def program(self, name: str, text: str, *, folder: Path | None = None) -> str:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return str(path)
