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


WORDS_OF_CLASSES = ("dreadful awful boring", "decent average watchable", "superb moving brilliant")


def made_texts(count: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Reviews with words of their class, some of another, and many of none."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    texts = []
    for label in labels:
        own = rng.choice(WORDS_OF_CLASSES[label].split(), 3).tolist()
        other = rng.choice(" ".join(WORDS_OF_CLASSES).split(), 2).tolist()
        filler = [f"word{number}" for number in rng.integers(0, 200, 12)]
        texts.append(" ".join(rng.permutation([*own, *other, *filler])))
    return texts, labels
