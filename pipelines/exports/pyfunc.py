"""The champion as MLflow's ``python_function``: loaded by an allow-list, and nothing is unpickled.

MLflow imports this module from the code that lies beside the model, or from an installed project.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import ModelFormatError
from pipelines.core.settings.model import SENTIMENT
from pipelines.features.fingerprints import FEATURIZER_VERSION
from pipelines.models.answers import class_column, confidence, predicted
from pipelines.models.artefacts import load_model
from pipelines.models.blend import Blend  # what a model file may hold
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.log_count_ratio import LogCountRatio
from pipelines.models.nbsvm import NaiveBayesSvm
from pipelines.models.one_vs_rest import OneVsRest
from pipelines.models.prediction import probabilities
from pipelines.models.vectorizer import FingerprintVectorizer

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MODEL, FACTS = "model.skops", "facts.json"
TEXT = "text"  # the column that is read
PARTS = (Blend, HashedColumns, LogCountRatio, NaiveBayesSvm, OneVsRest, FingerprintVectorizer)


class Champion:
    """A version of the loop, as MLflow asks it."""

    def __init__(
        self, model: Pipeline, version: str, class_names: tuple[str, ...] = SENTIMENT
    ) -> None:
        self._model, self.version, self._names = model, version, class_names

    def predict(self, model_input: Any, _params: Any = None) -> Any:
        """Label and probability of positive for each text; of the label if there are more classes.

        Parameters
        ----------
        model_input : DataFrame or sequence of str
            With a column ``text``; or the texts.

        Returns
        -------
        answers : DataFrame
            ``label``, ``probability`` and ``version``, in the order of the texts; and
            ``probability_<class>`` for each class, if there are more than two.
        """
        import pandas as pd

        column: Iterable[Any] = model_input
        if isinstance(model_input, pd.DataFrame):
            column = model_input[TEXT]
        found = probabilities(self._model, [str(text) for text in column])
        labels = [self._names[number] for number in predicted(found)]
        shown = found if found.ndim == 1 else confidence(found)
        answers = pd.DataFrame({"label": labels, "probability": shown, "version": self.version})
        for number, name in enumerate(self._names if found.ndim == 2 else ()):
            answers[class_column(name)] = found[:, number]
        return answers


def _load_pyfunc(path: str) -> Champion:
    """The model in a folder, after checking that its bytes are those that were exported.

    Raises
    ------
    ModelFormatError
        If the file was changed, holds a type that is not allowed, or needs other features.
    """
    folder = Path(path)
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    data = (folder / MODEL).read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    if actual != facts["model_sha256"]:
        raise ModelFormatError(
            f"the model file has sha256 {actual}; {facts['model_sha256']} was exported"
        )
    if facts["featurizer"] not in {None, FEATURIZER_VERSION}:
        raise ModelFormatError(
            f"version {facts['version']} needs features {facts['featurizer']!r}; this code "
            f"computes {FEATURIZER_VERSION!r}"
        )
    return Champion(load_model(data), facts["version"], tuple(facts.get("classes", SENTIMENT)))
