"""Predict the labels of a delivery with the champion, to compare them with the delivered ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipelines.core.errors import ModelFormatError
from pipelines.records.succession import LogEntry
from pipelines.registry.registry import Registry
from pipelines.serving.champion import Champion, loaded

logger = logging.getLogger(__name__)


class ChampionLabeller:
    """A loaded champion that labels texts; see `pipelines.validation.drift.Labeller`."""

    def __init__(self, champion: Champion) -> None:
        self.version = champion.entry.version
        self.holdout_accuracy = champion.entry.holdout_accuracy
        self.holdout_rows = champion.manifest.holdout_rows
        self._model = champion.model

    def positive_scores(self, texts: Sequence[str]) -> list[float]:
        """How positive each text is: a model of stars says where it stands among its classes."""
        from pipelines.models.answers import place
        from pipelines.models.prediction import probabilities

        return list(map(float, place(probabilities(self._model, list(texts)))))


def find(registry: Registry, champion: LogEntry | None) -> ChampionLabeller | None:
    """The champion, ready to label; None if there is none yet, or this release cannot read it.

    Parameters
    ----------
    registry : Registry
        Where its model is.
    champion : LogEntry, optional
        The newest entry of the log; None if the log was read and is empty.

    Raises
    ------
    StoreUnavailableError
        If the model cannot be reached.
    TrustError
        If the champion was changed after it was recorded.
    """
    if champion is None:
        return None
    try:
        return ChampionLabeller(loaded(registry, champion))
    except ModelFormatError as error:
        logger.warning("labels are not compared with the champion: %s", error)
        return None
