"""The page *Champion*: which version answers, since when and why, and its predecessors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from pipelines.core import links
from pipelines.core.errors import DigestMismatchError
from pipelines.gate.card.sentences import Judged
from pipelines.pages.frame import Button, View
from pipelines.pages.site import Viewer
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry import champion_log as store_clock
from pipelines.registry.champion_log import withdrawn_among

PAGE_SIZE = 50
NOTHING = "-"


class Line(View):
    """One generation of the succession."""

    generation: int
    version: str
    kind: str
    at: str
    actor: links.Actor
    reason: str
    accuracy: str
    log_loss: str
    reviews: str
    decision: str  # link
    card: str  # link
    marks: tuple[str, ...]
    rollback: Button | None
    release: Button | None = None


class Present(View):
    """The present champion."""

    version: str
    generation: int
    kind: str
    since: str
    actor: links.Actor
    reason: str
    verdict: str
    why: str
    decision: str
    card: str
    reference: str
    accuracy: str
    log_loss: str
    reviews: str
    training: str
    snapshot: str
    fault: str  # of its files; empty if they are whole
    runbook: str  # link to what it says of that


class Answering(View):
    """Who answered at a moment that the reader asked for."""

    moment: str
    sentence: str
    decision: str | None = None


class Succession(View):
    """The whole page."""

    present: Present | None
    lines: tuple[Line, ...]
    page: int
    pages: int
    entries: int
    buttons: tuple[Button, ...]


def newest_first(history: Sequence[LogEntry], page: int) -> list[LogEntry]:
    """The entries of a page, counted from 1."""
    return list(history)[::-1][(page - 1) * PAGE_SIZE : page * PAGE_SIZE]


def pages_of(count: int) -> int:
    return max(1, -(-count // PAGE_SIZE))


@dataclass(frozen=True)
class Evidence:
    """The records behind the page, as far as they could be read.

    ``history`` is the champion log, oldest first; ``judged`` has decision and evaluation by the
    decision's key; ``manifest`` is the champion's; ``fault`` is what is wrong with its files.
    """

    history: Sequence[LogEntry]
    judged: Mapping[str, Judged]
    manifest: Manifest | None
    fault: str = ""

    @cached_property
    def withdrawn(self) -> frozenset[str]:
        return frozenset(withdrawn_among(self.history))

    @cached_property
    def former(self) -> frozenset[str]:
        """Versions that may be put back."""
        return frozenset(
            entry.version
            for entry in self.history
            if entry.kind == "promotion"
            and entry.version != self.history[-1].version
            and entry.version not in self.withdrawn
        )


def succession(evidence: Evidence, viewer: Viewer, page: int = 1) -> Succession:
    """The page; ``page`` is the part of the succession, from 1."""
    history = evidence.history
    return Succession(
        present=_present(evidence) if history else None,
        lines=tuple(_line(entry, evidence, viewer) for entry in newest_first(history, page)),
        page=page,
        pages=pages_of(len(history)),
        entries=len(history),
        buttons=_buttons(bool(evidence.former), viewer),
    )


def _buttons(has_former: bool, viewer: Viewer) -> tuple[Button, ...]:
    buttons = [viewer.button("Retrain now", links.RETRAIN, {})]
    if has_former:
        label = "Roll back to the one before"
        buttons.append(viewer.button(label, links.ROLLBACK, {"to": "previous"}, "danger"))
    return tuple(buttons)


def _line(entry: LogEntry, evidence: Evidence, viewer: Viewer) -> Line:
    is_target = entry.version in evidence.former and entry.kind == "promotion"
    back = {"to": entry.version}
    return Line(
        generation=entry.generation,
        version=entry.version,
        kind=entry.kind,
        at=clock(entry.at),
        actor=links.actor(entry.actor),
        reason=entry.reason,
        accuracy=f"{entry.holdout_accuracy:.2%}",
        log_loss=f"{entry.holdout_log_loss:.4f}",
        reviews=_reviews(evidence.judged.get(entry.decision_key)),
        decision=links.decision_link(entry.decision_key),
        card=links.card_link(entry.decision_key),
        marks=_marks(entry, evidence),
        rollback=viewer.button("Roll back to it", links.ROLLBACK, back, "danger")
        if is_target
        else None,
        release=viewer.button("Release it", links.RELEASE, {"version": entry.version}, "plain")
        if entry.version in evidence.withdrawn and entry.kind == "promotion"
        else None,
    )


def exported(line: Line) -> dict[str, object]:
    """A generation as a line of a file."""
    buttons = {"rollback", "release", "actor", "marks"}
    kept = line.model_dump(exclude=buttons)
    return kept | {"actor": line.actor.words, "marks": " ".join(line.marks)}


def _marks(entry: LogEntry, evidence: Evidence) -> tuple[str, ...]:
    newest = evidence.history[-1]
    marks = (
        ("champion", entry.generation == newest.generation),
        ("withdrawn", entry.version in evidence.withdrawn),
        ("reference", entry.version == newest.reference),
    )
    return tuple(name for name, is_so in marks if is_so)


def _reviews(judged: Judged | None) -> str:
    return NOTHING if judged is None else f"{judged.evaluation.holdout.rows:,}"


def _present(evidence: Evidence) -> Present:
    newest, began = evidence.history[-1], _began(evidence.history)
    decided, manifest = evidence.judged.get(newest.decision_key), evidence.manifest
    unread = "The decision cannot be read. See: python -m pipelines champion fsck"
    return Present(
        version=newest.version,
        generation=began.generation,
        kind=began.kind,
        since=clock(began.at),
        actor=links.actor(began.actor),
        reason=began.reason,
        verdict=decided.decision.verdict if decided else NOTHING,
        why=decided.decision.why if decided else unread,
        decision=links.decision_link(newest.decision_key),
        card=links.card_link(newest.decision_key),
        reference=newest.reference,
        accuracy=f"{newest.holdout_accuracy:.2%}",
        log_loss=f"{newest.holdout_log_loss:.4f}",
        reviews=_reviews(decided),
        training=f"{manifest.training_rows:,}" if manifest else NOTHING,
        snapshot=manifest.plan.snapshot if manifest else NOTHING,
        fault=evidence.fault,
        runbook=links.runbook_link(links.error_runbook(DigestMismatchError.__name__)),
    )


def _began(history: Sequence[LogEntry]) -> LogEntry:
    """The entry since which the champion is champion: pins and releases do not change it."""
    changes = [entry for entry in history if entry.changes_champion]
    return changes[-1] if changes else history[-1]


def answering(history: Sequence[LogEntry], asked_for: str, now: datetime) -> Answering:
    """Who answered at a moment, given as in a form's field or ISO 8601; without a zone it is UTC.

    Raises
    ------
    ValueError
        If it is not a time.
    """
    moment = datetime.fromisoformat(asked_for.strip())
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    shown_moment = clock(moment.isoformat())
    entry = store_clock.answering_at(history, moment, now)
    if entry is None:
        return Answering(moment=shown_moment, sentence="There was no champion yet.")
    return Answering(
        moment=shown_moment,
        sentence=f"Version {entry.version}, generation {entry.generation}, "
        f"since {clock(entry.at)}.",
        decision=links.decision_link(entry.decision_key),
    )


def clock(at: str) -> str:
    """A recorded time for people: to the second, and in UTC."""
    return f"{at[:10]} {at[11:19]} UTC"
