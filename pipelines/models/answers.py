"""What a model's probabilities say, for two classes and for more.

For two classes there is one number per review, the probability of the second class, in an array of
shape (n_reviews,). For more there is one per class, in an array of shape (n_reviews, n_classes).
Classes are known by their places, from 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]
Classes = NDArray[np.int8]


def predicted(probability: Probabilities) -> Classes:
    """The likeliest class of each review; where two classes are all, a half is the second."""
    if probability.ndim == 1:
        likeliest: Classes = (probability >= 0.5).astype(np.int8)
    else:
        likeliest = probability.argmax(axis=1).astype(np.int8)
    return likeliest


def confidence(probability: Probabilities) -> Probabilities:
    """The probability of each review's likeliest class."""
    if probability.ndim == 1:
        return np.maximum(probability, 1.0 - probability)
    likeliest: Probabilities = probability.max(axis=1)
    return likeliest


def of_class(probability: Probabilities, classes: Classes) -> Probabilities:
    """The probability of one class per review."""
    if probability.ndim == 1:
        return np.where(classes == 1, probability, 1.0 - probability)
    return probability[np.arange(len(classes)), classes]


def place(probability: Probabilities) -> Probabilities:
    """Where a review stands between the first class, at 0, and the last, at 1, on average.

    It orders reviews from bad to good whatever the number of classes is; for two classes it is the
    probability of the second.
    """
    if probability.ndim == 1:
        return probability
    last = probability.shape[1] - 1
    # Term by term, so that a review's place does not depend on how many others are there.
    places = sum(probability[:, number] * (number / last) for number in range(1, last + 1))
    return np.minimum(np.asarray(places, np.float64), 1.0)


def of_columns(probability: Probabilities) -> Probabilities:
    """Probabilities in one column per class, in the form of this module."""
    return probability[:, 1] if probability.shape[1] == 2 else probability


def by_class(probability: Probabilities) -> Probabilities:
    """One column per class, shape (n_reviews, n_classes)."""
    if probability.ndim == 2:
        return probability
    return np.column_stack([1.0 - probability, probability])


def class_column(name: str) -> str:
    """The column with the probability of a class, in tables of models with more than two."""
    return f"probability_{name}"
