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
from pipelines.features.fingerprints import FEATURIZER_VERSION
from pipelines.models.artefacts import load_model
from pipelines.models.blend import Blend  # what a model file may hold
from pipelines.models.hashed_columns import HashedColumns
from pipelines.models.log_count_ratio import LogCountRatio
from pipelines.models.nbsvm import NaiveBayesSvm
from pipelines.models.prediction import positive_probability
from pipelines.models.vectorizer import FingerprintVectorizer

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MODEL, FACTS = "model.skops", "facts.json"
TEXT = "text"  # the column that is read
PARTS = (Blend, HashedColumns, LogCountRatio, NaiveBayesSvm, FingerprintVectorizer)


class Champion:
    """A version of the loop, as MLflow asks it."""

    def __init__(self, model: Pipeline, version: str) -> None:
        self._model, self.version = model, version

    def predict(self, model_input: Any, _params: Any = None) -> Any:
        """Label and probability of positive for each text.

        Parameters
        ----------
        model_input : DataFrame or sequence of str
            With a column ``text``; or the texts.

        Returns
        -------
        answers : DataFrame
            ``label``, ``probability`` and ``version``, in the order of the texts.
        """
        import pandas as pd

        column: Iterable[Any] = model_input
        if isinstance(model_input, pd.DataFrame):
            column = model_input[TEXT]
        probability = positive_probability(self._model, [str(text) for text in column])
        labels = ["positive" if value >= 0.5 else "negative" for value in probability]
        return pd.DataFrame({"label": labels, "probability": probability, "version": self.version})


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
    return Champion(load_model(data), facts["version"])
