"""The shell never ends in a traceback, whatever it is given and whatever a step raises."""

from __future__ import annotations

import errno
import inspect
import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import typer
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.alerts import notifier
from pipelines.cli import app, output
from pipelines.cli import retrain as cli_retrain
from pipelines.core.config import load
from pipelines.core.errors import (
    ConfirmationError,
    ObjectMissingError,
    StoreRefusedError,
    StoreUnavailableError,
    TrustError,
    sentence,
)
from pipelines.core.store import stores
from pipelines.core.store.stores import Stores
from pipelines.evaluation import verify
from pipelines.intake import nights
from pipelines.records.deliveries import NightSummary
from pipelines.registry import rollback
from pipelines.serving import confirm
from pipelines.steps import ingest, promote
from pipelines.steps import ingest as steps_ingest
from pipelines.steps import retrain as steps_retrain
from tests.support.in_memory import InMemory
from tests.support.made.alert_builders import an_alert

pytestmark = pytest.mark.attack

NIGHT = "2026-01-05"
RAISED = [
    OSError(errno.ENOSPC, "No space left on device", "spool"),
    FileNotFoundError(errno.ENOENT, "No usable temporary directory"),
    MemoryError(),
    KeyError("ETag"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("utf-8", "\udc00", 0, 1, "surrogates not allowed"),
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("date value out of range"),
    ZeroDivisionError("division by zero"),
    pa.ArrowInvalid("odd"),
    AssertionError(),
    StopIteration(),
    EOFError(),
    RuntimeError("can't start new thread"),
    Exception("a line\nand \x1b[31manother"),
]
named = pytest.mark.parametrize("raised", RAISED, ids=lambda one: type(one).__name__)


@pytest.fixture(autouse=True)
def logging_as_before():
    """`serve` logs to the standard error of its own call, which is a test's alone."""
    loggers = [logging.getLogger(name) for name in (None, "pipelines.cli")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def run(*words: str):
    reply = CliRunner().invoke(app.app, list(words))
    assert isinstance(reply.exception, SystemExit | None), (words, reply.exception)
    assert "Traceback" not in reply.stderr, words
    return reply


def raises(error: Exception):
    def fail(*_given, **_more):
        raise error

    return fail


EMPTY = NightSummary(
    night=NIGHT, status="NO_NEW_DATA", deliveries=0, held_deliveries=0, duplicate_deliveries=0,
    delivered_rows=0, accepted_rows=0, quarantined_rows=0, held_rows=0, receipts=(),
)  # fmt: skip


@pytest.fixture
def night(monkeypatch):
    """Three files are due and can be dealt with; which of them were is returned."""
    done = []
    buckets = Stores(InMemory(), InMemory())
    monkeypatch.setattr(stores, "open_stores", lambda *_given: buckets)
    monkeypatch.setattr(ingest, "find_deliveries", lambda _night: ["one", "two", "three"])
    monkeypatch.setattr(ingest, "land", lambda uri, _night: uri)
    monkeypatch.setattr(ingest, "validate", lambda uri: uri)
    monkeypatch.setattr(ingest, "accept", lambda uri, _validation: done.append(uri))
    monkeypatch.setattr(nights, "night_summary", lambda *_given: EMPTY)
    return done


@named
@pytest.mark.parametrize("step", ["land", "validate", "accept"])
def test_whatever_one_delivery_raises_the_others_are_dealt_with(night, monkeypatch, raised, step):
    do = getattr(steps_ingest, step)
    monkeypatch.setattr(steps_ingest, step, lambda uri, *more: (
        raises(raised)() if uri == "two" else do(uri, *more)))  # fmt: skip

    reply = run("ingest", "--night", NIGHT, "--json")

    facts = json.loads(reply.stdout)
    assert reply.exit_code == 1
    assert night == ["one", "three"]
    assert facts["is_complete"] is False
    (failure,) = facts["failures"]
    assert failure.startswith(f"two: {type(raised).__name__}: ")


@named
@pytest.mark.parametrize("step", ["find_deliveries", "night_summary"])
def test_what_stops_a_whole_night_is_one_sentence(night, monkeypatch, raised, step):
    monkeypatch.setattr(steps_ingest if step == "find_deliveries" else nights, step, raises(raised))

    reply = run("ingest", "--night", NIGHT)

    assert reply.exit_code == 1
    assert f"error: {type(raised).__name__}: " in reply.stderr
    assert reply.stderr.replace("\n", "").isprintable()


def test_failures_are_told_although_the_night_cannot_be_summed_up(night, monkeypatch):
    monkeypatch.setattr(ingest, "land", raises(KeyError("ETag")))
    monkeypatch.setattr(nights, "night_summary", raises(StoreUnavailableError("the store is down")))

    reply = run("ingest", "--night", NIGHT)

    assert "two: KeyError" in reply.stderr
    assert "the store is down" in reply.stderr


def test_where_it_happened_is_shown_to_those_who_ask(night, monkeypatch):
    monkeypatch.setattr(ingest, "land", raises(KeyError("ETag")))

    loud = CliRunner().invoke(app.app, ["--verbose", "ingest", "--night", NIGHT])

    assert loud.exit_code == 1
    assert "INCOMPLETE" in loud.stdout


@named
def test_a_sentence_names_the_kind_and_says_what_to_do(raised):
    message = sentence(raised)

    assert message.startswith(type(raised).__name__)
    assert "run" in message
    assert message.isprintable()


@named
def test_a_card_that_cannot_be_drawn_stops_no_retraining(monkeypatch, raised):
    monkeypatch.setattr(steps_retrain, "write_card", raises(raised))

    problem = cli_retrain._draw_card("s3://models/x", lambda _step: None, None)

    assert type(raised).__name__ in problem


@named
def test_an_undo_that_fails_says_that_nothing_was_put_back(raised):
    class Broken:
        champion = staticmethod(raises(raised))

    assert rollback.undo(Broken(), 1, reason="a test") is None


@named
def test_a_channel_that_raises_anything_stops_no_other(raised):
    class Channel:
        def __init__(self, name, send):
            self.name, self.send = name, send

    sent = []
    good = Channel("slack", lambda alert: sent.append(alert.kind) or "")
    bad = Channel("webhook", raises(raised))

    notifier.Notifier(InMemory(), [bad, good], load().alerts).notify(an_alert())

    assert "held_delivery" in sent


def test_a_folder_that_cannot_be_written_is_no_verdict_on_a_model(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with pytest.raises(FileNotFoundError):
        verify.ask_clean_room(b"", [], load().verification)


@pytest.mark.parametrize(
    ("raised", "is_undone"),
    [
        (KeyError("partition"), True),
        (TrustError("changed"), True),
        (ObjectMissingError("the model is gone"), True),
        (ValueError("zip() argument 2 is shorter"), True),
        (StoreUnavailableError("down"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (MemoryError(), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_champion_is_put_back_for_its_own_faults_and_not_for_the_machines(
    night, monkeypatch, raised, is_undone
):
    undone = []
    monkeypatch.setattr(confirm, "confirm", raises(raised))
    monkeypatch.setattr(rollback, "undo", lambda *_given, **_more: undone.append(1))

    with pytest.raises(ConfirmationError if is_undone else type(raised)):
        promote.confirm("s3://memory/sentiment/log/00000001.json")

    assert bool(undone) is is_undone


# ── Every command, and every text that it takes ──────────────────────────────────────────────


def every_command() -> dict[tuple[str, ...], Any]:
    def below(command, path):
        if hasattr(command, "commands"):
            for name, one in command.commands.items():
                yield from below(one, (*path, name))
        else:
            yield path, command

    return dict(below(typer.main.get_command(app.app), ()))


COMMANDS = every_command()
each_command = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
NOT_UTF8 = "caf\udce9"
HOSTILE = [NOT_UTF8, "nul\x00byte", "", " ", "-", "--", "\n", "\x1b[31m", "\u202e",
           "../../etc/passwd",
           "{0}", "%s", "[bold]x[/]", "0", "-1", "9" * 5_000, "1e999", "NaN", "a" * 20_000,
           "\U0001f4a3",
           "0001-01-01T00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31",
           "0001-01-01"]  # fmt: skip


def takes(path, kind: str) -> list[Any]:
    """The arguments and options of a command that take a text or path, or a number."""
    hints = inspect.get_annotations(COMMANDS[path].callback.__wrapped__)
    kinds = {
        "text": ("str", "Path", "DeliveryId", "Reason", "NightOption"),
        "number": ("int", "Rows"),
    }
    return [
        param
        for param in COMMANDS[path].params
        if param.name in hints and any(name in hints[param.name] for name in kinds[kind])
    ]


def word_for(param, value: str) -> str:
    return value if param.param_type_name == "argument" else f"{param.opts[0]}={value}"


def words_for(path, text: str, number: str = "") -> list[str]:
    """Each text is this one, and each number that one, or left out."""
    words = [word_for(param, text) for param in takes(path, "text")]
    return words + [word_for(param, number) for param in takes(path, "number") if number]


@pytest.fixture
def empty_store(monkeypatch, tmp_path):
    buckets = Stores(InMemory(), InMemory())
    monkeypatch.setattr(stores, "open_stores", lambda *_given: buckets)
    monkeypatch.setattr(InMemory, "check_exists", lambda _self: None)
    monkeypatch.setattr(InMemory, "create_if_missing", lambda _self: False)
    monkeypatch.setattr(InMemory, "prove_create_if_absent", lambda _self: None)
    monkeypatch.setattr(InMemory, "endpoint", "memory")
    monkeypatch.setattr(uvicorn.Server, "run", lambda _self, **_given: None)  # it would not end
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_who_may_only_deliver_can_simulate_a_film_site(empty_store, monkeypatch):
    def refuse(*_given, **_named):
        raise StoreRefusedError("refused")

    for asked in ("check_exists", "clock", "list", "first", "get", "find"):
        monkeypatch.setattr(InMemory, asked, refuse)

    reply = run("simulate", "made-up", "--nights=2", "--rows-per-night=10", "--json")

    assert reply.exit_code == 0, reply.output
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date()
    assert f"landing/web/{yesterday}/" in reply.stdout


def test_the_commands_and_their_texts_are_found():
    assert len(COMMANDS) >= 20
    assert sum(len(takes(path, "text")) for path in COMMANDS) >= 30


@pytest.mark.quick_every(5)
@each_command
def test_no_text_or_number_ends_a_command_in_a_traceback(empty_store, path):
    given = [(text, "") for text in HOSTILE if text.strip() or path != ("simulate",)]
    given += [("x", number) for number in ("-1", "0", "9" * 30, "9" * 5_000, "1e9", "x")]
    for text, number in given:
        reply = run(*path, *words_for(path, text, number))

        assert reply.exit_code in {0, 1, 2, 3}, text


@each_command
def test_text_that_is_not_utf8_is_refused_by_name_before_anything_is_done(empty_store, path):
    for param in takes(path, "text"):
        words = [
            word_for(other, NOT_UTF8 if other is param else "x")
            for other in COMMANDS[path].params
            if other.required or other is param
        ]

        reply = run(*path, *words)

        message = " ".join(reply.stderr.replace("│", " ").split())
        assert reply.exit_code == 2, (path, param.name, message)
        assert f"{param.name.replace('_', '-')} is" in message
        assert "not UTF-8" in message


@pytest.mark.long
@pytest.mark.parametrize("path", [path for path in COMMANDS if path != ("simulate",)], ids=" ".join)
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(codec=None), max_size=60))
@example(text="\udc80")
def test_no_generated_text_ends_a_command_in_a_traceback(empty_store, path, text):
    run(*path, *words_for(path, text))


@named
def test_whatever_a_command_raises_it_ends_in_one_sentence(raised, capsys):
    with pytest.raises(typer.Exit) as ended:
        output.reports_errors(raises(raised))()

    assert ended.value.exit_code == 1
    assert type(raised).__name__ in capsys.readouterr().err


def test_every_command_reports_errors():
    assert all(hasattr(command.callback, "__wrapped__") for command in COMMANDS.values())


def test_bytes_of_a_real_shell_that_are_not_utf8_are_refused(tmp_path):
    reply = subprocess.run(
        [sys.executable, "-m", "pipelines", "retrain", b"--reason", b"caf\xe9"],
        capture_output=True, env=os.environ | {"XDG_DATA_HOME": str(tmp_path)}, check=False,
        timeout=300,
    )  # fmt: skip

    assert reply.returncode == 2
    assert b"is not UTF-8" in reply.stderr.replace(b"\n", b" ")
    assert b"Traceback" not in reply.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("ingest", "--night", "tomorrow"),
        ("ingest", "--night", "2026-02-30"),
        ("simulate", "made-up", "--first-night", "soon"),
        ("champion", "at", "2026-13-05"),
        ("champion", "release", "zzz", "--reason", "why"),
        ("champion", "rollback", "--to", "last", "--reason", "why"),
        ("decision", "show", "zzz"),
        ("delivery", "show", "zzz"),
    ],
)
def test_a_wrong_value_is_a_wrong_call(empty_store, words):
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("name", ["Ada", None])
def test_who_did_it_is_who_said_so_or_the_user(monkeypatch, name):
    monkeypatch.setattr("getpass.getuser", lambda: "airflow")

    assert output.in_shell(name) == f"shell {name or 'airflow'}"
