"""Two views, with three learners on the first: the best of what was studied, and not a candidate.

The second learner has a logistic loss. The third learns from rows that are weighted by the ratios
of other films. All three answer by the same ratios, so their weights are added up to one vector,
and the model is as large and as fast as that of two views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline

from benchmarks.compared.models import two_views
from pipelines.models.log_count_ratio import Weighted, log_count_ratio, weigh, weighted_by
from pipelines.models.nbsvm import NaiveBayesSvm, calibration, every_fifth, in_half_precision

PARTS = 4  # of the films, for the ratios of others


class LogisticLoss(NaiveBayesSvm):
    """The same descent with another loss, and the step that suits it."""

    def descent(self, row_count: int, run: int) -> SGDClassifier:
        """As of the base class."""
        return super().descent(row_count, run).set_params(loss="log_loss", eta0=1.0)


def fit(
    texts: Sequence[str], labels: NDArray[np.int8], films: NDArray[np.str_], *, seed: int
) -> Pipeline:
    """Fit to all reviews, joined on every fifth of each class; a blend of two members."""
    model = two_views(seed=seed)
    (reader, svm), (other_reader, other) = map(clone, model[0].members)
    rows, other_rows = reader.fit_transform(texts), other_reader.fit_transform(texts)
    held_out = every_fifth(labels)

    def fitted(kept: NDArray[np.bool_]) -> tuple[list[NaiveBayesSvm], NaiveBayesSvm]:
        own, y = rows[kept], labels[kept]
        weighted = weigh(own, y, svm.alpha, svm.floor)
        logistic = LogisticLoss(**{**svm.get_params(), "epochs": 6})
        first = [
            clone(svm).fit_weighted(weighted, y),
            logistic.fit_weighted(weighted, y),
            clone(svm).fit_weighted(_by_other_films(own, y, films[kept], svm), y),
        ]
        return first, clone(other).fit_margin(other_rows[kept], y)

    first, second = fitted(~held_out)
    margins = [each.margins(rows[held_out]) for each in first]
    margins.append(second.margins(other_rows[held_out]))
    slopes, offset = calibration(np.column_stack(margins), labels[held_out])
    first, second = fitted(np.ones(len(labels), np.bool_))
    joined = first[0]
    weights = zip(slopes, first, strict=False)
    coef, intercept = zip(*((s * e.coef_, s * e.intercept_) for s, e in weights), strict=True)
    joined.coef_, joined.intercept_ = in_half_precision(np.sum(coef, axis=0)), float(sum(intercept))
    members = [(reader, joined), (other_reader, second)]
    blend = model[0]
    blend.members_ = [Pipeline([("fingerprints", r), ("svm", s)]) for r, s in members]
    blend.classes_, blend.slopes_, blend.offset_ = joined.classes_, np.array([1, slopes[3]]), offset
    return model


def _by_other_films(
    rows: sparse.csr_array, y: NDArray[Any], films: NDArray[np.str_], svm: NaiveBayesSvm
) -> Weighted:
    """Rows weighted by the ratios of the films of the other parts; the ratios are those of all."""
    _, numbers = np.unique(films, return_inverse=True)
    parts = numbers % PARTS
    weighted, places = [], []
    for part in range(PARTS):
        mine = np.flatnonzero(parts == part)
        others = parts != part
        ratio = log_count_ratio(rows[others], y[others] == 1, svm.alpha, svm.floor)
        weighted.append(weighted_by(ratio, rows[mine]))
        places.append(mine)
    order = np.argsort(np.concatenate(places))
    stacked = sparse.csr_array(sparse.vstack(weighted, format="csr"))[order]
    return Weighted(log_count_ratio(rows, y == 1, svm.alpha, svm.floor), stacked)
