"""Judge the newest nights that are not judged yet, and keep what was found.

A window is one night, or the `window_nights` that end with it. Its record is named by the night and
by the rows that counted: rows that count later, because a person released them or because they came
late, make another window of the same night, and the earlier one stays.

The champion is asked about reviews that it had not learned: the newest one whose snapshot holds
none of the window's rows. So it does not matter whether a retraining was faster.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pipelines.core import keys, provenance
from pipelines.core.errors import TrustError, concerns_one_record, sentence
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation.metrics import rounded
from pipelines.intake.landing import checked_night
from pipelines.intake.snapshot import pinned
from pipelines.intake.standings import Standing
from pipelines.monitoring import judge, reference
from pipelines.monitoring.judge import Findings
from pipelines.monitoring.reference import Reference
from pipelines.monitoring.sample import in_classes, read_sample, read_texts, score
from pipelines.monitoring.word_table import WordTable
from pipelines.records.data import Partition
from pipelines.records.monitoring import SourceRows, Window
from pipelines.registry.registry import Registry

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from pipelines.records.succession import LogEntry
    from pipelines.records.versions import Plan

logger = logging.getLogger(__name__)

MOST_CHAMPIONS = 30  # that are asked whether they learned a window's rows, newest first


@dataclass(frozen=True)
class Rows:
    """The rows of a window that count, and what became of all that were delivered for it."""

    first_night: str
    night: str
    partitions: tuple[Partition, ...]
    sources: tuple[SourceRows, ...]
    late_nights: int

    @property
    def nights(self) -> int:
        return (date.fromisoformat(self.night) - date.fromisoformat(self.first_night)).days + 1

    @property
    def count(self) -> int:
        return sum(part.rows for part in self.partitions)

    @property
    def coverage(self) -> float:
        """The share of the delivered rows that count, in [0, 1]."""
        delivered = sum(source.delivered_rows for source in self.sources)
        return min(1.0, self.count / delivered) if delivered else 0.0


def rows_of(standings: Iterable[Standing], night: str, nights: int) -> Rows:
    """What was delivered for so many nights that end with ``night``."""
    day = checked_night(night)
    first = (day - timedelta(days=nights - 1)).isoformat()
    chosen = [each for each in standings if first <= each.outcome.night <= night]
    partitions = {part.sha256: part for each in chosen for part in each.accepted if part.rows}
    counted = [
        date.fromisoformat(_counted_in(each)) for each in chosen if each.accepted_rows
    ]  # fmt: skip
    return Rows(
        first_night=first,
        night=night,
        partitions=tuple(partitions[name] for name in sorted(partitions)),
        sources=tuple(_by_source(chosen)),
        late_nights=max(0, (max(counted, default=day) - day).days),
    )


def _counted_in(standing: Standing) -> str:
    """The day since which the last of its rows count."""
    released = [replay.at[:10] for replay in standing.replays if replay.accepted is not None]
    return max([standing.outcome.counted_in, *released])


def _by_source(standings: Sequence[Standing]) -> Iterator[SourceRows]:
    for source in sorted({each.outcome.source for each in standings}):
        own = [each for each in standings if each.outcome.source == source]
        delivered = sum(each.outcome.delivered_rows for each in own)
        accepted = sum(each.accepted_rows for each in own)
        held = sum(each.newest.held_rows for each in own)
        yield SourceRows(
            source=source, delivered_rows=delivered, accepted_rows=accepted, held_rows=held,
            quarantined_rows=delivered - accepted - held,
        )  # fmt: skip


def nights_to_judge(standings: Iterable[Standing], until: str, settings: Settings) -> list[str]:
    """The nights up to ``until`` for which rows count, oldest first; the trailing ones only."""
    first = checked_night(until) - timedelta(days=settings.monitoring.trailing_nights - 1)
    nights = {each.outcome.night for each in standings if each.accepted_rows}
    return sorted(night for night in nights if first.isoformat() <= night <= until)


def judge_new(
    reviews: Bucket,
    registry: Registry,
    standings: Sequence[Standing],
    settings: Settings,
    *,
    until: str,
) -> list[Window]:
    """Judge every trailing night whose rows were not judged as they count now.

    Parameters
    ----------
    reviews : Bucket
        Where rows, references and windows are.
    registry : Registry
        Whose champions are asked.
    standings : sequence of Standing
        The whole ledger.
    settings : Settings
        Floors and limits.
    until : str
        The newest night to judge, ``YYYY-MM-DD``.

    Returns
    -------
    windows : list of Window
        The new ones, oldest first. A night whose rows every champion learned is left out.

    Raises
    ------
    LoopError
        What was wrong with the first night that cannot be judged, once all others are.
    """
    asked = Asked(reviews, registry, settings)
    nights = nights_to_judge(standings, until, settings)
    known = _known(reviews, registry.name, nights)
    judged: list[Window] = []
    faults: list[Exception] = []
    for night in nights:
        rows = rows_of(standings, night, settings.monitoring.window_nights)
        try:
            window = None if _is_judged(reviews, rows, registry.name, known) else asked.judge(rows)
            if window is not None:
                judged.append(reviews.put_first(window))
                logger.info("night=%s verdict=%s %s", night, window.verdict, window.why)
        except Exception as error:
            if not concerns_one_record(error):
                raise
            logger.warning("night=%s cannot be judged: %s", night, sentence(error))
            faults.append(error)
    if faults:
        raise faults[0]
    return judged


def _is_judged(reviews: Bucket, rows: Rows, model: str, known: set[str]) -> bool:
    """Whether there is a window of these rows.

    Raises
    ------
    TrustError
        If there is one that is not proven to be ours: somebody may have hidden what it said.
    """
    key = keys.window_key(
        model, rows.night, nights=rows.nights, rows=rows.count,
        partitions=[part.sha256 for part in rows.partitions],
    )  # fmt: skip
    if key not in known:
        return False
    try:
        return reviews.find_record(key, Window) is not None
    except TrustError as error:
        raise TrustError(
            f"{error} It is in the place of what the night {rows.night} showed. Delete it, and run "
            "the monitor again: then the night is judged again."
        ) from error


def _known(reviews: Bucket, model: str, nights: Iterable[str]) -> set[str]:
    months = sorted({night[:7] for night in nights})
    return {
        info.key for month in months for info in reviews.list(keys.windows_folder(model, month))
    }


def asked(reviews: Bucket, registry: Registry, settings: Settings, window: Window) -> AskedChampion:
    """The champion that a window was judged by, and what it was compared with."""
    entry = registry.log.entry(window.champion_generation)
    return Asked(reviews, registry, settings).load(entry)


class AskedChampion(NamedTuple):
    """A champion, its reference, and what decides which classes it has."""

    model: Pipeline
    usual: Reference
    plan: Plan


class Asked:
    """Champions that are asked about windows; each is read at most once."""

    def __init__(self, reviews: Bucket, registry: Registry, settings: Settings) -> None:
        self._reviews, self._registry, self._settings = reviews, registry, settings
        self._learned: dict[int, frozenset[str]] = {}
        self._loaded: dict[str, AskedChampion] = {}
        self._rules = provenance.rules_digest(
            provenance.MONITORING, settings.monitoring, settings.gate
        )
        self._champion = registry.log.champion()

    def judge(self, rows: Rows) -> Window | None:
        """The window; None when every champion learned some of its rows, or there is none."""
        entry = self._not_taught(rows)
        if entry is None:
            logger.info("night=%s no champion can be asked: each learned its rows", rows.night)
            return None
        champion = self.load(entry)
        monitoring = self._settings.monitoring
        is_provisional = rows.coverage < monitoring.min_coverage
        if rows.count < monitoring.min_rows:
            findings = judge.too_few(rows.count, monitoring)
        else:
            findings = self._findings(rows, champion, is_provisional=is_provisional)
        return self._window(rows, entry, champion.usual, findings)

    def _not_taught(self, rows: Rows) -> LogEntry | None:
        """The newest entry whose champion learned none of the rows."""
        mine = {part.sha256 for part in rows.partitions}
        entry, tried = self._champion, 0
        while entry is not None and tried < MOST_CHAMPIONS:
            if not mine & self._taught(entry):
                return entry
            tried += 1
            entry = self._registry.log.entry(entry.generation - 1) if entry.generation > 1 else None
        return None

    def _taught(self, entry: LogEntry) -> frozenset[str]:
        if entry.generation not in self._learned:
            manifest = self._registry.versions.champion_manifest(entry)
            snapshot = pinned(self._reviews, manifest.plan)
            names = frozenset(part.sha256 for part in snapshot.partitions)
            self._learned[entry.generation] = names
        return self._learned[entry.generation]

    def load(self, entry: LogEntry) -> AskedChampion:
        if entry.version not in self._loaded:
            manifest = self._registry.versions.champion_manifest(entry)
            model = self._registry.versions.load(manifest)
            usual = reference.of_champion(
                self._reviews, model, pinned(self._reviews, manifest.plan), self._settings,
                version=entry.version, rules=self._rules, classes=manifest.plan.classes,
            )  # fmt: skip
            champion = AskedChampion(model, usual, manifest.plan)
            self._loaded = {entry.version: champion}  # one at a time: windows come in order
        return self._loaded[entry.version]

    def _findings(self, rows: Rows, champion: AskedChampion, *, is_provisional: bool) -> Findings:
        classes, settings = champion.plan.classes, self._settings
        table = in_classes(read_sample(self._reviews, rows.partitions), classes)
        if table.num_rows < settings.monitoring.min_rows:  # few of them have stars in a class
            return judge.too_few(table.num_rows, settings.monitoring)
        words = WordTable(champion.usual.words)
        texts = read_texts(table, words, classes)
        scores = score(champion.model, table, settings.gate, classes)
        return judge.judge(
            scores, texts, words, champion.usual, settings.monitoring,
            is_provisional=is_provisional, names=champion.plan.class_names,
        )  # fmt: skip

    def _window(self, rows: Rows, entry: LogEntry, usual: Reference, findings: Findings) -> Window:
        return Window(
            model_name=self._registry.name,
            first_night=rows.first_night,
            night=rows.night,
            partitions=tuple(part.sha256 for part in rows.partitions),
            rows=rows.count,
            champion_generation=entry.generation,
            champion_version=entry.version,
            reference=usual.digest,
            rules=self._rules,
            sources=rows.sources,
            coverage=rounded(rows.coverage),
            is_provisional=rows.coverage < self._settings.monitoring.min_coverage,
            late_nights=rows.late_nights,
            verdict=findings.verdict,
            why=findings.why,
            measured=findings.measured,
            estimate=findings.estimate,
            drift=findings.drift,
            groups=findings.groups,
            words=findings.words,
        )
