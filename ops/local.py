"""The loop on this machine, to stay: the next start goes on where the last one ended.

Airflow on a SQLite file or a PostgreSQL of yours, an S3 server on a folder, the nightly schedule
on. Its secrets, the login and the signing key are made at the first start. A part that dies is
started again. Ctrl-C stops everything; nothing is lost then, nor if the machine or any process is
killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ops.display import Display, stop_like_ctrl_c, watch
from ops.services.identity import keep, kept_identity
from ops.services.processes import StackError
from ops.services.stack import PROJECT, LocalStack, environment
from pipelines.core.config import CONFIG_VARIABLE
from pipelines.core.errors import LoopError

LOCK, IDENTITY, VARIABLES = ".retraining-loop-local", "identity.json", "environment.sh"
DATABASE, SQLITE = "database.txt", "a SQLite file"
# A DAG that is paused stays so. What a killed scheduler had begun is begun again within minutes.
AIRFLOW = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
}

console = Console()


def usual_folder() -> Path:
    """Outside of the checkout, where `make clean` and a new clone do not reach it."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "retraining-loop" / "local"


def main(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where everything is kept: buckets, Airflow's database, keys and logs. "
            "Default: retraining-loop/local in your XDG state folder.",
            envvar="FOLDER",
        ),
    ] = None,
    config: Annotated[
        Path, typer.Option(help="The loop's configuration file.", envvar=CONFIG_VARIABLE)
    ] = PROJECT / "config" / "default.toml",
    database: Annotated[
        str,
        typer.Option(
            help="SQLAlchemy address of Airflow's database, such as "
            "postgresql+psycopg2://user:password@localhost/airflow. Default: a SQLite file.",
            envvar="DATABASE",
        ),
    ] = "",
) -> None:
    """Run the loop until Ctrl-C."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stop_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    folder = (folder or usual_folder()).absolute()
    try:
        with Display(console) as display, own_folder(folder):
            check_database(folder, database)
            _run(display, folder, config.absolute(), database)
    except KeyboardInterrupt:
        _say("stopped; nothing is left running")
        raise typer.Exit(130) from None
    except (StackError, LoopError, OSError) as error:
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        _say(f"logs: {folder / 'logs'}")
        raise typer.Exit(1) from error


@contextmanager
def own_folder(folder: Path, mode: int = 0o700) -> Iterator[None]:
    """A folder that its owner alone can read and one process at a time may run.

    With mode 0o711 others get to what is theirs in it; then no file in it must be open to them.

    Raises
    ------
    StackError
        If it holds something else, or another process runs it.
    """
    lock = folder / LOCK
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()) and not lock.exists():
        raise StackError(f"{folder} holds something else; choose an empty FOLDER=...")
    folder.chmod(mode)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"this loop runs already, in {folder}") from None
        yield


def check_database(folder: Path, url: str) -> None:
    """Note which database a folder goes with; its password is not kept.

    Raises
    ------
    StackError
        If the address is none, or another database than at the first start is given: Airflow would
        begin with an empty history.
    """
    try:
        given = make_url(url).render_as_string() if url else SQLITE
    except ArgumentError:
        message = "DATABASE is not an address such as postgresql+psycopg2://user:password@host/name"
        raise StackError(message) from None
    path = folder / DATABASE
    kept = path.read_text(encoding="utf-8") if path.exists() else given
    if kept != given:
        raise StackError(f"{folder} goes with {kept}, not with {given}; give the former DATABASE")
    path.write_text(given, encoding="utf-8")


def _run(display: Display, folder: Path, config: Path, database: str) -> None:
    identity = kept_identity(folder / IDENTITY).with_free_ports()
    stack = LocalStack(
        folder,
        config,
        on_step=display.status,
        identity=identity,
        database_url=database,
        extra_environment=AIRFLOW,
        on_store=lambda: prepare_store(stack),
    )
    keep(identity, folder / IDENTITY)  # the same addresses next time, if they are free then
    write_variables(stack)
    with stack:
        _show(display, stack)
        display.status("Ctrl-C stops everything; `make local` then goes on from here")
        watch(stack, display)
    display.line(f"Stopped; nothing is left running. Everything is kept in {folder}")


def prepare_store(stack: LocalStack) -> None:
    """Create the buckets at the first start; prove the store at each."""
    from pipelines.core import config
    from pipelines.core.store.stores import open_stores

    with environment(stack.s3_environment):
        stores = open_stores(config.load(stack.config))
        for bucket in (stores.reviews, stores.models):
            bucket.create_if_missing()
        stores.models.prove_create_if_absent()


def write_variables(stack: LocalStack) -> None:
    """What a shell needs, in a file that it can read in."""
    path = stack.folder / VARIABLES
    path.touch(mode=0o600)
    lines = (
        f"export {name}={shlex.quote(value)}\n" for name, value in stack.s3_environment.items()
    )
    path.write_text("".join(lines), encoding="utf-8")


def _show(display: Display, stack: LocalStack) -> None:
    is_seen = sys.stdout.isatty()
    password = stack.password if is_seen else f"(in {stack.folder / IDENTITY})"
    display.line(f"Airflow is up: {stack.ui_url}  (login admin / {password})", "bold")
    display.line(f"Everything is kept in {stack.folder}")
    display.line(f"Configuration: {stack.config}")
    display.line("From another shell:")
    display.line(f"  . {shlex.quote(str(stack.folder / VARIABLES))}")
    display.line("  .venv/bin/python -m pipelines champion show")


def _say(text: str) -> None:
    console.print(Text(text), soft_wrap=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(help=__doc__)(main)

if __name__ == "__main__":
    app()
