"""The champion as a judge of labels: how it reads a delivery's texts by itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipelines.core.errors import ModelFormatError
from pipelines.registry.registry import Registry
from pipelines.serving.champion import Champion, load_champion

logger = logging.getLogger(__name__)


class ChampionJudge:
    """A loaded champion; see `pipelines.validation.drift.Judge`."""

    def __init__(self, champion: Champion) -> None:
        self.version = champion.entry.version
        self.holdout_accuracy = champion.entry.holdout_accuracy
        self.holdout_rows = champion.manifest.holdout_rows
        self._model = champion.model

    def are_positive(self, texts: Sequence[str]) -> list[bool]:
        from pipelines.models.prediction import positive_probability

        return [bool(one >= 0.5) for one in positive_probability(self._model, list(texts))]


def find(registry: Registry) -> ChampionJudge | None:
    """The champion as a judge; None when there is none yet, or none that this release can read.

    Raises
    ------
    StoreUnavailableError
        If the log or the model cannot be reached: that is not "no champion".
    TrustError
        If the champion was changed since it was recorded.
    """
    if registry.log.champion() is None:
        return None
    try:
        return ChampionJudge(load_champion(registry))
    except ModelFormatError as error:
        logger.warning("labels are not compared with the champion: %s", error)
        return None
