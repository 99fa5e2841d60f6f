"""Our models and those that people use on the official split: how good, and at what cost.

    python -m benchmarks.bench_peers --reviews imdb_reviews.parquet --peers .local/peers/bin/python

Each is measured in a process of its own, from texts in memory to a fitted model, and then over the
test texts, at once and one by one. fastText and Vowpal Wabbit live in another environment
(`benchmarks/requirements.txt`), whose Python is given with ``--peers``. Their settings are the best
that a study of this data set found among those that their documentation describes: word n-grams,
several passes, logistic loss.
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

OURS = {
    "former": "benchmarks.compared.models:former_default",
    "ours": "benchmarks.compared.models:default_candidate",
    "views": "benchmarks.compared.models:two_views",
    "tfidf": "pipelines.models.factories:tfidf_logistic",
    "lecture": "benchmarks.compared.lecture_notebook:lecture_notebook",
}
TITLES = {
    "former": "ours: the former default candidate",
    "ours": "ours: `fingerprint_svm`",
    "views": "ours: `fingerprint_svm_views`",
    "three": "the same, with three learners on the first view: no candidate",
    "tfidf": "(a) TF-IDF(1,2) + logistic regression",
    "lecture": "(a) the lecture's notebook",
    "nbsvm": "(d) NB-SVM(1,3) as published, scikit-learn",
    "vw2": "(c) Vowpal Wabbit, bigrams, 22 bits, 5 passes",
    "vw3": "(c) Vowpal Wabbit, trigrams, 24 bits, 5 passes",
    "fasttext3": "(c) fastText, word trigrams, dim 10, 10 epochs",
}
ELSEWHERE = ("vw2", "vw3", "fasttext3")
SINGLE_REVIEWS = 1_000
Asked = Callable[[list[str]], Iterable[float]]
Fitted = tuple[Asked, float]
"""What answers texts, and the megabytes of its file."""


def main() -> None:
    options = parser("benchmarks.bench_peers", __doc__, TITLES)
    options.add_argument("--peers", type=Path, help="Python that has fastText and Vowpal Wabbit")
    arguments = options.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.reviews)))
        return
    names = [name for name in arguments.only if arguments.peers or name not in ELSEWHERE]
    results = {}
    for name in names:
        python = {"python": str(arguments.peers)} if name in ELSEWHERE else {}
        runs = [
            in_own_process("benchmarks.bench_peers", name, arguments.reviews, **python)
            for _ in range(arguments.repeats)
        ]
        results[name] = medians(runs)
    report = {"machine": machine_facts(), "models": results}
    write_report(arguments.json, report, as_markdown(results))


def measure(name: str, reviews: Path) -> Figures:
    """Fit one model, then ask it for all test reviews at once, and for some one by one."""
    texts, labels, films = split(reviews, "train")
    fits: dict[str, Callable[[list[str], NDArray[np.int8]], Callable[[], Fitted]]] = {
        **{ours: partial(_ours, ours) for ours in OURS},
        "three": partial(_three_learners, films),
        "nbsvm": _nbsvm,
        "vw2": lambda texts, labels: _vowpal(texts, labels, ngram=2, bits=22),
        "vw3": lambda texts, labels: _vowpal(texts, labels, ngram=3, bits=24),
        "fasttext3": _fasttext,
    }
    finish, fit = timed(partial(fits[name], texts, labels))
    end_of_work()
    ask, artefact_mb = finish()
    unseen, truth, _ = split(reviews, "test")
    ask(unseen[:5])
    started, cpu = time.perf_counter(), time.process_time()
    probability = np.fromiter(ask(unseen), np.float64, len(unseen))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {
        "fit_cpu_seconds": fit["cpu_seconds"],
        "fit_wall_seconds": fit["wall_seconds"],
        "accuracy": float(np.mean((probability >= 0.5) == truth)),
        "log_loss": _log_loss(truth, probability),
        "reviews_per_second": len(unseen) / wall,
        "reviews_per_cpu_second": len(unseen) / cpu,
        "artefact_mb": artefact_mb,
        **_latencies(ask, unseen[:SINGLE_REVIEWS]),
    }


def _latencies(ask: Asked, texts: list[str]) -> Figures:
    milliseconds = []
    for text in texts:
        started = time.perf_counter()
        list(ask([text]))
        milliseconds.append(1e3 * (time.perf_counter() - started))
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return {"single_p50_ms": float(p50), "single_p99_ms": float(p99)}


def _log_loss(truth: NDArray[np.int8], probability: NDArray[np.float64]) -> float:
    right = np.clip(np.where(truth == 1, probability, 1 - probability), 1e-15, 1)
    return float(-np.log(right).mean())


def _ours(name: str, texts: list[str], labels: NDArray[np.int8]) -> Callable[[], Fitted]:
    """Also for others that scikit-learn fits and our file format can hold."""
    from pipelines.models.artefacts import dump_model
    from pipelines.models.prediction import positive_probability

    module, _, function = OURS[name].partition(":")
    model = getattr(importlib.import_module(module), function)(seed=20260105).fit(texts, labels)
    return lambda: (partial(positive_probability, model), len(dump_model(model)) / 1e6)


def _three_learners(
    films: NDArray[np.str_], texts: list[str], labels: NDArray[np.int8]
) -> Callable[[], Fitted]:
    from benchmarks.compared import three_learners
    from pipelines.models.artefacts import dump_model
    from pipelines.models.prediction import positive_probability

    model = three_learners.fit(texts, labels, films, seed=20260105)
    return lambda: (partial(positive_probability, model), len(dump_model(model)) / 1e6)


def _nbsvm(texts: list[str], labels: NDArray[np.int8]) -> Callable[[], Fitted]:
    """Binary counts times the ratio, no row norm, as in Mesnil et al.'s code: liblinear, C=1."""
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    from pipelines.models.log_count_ratio import log_count_ratio

    words = CountVectorizer(
        ngram_range=(1, 3), binary=True, tokenizer=str.split, token_pattern=None, dtype=np.float32
    )
    ones = words.fit_transform([_plain(text) for text in texts])
    ratio = sparse.diags_array(log_count_ratio(ones, labels == 1, 1.0))
    linear = LogisticRegression(C=1.0, solver="liblinear", dual=True, max_iter=1000)
    linear.fit(ones @ ratio, labels)

    def ask(unseen: list[str]) -> NDArray[np.float64]:
        rows = words.transform([_plain(text) for text in unseen]) @ ratio
        probability: NDArray[np.float64] = linear.predict_proba(rows)[:, 1]
        return probability

    return lambda: (ask, len(pickle.dumps((words, ratio, linear))) / 1e6)


def _vowpal(
    texts: list[str], labels: NDArray[np.int8], *, ngram: int, bits: int
) -> Callable[[], Fitted]:
    from vowpalwabbit import Workspace

    order = np.random.default_rng(0).permutation(len(texts))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.vw"
        with data.open("w", encoding="utf-8") as file:
            for row in order:
                file.write(f"{1 if labels[row] else -1} |w {_plain(texts[row])}\n")
        options = f"--loss_function logistic --ngram w{ngram} -b {bits} --passes 5 --holdout_off"
        model = Workspace(f"-d {data} -c -k {options} --quiet --link logistic")

    def ask(unseen: list[str]) -> Iterable[float]:
        return (model.predict(f"|w {_plain(text)}") for text in unseen)

    return lambda: (ask, _file_mb(model.save))


def _fasttext(texts: list[str], labels: NDArray[np.int8]) -> Callable[[], Fitted]:
    import fasttext

    order = np.random.default_rng(0).permutation(len(texts))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for row in order:
            file.write(f"__label__{labels[row]} {_plain(texts[row])}\n")
        file.flush()
        model = fasttext.train_supervised(
            file.name, lr=0.5, epoch=10, wordNgrams=3, dim=10, bucket=2_000_000, thread=2, verbose=0
        )

    def ask(unseen: list[str]) -> list[float]:
        found, shares = model.predict([_plain(text) for text in unseen])
        return [
            float(share[0]) if label[0] == "__label__1" else 1 - float(share[0])
            for label, share in zip(found, shares, strict=True)
        ]

    return lambda: (ask, _file_mb(model.save_model))


def _file_mb(save: Callable[[str], Any]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save(str(path))
        return path.stat().st_size / 1e6


_TOKEN = re.compile(r"[\w']+|[!?.,;()\"]")


def _plain(text: str) -> str:
    """Tokens apart and in lower case, as both tools' tutorials prepare texts."""
    tokens = _TOKEN.findall(text.replace("<br />", " ").lower())
    return " ".join(tokens).replace(":", " ").replace("|", " ")


def as_markdown(results: dict[str, Any]) -> str:
    heads = ["model", "accuracy", "log loss", "fit CPU s", "fit wall s", "peak MB"]
    heads += ["reviews/s", "reviews per CPU s", "artefact MB", "one review p50 ms", "p99 ms"]
    layouts = {"accuracy": ".4f", "log_loss": ".4f", "fit_cpu_seconds": ".1f"}
    layouts |= {"fit_wall_seconds": ".1f", "peak_mb": ".0f", "reviews_per_second": ",.0f"}
    layouts |= {"reviews_per_cpu_second": ",.0f", "artefact_mb": ".1f"}
    layouts |= {"single_p50_ms": ".2f", "single_p99_ms": ".2f"}
    rows = [
        [TITLES[name], *(format(figures[key], layout) for key, layout in layouts.items())]
        for name, figures in results.items()
    ]
    return markdown_table(heads, rows)


if __name__ == "__main__":
    main()
