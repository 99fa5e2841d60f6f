"""Kinds of alerts: what each means, how severe it is, who owns it, and its runbook.

This is the table of all alerts. A new kind, critical rule or DAG must be entered here; a test
compares this page with the rules, the DAGs and the runbooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.core.links import of_first
from pipelines.core.settings.operation import AlertName, AlertSeverity

_OWNER = "ml-platform"


@dataclass(frozen=True)
class AlertKind:
    """One kind of alert.

    Parameters
    ----------
    severity : {"critical", "warning"}
        Whether it wakes somebody or waits for the morning.
    runbook : str
        File in ``docs/runbooks``.
    raised_by : tuple of str
        ``<dag>.<task>``, ``<dag>.failed`` (Airflow's own look at a failed run), ``<dag>.late``
        (its deadline), or ``alerts`` for alerts about the channels themselves.
    means : str
        One clause, for tables.
    owner : str
        The team that answers it.
    """

    severity: AlertSeverity
    runbook: str
    raised_by: tuple[str, ...]
    means: str
    owner: str = _OWNER


KINDS: Mapping[AlertName, AlertKind] = {
    "held_delivery": AlertKind(
        "critical", "held-delivery.md", ("reviews_ingest.alert",),
        "a delivered file cannot be used; none of its rows count",
    ),
    "poison_alarm": AlertKind(
        "critical", "poisoned-labels.md", ("reviews_ingest.alert",),
        "the champion agrees with a source's labels less than usual",
    ),
    "missing_delivery": AlertKind(
        "warning", "missing-delivery.md", ("reviews_ingest.alert",),
        "a source has not delivered within its rhythm",
    ),
    "set_aside_delivery": AlertKind(
        "warning", "set-aside-delivery.md", ("reviews_ingest.alert",),
        "a landed file is dated far ahead or has an unusable name; no night takes it up",
    ),
    "ingest_incomplete": AlertKind(
        "critical", "ingest-incomplete.md", ("reviews_ingest.alert", "reviews_ingest.failed"),
        "deliveries of a night were not processed",
    ),
    "retrain_failed": AlertKind(
        "critical", "retrain-failed.md", ("sentiment_retrain.alert", "sentiment_retrain.failed"),
        "a retraining failed",
    ),
    "approval_waiting": AlertKind(
        "warning", "approval.md", ("sentiment_retrain.ask",),
        "a model waits for a person's yes or no",
    ),
    "champion_put_back": AlertKind(
        "critical", "champion-put-back.md",
        ("sentiment_retrain.alert", "sentiment_rollback.alert"),
        "an older version was put back as champion, by the loop itself or by a person",
    ),
    "bake_inconclusive": AlertKind(
        "warning", "bake-inconclusive.md", ("sentiment_retrain.bake",),
        "not every service showed that it answers with the new champion",
    ),
    "champion_log_broken": AlertKind(
        "critical", "champion-log-broken.md",
        ("sentiment_retrain.alert", "sentiment_rollback.alert"),
        "the champion log cannot be trusted as it is",
    ),
    "rollback_failed": AlertKind(
        "critical", "rollback.md",
        ("sentiment_rollback.alert", "sentiment_rollback.failed",
         "sentiment_release.alert", "sentiment_release.failed"),
        "a rollback or release that somebody asked for did not happen, or not as requested",
    ),
    "replay_failed": AlertKind(
        "warning", "replay.md", ("reviews_replay.alert", "reviews_replay.failed"),
        "a replay that somebody asked for did not happen",
    ),
    "housekeeping_failed": AlertKind(
        "warning", "housekeeping.md",
        ("sentiment_housekeeping.alert", "sentiment_housekeeping.failed"),
        "what is no longer needed was not deleted",
    ),
    "night_late": AlertKind(
        "warning", "night-late.md", ("reviews_ingest.late", "sentiment_retrain.late"),
        "a run takes longer than it should",
    ),
    "model_fading": AlertKind(
        "critical", "model-fading.md", ("sentiment_monitor.alert",),
        "the champion is less often right on new reviews than usual",
    ),
    "input_drift": AlertKind(
        "warning", "input-drift.md", ("sentiment_monitor.alert",),
        "new reviews differ from those that the champion knows",
    ),
    "monitor_failed": AlertKind(
        "warning", "monitor-failed.md", ("sentiment_monitor.alert", "sentiment_monitor.failed"),
        "a run of the monitor failed, so nobody watched the champion",
    ),
    "dead_channel": AlertKind(
        "warning", "dead-alert-channel.md", ("alerts",),
        "a way to send alerts does not work",
    ),
    "test_alert": AlertKind(
        "warning", "dead-alert-channel.md", ("alerts",),
        "somebody tested the alerts",
    ),
}  # fmt: skip

# Every rule that can hold a delivery, and the alert it raises. A delivery that breaks several is
# one incident: the poison alarm goes first, because it asks for more care.
RULE_ALERTS: Mapping[str, AlertName] = {
    "label_agreement": "poison_alarm",
    "row_count": "held_delivery",
    "quarantined_share": "held_delivery",
    "known_share": "held_delivery",
    "class_balance": "held_delivery",
    "freshness": "held_delivery",
    "row_count_change": "held_delivery",
    "class_balance_change": "held_delivery",
    "length_drift": "held_delivery",
    "vocabulary_drift": "held_delivery",
}


def held_runbook(reasons: Sequence[str]) -> str:
    """The runbook on files that are held for these reasons, each of which names its rules."""
    doubts = [f"({rule})" for rule, alert in RULE_ALERTS.items() if alert == "poison_alarm"]
    are_labels = all(any(doubt in why for doubt in doubts) for why in reasons)
    return KINDS["poison_alarm" if are_labels else "held_delivery"].runbook


# The alert about a failed run of each DAG; a DAG of any other model is that of the first.
_DAG_ALERTS: Mapping[str, AlertName] = {
    "reviews_ingest": "ingest_incomplete",
    "reviews_replay": "replay_failed",
    "sentiment_retrain": "retrain_failed",
    "sentiment_rollback": "rollback_failed",
    "sentiment_release": "rollback_failed",
    "sentiment_housekeeping": "housekeeping_failed",
    "sentiment_monitor": "monitor_failed",
}


def failed_kind(dag_id: str) -> AlertName:
    """The alert about a failed run of a DAG."""
    return _DAG_ALERTS[of_first(dag_id)]
