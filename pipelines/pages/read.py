"""Reads of the pages from the stores. In a list, a broken record leaves a gap; others are shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipelines.core import keys, links
from pipelines.core.errors import LoopError, concerns_one_record, sentence
from pipelines.core.parallel import in_parallel
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.sealed import AnyRecord
from pipelines.core.store.stores import Stores
from pipelines.gate.card.sentences import Judged
from pipelines.intake import standings
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import Replay
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)


_MOST_UNCHANGED = 50  # pins and releases in a row that a page looks behind

Name = TypeVar("Name")
Value = TypeVar("Value")


def or_none(read: Callable[[Name], Value], name: Name) -> Value | None:
    """The result; None, with a line in the log, where it is missing or cannot be trusted."""
    try:
        return read(name)
    except Exception as error:
        if not concerns_one_record(error):
            raise
        is_expected = isinstance(error, LoopError)
        logger.warning("the page shows a gap: %s", sentence(error), exc_info=not is_expected)
        return None


def by_name(read: Callable[[Name], Value], names: Iterable[Name]) -> dict[Name, Value]:
    """Everything that could be read, by name."""
    unique = list(dict.fromkeys(names))
    values = list(in_parallel(lambda name: or_none(read, name), unique))
    return {name: value for name, value in zip(unique, values, strict=True) if value is not None}


def judged(registry: Registry, key: str) -> Judged:
    """A decision by its key, and the evaluation that it names.

    Raises
    ------
    DigestMismatchError
        If the evaluation was changed since.
    """
    decision = registry.decisions.decision(key)
    return Judged(decision, registry.decisions.evaluation_of(decision))


def history(registry: Registry) -> tuple[list[LogEntry], str]:
    """The champion log, or why it cannot be trusted; then no entry is shown."""
    try:
        return registry.log.history(), ""
    except Exception as error:
        if not concerns_one_record(error):
            raise
        is_expected = isinstance(error, LoopError)
        logger.warning(
            "the champion log cannot be read: %s", sentence(error), exc_info=not is_expected
        )
        return [], sentence(error)


@dataclass(frozen=True)
class Reigning:
    """The champion: the newest entry of the log, and the one since which it is champion."""

    entry: LogEntry
    began: LogEntry


def reigning(registry: Registry) -> Reigning | None:
    """The champion, without reading the whole log; None while there is none.

    Pins and releases do not change who is champion. After very many of them the page says since
    when the oldest of those that were read holds.
    """
    entry = registry.log.champion()
    if entry is None:
        return None
    return Reigning(entry, registry.log.began(entry, most=_MOST_UNCHANGED))


def champion_manifest(registry: Registry, history: list[LogEntry]) -> Manifest | None:
    return or_none(registry.versions.champion_manifest, history[-1]) if history else None


def champion_fault(registry: Registry, manifest: Manifest | None) -> str:
    """Why nothing can load the champion, as the end of a sentence; empty if its file is whole."""
    if manifest is None:
        return "its manifest is missing, or is not the recorded one"
    fault = registry.versions.file_fault(manifest)
    return f"its model file {fault} ({manifest.model_key})" if fault else ""


def decisions(registry: Registry) -> list[ObjectInfo]:
    """Every decision that was ever stored, newest first."""
    infos = [
        info
        for info in registry.models.list(keys.versions_folder(registry.name))
        if links.decision_link(info.key)  # `champion fsck` reports objects elsewhere
    ]
    # Among those of the same second, generation and policy make the order.
    return sorted(
        infos, key=lambda info: (info.stored_at, _gate(info.key, registry.name)), reverse=True
    )


def _gate(key: str, model: str) -> tuple[int, str]:
    gate = keys.gate_of(key, model)
    return (gate.generation, gate.policy) if gate else (0, "")


def readable(
    reviews: Bucket, keys: Iterable[str], kind: type[AnyRecord]
) -> tuple[list[AnyRecord], list[str]]:
    """The records under some keys, and the keys that cannot be read."""
    records = read_all(reviews, list(keys), kind)
    return (
        [record for record in records if not isinstance(record, Unreadable)],
        [record.key for record in records if isinstance(record, Unreadable)],
    )


def of_night(
    reviews: Bucket, prefix: str, night: str, kind: type[AnyRecord]
) -> tuple[list[AnyRecord], list[str]]:
    """The records that a night left below a prefix, and the keys that cannot be read."""
    return readable(reviews, (info.key for info in reviews.list(f"{prefix}{night}/")), kind)


@dataclass(frozen=True)
class Unreadable:
    """A record that is torn, foreign, or gone."""

    key: str
    why: str


def read_all(
    reviews: Bucket, keys: Sequence[str], kind: type[AnyRecord]
) -> list[AnyRecord | Unreadable]:
    """The records under some keys, in their order; `Unreadable` for those that cannot be read."""

    def read(key: str) -> AnyRecord | Unreadable:
        try:
            return reviews.get_record(key, kind)
        except Exception as error:
            if not concerns_one_record(error):
                raise
            return Unreadable(key, sentence(error))

    return list(in_parallel(read, keys))


def standings_of(stores: Callable[[], Stores], deliveries: Iterable[str]) -> list[Standing]:
    """Deliveries as they stand, of those that can be read; none while the store is away."""
    try:
        reviews = stores().reviews
        found = by_name(lambda delivery: standings.find(reviews, delivery), deliveries)
    except LoopError as error:
        logger.warning("the page shows a gap: %s", sentence(error))
        return []
    return [standing for standing in found.values() if standing is not None]


def settled(reviews: Bucket, held: Iterable[str]) -> dict[str, Replay]:
    """The decisions that ended that deliveries were held, of those that are not held any more."""
    found = by_name(lambda delivery: standings.find(reviews, delivery), held)
    return {
        delivery: next(replay for replay in standing.replays if replay.verdict != "HELD")
        for delivery, standing in found.items()
        if standing is not None and standing.replays and standing.verdict != "HELD"
    }
