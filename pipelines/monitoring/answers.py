"""Judge the champion on what the scoring services were really asked, from the prediction log.

Nobody knows the labels of these texts, and the log may hold only their digests. So a day's answers
are compared by what needs neither: the probabilities. A day is judged once, when it is over.
"""

from __future__ import annotations

import logging
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.core import keys, provenance
from pipelines.core.errors import concerns_one_record, sentence
from pipelines.core.record import canonical_json, sha256_of
from pipelines.monitoring import judge
from pipelines.monitoring.windows import Asked
from pipelines.records.monitoring import AnsweredDay
from pipelines.serving import logged
from pipelines.serving.logged import Who

if TYPE_CHECKING:
    from pipelines.core.settings.settings import Settings
    from pipelines.core.store.bucket import Bucket
    from pipelines.records.succession import LogEntry
    from pipelines.registry.registry import Registry
    from pipelines.serving.logged import Log

logger = logging.getLogger(__name__)

MOST_CHAMPIONS = 50  # of all models, that are looked up in the log, those with most answers first


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

    Raises
    ------
    LoopError
        What was wrong with the first day that cannot be judged, once all others are.
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
    faults: list[Exception] = []
    for day in days:
        if keys.answered_day_key(registry.name, day) in known:
            continue
        try:
            record = _judge(reviews, registry, settings, asked, day)
        except Exception as error:
            if not concerns_one_record(error):
                raise
            logger.warning("day=%s cannot be judged: %s", day, sentence(error))
            faults.append(error)
            continue
        if record is not None:
            judged.append(reviews.put_first(record))
            logger.info("day=%s verdict=%s %s", day, record.verdict, record.why)
    if faults:
        raise faults[0]
    return judged


def _judge(
    reviews: Bucket, registry: Registry, settings: Settings, asked: Asked, day: str
) -> AnsweredDay | None:
    names = settings.model.class_names
    log = logged.read(reviews, day, settings.intake, names)
    entry = _who_answered(registry, log)
    if entry is None:
        if log.rows or log.left_out_files:
            logger.warning(
                "day=%s rows=%d left_out_files=%d no answer is from a champion of the log",
                day, log.rows, log.left_out_files,
            )  # fmt: skip
        return None
    who = Who(entry.generation, entry.version)
    champion = asked.load(entry)
    usual, names = champion.usual, champion.plan.class_names
    findings = judge.judge_answers(probabilities(log, who), usual, settings.monitoring, names)
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
