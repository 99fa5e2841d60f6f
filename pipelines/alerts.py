"""What an alert is, which kinds there are, who owns each, and which runbook it sends people to.

The one table of all alerts. Whoever adds a kind, a critical rule or a DAG enters it here; a test
compares this page with the rules, the DAGs and the runbooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.keys import alert_key
from pipelines.records import NightDate, Record, Sha256, StoredRecord, sha256_of

AlertName = Literal[
    "held_delivery",
    "poison_alarm",
    "missing_delivery",
    "set_aside_delivery",
    "ingest_incomplete",
    "retrain_failed",
    "approval_waiting",
    "champion_put_back",
    "champion_log_broken",
    "rollback_failed",
    "replay_failed",
    "night_late",
    "dead_channel",
    "test_alert",
]
AlertSeverity = Literal["critical", "warning"]  # wake somebody now, or be read in the morning
ChannelName = Literal["mail", "slack", "webhook"]

MAX_TITLE_CHARS, MAX_SENTENCE_CHARS, MAX_SENTENCES = 150, 600, 8

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
        (its deadline), or ``alerts`` for what the alerts say of themselves.
    means : str
        One clause, for tables.
    owner : str
        Who answers it.
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
        "the champion reads the labels of a source otherwise than usual",
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
        "deliveries of a night came to no conclusion",
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
    "champion_log_broken": AlertKind(
        "critical", "champion-log-broken.md",
        ("sentiment_retrain.alert", "sentiment_rollback.alert"),
        "the champion log cannot be trusted as it is",
    ),
    "rollback_failed": AlertKind(
        "critical", "rollback.md", ("sentiment_rollback.alert", "sentiment_rollback.failed"),
        "a rollback that somebody asked for did not happen, or not as wanted",
    ),
    "replay_failed": AlertKind(
        "warning", "replay.md", ("reviews_replay.alert", "reviews_replay.failed"),
        "a replay that somebody asked for did not happen",
    ),
    "night_late": AlertKind(
        "warning", "night-late.md", ("reviews_ingest.late", "sentiment_retrain.late"),
        "a run takes longer than it should",
    ),
    "dead_channel": AlertKind(
        "warning", "dead-alert-channel.md", ("alerts",),
        "a way to send alerts does not work",
    ),
    "test_alert": AlertKind(
        "warning", "dead-alert-channel.md", ("alerts",),
        "somebody tried the alerts out",
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


class Link(Record):
    """Where to look. Only http and https addresses are made clickable."""

    name: str
    url: str


class Run(Record):
    """The Airflow run that an alert is about, as far as it is known."""

    dag_id: str
    run_id: str
    failed_tasks: tuple[str, ...] = ()


class Alert(StoredRecord):
    """One incident, as it is told. All text in it is foreign: escape it where it is shown."""

    schema_version: Literal[1] = 1
    kind: AlertName
    identity: str  # with the kind: which incident this is. The same incident is told once
    title: str
    sentences: tuple[str, ...]
    night: NightDate | None = None
    dag_id: str = ""
    run_id: str = ""
    delivery: Sha256 | None = None
    links: tuple[Link, ...] = ()

    @property
    def key(self) -> str:
        """The incident, as 64 hex digits."""
        return sha256_of(f"{self.kind}\n{self.identity}".encode("utf-8", "backslashreplace"))

    @property
    def object_key(self) -> str:
        return alert_key(self.key)

    @property
    def severity(self) -> AlertSeverity:
        return KINDS[self.kind].severity

    @property
    def owner(self) -> str:
        return KINDS[self.kind].owner

    @property
    def runbook(self) -> str:
        return f"docs/runbooks/{KINDS[self.kind].runbook}"


def plain(text: str, *, most: int) -> str:
    """One line without control and bidi characters, cut to so many characters."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(shown.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def make_alert(
    kind: AlertName,
    identity: str,
    title: str,
    sentences: tuple[str, ...],
    *,
    run: Run | None = None,
    night: str | None = None,
    delivery: str | None = None,
    links: tuple[Link, ...] = (),
) -> Alert:
    """An alert whose text is cut to what any channel can show."""
    told = (plain(one, most=MAX_SENTENCE_CHARS) for one in sentences[:MAX_SENTENCES])
    return Alert(
        kind=kind,
        identity=identity,
        title=plain(title, most=MAX_TITLE_CHARS),
        sentences=tuple(one for one in told if one),
        night=night,
        dag_id=run.dag_id if run else "",
        run_id=run.run_id if run else "",
        delivery=delivery,
        links=links,
    )
