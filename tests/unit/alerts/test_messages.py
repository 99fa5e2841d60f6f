"""What each alert says, and which incident it is."""

from __future__ import annotations

import pytest

from pipelines.alerts import messages, run_errors
from pipelines.alerts.alert import Link, Run
from pipelines.alerts.kinds import held_runbook
from pipelines.core.errors import (
    DecoderGoneError,
    DeliveryHeldError,
    DigestMismatchError,
    StoreUnavailableError,
)
from pipelines.records.deliveries import MissingDelivery, Outcome
from pipelines.records.succession import LogEntry
from pipelines.records.validations import Basis, RuleResult, Validation

DELIVERY, DIGEST, VERSION, OTHER = "a" * 64, "b" * 64, "c" * 20, "d" * 20
RUN = Run(dag_id="reviews_ingest", run_id="scheduled__2026-01-06T02:00:00+00:00")
OTHERS_COUNT = (
    "Not affected: the other deliveries of the night, and the champion, which stays in use."
)
REPORT = "s3://reviews/reports/r/report.html"


def an_outcome(**changes):
    values = {
        "delivery": DELIVERY,
        "source": "web",
        "night": "2026-01-05",
        "landing_key": "landing/web/2026-01-05/a.csv",
        "version_tag": "1",
        "counted_in": "2026-01-05",
        "verdict": "HELD",
        "why": "labels disagree.",
        "delivered_rows": 1000,
        "accepted_rows": 0,
        "quarantined_rows": 0,
        "held_rows": 1000,
        "accepted": None,
        "quarantined": None,
        "validation_key": "reports/r/validation.json",
    }
    return Outcome.model_validate(values | changes)


def a_validation(*broken):
    rules = [
        RuleResult(
            rule=name, severity=severity, is_passed=False, observed=1.0, limit="0", rows=0,
            sentence="It is outside.",
        )
        for name, severity in broken
    ]  # fmt: skip
    return Validation(
        delivery=DELIVERY, verdict="HELD", why="labels disagree.",
        basis=Basis(rules=DIGEST, before="2026-01-05", known=DIGEST, trailing=(), champion=None),
        delivered_rows=1000, accepted_rows=0, quarantined_rows=0, held_rows=1000, reasons={},
        rules=tuple(rules), accepted=None, quarantined=None, page_sha256=DIGEST,
    )  # fmt: skip


def held(*broken, run=RUN, url="", **changes):
    return messages.held(an_outcome(**changes), a_validation(*broken), REPORT, run, url)


def test_a_held_delivery_says_which_file_why_and_what_is_not_affected():
    alert = held(("row_count", "critical"), ("class_balance_unusual", "warning"))

    assert alert.kind == "held_delivery"
    assert alert.title == "A delivery of source 'web' is held (2026-01-05)"
    assert alert.sentences == (
        "File: landing/web/2026-01-05/a.csv",
        "Why: labels disagree.",
        "Failed: row_count.",
        "None of its 1,000 rows count.",
        OTHERS_COUNT,
    )
    assert alert.links == (Link(name="report", url=REPORT),)


def test_a_held_delivery_leads_to_its_incident_page_and_to_the_run_where_airflow_is_known():
    alert = held(("row_count", "critical"), url="https://airflow.example/")

    assert alert.links[0].url == (f"https://airflow.example/retraining/incidents/{alert.delivery}")
    assert [link.name for link in alert.links] == [
        "incident page", "run page", "run report", "runbook", "report",
    ]  # fmt: skip
    assert alert.links[3].url == "https://airflow.example/retraining/runbooks/held-delivery"


def test_a_held_delivery_leads_to_the_page_of_its_report_where_airflow_is_known():
    key = f"reports/{DELIVERY}/{'f' * 16}/validation.json"

    alert = held(("row_count", "critical"), url="https://airflow.example", validation_key=key)

    assert alert.links[-1] == Link(
        name="report", url=f"https://airflow.example/retraining/reports/{DELIVERY}/{'f' * 16}"
    )


@pytest.mark.parametrize("url", ["", "https://airflow.example"])
def test_an_alert_about_the_channels_leads_to_its_runbook_where_airflow_is_known(url):
    alerts = [
        messages.dead_channel("slack", "It answered 404.", "2026-01-05", url),
        messages.flawed_channel("mail", "It refused one.", "2026-01-05", url),
        messages.trial("token", url),
    ]

    led_to = {link.url for alert in alerts for link in alert.links}

    assert led_to == ({f"{url}/retraining/runbooks/dead-alert-channel"} if url else set())


@pytest.mark.parametrize(
    ("reasons", "runbook"),
    [
        (["Few agree (label_agreement)."], "poisoned-labels.md"),
        (["12 rows (row_count). Few agree (label_agreement)."], "poisoned-labels.md"),
        (["12 rows (row_count)."], "held-delivery.md"),
        (["Few agree (label_agreement).", "12 rows (row_count)."], "held-delivery.md"),
        (["the file has 0 bytes"], "held-delivery.md"),
    ],
)
def test_held_files_have_the_runbook_on_labels_if_all_of_them_are_held_for_labels(reasons, runbook):
    """The errors in the tasks' logs name it: they must not lead elsewhere than the alert."""
    assert held_runbook(reasons) == runbook


def test_labels_in_doubt_lead_to_their_own_runbook():
    alert = held(("label_agreement", "critical"), url="https://airflow.example")

    assert "https://airflow.example/retraining/runbooks/poisoned-labels" in {
        link.url for link in alert.links
    }


def test_a_file_that_could_not_be_read_has_an_unknown_number_of_rows():
    alert = held(("truncated", "critical"), delivered_rows=0, held_rows=0)

    assert "How many it has is unknown: the file could not be read." in alert.sentences[3]


def test_an_alert_on_a_question_leads_to_it_and_to_the_decision_and_its_card():
    key = f"sentiment/versions/{VERSION}/gates/00000003-{'d' * 16}/decision.json"
    run = Run(dag_id="sentiment_retrain", run_id="r")

    alert = messages.waiting(VERSION, "So.", 20, run, "https://airflow.example", decision_key=key)

    assert [link.name for link in alert.links] == [
        "question", "decision", "model card", "run page", "run report", "runbook",
    ]  # fmt: skip
    assert alert.links[0].url == (
        "https://airflow.example/dags/sentiment_retrain/runs/r/tasks/ask/required_actions"
    )
    assert alert.links[2].url.endswith(f"/decisions/{VERSION}/00000003-{'d' * 16}/card")


def test_labels_that_the_champion_reads_otherwise_are_a_poison_alarm_that_names_the_source():
    alert = held(("row_count", "critical"), ("label_agreement", "critical"))

    assert (alert.kind, alert.severity) == ("poison_alarm", "critical")
    assert alert.title == (
        "Labels of source 'web' may be wrong or poisoned: a delivery is held (2026-01-05)"
    )
    assert alert.runbook == "docs/runbooks/poisoned-labels.md"


def test_a_mere_warning_about_labels_is_no_alarm():
    assert held(("row_count", "critical"), ("label_agreement_unusual", "warning")).kind == (
        "held_delivery"
    )


def test_a_held_delivery_is_told_also_without_its_validation():
    alert = messages.held(an_outcome(), None, REPORT, RUN, "")

    assert alert.sentences[2] == "Its validation cannot be read."


def test_the_same_delivery_is_one_incident_in_whatever_run_and_night():
    one = held(("row_count", "critical"))
    other = held(("row_count", "critical"), run=Run(dag_id="x", run_id="y"), night="2026-01-06")

    assert one.key == other.key
    assert one.key != held(("row_count", "critical"), delivery="e" * 64).key
    assert one.key != held(("label_agreement", "critical")).key


def test_a_silence_is_one_incident_until_the_source_delivers():
    def silent(night, last):
        record = MissingDelivery(
            night=night, source="web", expected_every_days=1, last_delivered_for=last
        )
        return messages.missing(record, "it is overdue", RUN, "").key

    assert silent("2026-01-05", None) == silent("2026-01-06", None)
    assert silent("2026-01-06", None) != silent("2026-01-08", "2026-01-07")


@pytest.mark.parametrize(
    ("dag_id", "kind"),
    [
        ("reviews_ingest", "ingest_incomplete"),
        ("reviews_replay", "replay_failed"),
        ("sentiment_retrain", "retrain_failed"),
        ("sentiment_rollback", "rollback_failed"),
        ("sentiment_monitor", "monitor_failed"),
    ],
)
def test_a_failed_run_is_told_once_with_what_failed(dag_id, kind):
    run = Run(dag_id=dag_id, run_id="r", failed_tasks=("plan", "train"))

    alert = messages.failed_run(run, "")

    assert (alert.kind, alert.sentences[0]) == (kind, "Failed: plan, train.")
    assert alert.sentences[-1] == "Not affected: the champion, which stays in use."
    assert alert.key == messages.failed_run(run, "", "Airflow says: task failure").key


def test_nobody_is_told_that_the_champion_is_fine_when_that_is_not_known():
    confirm = Run(dag_id="sentiment_retrain", run_id="r", failed_tasks=("confirm",))
    unknown = Run(dag_id="sentiment_retrain", run_id="r")

    assert "check the champion first" in messages.failed_run(confirm, "").sentences[-1]
    assert "champion show" in messages.failed_run(unknown, "").sentences[-1]


def test_a_champion_that_was_put_back_is_told_by_its_line_of_the_log():
    def entry(generation):
        return LogEntry(
            model_name="sentiment", generation=generation, previous_entry_sha256=None,
            kind="rollback", subject=OTHER, version=VERSION, manifest_sha256=DIGEST,
            decision_key="k", decision_sha256=DIGEST, reference=VERSION,
            reference_manifest_sha256=DIGEST, holdout_accuracy=0.9, holdout_log_loss=0.3,
            actor="confirm", reason="answers differ", token=DIGEST, at="2026-01-06T03:00:00Z",
        )  # fmt: skip

    alert = messages.put_back(entry(3), RUN, "")

    assert alert.title == f"Version {VERSION} was put back as champion of sentiment"
    assert "By: confirm" in alert.sentences[1]
    assert alert.key != messages.put_back(entry(5), RUN, "").key


def test_the_link_to_the_run_is_quoted_and_only_there_if_airflows_address_is_known():
    alert = held(("row_count", "critical"), url="https://airflow.example.org/")

    assert alert.links[1].url == (
        "https://airflow.example.org/dags/reviews_ingest/runs/"
        "scheduled__2026-01-06T02%3A00%3A00%2B00%3A00"
    )
    assert messages.links(RUN, "javascript:alert(1)", "night_late") == ()


MODEL = f"s3://models/sentiment/versions/{VERSION}/model.skops"
DAMAGED = DigestMismatchError(uri=MODEL, expected="1" * 64, found="2" * 64)
FSCK = "python -m pipelines champion fsck"


def failed(*errors, dag_id="sentiment_retrain", failed_tasks=("verify",)):
    described = tuple(run_errors.described(error) for error in errors)
    return Run(dag_id=dag_id, run_id="r", failed_tasks=failed_tasks, errors=described)


def alerts_of(run):
    uris = [f"s3://reviews/landing/web/{number}.csv" for number in range(4)]
    return (
        messages.failed_run(run, "https://airflow.example"),
        messages.unfinished("2026-01-05", uris, "So.", run, "https://airflow.example"),
    )


def test_a_failed_run_is_told_with_its_error_and_the_section_that_explains_it():
    section = "retrain-failed#digestmismatcherror"
    for alert in alerts_of(failed(DAMAGED)):
        (said,) = [one for one in alert.sentences if one.startswith("DigestMismatchError: ")]

        assert f"{MODEL} was changed after it was recorded" in said
        assert said.endswith("What to do: docs/runbooks/retrain-failed.md#digestmismatcherror")
        assert alert.links[-1].url.endswith(f"/retraining/runbooks/{section}")


def test_no_alert_says_that_a_champion_is_fine_whose_file_an_error_names():
    run = failed(DAMAGED)
    silent = MissingDelivery(
        night="2026-01-05", source="web", expected_every_days=1, last_delivered_for=None
    )
    others = (held(("row_count", "critical"), run=run), messages.missing(silent, "So", run, ""))

    for alert in (*alerts_of(run), *others):
        assert "stays in use" not in " ".join(alert.sentences)
        assert alert.sentences[-1].endswith(FSCK)
    for alert in alerts_of(failed(StoreUnavailableError("s3://models gave no answer."))):
        assert alert.sentences[-1].endswith("the champion, which stays in use.")


def test_the_error_that_explains_the_run_is_told_and_not_that_of_a_held_file():
    held_back = DeliveryHeldError(
        landing_key="a.csv", delivery=DELIVERY, why="So.", report_uri="r",
        runbook="held-delivery.md",
    )  # fmt: skip
    run = failed(held_back, StoreUnavailableError("The store timed out. Try again."))

    assert run_errors.sentence(run) == (
        "StoreUnavailableError: The store timed out. "
        "What to do: docs/runbooks/retrain-failed.md#storeunavailableerror"
    )
    assert run_errors.sentence(failed(held_back)) == ""


def test_the_runbook_that_an_error_names_goes_before_the_section_on_its_class():
    assert run_errors.sentence(failed(DecoderGoneError("was killed"))).endswith(
        "What to do: docs/runbooks/ingest-incomplete.md"
    )


def test_an_alert_repeats_no_secret_of_an_error_and_no_more_of_it_than_fits():
    foreign = failed(ValueError("password=swordfish"))
    ours = failed(StoreUnavailableError("https://me:swordfish@store\x1b[1m\n" + "x" * 9_000))

    for run in (foreign, ours):
        for alert in alerts_of(run):
            text = " ".join(alert.sentences)
            assert "swordfish" not in text
            assert text.isprintable()
            assert len(text) < 1_500
    assert run_errors.sentence(foreign) == (
        "ValueError: see its log. What to do: docs/runbooks/retrain-failed.md#any-other-error"
    )


def test_a_first_model_waits_for_a_person_without_a_champion():
    first = messages.waiting(VERSION, "So.", 20, RUN, "", is_first=True)
    later = messages.waiting(VERSION, "So.", 20, RUN, "")

    assert first.sentences[-1] == "There is no champion yet."
    assert later.sentences[-1] == "Not affected: the champion, which stays in use."
