"""The incidents that a run left behind, by what the stores hold: they are authoritative.

States of tasks only say whether anything else is red.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.alerts import messages
from pipelines.alerts.alert import Alert, Run
from pipelines.core.errors import TrustError, concerns_one_record, sentence
from pipelines.steps.context import Loop, one_of_several

if TYPE_CHECKING:
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.deliveries import NightSummary, Receipt
    from pipelines.records.succession import LogEntry
    from pipelines.records.validations import Validation

logger = logging.getLogger(__name__)

MAX_HELD_ALERTS = 5  # per night; one more alert counts the others. Poison alarms: all
MOST_BAD_NIGHTS = 30  # on end; after so many everybody knows
BAKE_ACTOR = "bake"  # in the champion log

# Tasks, by how their names begin, that held, missing and unfinished deliveries turn red.
_RED_BY_DELIVERIES = ("delivery.", "check_night")


def night_alerts(
    loop: Loop, run: Run, night: str, landing_uris: Sequence[str] | None
) -> Iterator[Alert]:
    """One alert per held delivery and silent source, and one for all that were not processed.

    A run that is red for any other reason is reported as failed.
    """
    from pipelines.intake import nights

    url = loop.settings.alerts.airflow_url
    summary = nights.night_summary(loop.reviews, night, loop.settings.sources)
    incidents = [*_named_or_counted(loop, list(_held_alerts(loop, summary, run)), night, run)]
    incidents += [
        messages.missing(source, nights.sentence(source), run, url) for source in summary.missing
    ]
    incidents += _unfinished_alerts(loop, summary, run, landing_uris)
    if summary.for_people:
        incidents.append(messages.set_aside(summary, run, url))
    yield from incidents
    settled = _red_by_settled(loop, summary, landing_uris or ())
    if not _is_explained(run, incidents, settled):
        yield messages.failed_run(run, url)


def _red_by_settled(
    loop: Loop, summary: NightSummary, landing_uris: Sequence[str]
) -> frozenset[str]:
    """The tasks that turned red because of files that were held, also if somebody decided since."""
    held = {loop.reviews.uri(one.landing_key) for one in summary.receipts if one.verdict == "HELD"}
    numbered = enumerate(landing_uris)
    return frozenset(f"delivery.validate_{number}" for number, uri in numbered if uri in held)


def _named_or_counted(loop: Loop, held: Sequence[Alert], night: str, run: Run) -> Iterator[Alert]:
    """Every poison alarm, a few of the other held deliveries, and a count of the rest."""
    alarms = [alert for alert in held if alert.kind == "poison_alarm"]
    others = [alert for alert in held if alert.kind != "poison_alarm"]
    room = max(MAX_HELD_ALERTS - len(alarms), 0)
    yield from (*alarms, *others[:room])
    if counted := [alert.key for alert in others[room:]]:
        yield messages.more_held(counted, night, run, loop.settings.alerts.airflow_url)


def _unfinished_alerts(
    loop: Loop, summary: NightSummary, run: Run, landing_uris: Sequence[str] | None
) -> Iterator[Alert]:
    night, url = summary.night, loop.settings.alerts.airflow_url
    if landing_uris is None:
        why = "It is unknown which files were due."
        yield messages.unfinished(night, (), why, run, url)
        return
    if summary.unreadable:
        why = f"{len(summary.unreadable)} receipts cannot be read: their files may be unfinished."
        yield messages.unfinished(night, summary.unreadable, why, run, url)
        return
    dealt_with = {loop.reviews.uri(receipt.landing_key) for receipt in summary.receipts}
    if unfinished := [uri for uri in landing_uris if uri not in dealt_with]:
        why = f"{len(unfinished)} of {len(landing_uris)} deliveries were not processed."
        yield messages.unfinished(night, unfinished, why, run, url)


def _is_explained(run: Run, incidents: Sequence[Alert], settled: frozenset[str]) -> bool:
    """Whether its deliveries, reported or settled, explain every red task of the run."""
    explained = _RED_BY_DELIVERIES if incidents else ()
    return all(name in settled or name.startswith(explained) for name in run.failed_tasks)


def _held_alerts(loop: Loop, summary: NightSummary, run: Run) -> Iterator[Alert]:
    for receipt in summary.receipts:
        if receipt.verdict == "HELD":
            yield from _held_alert(loop, receipt, run)


def _held_alert(loop: Loop, receipt: Receipt, run: Run) -> Iterator[Alert]:
    """At most one alert; a damaged record of this delivery is reported and hides no other."""
    from pipelines.core import keys
    from pipelines.intake import standings

    try:
        standing = standings.find(loop.reviews, receipt.delivery)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        yield messages.unreadable(receipt, sentence(error), run, loop.settings.alerts.airflow_url)
        return
    if standing is None or standing.verdict != "HELD":
        return
    key = standing.validation_key
    report = loop.reviews.uri(keys.report_key(key))
    validation = _find_validation(loop.reviews, key)
    yield messages.held(standing.outcome, validation, report, run, loop.settings.alerts.airflow_url)


def _find_validation(reviews: Bucket, key: str) -> Validation | None:
    from pipelines.records.validations import Validation

    try:
        return reviews.find_record(key, Validation)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        logger.warning("the held delivery is reported without its validation: %s", sentence(error))
        return None


def run_alerts(loop: Loop, run: Run) -> Iterator[Alert]:
    """A failed run, and a broken champion log or a rollback.

    If only the bake failed, what came of it is reported instead: a rollback, or no verdict.
    """
    name = loop.settings.model.name
    if not (is_only_bake := run.failed_tasks == ("bake",)):
        yield from failed_alerts(loop, run)
    try:
        history = loop.registry.log.history()
    except TrustError as error:
        yield messages.broken_log(name, str(error), run, loop.settings.alerts.airflow_url)
        return
    changes = [entry for entry in history if entry.changes_champion]
    if is_only_bake and not _is_explained_by_bake(loop, run, changes):
        yield from failed_alerts(loop, run)
    if changes and changes[-1].kind == "rollback":
        yield messages.put_back(changes[-1], run, loop.settings.alerts.airflow_url)


def _is_explained_by_bake(loop: Loop, run: Run, changes: Sequence[LogEntry]) -> bool:
    from pipelines.alerts import records

    newest = changes[-1] if changes else None
    if newest is None or newest.kind == "rollback":
        return newest is not None and newest.actor == BAKE_ACTOR
    reported = messages.bake_inconclusive(newest, "", run, "")
    return records.was_reported(loop.reviews, reported.key)


def monitor_alerts(loop: Loop, run: Run) -> Iterator[Alert]:
    """A failed run, and the newest window if it is bad: once for all bad nights on end."""
    from pipelines.core.store import clock
    from pipelines.monitoring import kept

    yield from failed_alerts(loop, run)
    today = clock.now(loop.reviews).date().isoformat()
    newest = kept.newest_windows(
        loop.reviews, loop.registry.name, today, MOST_BAD_NIGHTS,
        nights=loop.settings.monitoring.window_nights,
    )  # fmt: skip
    if not newest or newest[0].verdict not in {"FADING", "DRIFT"} or newest[0].is_provisional:
        return
    alike = list(itertools.takewhile(lambda each: each.verdict == newest[0].verdict, newest))
    if len(alike) < MOST_BAD_NIGHTS:
        yield messages.watched(
            newest[0], alike[-1].night, run, loop.settings.alerts.airflow_url,
            of=one_of_several(loop.registry.name),
        )  # fmt: skip


def failed_alerts(loop: Loop, run: Run) -> Iterator[Alert]:
    if run.failed_tasks:
        yield messages.failed_run(run, loop.settings.alerts.airflow_url)
