"""What an alert is: its kind, its identity, a title, sentences and links, all bounded."""

from __future__ import annotations

from typing import Literal

from pipelines.alerts.kinds import KINDS
from pipelines.core.escaping import plain
from pipelines.core.keys import alert_key
from pipelines.core.record import NightDate, Record, Sha256, StoredRecord, sha256_of
from pipelines.core.settings.operation import AlertName, AlertSeverity

MAX_TITLE_CHARS, MAX_SENTENCE_CHARS, MAX_SENTENCES = 150, 600, 8


class Link(Record):
    """Where to look. Only http and https addresses are made clickable."""

    name: str
    url: str


class Run(Record):
    """The Airflow run that an alert is about, as far as it is known."""

    dag_id: str
    run_id: str
    failed_tasks: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()  # of those tasks, as `run_errors.described` gives them


class Alert(StoredRecord):
    """One incident, as it is reported. All text in it is foreign: escape it where it is shown."""

    schema_version: Literal[1] = 1
    kind: AlertName
    identity: str  # with the kind: which incident this is. The same incident is reported once
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
    shortened = (plain(text, most=MAX_SENTENCE_CHARS) for text in sentences[:MAX_SENTENCES])
    return Alert(
        kind=kind,
        identity=identity,
        title=plain(title, most=MAX_TITLE_CHARS),
        sentences=tuple(text for text in shortened if text),
        night=night,
        dag_id=run.dag_id if run else "",
        run_id=run.run_id if run else "",
        delivery=delivery,
        links=links,
    )
