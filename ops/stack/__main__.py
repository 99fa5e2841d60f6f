"""The full stack on this machine, without docker: PostgreSQL, Redis, a real S3 server, Airflow with
CeleryExecutor and two workers, the scoring service. `up` starts it and returns, `night` plays one
night on it, `down` stops it. What was kept goes on at the next `up`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.text import Text

from ops.display import stop_like_ctrl_c
from ops.local import IDENTITY, own_folder
from ops.services import kept
from ops.services.processes import StackError
from ops.services.real import NotHereError
from ops.services.stack import PROJECT
from ops.stack import night as nights
from ops.stack import supervisor
from pipelines.core.config import CONFIG_VARIABLE
from pipelines.core.errors import LoopError

FOLDER, NOT_HERE = PROJECT / ".local" / "stack", 3  # the exit code where the packages are missing
LOG = "supervisor.log"
TROUBLE = (StackError, LoopError, OSError, TimeoutError, RuntimeError, httpx.HTTPError)

Folder = Annotated[
    Path, typer.Option(help="Where everything is kept, also between starts.", envvar="FOLDER")
]
Config = Annotated[
    Path, typer.Option(help="The loop's configuration file.", envvar=CONFIG_VARIABLE)
]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console(width=None if sys.stdout.isatty() else 150)


@app.command()
def up(
    folder: Folder = FOLDER,
    config: Config = PROJECT / "config" / "try-out.toml",
    is_installing: Annotated[
        bool, typer.Option("--install", help="Install missing packages of Debian, as root.")
    ] = False,
) -> None:
    """Start everything and return once it is healthy. What is up already is left as it is."""
    with _told_apart():
        folder = folder.absolute()
        if is_installing:
            kept.install_missing()
        if missing := kept.missing_packages():
            raise NotHereError(f"these packages of Debian are not installed: {' '.join(missing)}")
        child = None if supervisor.is_running(folder) else _start(folder, config.absolute())
        _wait(folder, child)
        _show(folder)


@app.command()
def night(
    folder: Folder = FOLDER,
    summary: Annotated[Path | None, typer.Option(help="Write the night as JSON, too.")] = None,
) -> None:
    """Play one night: a delivery of made-up reviews, ingest, retraining, an answer."""
    with _told_apart():
        played = nights.Player(folder.absolute(), _say).play()
        console.print(nights.table_of(played))
        for sentence in nights.sentences(played):
            _say(sentence)
        if summary is not None:
            summary.write_text(json.dumps(asdict(played), default=str), encoding="utf-8")
        _say("The night ended well." if played.is_well else "The night did not end well.")
        if not played.is_well:
            raise typer.Exit(1)


@app.command()
def down(folder: Folder = FOLDER) -> None:
    """Stop everything; what must last is kept. Safe to repeat."""
    with _told_apart():
        if not supervisor.stop(folder.absolute()):
            raise StackError(f"{folder} is still in use; see {folder / LOG}")
        _say(f"stopped; nothing is left running. Everything is kept in {folder}")


@app.command()
def run(folder: Folder = FOLDER, config: Config = PROJECT / "config" / "try-out.toml") -> None:
    """Run everything in the foreground until Ctrl-C, as `up` does in the background."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stop_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    with _told_apart():
        supervisor.run(folder.absolute(), config.absolute())


@contextmanager
def _told_apart() -> Iterator[None]:
    """Errors that are expected become a line and an exit code, not a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        _say("stopped")
        raise typer.Exit(130) from None
    except NotHereError as error:
        _complain(error)
        raise typer.Exit(NOT_HERE) from error
    except TROUBLE as error:
        _complain(error)
        raise typer.Exit(1) from error


def _start(folder: Path, config: Path) -> subprocess.Popen[bytes]:
    """The supervisor, in a session of its own, so that it stays when this command ends."""
    with own_folder(folder, mode=0o711):
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    command = [sys.executable, "-m", "ops.stack", "run", "--folder", str(folder)]
    try:
        return subprocess.Popen(  # noqa: S603
            [*command, "--config", str(config)],
            cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(log)


def _wait(folder: Path, child: subprocess.Popen[bytes] | None) -> None:
    """Show what the supervisor says until everything is healthy."""
    said = 0
    while True:
        lines = (folder / LOG).read_text(encoding="utf-8").splitlines() if child else []
        for line in lines[said:]:
            _say(f"  {line}")
        said = len(lines)
        if supervisor.facts_of(folder) is not None:
            return
        is_gone = child.poll() is not None if child else not supervisor.is_running(folder)
        if is_gone:
            raise StackError(f"it did not start; see {folder / LOG} and {folder / 'logs'}")
        time.sleep(0.5)


def _show(folder: Path) -> None:
    facts = supervisor.facts_of(folder) or {}
    _say(f"Airflow is up: {facts.get('airflow')}  (login admin / in {folder / IDENTITY})")
    _say(f"The scoring service is up: {facts.get('scoring')}")
    _say(f"Everything is kept in {folder}. It runs until: make stack-down")


def _say(text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _complain(error: BaseException) -> None:
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)


if __name__ == "__main__":
    app()
