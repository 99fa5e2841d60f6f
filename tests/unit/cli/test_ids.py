"""Ids may be abbreviated wherever one is asked for, and never mean two things."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli import app, ids
from pipelines.cli import champion as cli_champion
from pipelines.core import keys
from pipelines.core.errors import PromotionError
from pipelines.registry.registry import Registry
from tests.support.in_memory import InMemory
from tests.support.made.registry_builders import a_log_entry

FIRST, SECOND = "0123456789abcdef0123", "0123456789ffffffffff"
APART = "89abcdef012345678901"  # begins as neither of the two does


@pytest.fixture
def registry():
    models = InMemory()
    for version in (FIRST, SECOND, APART):
        models.put(keys.manifest_key("sentiment", version), b"")
    return Registry(models, "sentiment")


@pytest.mark.parametrize("given", [FIRST, FIRST[:11], FIRST[:19]])
def test_a_version_is_found_by_its_first_digits(registry, given):
    assert ids.version_of(registry, given) == FIRST


def test_eight_digits_are_enough(registry):
    assert ids.version_of(registry, APART[:8]) == APART


@pytest.mark.parametrize("given", [FIRST[:8], "f" * 8])
def test_several_or_none_is_an_error_that_says_how_to_see_them(registry, given):
    with pytest.raises(PromotionError, match=rf"No version.*{given}.*champion history"):
        ids.version_of(registry, given)


@pytest.mark.parametrize("given", ["", "zzz", FIRST[:7], FIRST + "0", FIRST.upper(), "../" + FIRST])
def test_what_can_be_no_id_is_a_wrong_call(registry, given):
    with pytest.raises(typer.BadParameter, match="is no id"):
        ids.version_of(registry, given)


@pytest.mark.parametrize(
    ("variable", "option", "named"),
    [("vera", (), "shell vera"), ("vera", ("--actor", "olga"), "shell olga")],
)
def test_a_variable_names_the_actor_unless_the_command_does(
    registry, monkeypatch, variable, option, named
):
    monkeypatch.setattr(
        cli_champion.rollback, "pin", lambda *_, actor, reason: a_log_entry(1, actor=actor)
    )
    monkeypatch.setattr(cli_champion, "open_loop", lambda *_: SimpleNamespace(registry=registry))
    words = ["champion", "pin", FIRST, "--reason", "It is good.", "--json", *option]

    reply = CliRunner().invoke(app.app, words, env={"LOOP_ACTOR": variable})

    assert reply.exit_code == 0, reply.output
    assert json.loads(reply.stdout)["actor"] == named


def _commands(group, path=()):
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*path, name))
        yield (*path, name), command


def test_every_command_that_records_something_takes_who_does_it():
    recording = {
        ("retrain",), ("champion", "rollback"), ("champion", "release"), ("champion", "pin"),
        ("decision", "approve"), ("decision", "reject"),
        ("delivery", "release"), ("delivery", "revalidate"), ("delivery", "discard"),
        ("housekeeping",), ("monitor",),
    }  # fmt: skip
    with_actor = {
        path
        for path, command in _commands(typer.main.get_command(app.app))
        if any("--actor" in option.opts for option in command.params)
    }

    assert with_actor == recording
