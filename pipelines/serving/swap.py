"""The champion that a service answers with, and how a newer one takes its place.

A newer champion is verified, loaded and asked the golden set beside the one that answers. Only then
one reference changes. A request takes that reference once, so its answer is of one champion, which
is dropped after its last request. Whatever is wrong with the newer one, the older one goes on.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import PromotionError, TrustError, concerns_one_record, sentence
from pipelines.evaluation.check_rows import LARGEST_DIFFERENCE, as_answers, largest_difference
from pipelines.evaluation.golden import GoldenSet
from pipelines.evaluation.metrics import is_usable
from pipelines.records.evaluations import Evaluation
from pipelines.serving.champion import Champion
from pipelines.serving.sources import Source

logger = logging.getLogger(__name__)

KEPT_SWAPS, KEPT_LATENCIES = 10, 1_000


@dataclass(eq=False)
class Traffic:
    """What one champion was asked since it took over. Only the event loop writes it."""

    requests: int = 0
    errors: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))  # seconds
    cpu_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))

    def count(self, seconds: float, *, is_error: bool) -> None:
        self.requests += 1
        self.errors += is_error
        self.latencies.append(seconds)

    def p99_milliseconds(self) -> float | None:
        """Of the last requests; None before the first one."""
        return float(np.percentile(list(self.latencies), 99)) * 1000 if self.latencies else None

    def cpu_p99_milliseconds(self) -> float | None:
        """Processor time of the model for the last requests; None before the first request.

        Unlike the latency it hardly depends on what else the machine does.
        """
        spent = self.cpu_seconds or ([0.0] if self.requests else [])
        return float(np.percentile(list(spent), 99)) * 1000 if spent else None


@dataclass(frozen=True, eq=False)
class Served:
    """A champion that answers.

    Attributes
    ----------
    golden_compared : int
        How many answers were found equal to those at the gate; 0 when this release has another
        golden set than the gate had.
    began : datetime
        When it took over, by this machine's clock.
    """

    champion: Champion
    golden_compared: int
    began: datetime
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def model_name(self) -> str:
        return self.champion.entry.model_name

    @property
    def version(self) -> str:
        return self.champion.entry.version

    @property
    def generation(self) -> int:
        return self.champion.entry.generation

    @functools.cached_property
    def is_quick(self) -> bool:
        """Whether a small text takes so little time that a thread for it is not worth it."""
        from pipelines.models.prediction import scorer_of

        return scorer_of(self.champion.model) is not None

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.champion.manifest.plan.class_names

    def probabilities(self, texts: list[str]) -> NDArray[np.float64]:
        """What `models.prediction.probabilities` returns, computed in this thread."""
        from pipelines.models.prediction import probabilities

        return probabilities(self.champion.model, texts, most_threads=1)


@dataclass(frozen=True)
class Refusal:
    """A champion that was not taken, and why."""

    generation: int
    why: str
    at: datetime
    monotonic: float


def check_golden(champion: Champion, evaluation: Evaluation, golden: GoldenSet) -> int:
    """Ask a champion the golden set, which also warms it up; returns how many were compared.

    Raises
    ------
    PromotionError
        If an answer is no probability, or is not that of the gate.
    """
    from pipelines.models.prediction import probabilities

    # In one thread: the others are for the requests that come meanwhile.
    found = probabilities(champion.model, list(golden.texts), most_threads=1)
    answers, entry = as_answers(found), champion.entry
    if not is_usable(found):
        raise PromotionError(
            f"generation {entry.generation} ({entry.version}) answers with no probability"
        )
    if golden.digest != evaluation.golden.set_id or not evaluation.golden_probabilities:
        logger.warning(
            "generation=%d was judged with another golden set, so its answers are not compared",
            entry.generation,
        )
        return 0
    worst = largest_difference(answers, evaluation.golden_probabilities)
    if not worst <= LARGEST_DIFFERENCE:
        raise PromotionError(
            f"generation {entry.generation} ({entry.version}) does not answer as it did at the "
            f"gate: a golden text's probability differs by {worst:.2e}. This service has other "
            "code or libraries than the loop, or the gate's records are wrong."
        )
    return len(answers)


class Champions:
    """The champion in use, and the looks at where newer ones come from.

    `look` is called by one thread at a time. Everybody else only reads the attributes.

    Attributes
    ----------
    current : Served or None
        Take it once per request.
    refused : Refusal or None
        The newest champion, if it was not taken.
    trouble : str
        Why the last look led to nothing, e.g. a store that cannot be reached; else empty.
    """

    def __init__(self, source: Source, golden: GoldenSet, *, retry_seconds: float) -> None:
        self.source, self._golden, self._retry_seconds = source, golden, retry_seconds
        self.current: Served | None = None
        self.refused: Refusal | None = None
        self.trouble = "the first look at the champion log has not ended yet"
        self.swaps: deque[dict[str, Any]] = deque(maxlen=KEPT_SWAPS)
        self.swap_count = self.refused_count = self.failed_looks = 0
        self._looked: float | None = None

    @property
    def seconds_since_look(self) -> float | None:
        """Age of what is known of the log; None before the first look that succeeded."""
        return None if self._looked is None else time.monotonic() - self._looked

    def look(self) -> None:
        """See whether there is a newer champion, and take it if it proves to be one."""
        try:
            newest = self.source.newest_generation()
            self._check_no_step_back(newest)
        except Exception as error:  # noqa: BLE001 - the champion in use goes on, whatever it is
            self._note_trouble(error)
            return
        if newest == 0:
            self.trouble = f"model {self.source.model_name!r} has no champion yet"
        elif self._is_news(newest):
            self._try(newest)
        else:
            self.trouble = ""
        self._looked = time.monotonic()

    def _check_no_step_back(self, newest: int) -> None:
        if self.current is not None and newest < self.current.generation:
            raise TrustError(
                f"the champion log was cut back: generation {self.current.generation} answers "
                f"here, but the log ends with {newest}. It goes on answering. What to do: "
                "docs/runbooks/champion-log-broken.md"
            )

    def _is_news(self, newest: int) -> bool:
        if self.current is not None and newest == self.current.generation:
            self.refused = None
            return False
        refused = self.refused
        if refused is None or refused.generation != newest:
            return True
        return time.monotonic() - refused.monotonic >= self._retry_seconds

    def _try(self, newest: int) -> None:
        try:
            champion, evaluation = self.source.load(newest)
            served = Served(
                champion, check_golden(champion, evaluation, self._golden), datetime.now(UTC)
            )
        except Exception as error:  # noqa: BLE001 - the champion in use goes on, whatever it is
            if isinstance(error, OSError | MemoryError) or not concerns_one_record(error):
                self._note_trouble(error)
            else:
                self._refuse(newest, sentence(error))
            return
        self._swap(served)

    def _swap(self, served: Served) -> None:
        before, self.current = self.current, served
        self.refused, self.trouble = None, ""
        self.swap_count += 1
        self.swaps.append(
            {
                "at": served.began.isoformat(timespec="seconds"),
                "generation": served.generation,
                "version": served.version,
                "kind": served.champion.entry.kind,
                "instead_of": before.generation if before else None,
            }
        )
        logger.info(
            "champion=%s generation=%d instead_of=%s golden_compared=%d",
            served.version, served.generation, before.generation if before else None,
            served.golden_compared,
        )  # fmt: skip

    def _refuse(self, generation: int, why: str) -> None:
        self.refused = Refusal(generation, why, datetime.now(UTC), time.monotonic())
        self.trouble = ""
        self.refused_count += 1
        goes_on = self.current.generation if self.current else None
        logger.error("refused_generation=%d still_answers=%s: %s", generation, goes_on, why)

    def _note_trouble(self, error: Exception) -> None:
        self.failed_looks += 1
        why = sentence(error)
        if why != self.trouble:
            logger.warning("the champion log cannot be used; the champion stays: %s", why)
        self.trouble = why
