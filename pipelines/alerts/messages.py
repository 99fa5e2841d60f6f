"""The text of each alert: one function per kind, from the records that the incident left."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.alerts import run_errors
from pipelines.alerts.alert import Alert, Link, Run, make_alert
from pipelines.alerts.kinds import RULE_ALERTS, failed_kind
from pipelines.alerts.unaffected import champion_after, champion_stays, others_count
from pipelines.alerts.where_to_look import links, page
from pipelines.core.links import (
    card_link,
    champion_link,
    decision_link,
    incidents_link,
    missing_link,
    monitoring_link,
    of_first,
    question_link,
    report_link,
)
from pipelines.core.record import sha256_of
from pipelines.core.settings.operation import AlertName, ChannelName
from pipelines.records.deliveries import MissingDelivery, NightSummary, Outcome, Receipt
from pipelines.records.monitoring import Window
from pipelines.records.succession import LogEntry
from pipelines.records.validations import Validation


def held(
    outcome: Outcome, validation: Validation | None, report_uri: str, run: Run, airflow_url: str
) -> Alert:
    """A held delivery. The delivery is the incident: it is reported once, not once per night."""
    broken = [
        rule.rule for rule in (validation.rules if validation else ())
        if rule.severity == "critical" and not rule.is_passed
    ]  # fmt: skip
    is_poison = "poison_alarm" in {RULE_ALERTS.get(rule) for rule in broken}
    kind: AlertName = "poison_alarm" if is_poison else "held_delivery"
    report = page(airflow_url, "report", report_link(outcome.validation_key))
    return make_alert(
        kind,
        outcome.delivery,
        _held_title(outcome, is_poison=is_poison),
        (
            f"File: {outcome.landing_key}",
            f"Why: {outcome.why}",
            f"Failed: {', '.join(broken)}." if validation else "Its validation cannot be read.",
            _none_count(outcome.delivered_rows),
            others_count(run),
        ),
        run=run,
        night=outcome.night,
        delivery=outcome.delivery,
        links=(
            *page(airflow_url, "incident page", incidents_link(outcome.delivery)),
            *links(run, airflow_url, kind),
            *(report or (Link(name="report", url=report_uri),)),
        ),
    )


def unreadable(receipt: Receipt, why: str, run: Run, airflow_url: str) -> Alert:
    """A delivery that was held, and whose ledger entry cannot be read now."""
    return make_alert(
        "held_delivery",
        f"{receipt.delivery} unreadable",
        f"Cannot tell whether the delivery held on {receipt.night} is still held",
        (f"File: {receipt.landing_key}", f"It was held: {receipt.why}", why, others_count(run)),
        run=run, night=receipt.night,
        delivery=receipt.delivery,
        links=links(run, airflow_url, "held_delivery"),
    )  # fmt: skip


def _none_count(rows: int) -> str:
    if rows:
        return f"None of its {rows:,} rows count."
    return "None of its rows count. How many it has is unknown: the file could not be read."


def _held_title(outcome: Outcome, *, is_poison: bool) -> str:
    source, night = repr(outcome.source), outcome.night
    if is_poison:
        return f"Labels of source {source} may be wrong or poisoned: a delivery is held ({night})"
    return f"A delivery of source {source} is held ({night})"


def more_held(incidents: Sequence[str], night: str, run: Run, airflow_url: str) -> Alert:
    """The rest of a night in which many deliveries are held: nobody reads a thousand alerts.

    The set of deliveries is the incident: one more that is held later is reported, too.
    """
    which = sha256_of("\n".join(sorted(incidents)).encode())
    return make_alert(
        "held_delivery",
        f"{night} and more: {which}",
        f"{len(incidents):,} more deliveries of the night {night} are held",
        ("All of them: python -m pipelines delivery list", others_count(run)),
        run=run,
        night=night,
        links=page(airflow_url, "incidents", incidents_link())
        + links(run, airflow_url, "held_delivery"),
    )


def watched(
    window: Window, since: str, run: Run, airflow_url: str, *, of: str = ""
) -> Alert:  # fmt: skip
    """A champion that fades, or changed reviews; all such nights on end are one incident.

    ``of`` names its model where there are several.
    """
    kind: AlertName = "model_fading" if window.verdict == "FADING" else "input_drift"
    words = ", ".join(f"{moved.word} ({moved.usual:.0%} to {moved.share:.0%})"
                      for moved in window.words[:8])  # fmt: skip
    return make_alert(
        kind,
        f"{window.model_name} {window.verdict} since {since}",
        f"The champion{of} is less often right than usual ({window.night})"
        if kind == "model_fading"
        else f"New reviews differ from what the champion{of} knows ({window.night})",
        (
            window.why,
            f"The words that changed most: {words}." if words else "",
            f"{window.rows:,} reviews, champion generation {window.champion_generation}.",
            champion_stays(run),
        ),
        run=run,
        night=window.night,
        links=(
            *page(airflow_url, "monitoring page", monitoring_link(window.night, window.model_name)),
            *links(run, airflow_url, kind),
        ),
    )  # fmt: skip


def missing(record: MissingDelivery, overdue: str, run: Run, airflow_url: str) -> Alert:
    """A silent source. The silence is the incident, however many nights it lasts."""
    return make_alert(
        "missing_delivery",
        f"{record.source} silent since {record.last_delivered_for}",
        f"Source {record.source!r} has not delivered for {record.night}",
        (f"{overdue}.", "Everything that was delivered counts.", champion_stays(run)),
        run=run, night=record.night,
        links=(
            *page(airflow_url, "incident page", missing_link(record.night, record.source)),
            *links(run, airflow_url, "missing_delivery"),
        ),
    )  # fmt: skip


def set_aside(summary: NightSummary, run: Run, airflow_url: str) -> Alert:
    """Landed files that no night takes up as they are. The set of files is the incident."""
    files = summary.for_people
    identity = sha256_of("\n".join(sorted(file.landing_key for file in files)).encode())
    return make_alert(
        "set_aside_delivery",
        identity,
        f"No night takes up {len(files):,} landed files",
        (*(f"{file.landing_key}: {file.why}" for file in files[:5]), others_count(run)),
        run=run,
        night=summary.night,
        links=links(run, airflow_url, "set_aside_delivery"),
    )


def unfinished(night: str, uris: Sequence[str], why: str, run: Run, airflow_url: str) -> Alert:
    """A night with deliveries that were due and were not processed."""
    return make_alert(
        "ingest_incomplete",
        run.run_id,
        f"The night {night} was not ingested completely",
        (
            why,
            run_errors.sentence(run),
            *(f"Due again: {uri}" for uri in uris[:3]),
            _failed(run),
            "None of their rows count, and nothing is lost: the next run takes them up.",
            others_count(run),
        ),
        run=run,
        night=night,
        links=links(run, airflow_url, "ingest_incomplete"),
    )


def _run_key(run: Run) -> str:
    """The run's incident: runs of two models may have one id, as they start at the same time."""
    return run.run_id if of_first(run.dag_id) == run.dag_id else f"{run.dag_id} {run.run_id}"


def failed_run(run: Run, airflow_url: str, why: str = "") -> Alert:
    """A run that failed. The run is the incident, however often it is cleared."""
    return make_alert(
        failed_kind(run.dag_id),
        _run_key(run),
        f"A run of {run.dag_id} failed",
        (
            why,
            _failed(run),
            run_errors.sentence(run),
            "The log of the failed task shows why.",
            champion_after(run),
        ),
        run=run,
        links=links(run, airflow_url, failed_kind(run.dag_id)),
    )


def unseen_run(run: Run, airflow_url: str, why: str) -> Alert:
    """A run whose end is not known, because the stores cannot be read."""
    return make_alert(
        failed_kind(run.dag_id),
        _run_key(run),
        f"Cannot tell how the run of {run.dag_id} ended",
        (why, _failed(run), champion_after(run)),
        run=run,
        links=links(run, airflow_url, failed_kind(run.dag_id)),
    )


def approval_key(run: Run) -> str:
    """The question's incident is the run that asks it."""
    return f"{run.dag_id} {run.run_id}"


def waiting(
    version: str, why: str, hours: float, run: Run, airflow_url: str, *,
    decision_key: str = "", is_first: bool = False, of: str = "",
) -> Alert:  # fmt: skip
    """A model that waits for a person; ``is_first``: there is no champion, ``of``: as `watched`."""
    return make_alert(
        "approval_waiting",
        approval_key(run),
        f"Model {version}{of} waits for a person",
        (
            f"What the gate says: {why}",
            f"Answer within {hours:g} hours, in Airflow under Browse, Required Actions.",
            "Without an answer the model is not promoted.",
            "There is no champion yet." if is_first else champion_stays(run),
        ),
        run=run,
        links=(
            *page(airflow_url, "question", question_link(run.dag_id, run.run_id)),
            *page(airflow_url, "decision", decision_link(decision_key)),
            *page(airflow_url, "model card", card_link(decision_key)),
            *links(run, airflow_url, "approval_waiting"),
        ),
    )


def put_back(entry: LogEntry, run: Run, airflow_url: str) -> Alert:
    """A rollback. The line of the champion log is the incident."""
    return make_alert(
        "champion_put_back",
        f"{entry.model_name} generation {entry.generation}",
        f"Version {entry.version} was put back as champion of {entry.model_name}",
        (
            f"Withdrawn: version {entry.subject}. It cannot come back by itself.",
            f"By: {entry.actor}, at {entry.at}. Reason: {entry.reason}",
            "Not affected: accepted reviews and stored versions.",
        ),
        run=run,
        links=page(airflow_url, "champion", champion_link(entry.model_name))
        + links(run, airflow_url, "champion_put_back"),
    )


def bake_inconclusive(champion: LogEntry, why: str, run: Run, airflow_url: str) -> Alert:
    """A bake that ended without a verdict. The champion's generation is the incident."""
    name, generation = champion.model_name, champion.generation
    return make_alert(
        "bake_inconclusive",
        f"{name} generation {generation}",
        f"Not every service showed that it answers with generation {generation} of {name}",
        (
            why,
            f"Version {champion.version} stays champion.",
            "A person decides: let it stay, or roll it back.",
        ),
        run=run,
        links=page(airflow_url, "champion", champion_link(name))
        + links(run, airflow_url, "bake_inconclusive"),
    )


def broken_log(model: str, why: str, run: Run, airflow_url: str) -> Alert:
    """A champion log that cannot be trusted. Reported once per error, not once per night."""
    return make_alert(
        "champion_log_broken",
        f"{model} {why}",
        f"The champion log of {model} cannot be trusted",
        (why, "Nothing is promoted until it is repaired.",
         "Consumers that have loaded a champion keep using it."),
        run=run,
        links=page(airflow_url, "champion", champion_link(model))
        + links(run, airflow_url, "champion_log_broken"),
    )  # fmt: skip


def late(run: Run, minutes: float, airflow_url: str) -> Alert:
    """A run that is not finished in time."""
    return make_alert(
        "night_late",
        f"{run.dag_id} {run.run_id}",
        f"{run.dag_id} is late",
        (f"It is not finished {minutes:g} minutes after it was queued.",
         "It may still succeed: nothing was stopped.", champion_stays(run)),
        run=run,
        links=links(run, airflow_url, "night_late"),
    )  # fmt: skip


def dead_channel(name: ChannelName, why: str, day: str, airflow_url: str) -> Alert:
    """A channel that does not work. Reported once per day through the others."""
    return make_alert(
        "dead_channel",
        f"{name} {day}",
        f"Alerts cannot be sent by {name}",
        (why, "The next runs try again to send its alerts.",
         "Not affected: the night, and the other channels."),
        links=links(None, airflow_url, "dead_channel"),
    )  # fmt: skip


def flawed_channel(name: ChannelName, why: str, day: str, airflow_url: str) -> Alert:
    """A channel that works, but not for every alert or recipient. Reported once per day by all."""
    return make_alert(
        "dead_channel",
        f"{name} {day} in part",
        f"Not everything sent by {name} arrives",
        (why, "The next runs try a refused alert again, but not a refused recipient.",
         "Not affected: the night, and all other alerts."),
        links=links(None, airflow_url, "dead_channel"),
    )  # fmt: skip


def trial(token: str, airflow_url: str) -> Alert:
    """A test."""
    return make_alert(
        "test_alert", token, "This is a test",
        ("Somebody ran: python -m pipelines alerts check", "No action is needed."),
        links=links(None, airflow_url, "test_alert"),
    )  # fmt: skip


def _failed(run: Run) -> str:
    return f"Failed: {', '.join(run.failed_tasks)}." if run.failed_tasks else ""
