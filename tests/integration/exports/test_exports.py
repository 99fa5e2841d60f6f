"""Exports say what came from what, and never fail whoever calls them."""

import json
import logging
import threading

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import config
from pipelines.intake import standings
from pipelines.steps import exports, rollback
from tests.support.services.alert_servers import web_server

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")


def uri_of(stores, entry):
    return stores.models.uri(entry.object_key)


def events_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
def test_the_events_of_a_champion_name_its_rows_and_its_model(
    stores, champions, configure, tmp_path
):
    (entry,) = champions(1)
    configure(exports={"openlineage": str(tmp_path / "lineage" / "events.jsonl")})

    exports.export_champion(uri_of(stores, entry))
    exports.export_champion(uri_of(stores, entry))
    exports.export_champion(None)
    start, end, *again = events_in(tmp_path / "lineage" / "events.jsonl")

    assert again == [start, end]
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"]
    (standing,) = standings.every(stores.reviews)
    (part,) = standing.accepted
    (rows,) = end["inputs"]
    assert (rows["namespace"], rows["name"]) == (f"s3://{stores.reviews.name}", part.key)
    assert rows["inputFacets"]["dataQualityMetrics"]["rowCount"] == part.rows
    model, line = end["outputs"]
    assert model["namespace"] == line["namespace"] == f"s3://{stores.models.name}"
    assert model["name"].startswith(f"sentiment/versions/{entry.version}/model-")
    assert line["name"] == entry.object_key


def test_the_events_of_a_night_name_what_was_delivered_and_what_became_of_it(
    stores, champions, configure, tmp_path
):
    champions(1)
    path = tmp_path / "events.jsonl"
    configure(exports={"openlineage": str(path)})
    (standing,) = standings.every(stores.reviews)
    night = standing.outcome.counted_in

    reply = CliRunner().invoke(app, ["export", "night", night])
    exports.export_night("2020-01-01")

    assert (reply.exit_code, reply.output) == (0, "OpenLineage: 2 events\n")
    start, end = events_in(path)
    assert start["job"]["name"] == "reviews_ingest"
    assert [one["name"] for one in end["inputs"]] == [f"deliveries/{standing.outcome.delivery}/raw"]
    kept = [standing.outcome.accepted, standing.outcome.quarantined]
    assert [one["name"] for one in end["outputs"]] == [part.key for part in kept if part]


def test_events_are_posted_with_the_key_of_the_environment(
    stores, champions, configure, monkeypatch
):
    (entry,) = champions(1)
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "s3cret")
    with web_server() as posts:
        configure(exports={"openlineage": posts.url})
        reply = CliRunner().invoke(app, ["export", "champion"])

    assert reply.exit_code == 0, reply.output
    assert [json.loads(post.body)["eventType"] for post in posts.received] == ["START", "COMPLETE"]
    assert posts.received[0].headers["Authorization"] == "Bearer s3cret"
    assert json.loads(posts.received[1].body)["eventTime"] == entry.at


@pytest.mark.long
def test_a_champion_that_was_put_back_was_made_of_nothing_new(
    stores, champions, configure, tmp_path, caplog
):
    champions(2)
    path = tmp_path / "events.jsonl"
    configure(exports={"openlineage": str(path)})
    entry_uri = rollback.apply_rollback(rollback.plan_rollback("previous", "a try"), "tester")

    exports.export_champion(entry_uri)
    reply = CliRunner().invoke(app, ["export", "champion"])

    assert "The export failed" not in caplog.text
    assert not path.exists()
    assert reply.exit_code == 1
    assert "put back" in reply.output + reply.stderr


@pytest.mark.attack
@pytest.mark.parametrize(
    "settings",
    [{"openlineage": "http://127.0.0.1:9/none"}, {"mlflow_url": "http://127.0.0.1:9"},
     {"openlineage": "/proc/none/events.jsonl"}],
    ids=["no server", "no MLflow", "no such folder"],
)  # fmt: skip
def test_a_step_that_cannot_export_is_a_warning_and_the_command_an_error(
    stores, champions, configure, caplog, settings
):
    (entry,) = champions(1)
    configure(exports=settings)

    with caplog.at_level(logging.WARNING):
        exports.export_champion(uri_of(stores, entry))
        exports.export_champion("s3://no-such-bucket/sentiment/log/00000001.json")
    reply = CliRunner().invoke(app, ["export", "champion"])

    assert caplog.text.count("The export failed; nothing else is affected") == 2
    assert reply.exit_code not in {0, None}


@pytest.mark.attack
@pytest.mark.parametrize("target", ["openlineage", "mlflow_url"])
def test_a_server_that_refuses_is_a_warning(stores, champions, configure, caplog, target):
    (entry,) = champions(1)
    with web_server() as posts:
        configure(exports={target: posts.url})
        posts.status = 500
        with caplog.at_level(logging.WARNING):
            exports.export_champion(uri_of(stores, entry))

    assert "answered 500" in caplog.text


@pytest.mark.attack
def test_an_export_that_does_not_end_is_given_up(stores, configure, monkeypatch, caplog):
    """As one to a server that sends a byte now and then."""
    configure(exports={"max_seconds": 0.05})
    has_ended = threading.Event()
    monkeypatch.setattr(exports, "night_of", lambda *_: [str(has_ended.wait())])

    with caplog.at_level(logging.WARNING):
        exports.export_night("2026-01-05")
    has_ended.set()

    assert "The export did not end within 0.05 seconds, and is given up." in caplog.text


def test_without_a_target_nothing_is_exported(stores, champions):
    (entry,) = champions(1)

    assert not config.load().exports.takes_champions
    exports.export_champion(uri_of(stores, entry))
    reply = CliRunner().invoke(app, ["export", "champion"])

    assert reply.exit_code == 1
    assert "no target" in reply.output + reply.stderr
