"""Judge the champion on what the scoring services were really asked, from the prediction log.

Nobody knows the labels of these texts, and the log may hold only their digests. So a day's answers
are compared by what needs neither: the probabilities. A day is judged once, when it is over.

The log is written by services, which sign nothing: each file is checked against its name, read
with limits, and left out if anything is wrong with it. Files are named by digests, so those with
the first names are a fair sample of a day with many.
"""

from __future__ import annotations

import io
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core import keys, provenance
from pipelines.core.errors import ObjectMissingError, TrustError, UnreadableDeliveryError
from pipelines.core.parallel import in_parallel
from pipelines.core.record import canonical_json, sha256_of
from pipelines.intake.files.parquet_rows import read_parquet
from pipelines.intake.files.reading import Reading
from pipelines.monitoring import judge
from pipelines.monitoring.windows import Asked
from pipelines.records.monitoring import AnsweredDay

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings
    from pipelines.core.settings.settings import Settings
    from pipelines.core.store.answers import ObjectInfo
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.succession import LogEntry
    from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)

MOST_FILES = 200  # of a day that are read
MOST_FILE_BYTES = 64 * 1024 * 1024
MOST_ANSWERS = 20_000  # of a day, the same number of each file
MOST_FILE_ROWS = 1_000_000
MOST_CHAMPIONS = 5  # that are looked up in the champion log, those with most answers first

_COLUMNS = ("text_sha256", "version", "generation", "probability")
_READING = Reading(columns={name: (name,) for name in _COLUMNS}, needed=_COLUMNS)
_VERSION, _SHA256 = re.compile("[0-9a-f]{20}"), re.compile("[0-9a-f]{64}")
_LAST_GENERATION = 99_999_999  # that a key of the log can hold


class Who(NamedTuple):
    """Which champion says that it answered."""

    generation: int
    version: str


@dataclass(frozen=True, eq=False)
class Log:
    """A sample of a day's answers.

    Parameters
    ----------
    files : tuple of str
        Keys of those that were read.
    left_out_files : int
        Too large, changed, or not readable.
    counts : Counter of Who
        Answers of each champion.
    texts : dict of Who to dict of str to float
        Probability of positive by the digest of the text.
    rows : int
        All that were read, also those that make no sense.
    """

    files: tuple[str, ...]
    left_out_files: int
    counts: Counter[Who]
    texts: dict[Who, dict[str, float]]
    rows: int


def judge_new(
    reviews: Bucket, registry: Registry, settings: Settings, *, until: str
) -> list[AnsweredDay]:
    """Judge every trailing day that was not judged and of which the log holds answers.

    Parameters
    ----------
    reviews : Bucket
        Where the log, references and records are.
    registry : Registry
        Whose champions answered.
    settings : Settings
        Floors and limits.
    until : str
        The newest day that is over, ``YYYY-MM-DD``.

    Returns
    -------
    days : list of AnsweredDay
        The new ones, oldest first. A day without answers of any champion is left out.
    """
    last = date.fromisoformat(until)
    trailing = range(settings.monitoring.trailing_nights - 1, -1, -1)
    days = [(last - timedelta(days=back)).isoformat() for back in trailing]
    known = {
        info.key
        for month in sorted({day[:7] for day in days})
        for info in reviews.list(keys.answers_folder(registry.name, month))
    }
    asked = Asked(reviews, registry, settings)
    judged: list[AnsweredDay] = []
    for day in days:
        if keys.answered_day_key(registry.name, day) in known:
            continue
        record = _judge(reviews, registry, settings, asked, day)
        if record is not None:
            judged.append(reviews.put_first(record))
            logger.info("day=%s verdict=%s %s", day, record.verdict, record.why)
    return judged


def _judge(
    reviews: Bucket, registry: Registry, settings: Settings, asked: Asked, day: str
) -> AnsweredDay | None:
    log = read(reviews, day, settings.intake)
    entry = _who_answered(registry, log)
    if entry is None:
        if log.rows or log.left_out_files:
            logger.warning(
                "day=%s rows=%d left_out_files=%d no answer is from a champion of the log",
                day, log.rows, log.left_out_files,
            )  # fmt: skip
        return None
    who = Who(entry.generation, entry.version)
    usual = asked.load(entry)[1]
    findings = judge.judge_answers(probabilities(log, who), usual, settings.monitoring)
    return AnsweredDay(
        model_name=registry.name, day=day,
        files=sha256_of(canonical_json(log.files)), left_out_files=log.left_out_files,
        answers=log.counts[who], other_answers=log.rows - log.counts[who],
        texts=len(log.texts[who]),
        champion_generation=entry.generation, champion_version=entry.version,
        reference=usual.digest,
        rules=provenance.rules_digest(provenance.ANSWERS, settings.monitoring),
        verdict=findings.verdict, why=findings.why, estimate=findings.estimate,
        drift=findings.drift,
    )  # fmt: skip


def probabilities(log: Log, who: Who) -> NDArray[np.float64]:
    """Of a champion's texts, in the order of their digests."""
    texts = log.texts[who]
    return np.array([texts[name] for name in sorted(texts)], np.float64)


def _who_answered(registry: Registry, log: Log) -> LogEntry | None:
    """The champion that gave most of the answers; one that the log does not have gave none."""
    most = sorted(log.counts, key=lambda who: (-log.counts[who], who))
    for who in most[:MOST_CHAMPIONS]:
        entry = registry.log.find_entry(who.generation)
        if entry is not None and entry.version == who.version:
            return entry
    return None


def read(reviews: Bucket, day: str, intake: IntakeSettings) -> Log:
    """A sample of a day's answers, in at most `MOST_FILES` reads."""
    infos = reviews.first(keys.predictions_folder(day), MOST_FILES)
    share = MOST_ANSWERS // max(1, len(infos))
    limits = intake.model_copy(
        update={"max_rows": MOST_FILE_ROWS, "max_decoded_bytes": 4 * MOST_FILE_BYTES}
    )
    files = list(in_parallel(lambda info: _rows(reviews, info, share, limits), infos))
    counts: Counter[Who] = Counter()
    texts: dict[Who, dict[str, float]] = {}
    for rows in files:
        for row in rows or ():
            if (answer := _answer(row)) is not None:
                who, text, probability = answer
                counts[who] += 1
                texts.setdefault(who, {}).setdefault(text, probability)
    return Log(
        files=tuple(info.key for info, rows in zip(infos, files, strict=True) if rows is not None),
        left_out_files=sum(rows is None for rows in files),
        counts=counts, texts=texts, rows=sum(len(rows) for rows in files if rows is not None),
    )  # fmt: skip


def _rows(
    reviews: Bucket, info: ObjectInfo, most: int, limits: IntakeSettings
) -> Sequence[dict[str, Any]] | None:
    """The first rows of a file; None if it is too large, changed, or not readable."""
    if info.size_bytes > MOST_FILE_BYTES:
        return None
    try:
        data = reviews.get(info.key, max_bytes=MOST_FILE_BYTES)
        if sha256_of(data) != info.key.rpartition("/")[2].removesuffix(".parquet"):
            return None
        return list(islice(_values(data, limits), most))
    except (ObjectMissingError, TrustError, UnreadableDeliveryError):
        return None


def _values(data: bytes, limits: IntakeSettings) -> Iterator[dict[str, Any]]:
    for row in read_parquet(io.BytesIO(data), limits, _READING):
        yield row.values


def _answer(row: dict[str, Any]) -> tuple[Who, str, float] | None:
    """Who answered which text, and how; None for what no service writes."""
    text, version, generation, probability = (row[name] for name in _COLUMNS)
    if not (isinstance(text, str) and isinstance(version, str) and isinstance(generation, int)):
        return None
    if not (_SHA256.fullmatch(text) and _VERSION.fullmatch(version)):
        return None
    if not 1 <= generation <= _LAST_GENERATION or not isinstance(probability, float):
        return None
    if not (math.isfinite(probability) and 0 <= probability <= 1):
        return None
    return Who(generation, version), text, probability
