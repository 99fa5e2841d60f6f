"""Let another version score a share of the requests, and count how often the two differ.

Its answers are given to nobody. It scores in one thread of its own, only what is offered to it, and
what comes while it is busy is left out, so no answer waits for it.
"""

from __future__ import annotations

import logging
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import sentence
from pipelines.core.settings.operation import ShadowSettings
from pipelines.models.answers import predicted
from pipelines.registry.registry import Registry

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)


@dataclass
class Differences:
    """Two models on the same texts; of a text's differences the largest over its classes."""

    texts: int = 0
    other_label: int = 0
    sum_of_differences: float = 0.0  # of probabilities
    largest_difference: float = 0.0


class Shadow:
    """A named version that scores along.

    Attributes
    ----------
    left_out : int
        Requests that were chosen and left out, because too many waited already.
    trouble : str
        Why nothing is scored; empty if all is well.
    """

    def __init__(self, registry: Registry, settings: ShadowSettings) -> None:
        self._registry, self._settings = registry, settings
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._places = threading.Semaphore(settings.max_waiting_requests)
        self._model: Pipeline | None = None
        self.differences: dict[str, Differences] = {}  # by the champion's version
        self.left_out = 0
        self.trouble = "the version is not loaded yet"

    def start(self) -> None:
        self._pool.submit(self._load)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def offer(self, texts: list[str], probabilities: NDArray[np.float64], version: str) -> None:
        """Take a share of the requests, with the champion's answers, if there is room."""
        if self._model is None or random.random() >= self._settings.share:  # noqa: S311
            return
        if not self._places.acquire(blocking=False):
            self.left_out += 1
            return
        self._pool.submit(self._compare, texts, probabilities, version)

    def facts(self) -> dict[str, Any]:
        """What was found so far, by the champion's version."""
        return {
            "version": self._settings.version,
            "share": self._settings.share,
            "left_out": self.left_out,
            "trouble": self.trouble,
            "against": {
                version: {
                    "texts": one.texts,
                    "other_label": one.other_label,
                    "mean_difference": one.sum_of_differences / max(one.texts, 1),
                    "largest_difference": one.largest_difference,
                }
                for version, one in self.differences.copy().items()
            },
        }

    def _load(self) -> None:
        try:
            manifest = self._registry.versions.manifest(self._settings.version)
            self._model = self._registry.versions.load(manifest)
        except Exception as error:  # noqa: BLE001 - the champion answers, whatever it is
            self.trouble = sentence(error)
            logger.warning("shadow=%s is not used: %s", self._settings.version, self.trouble)
        else:
            self.trouble = ""

    def _compare(self, texts: list[str], champions: NDArray[np.float64], version: str) -> None:
        from pipelines.models.prediction import probabilities

        try:
            own = probabilities(self._model, texts)
            if own.shape != champions.shape:
                self.trouble = "its classes are not those of the champion"
                return
            of_texts = np.abs(own - champions).reshape(len(texts), -1).max(axis=1)
            found = self.differences.setdefault(version, Differences())
            found.other_label += int((predicted(own) != predicted(champions)).sum())
            found.sum_of_differences += float(of_texts.sum())
            found.largest_difference = max(found.largest_difference, float(of_texts.max()))
            found.texts += len(texts)
        except Exception as error:  # noqa: BLE001 - the champion answers, whatever it is
            self.trouble = type(error).__name__  # its message may quote the text
        finally:
            self._places.release()
