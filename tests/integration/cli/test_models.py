"""Commands about one of several models."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.models.artefacts import dump_model
from pipelines.registry.fsck import check
from pipelines.registry.registry import Registry
from tests.support.made.made_models import a_model
from tests.support.made.registry_builders import a_version, decided, promoted

# About deliveries, the buckets, or all models at once; `score --model` also takes a folder.
SHARED = {
    "init", "simulate", "ingest", "metrics", "housekeeping", "champion fsck",
    "delivery", "alerts", "keys", "export night", "score",
}  # fmt: skip


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def cli(*arguments, code=0):
    reply = CliRunner().invoke(app, list(arguments))
    assert reply.exit_code == code, reply.output
    return json.loads(reply.stdout) if "--json" in arguments else reply


@pytest.fixture
def registries(stores, configure):
    configure(models={"stars": {"seed": 7}})
    return {name: Registry(stores.models, name) for name in ("sentiment", "stars")}


def test_every_command_about_a_model_takes_its_name():
    for name, command in commands(typer.main.get_command(app)):
        is_shared = name in SHARED or name.split()[0] in SHARED
        options = {option for each in command.params for option in each.opts}
        assert ("--model" in options) != is_shared or name == "score", name


def test_a_command_is_about_the_model_that_it_names_and_else_about_the_first(registries):
    entries = {name: promoted(registry, name) for name, registry in registries.items()}

    for arguments, version in (
        ((), entries["sentiment"].version),
        (("--model", "sentiment"), entries["sentiment"].version),
        (("--model", "stars"), entries["stars"].version),
    ):
        assert cli("champion", "show", "--json", *arguments)["version"] == version
        assert [one["version"] for one in cli("champion", "history", "--json", *arguments)] == [
            version
        ]
        assert cli("decision", "show", "--json", *arguments)["version"] == version
        assert cli("champion", "at", "2100-01-01", "--json", *arguments)["version"] == version


def test_what_is_recorded_by_name_changes_the_log_of_that_model_only(registries):
    model = dump_model(a_model())
    for name, registry in registries.items():
        first = promoted(registry, f"{name} a", model=model)
        promoted(registry, f"{name} b", against=first, model=model)
    history = registries["sentiment"].log.history()
    older = registries["stars"].log.entry(1).version

    cli("champion", "pin", older, "--reason", "it was the first", "--model", "stars")
    cli("champion", "pin", older, "--reason", "it was the first", code=1)

    newest = registries["stars"].log.champion()
    assert (newest.kind, newest.reference) == ("pin", older)
    assert registries["sentiment"].log.history() == history


def test_a_version_of_another_model_is_not_found(registries):
    manifest = a_version(registries["stars"], "a")
    decided(registries["stars"], manifest)

    reply = cli("decision", "show", manifest.version, code=1)

    assert "no decision was made" in " ".join(reply.stderr.split())


def test_a_model_that_does_not_exist_is_named_with_those_that_do(registries):
    reply = cli("champion", "show", "--model", "gone", code=1)

    assert "sentiment, stars" in " ".join(reply.stderr.split())


def test_a_service_answers_for_the_model_that_it_is_started_for(registries, monkeypatch):
    started = []
    monkeypatch.setattr(
        "pipelines.serving.http.server.run", lambda service, **_: started.append(service)
    )

    cli("serve")
    cli("serve", "--model", "stars")

    assert [service.status()["model"] for service in started] == ["sentiment", "stars"]


def test_fsck_checks_every_model_of_the_bucket(registries, stores):
    stars = registries["stars"]
    first = promoted(stars, "a")
    promoted(stars, "b", against=first)
    before = {finding.key for finding in check.check(stores.reviews, registries["sentiment"])}

    stores.models.delete(stars.log.key(1))

    found = check.check(stores.reviews, registries["sentiment"])
    assert stars.log.key(1) in {one.key for one in found if one.kind == "error"} - before
