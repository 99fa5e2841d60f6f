"""What runs leave behind in the stores, and what people are told of it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipelines.alerts.alert import Run
from pipelines.cli.app import app
from pipelines.core.errors import DeliveryHeldError
from pipelines.core.keys import outcome_key, receipt_key
from pipelines.intake import ledger, nights
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_sgd
from pipelines.registry import rollback
from pipelines.steps import alerts, incidents
from pipelines.steps.context import open_loop
from pipelines.steps.incidents import MAX_HELD_ALERTS
from tests.support.made.alert_builders import an_alert
from tests.support.made.builders import as_csv, deliver, landing_key, some_rows
from tests.support.made.nights import reviews_of_a_night
from tests.support.made.registry_builders import promoted
from tests.support.services.alert_servers import web_server

NIGHT = "2026-01-06"
INGEST = Run(dag_id="reviews_ingest", run_id="night")
RETRAIN = Run(dag_id="sentiment_retrain", run_id="retrain")


@pytest.fixture
def told(stores, configure, monkeypatch):
    """What the webhook got so far, as a function."""
    configure(alerts={"webhook": {"is_enabled": True, "timeout_seconds": 30.0}})
    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        yield lambda: [json.loads(message.body) for message in posts.received]


@pytest.fixture
def two_champions(registry):
    texts = ["a great film", "a great cast", "a dull film", "a dull cast"] * 5
    model = dump_model(fingerprint_sgd(seed=1, ngram_max=1).fit(texts, [1, 1, 0, 0] * 5))
    first = promoted(registry, "a", model=model)
    return first, promoted(registry, "b", against=first, model=model)


def discard_the_held():
    listed = CliRunner().invoke(app, ["delivery", "list", "--json"]).stdout
    (delivery,) = [one["delivery"] for one in json.loads(listed)]
    given_up = ["delivery", "discard", delivery, "--reason", "it is no use", "--yes"]
    assert CliRunner().invoke(app, given_up).exit_code == 0


@pytest.mark.long
def test_turned_labels_are_a_poison_alarm_that_names_the_source(stores, champions, told):
    champions(1)
    key = landing_key("r.csv", night=NIGHT)
    deliver(stores, key, as_csv(reviews_of_a_night(is_turned=True)))
    CliRunner().invoke(app, ["ingest", "--night", NIGHT])

    alerts.alert_night(INGEST, NIGHT, [stores.reviews.uri(key)])

    (alarm,) = told()
    assert alarm["kind"] == "poison_alarm"
    assert f"source {key.split('/')[1]!r}" in alarm["title"]
    assert "Failed: label_agreement." in alarm["sentences"]


def test_a_delivery_without_a_conclusion_is_told_and_one_that_was_released_is_not(stores, told):
    held, due = (landing_key(name, night=NIGHT) for name in ("held.csv", "due.csv"))
    deliver(stores, held, b"no,such,columns\n1,2,3\n")
    CliRunner().invoke(app, ["ingest", "--night", NIGHT])
    discard_the_held()

    alerts.alert_night(INGEST, NIGHT, [stores.reviews.uri(key) for key in (held, due)])

    (alert,) = told()
    assert alert["kind"] == "ingest_incomplete"
    assert alert["sentences"][0] == "1 of 2 deliveries were not processed."
    assert alert["sentences"][1] == f"Due again: {stores.reviews.uri(due)}"


@pytest.mark.long
def test_of_many_held_deliveries_only_some_are_told_one_by_one_and_the_others_are_counted(
    stores, told
):
    for number in range(MAX_HELD_ALERTS + 3):
        key = landing_key(f"{number}.csv", night=NIGHT)
        deliver(stores, key, f"no,such,columns\n{number},2,3\n".encode())
    CliRunner().invoke(app, ["ingest", "--night", NIGHT])

    alerts.alert_night(INGEST, NIGHT, [])
    alerts.alert_night(INGEST, NIGHT, [])

    assert len(told()) == MAX_HELD_ALERTS + 1
    assert told()[-1]["title"] == f"3 more deliveries of the night {NIGHT} are held"


@pytest.mark.long
def test_one_more_held_delivery_is_told_although_others_were_only_counted(stores, told):
    for number in range(MAX_HELD_ALERTS + 2):
        if number > MAX_HELD_ALERTS:
            alerts.alert_night(INGEST, NIGHT, [])
        key = landing_key(f"{number}.csv", night=NIGHT)
        deliver(stores, key, f"no,such,columns\n{number},2,3\n".encode())
        CliRunner().invoke(app, ["ingest", "--night", NIGHT])

    alerts.alert_night(INGEST, NIGHT, [])

    assert [one["title"][:6] for one in told()[MAX_HELD_ALERTS:]] == ["1 more", "2 more"]


def test_every_poison_alarm_is_told_by_name(stores, monkeypatch):
    run = INGEST.model_copy(update={"failed_tasks": ("check_night",)})
    alarms = [an_alert("poison_alarm", str(number)) for number in range(MAX_HELD_ALERTS + 2)]
    held = [an_alert("held_delivery", str(number)) for number in range(3)]
    monkeypatch.setattr(incidents, "_held_alerts", lambda *_: iter([*held, *alarms]))

    raised = list(incidents.night_alerts(open_loop("ingest"), run, NIGHT, []))

    assert raised[:-1] == alarms
    assert raised[-1].title == f"3 more deliveries of the night {NIGHT} are held"


@pytest.mark.long
@pytest.mark.parametrize(
    ("torn", "title", "sentence"),
    [
        (
            "outcome",
            f"Cannot tell whether the delivery held on {NIGHT} is still held",
            "outcome.json is signed by nobody",
        ),
        ("validation", f"A delivery of source 'web' is held ({NIGHT})", "Its validation cannot"),
        ("receipt", f"The night {NIGHT} was not ingested completely", "1 receipts cannot be read"),
    ],
)
def test_a_torn_record_takes_the_alert_of_no_other_delivery(stores, told, torn, title, sentence):
    for name in ("a", "b", "c"):
        key = landing_key(f"{name}.csv", night=NIGHT)
        deliver(stores, key, f"no,such,columns\n{name},2,3\n".encode())
    CliRunner().invoke(app, ["ingest", "--night", NIGHT])
    receipt = nights.summarize(stores.reviews, NIGHT).receipts[1]
    outcome = ledger.find_outcome(stores.reviews, receipt.delivery)
    key = {
        "outcome": outcome_key(receipt.delivery),
        "validation": outcome.validation_key,
        "receipt": receipt_key(
            NIGHT, landing_key=receipt.landing_key, version_tag=receipt.version_tag
        ),
    }[torn]
    stores.reviews.put(key, b"{")

    run = INGEST.model_copy(update={"failed_tasks": ("check_night",)})
    alerts.alert_night(run, NIGHT, [])

    named = {f"File: {landing_key(f'{name}.csv', night=NIGHT)}" for name in "ac"}
    others = [one for one in told() if one["sentences"][0] in named]
    (about,) = [one for one in told() if one not in others]
    assert [other["kind"] for other in others] == ["held_delivery"] * 2
    assert about["title"] == title
    assert sentence in " ".join(about["sentences"])


def test_a_night_whose_files_could_not_be_listed_is_told(stores, told):
    alerts.alert_night(INGEST, NIGHT, None)

    (alert,) = told()
    assert alert["kind"] == "ingest_incomplete"
    assert alert["sentences"][0] == "It is unknown which files were due."


@pytest.mark.parametrize(
    "task", ["summarize_night", "has_new_reviews", "announce", "check_night", "delivery.accept"]
)
def test_a_red_run_whose_deliveries_are_all_dealt_with_is_told(stores, told, task):
    alerts.alert_night(INGEST.model_copy(update={"failed_tasks": (task,)}), NIGHT, [])

    (alert,) = told()
    assert (alert["kind"], alert["run_id"]) == ("ingest_incomplete", "night")
    assert alert["sentences"][0] == f"Failed: {task}."


@pytest.mark.parametrize(
    ("red", "kinds"),
    [
        (("check_night", "delivery.validate"), ["held_delivery"]),
        (("announce", "check_night"), ["held_delivery", "ingest_incomplete"]),
    ],
)
def test_what_a_held_delivery_does_not_explain_is_told_beside_it(stores, told, red, kinds):
    deliver(stores, landing_key("held.csv", night=NIGHT), b"no,such,columns\n1,2,3\n")
    CliRunner().invoke(app, ["ingest", "--night", NIGHT])

    alerts.alert_night(INGEST.model_copy(update={"failed_tasks": red}), NIGHT, [])

    assert [one["kind"] for one in told()] == kinds


@pytest.mark.long
@pytest.mark.parametrize(
    ("red", "kinds"),
    [
        (("delivery.validate_1",), []),
        (("delivery.validate_0", "delivery.validate_1"), ["ingest_incomplete"]),
        (("delivery.accept_1",), ["ingest_incomplete"]),
    ],
)
def test_a_discarded_file_explains_its_own_red_task_and_no_other(stores, told, red, kinds):
    good, held = (landing_key(name, night=NIGHT) for name in ("good.csv", "held.csv"))
    deliver(stores, good, as_csv(some_rows(40)))
    deliver(stores, held, b"no,such,columns\n1,2,3\n")
    CliRunner().invoke(app, ["ingest", "--night", NIGHT])
    discard_the_held()
    due = [stores.reviews.uri(key) for key in (good, held)]

    alerts.alert_night(INGEST.model_copy(update={"failed_tasks": red}), NIGHT, due)

    assert [one["kind"] for one in told()] == kinds


def test_a_champion_in_good_order_is_nothing_to_tell(two_champions, told):
    alerts.alert_retrain(RETRAIN)

    assert told() == []


def test_a_champion_that_was_put_back_is_told_once_whoever_notices(registry, two_champions, told):
    first, second = two_champions
    rollback.undo(registry, second.generation, reason="confirm: it answers otherwise")

    alerts.alert_retrain(RETRAIN)
    alerts.alert_rollback(Run(dag_id="sentiment_rollback", run_id="later"))

    (alert,) = told()
    assert (alert["kind"], alert["run_id"]) == ("champion_put_back", "retrain")
    assert first.version in alert["title"]
    assert second.version in alert["sentences"][0]
    assert "By: confirm" in alert["sentences"][1]


def test_a_log_that_was_changed_by_hand_is_told_and_nothing_is_promoted(
    stores, registry, two_champions, told
):
    key = registry.log.key(1)
    stores.models.put(key, stores.models.get(key) + b" ")

    alerts.alert_retrain(RETRAIN)
    alerts.alert_retrain(Run(dag_id="sentiment_retrain", run_id="the next one"))

    (alert,) = told()
    assert alert["kind"] == "champion_log_broken"
    assert key in alert["sentences"][0]


def test_the_log_of_a_failed_task_says_where_to_look(configure):
    error = DeliveryHeldError(
        landing_key="landing/web/r.csv", delivery="a" * 64, why="So.", report_uri="s3://r",
        runbook="held-delivery.md",
    )  # fmt: skip
    assert alerts.where_to_look(INGEST, error) == []
    configure(alerts={"airflow_url": "https://airflow.example"})

    pages = dict(alerts.where_to_look(INGEST, error))

    assert pages == {
        "Run report": "https://airflow.example/retraining/runs/reviews_ingest/night",
        "Incident": f"https://airflow.example/retraining/incidents/{'a' * 64}",
        "What to do": "https://airflow.example/retraining/runbooks/held-delivery",
    }
