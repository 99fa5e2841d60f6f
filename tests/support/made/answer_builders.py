"""Files of the prediction log, as a scoring service writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from pipelines.core.keys import prediction_key
from pipelines.core.record import sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.serving.prediction_log import Predicted, as_parquet

AT = datetime(2026, 1, 6, 12, tzinfo=UTC)


def an_answer(text: str, probability: float, generation: int = 1, version: str = "b" * 20):
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Predicted("request", None, None, digest, version, generation, probability, AT)


def many_answers(
    generation: int = 1, version: str = "b" * 20, *, probabilities: Iterable[float] = ()
) -> list[Predicted]:
    """One answer to a text of its own for each probability."""
    given = list(probabilities) or np.linspace(0.01, 0.99, 400).tolist()
    return [
        an_answer(f"text {number}", probability, generation, version)
        for number, probability in enumerate(given)
    ]


def again(answers: Sequence[Predicted], times: int) -> list[Predicted]:
    """The same texts asked so many times."""
    return [replace(one, request_id=f"request {n}") for n in range(times) for one in answers]


def put_answers(reviews: Bucket, day: str, answers: Sequence[Predicted]) -> str:
    """A file of the prediction log; returns its key."""
    data = as_parquet(answers)
    key = prediction_key(day, sha256_of(data))
    reviews.put(key, data)
    return key
