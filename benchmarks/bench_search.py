"""Search over settings x 3 folds and refit: ours beside what most people write.

    python -m benchmarks.bench_search --reviews imdb_reviews.parquet --json results/search.json

All searches use the same folds: the films of the official train split, dealt into three. The test
split is read once per search, after it. CPU seconds count all processes of a search.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compared.models import FORMER
from benchmarks.measuring import (
    Figures,
    end_of_work,
    in_own_process,
    machine_facts,
    markdown_table,
    medians,
    parser,
    split,
    timed,
    write_report,
)

FOLDS = 3
TITLES = {
    "grid": "(b) `GridSearchCV(TfidfVectorizer(1,2) + LogisticRegression)`, 2 processes",
    "shared_tfidf": "one TF-IDF(1,2) matrix for all settings, same regression",
    "ours_all": "ours, every setting of the default candidate on every fold",
    "former": "the former default candidate, in the same way",
    "ours": "ours, as configured (hopeless settings given up after each fold)",
}
BASELINE = "grid"
INVERSE_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class OfficialTrain:
    """The official train split, as the search reads a dataset."""

    reviews: list[str]
    label: NDArray[np.int8]
    film: NDArray[np.str_]

    @cached_property
    def training_rows(self) -> NDArray[np.int64]:
        return np.arange(len(self.label))

    @property
    def is_selection(self) -> NDArray[np.bool_]:
        is_one: NDArray[np.bool_] = self.folds(5) == 0
        return is_one

    def folds(self, count: int) -> NDArray[np.int64]:
        from pipelines.training.split import fold_shares

        shares = fold_shares(self.film.tolist(), salt="films-2026")
        return np.array([int(shares[film] * count) for film in self.film.tolist()])

    def corpus(self, rows: NDArray[np.int64], view: Any, *, min_df: int) -> Any:
        from pipelines.features.corpus import Corpus
        from pipelines.features.fingerprints import fingerprint_parts

        assert len(rows) == len(self.reviews)
        return Corpus.of(fingerprint_parts(self.reviews, view), view, min_df=min_df)


def main() -> None:
    arguments = parser("benchmarks.bench_search", __doc__, TITLES).parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.reviews)))
        return
    results = {
        name: medians(
            [
                in_own_process("benchmarks.bench_search", name, arguments.reviews)
                for _ in range(1 if name == BASELINE else arguments.repeats)
            ]
        )
        for name in arguments.only
    }
    report = {"machine": machine_facts(), "searches": results}
    write_report(arguments.json, report, as_markdown(results))


def measure(name: str, reviews: Path) -> Figures:
    """Search with one of the designs, then look at the test split once."""
    import pipelines.training.search  # noqa: F401
    from pipelines.core.config import load

    texts, labels, films = split(reviews, "train")
    data = OfficialTrain(texts, labels, films)
    designs: dict[str, Callable[[], Any]] = {
        "grid": lambda: _grid_search(data),
        "shared_tfidf": lambda: _shared_tfidf(data),
        "ours": lambda: _ours(data, keep_share=load().training.keep_share),
        "ours_all": lambda: _ours(data, keep_share=1.0),
        "former": lambda: _ours(data, keep_share=load().training.keep_share, is_former=True),
    }
    model, seconds = timed(designs[name])
    end_of_work()
    return {f"search_{key}": value for key, value in seconds.items()} | _test(model, reviews)


def _test(model: Any, reviews: Path) -> Figures:
    from sklearn.metrics import log_loss

    from pipelines.models.prediction import positive_probability

    texts, labels, _ = split(reviews, "test")
    probability = np.concatenate(
        [positive_probability(model, texts[at : at + 500]) for at in range(0, len(texts), 500)]
    )
    return {
        "accuracy": float(np.mean((probability >= 0.5) == labels)),
        "log_loss": float(log_loss(labels, probability)),
    }


def _splits(data: OfficialTrain) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    folds = data.folds(FOLDS)
    return [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(FOLDS)]


def _grid_search(data: OfficialTrain) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = Pipeline([("words", words), ("linear", LogisticRegression(max_iter=1000))])
    grid = {"linear__C": list(INVERSE_PENALTIES)}
    search = GridSearchCV(model, grid, scoring="neg_log_loss", cv=_splits(data), n_jobs=2)
    return search.fit(data.reviews, data.label).best_estimator_


def _shared_tfidf(data: OfficialTrain) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    linear = LogisticRegression(max_iter=1000)
    grid = {"C": list(INVERSE_PENALTIES)}
    search = GridSearchCV(linear, grid, scoring="neg_log_loss", cv=_splits(data), n_jobs=1)
    search.fit(words.fit_transform(data.reviews), data.label)
    return Pipeline([("words", words), ("linear", search.best_estimator_)])


def _ours(data: OfficialTrain, *, keep_share: float, is_former: bool = False) -> Any:
    from threadpoolctl import threadpool_limits

    from pipelines.core.config import load
    from pipelines.records.versions import Plan
    from pipelines.training.candidates import settings_to_try
    from pipelines.training.search import find_best

    settings = load()
    candidates = settings_to_try(settings)
    if is_former:
        factory = next(iter(candidates.values()))["factory"]
        candidates = {
            f"step={step}": {"factory": factory, "parameters": {**FORMER, "step": step}}
            for step in (0.1, 0.2, 0.4)
        }
    nothing = "0" * 64
    plan = Plan(
        model_name="bench",
        snapshot=nothing,
        candidates=candidates,
        min_training_rows=2,
        folds=FOLDS,
        keep_share=keep_share,
        seed=settings.model.seed,
        code=nothing,
        environment=nothing,
    )
    with threadpool_limits(limits=1):
        return find_best(data, plan, lambda _step: None).model  # type: ignore[arg-type]


def as_markdown(results: dict[str, Figures]) -> str:
    heads = ["search", "CPU s", "wall s", "peak MB", "test accuracy", "test log loss"]
    rows = []
    baseline = results.get(BASELINE)
    for name, figures in results.items():
        ratios = dict.fromkeys(("search_cpu_seconds", "peak_mb"), "")
        if baseline and name != BASELINE:
            times = baseline["search_cpu_seconds"] / figures["search_cpu_seconds"]
            ratios["search_cpu_seconds"] = f" ({times:.1f}x less)"
            share = figures["peak_mb"] / baseline["peak_mb"]
            ratios["peak_mb"] = f" ({share:.0%})"
        rows.append(
            [
                TITLES[name],
                f"{figures['search_cpu_seconds']:.1f}{ratios['search_cpu_seconds']}",
                f"{figures['search_wall_seconds']:.1f}",
                f"{figures['peak_mb']:.0f}{ratios['peak_mb']}",
                f"{figures['accuracy']:.4f}",
                f"{figures['log_loss']:.4f}",
            ]
        )
    return markdown_table(heads, rows)


if __name__ == "__main__":
    main()
