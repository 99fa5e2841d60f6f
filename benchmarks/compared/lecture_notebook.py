"""The model of the lecture's notebook, to compare with."""

from __future__ import annotations

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline


def lecture_notebook(*, seed: int) -> Pipeline:
    """Return the model, not fitted; five iterations are too few to converge."""
    return Pipeline(
        [
            ("words", TfidfVectorizer(stop_words="english")),
            ("linear", LogisticRegression(max_iter=5, random_state=seed)),
        ]
    )
