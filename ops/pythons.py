"""Run targets of make on each version of Python that is found.

    python -m ops.pythons [--others] TARGET...

Each version has a virtual environment of its own, ``.local/pythons/3.12``, which is kept for the
next time, and a log beside it. The log is shown if a target failed. The last lines say, for each
version that the project supports, whether it passed; the exit code is 1 if one did not. With
``--others`` the version that runs this is left out: `make test` tests that one.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = Path(".local/pythons")
OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_SHOWN_LINES = 300


def supported() -> list[str]:
    """Versions that the project may be installed on, newest first: "3.13", "3.12" and so on."""
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    allowed = described["project"]["requires-python"]
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", allowed)
    if bounds is None:
        raise ValueError(f"requires-python is {allowed!r}; like '>=3.11,<3.14' it can be read here")
    return [f"3.{minor}" for minor in reversed(range(int(bounds[1]), int(bounds[2])))]


def find(version: str) -> str | None:
    """Path of a suitable Python of a version, if there is one."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    search = subprocess.run(  # noqa: S603
        ["/bin/sh", "ops/find_python.sh", version],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return search.stdout.strip() if search.returncode == 0 else None


def has_passed(version: str, python: str, targets: Sequence[str]) -> bool:
    """Run targets on one version, in its own virtual environment."""
    venv, log = FOLDER / version, FOLDER / f"{version}.log"
    _say(f"{version}: make {' '.join(targets)}, with {python}; output in {log}")
    command = [
        os.environ.get("MAKE", "make"), "--no-print-directory",
        f"VENV={venv}", f"PYTHON={python}", "LOOP_TEST_SKIPS=/dev/null", *targets,
    ]  # fmt: skip
    (PROJECT / FOLDER).mkdir(parents=True, exist_ok=True)
    with (PROJECT / log).open("wb") as output:
        code = subprocess.call(  # noqa: S603
            command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    if code != 0:
        lines = (PROJECT / log).read_text(encoding="utf-8", errors="replace").splitlines()
        sys.stderr.write("\n".join([*lines[-_SHOWN_LINES:], ""]))
    return code == 0


def run_on_all(targets: Sequence[str], *, is_own_left_out: bool) -> int:
    """Run targets on all versions, one after the other; returns the exit code."""
    lines, is_good = [], True
    for version in supported():
        if is_own_left_out and version == OWN_VERSION:
            lines.append(f"{version}  left out: this is the version that runs `make test`")
        elif python := find(version):
            began = time.monotonic()
            verdict = "passed" if has_passed(version, python, targets) else "FAILED"
            is_good = is_good and verdict == "passed"
            seconds = time.monotonic() - began
            lines.append(f"{version}  {verdict} in {seconds:.0f} s: {_full_version(python)}")
        else:
            lines.append(f"{version}  not found")
    for line in lines:
        _say(line)
    return 0 if is_good else 1


def _full_version(python: str) -> str:
    asked = subprocess.run(  # noqa: S603
        [python, "--version"], capture_output=True, text=True, check=False
    )
    return f"{asked.stdout.strip()}, {python}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.pythons", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--others", action="store_true", help="leave out the version of this one")
    parser.add_argument("targets", nargs="+", metavar="TARGET")
    chosen = parser.parse_args(arguments)
    try:
        return run_on_all(chosen.targets, is_own_left_out=chosen.others)
    except KeyboardInterrupt:
        return 130


def _say(text: str) -> None:
    sys.stderr.write(f"pythons: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
