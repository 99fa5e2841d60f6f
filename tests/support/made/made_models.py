"""A small model and what it is fitted to."""

from __future__ import annotations

import numpy as np
from sklearn.pipeline import Pipeline

from pipelines.models.factories import fingerprint_svm

GOOD = ("a great film, truly great", "great fun and a lovely cast", "lovely, warm and funny")
BAD = ("a dull film, truly dull", "no fun and a dreadful cast", "dreadful, cold and dull")
TEXTS = (GOOD + BAD) * 5
LABELS = np.array(([1] * 3 + [0] * 3) * 5)


def a_model(seed: int = 7) -> Pipeline:
    return fingerprint_svm(seed=seed, ngram_max=2).fit(TEXTS, LABELS)
