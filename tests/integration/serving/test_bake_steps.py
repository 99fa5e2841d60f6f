"""The step around the bake: what is asked, and what a verdict leads to."""

from __future__ import annotations

import json

import pytest

from pipelines.alerts.alert import Run
from pipelines.core.errors import BakeInconclusiveError, ConfirmationError
from pipelines.serving.bake import Question
from pipelines.steps import alerts as steps_alerts
from pipelines.steps import bake
from tests.support.made.served_builders import answers_of, model_of, served_champion
from tests.support.services.alert_servers import web_server

RUN = Run(dag_id="sentiment_retrain", run_id="retrain", failed_tasks=("bake",))


@pytest.fixture
def two_champions(registry):
    first = served_champion(registry, 1)
    return first, served_champion(registry, 2, against=first)


@pytest.fixture
def entry_uri(registry, two_champions, configure):
    configure(serving={"addresses": ["http://a:8090", "http://b:8090"]})
    return registry.models.uri(two_champions[1].object_key)


def ruling(entry_uri, verdict):
    return bake.Ruling(
        question=bake.begin(entry_uri), verdict=verdict, reasons=["a said so", "b said so"],
        is_final=True,
    )  # fmt: skip


def test_the_gates_own_answers_are_asked_for(entry_uri, two_champions):
    question = Question.model_validate_json(bake.begin(entry_uri))

    assert (question.generation, question.version) == (2, two_champions[1].version)
    assert question.expected == answers_of(model_of(2))
    assert question.addresses == ("http://a:8090", "http://b:8090")


def test_nobody_is_asked_where_no_service_is_configured_or_nothing_was_promoted(
    registry, two_champions
):
    assert bake.begin(registry.models.uri(two_champions[1].object_key)) is None
    assert bake.begin(None) is None


def test_a_pass_changes_nothing(registry, entry_uri):
    bake.end(ruling(entry_uri, "PASS"), RUN)

    assert registry.log.champion().generation == 2


def test_a_failure_puts_the_former_champion_back_with_the_reason_in_the_log(
    registry, entry_uri, two_champions
):
    with pytest.raises(ConfirmationError, match="was put back as champion") as raised:
        bake.end(ruling(entry_uri, "FAIL"), RUN)

    entry = registry.log.champion()
    assert (entry.kind, entry.version, entry.subject) == (
        "rollback", two_champions[0].version, two_champions[1].version,
    )  # fmt: skip
    assert (entry.actor, entry.reason) == ("bake", "bake: a said so; b said so")
    assert raised.value.put_back == entry.version


def test_a_failure_that_is_repeated_rolls_back_once(registry, entry_uri):
    failed = ruling(entry_uri, "FAIL")
    for _ in range(2):
        with pytest.raises(ConfirmationError):
            bake.end(failed, RUN)

    assert registry.log.champion().generation == 3


def test_without_a_verdict_the_champion_stays_and_the_task_is_red(registry, entry_uri):
    with pytest.raises(BakeInconclusiveError, match="a said so; b said so"):
        bake.end(ruling(entry_uri, "INCONCLUSIVE"), RUN)

    assert registry.log.champion().generation == 2


@pytest.fixture
def told(configure, monkeypatch, entry_uri):
    """What the webhook got so far, as a function: kinds of alerts."""
    configure(alerts={"webhook": {"is_enabled": True, "timeout_seconds": 30.0}})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        yield lambda: [json.loads(message.body)["kind"] for message in posts.received]


@pytest.mark.parametrize(
    ("verdict", "kinds"),
    [("FAIL", ["champion_put_back"]), ("INCONCLUSIVE", ["bake_inconclusive"])],
)
def test_one_alert_says_what_came_of_a_bake(entry_uri, told, verdict, kinds):
    for _ in range(2):  # as when the task and then the run are repeated
        with pytest.raises((ConfirmationError, BakeInconclusiveError)):
            bake.end(ruling(entry_uri, verdict), RUN)
        steps_alerts.alert_retrain(RUN)

    assert told() == kinds


def test_a_bake_that_broke_is_reported_as_a_failed_run(told):
    steps_alerts.alert_retrain(RUN)

    assert told() == ["retrain_failed"]
