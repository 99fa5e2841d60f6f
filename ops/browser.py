"""Run a command with a Chromium to test pages in, and never without one unnoticed.

    python -m ops.browser [--install] [--or-skip] [-- COMMAND...]

The browser is the one that ``CHROMIUM`` names, else the first of Chromium and Chrome on the path,
else playwright's own. With ``--install`` a missing one is installed: Debian's package as root,
else by playwright. Without a command it only says which browser there is.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ops.services.processes import apt_complaint, complaint_of

NAMES = ("chromium", "google-chrome", "chromium-browser", "google-chrome-stable")
_HOW = (
    "Install Debian's package chromium, or run: .venv/bin/python -m playwright install chromium. "
    "CHROMIUM=/path/to/chromium names one that is elsewhere. OR_SKIP=1 goes on without these tests."
)


class NoBrowserError(RuntimeError):
    """There is no Chromium on this machine."""


def find() -> str:
    """Path of the browser.

    Raises
    ------
    NoBrowserError
        If there is none, or ``CHROMIUM`` names none.
    """
    named = os.environ.get("CHROMIUM", "")
    if named:
        if found := shutil.which(named):
            return found
        raise NoBrowserError(f"CHROMIUM is {named!r}, and no program is there. {_HOW}")
    found = next((path for name in NAMES if (path := shutil.which(name))), None) or _playwrights()
    if found is None:
        raise NoBrowserError(f"no Chromium on this machine. {_HOW}")
    return found


def _playwrights() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def install() -> None:
    """Install one if there is none: with apt as root, else with playwright."""
    try:
        find()
    except NoBrowserError:
        if os.geteuid() == 0 and shutil.which("apt-get"):
            _say("installing Debian's package chromium")
            apt_complaint("update")  # should it fail, the lists that are there may do
            complaint = apt_complaint("install", "-y", "--no-install-recommends", "chromium")
            if not complaint:
                return
            _say(f"apt-get failed: {complaint}")
        _say("installing playwright's Chromium")
        complaint = complaint_of(sys.executable, "-m", "playwright", "install", "chromium")
        if complaint:
            _say(f"playwright failed: {complaint}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.browser", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--install", action="store_true", help="install one if there is none")
    parser.add_argument("--or-skip", action="store_true", help="without a browser: say so, pass")
    parser.add_argument("command", nargs="*")
    chosen = parser.parse_args(arguments)
    if chosen.install:
        install()
    try:
        browser = find()
    except NoBrowserError as error:
        _say(f"{'SKIPPED' if chosen.or_skip else 'FAILED'} the tests in a browser: {error}")
        return 0 if chosen.or_skip else 1
    _say(browser)
    if not chosen.command:
        return 0
    environment = {**os.environ, "CHROMIUM": browser}
    return subprocess.call(chosen.command, env=environment)  # noqa: S603


def _say(text: str) -> None:
    sys.stderr.write(f"browser: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
