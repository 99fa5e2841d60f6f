"""Output of the commands: tables, JSON, errors, progress."""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from pipelines.cli import tables
from pipelines.cli.tables import err
from pipelines.core import config
from pipelines.core.errors import (
    BucketMissingError,
    DataError,
    LoopError,
    SourceError,
    StoreRefusedError,
    sentence,
)
from pipelines.core.escaping import visible
from pipelines.steps.context import open_loop

logger = logging.getLogger(__name__)

EXIT_ERROR, EXIT_HELD = 1, 3

P = ParamSpec("P")
R = TypeVar("R")

AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON on standard output.")]


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn any error into one sentence on standard error and exit code 1; see `failure_of`."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _check_texts(kwargs)
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise  # typer's own ways to end
        except KeyboardInterrupt:
            err.print("stopped; run the same command again to continue")
            raise typer.Exit(130) from None
        except Exception as error:
            complain(failure_of(error))
            raise typer.Exit(EXIT_ERROR) from error

    return wrapped


def failure_of(error: Exception) -> str:
    """A sentence on any error. ``--verbose`` also shows the traceback."""
    if not isinstance(error, LoopError):
        logger.info("unexpected error:", exc_info=error)
    return sentence(error)


def _check_texts(given: Mapping[str, object]) -> None:
    """Refuse text that cannot be stored or printed, before anything is done.

    Raises
    ------
    BadParameter
        If a text or path is not UTF-8 or holds a NUL; typer makes exit code 2 of it.
    """
    for name, value in given.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str | Path) and not _is_text(str(text)):
                option = name.replace("_", "-")
                raise typer.BadParameter(
                    f"{option} is {visible(str(text)[:100])!r}, which is not UTF-8 text without NUL"
                )


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


ForReal = Annotated[
    bool, typer.Option("--yes", help="Do it. Without this only show what would be done.")
]


def write_whole(path: Path, lines: Iterator[str]) -> None:
    """Write to a temporary file, then rename it: a stopped run leaves no partial file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        part.replace(path)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}. Choose another file.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def check_exists(bucket: Any) -> None:
    """Fail early if the bucket is missing. A role that may only deliver cannot check this."""
    try:
        bucket.check_exists()
    except BucketMissingError:
        raise
    except StoreRefusedError:
        logging.getLogger(__name__).info("bucket=%s exists=unknown", bucket.name)


Actor = Annotated[
    str | None,
    typer.Option(
        "--actor",
        envvar="LOOP_ACTOR",
        help="Who does it, for the log. Default: the user of the operating system.",
    ),
]


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Which model of the configuration. Default: the first.",
        autocompletion=lambda: list(config.load().model_names),
    ),
]


def in_shell(actor: str | None) -> str:
    """Who did something from a shell, as the ledger and the champion log name it."""
    return f"shell {visible(actor.strip()) if actor and actor.strip() else _user()}"


def _user() -> str:
    try:
        return visible(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return "unknown"


def default_night() -> date:
    from pipelines.core.store import clock

    return clock.last_complete_day(open_loop(None).reviews)


def parse_moment(text: str) -> datetime:
    from pipelines.core.store import clock

    if (moment := clock.read(text)) is None:
        raise typer.BadParameter(f"{text!r} is not a moment like 2026-01-05T03:00Z")
    return moment


def parse_day(text: str) -> date:
    from pipelines.intake.landing import checked_night

    try:
        return checked_night(text)
    except DataError as error:
        raise typer.BadParameter(str(error)) from error


def progress_bar(*, shows_count: bool = True) -> Progress:
    """A progress bar on standard error, shown on terminals only."""
    counted = [MofNCompleteColumn()] if shows_count else []
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), *counted,
        TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip


def print_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        tables.print_facts(facts)


def complain(message: str) -> None:
    err.print(Text.assemble(("error: ", "bold red"), visible(message)), soft_wrap=True)


def print_note(message: str) -> None:
    err.print(Text.assemble(("note: ", "bold"), visible(message)), soft_wrap=True)


def print_json(facts: Any) -> None:
    text = json.dumps(facts, indent=2, ensure_ascii=False)
    safe = (sign if sign.isprintable() or sign == "\n" else _as_json(sign) for sign in text)
    sys.stdout.write("".join(safe) + "\n")


def _as_json(sign: str) -> str:
    return json.dumps(sign)[1:-1]


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise SourceError(
            f"cannot write to {folder}: {error.strerror}. Choose another folder."
        ) from error
