"""What a night costs as the corpus grows, with and without yesterday's cache.

    python -m benchmarks.bench_growth --reviews imdb_reviews.parquet --json results/growth.json

``night_*`` retrains on 50,000 real reviews in fifty nights, through the real stages on a folder in
place of S3: once with nothing cached, once with the first forty-nine nights cached. ``stream_*``
and ``tfidf_*`` grow the reviews beyond 50,000: copies drop 15 % of the words and take in new ones.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.compared.models import default_candidate
from benchmarks.measuring import (
    Figures,
    in_own_process,
    machine_facts,
    markdown_table,
    medians,
    parser,
    split,
    timed,
    write_report,
)
from pipelines.core.store.keyring import Keyring
from pipelines.core.store.sealed import SealedRecords

if TYPE_CHECKING:
    from pipelines.records.data import Snapshot

NIGHT_ROWS = 1_000
PARTITION_ROWS = 10_000
SIZES = {"25k": 25_000, "50k": 50_000, "200k": 200_000, "1m": 1_000_000, "3m": 3_000_000}
NAMES = ["night_scratch", "night_cached"]
_WORD = re.compile(r"(?:<br />|\S)+")  # half a tag would be markup that no site delivers
NAMES += ["stream_25k", "stream_50k", "stream_200k", "stream_1m"]
NAMES += ["tfidf_25k", "tfidf_50k", "tfidf_200k"]


def main() -> None:
    arguments = parser("benchmarks.bench_growth", __doc__, NAMES).parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.reviews)))
        return
    results = {
        name: medians(
            [
                in_own_process("benchmarks.bench_growth", name, arguments.reviews)
                for _ in range(arguments.repeats)
            ]
        )
        for name in arguments.only
    }
    report = {"machine": machine_facts(), "nights": results}
    write_report(arguments.json, report, as_markdown(results))


def measure(name: str, reviews: Path) -> Figures:
    kind, _, size = name.partition("_")
    if kind == "night":
        return _night(reviews, is_cached=size == "cached")
    grown = Grown(*all_reviews(reviews), SIZES[size])
    return _stream(grown) if kind == "stream" else _tfidf(grown)


# ── A night through the stages ───────────────────────────────────────────────────────────────


class FolderBucket(SealedRecords):
    """As much of `pipelines.core.store.bucket.Bucket` as the stages need, on a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.keyring = Keyring(())

    def uri(self, key: str) -> str:
        return str(self._folder / key)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:  # noqa: ARG002
        from pipelines.core.errors import ObjectMissingError

        path = self._folder / key
        if not path.exists():
            raise ObjectMissingError(f"{path} is missing")
        return path.read_bytes()

    def put(self, key: str, data: bytes) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    put_once = put

    def list(self, prefix: str) -> list[Any]:
        from pipelines.core.store.answers import ObjectInfo

        folder = self._folder / prefix
        files = [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
        keys = sorted(str(path.relative_to(self._folder)) for path in files)
        return [ObjectInfo(key, 0, "") for key in keys]

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)


def _night(reviews: Path, *, is_cached: bool) -> Figures:
    from pipelines.features.corpus import Corpus
    from pipelines.features.fingerprint_cache import fill_cache
    from pipelines.models.artefacts import dump_model
    from pipelines.training.dataset import load_dataset

    model = default_candidate(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        bucket: Any = FolderBucket(Path(folder))
        snapshot = fifty_nights(bucket, reviews)
        if is_cached:
            yesterday = snapshot.model_copy(update={"partitions": snapshot.partitions[:-1]})
            fill_cache(bucket, yesterday, model[0].view)
        _, features = timed(partial(fill_cache, bucket, snapshot, model[0].view))
        dataset, load = timed(partial(load_dataset, bucket, snapshot))
        rows = dataset.training_rows
        counted: list[Corpus] = []  # as the search does, the fit lets go of what it was made of
        _, counts = timed(
            lambda: counted.append(dataset.corpus(rows, model[0].view, min_df=model[0].min_df))
        )

        def fit() -> bytes:
            ones = model[0].fit_transform(counted.pop())
            model[-1].fit(ones, dataset.label[rows], held_out=dataset.is_selection[rows])
            return dump_model(model)

        _, fitted = timed(fit)
    parts = {"features": features, "load": load, "counts": counts, "fit": fitted}
    figures = {f"{part}_cpu_seconds": seconds["cpu_seconds"] for part, seconds in parts.items()}
    return figures | {
        "counted_cpu_seconds": features["cpu_seconds"] + counts["cpu_seconds"],
        "cpu_seconds": sum(seconds["cpu_seconds"] for seconds in parts.values()),
        "wall_seconds": sum(seconds["wall_seconds"] for seconds in parts.values()),
    }


def fifty_nights(bucket: Any, reviews: Path) -> Snapshot:
    """All 50,000 real reviews, a thousand per night; returns the snapshot of them."""
    return written(bucket, Grown(*all_reviews(reviews), SIZES["50k"]), NIGHT_ROWS)


def written(bucket: Any, grown: Grown, partition_rows: int) -> Snapshot:
    """Write reviews as partitions of so many rows; returns the snapshot of all of them."""
    import datetime

    import pyarrow as pa

    from pipelines.features.text_id import text_id
    from pipelines.intake.partitions import ACCEPTED_SCHEMA, write_partition
    from pipelines.records.data import Snapshot

    day = datetime.date(2026, 1, 5)
    labels, films = grown.label, np.resize(grown.films, grown.count)
    partitions = []
    for start in range(0, grown.count, partition_rows):
        rows = [
            {
                "text_id": text_id(text), "review_id": None, "movie_id": films[row],
                "text": text, "label": int(labels[row]), "rating": None,
                "written_on": day, "source": "bench",
            }
            for row, text in enumerate(grown.partition(start, partition_rows), start=start)
        ]  # fmt: skip
        table = pa.Table.from_pylist(rows, schema=ACCEPTED_SCHEMA)
        partitions.append(write_partition(bucket, f"accepted/date={day}", table))
    return Snapshot(
        partitions=tuple(partitions),
        rows=grown.count,
        holdout_share=0.2,
        selection_share=0.2,
        salt="films-2026",
    )


def all_reviews(reviews: Path) -> tuple[list[str], NDArray[np.int8], NDArray[np.str_]]:
    """Both splits, shuffled: 50,000 reviews."""
    halves = [split(reviews, name) for name in ("train", "test")]
    order = np.random.default_rng(0).permutation(sum(len(half[0]) for half in halves))
    texts = [text for half in halves for text in half[0]]
    labels = np.concatenate([half[1] for half in halves])
    films = np.concatenate([half[2] for half in halves])
    return [texts[row] for row in order], labels[order], films[order]


# ── Growth ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Grown:
    """Reviews beyond those there are: copies with words dropped, and one in a hundred new."""

    texts: list[str]
    labels: NDArray[np.int8]
    films: NDArray[np.str_]
    count: int
    dropped: float = 0.15

    @property
    def label(self) -> NDArray[np.int8]:
        return np.resize(self.labels, self.count)

    @property
    def is_selection(self) -> NDArray[np.bool_]:
        """The films of about every fifth review."""
        chosen = np.unique(self.films)[::5]
        return np.resize(np.isin(self.films, chosen), self.count)

    def partition(self, start: int, rows: int = PARTITION_ROWS) -> list[str]:
        """The texts of so many reviews."""
        stop = min(start + rows, self.count)
        return [self._text(row) for row in range(start, stop)]

    def _text(self, row: int) -> str:
        copy, original = divmod(row, len(self.texts))
        text = self.texts[original]
        if not copy:
            return text
        words = _WORD.findall(text)
        rng = np.random.default_rng(row)
        draws = rng.random(len(words))
        news = rng.integers(0, 50_000 * copy, len(words))
        return " ".join(
            f"{word}{new}" if draw < self.dropped + 0.01 else word
            for word, draw, new in zip(words, draws, news, strict=True)
            if draw >= self.dropped
        )


@dataclass(frozen=True)
class CachedFingerprints:
    """As much of a dataset as streaming needs: labels, and fingerprints in files."""

    folder: Path
    label: NDArray[np.int8]

    def fingerprints_by_pack(
        self, rows: NDArray[np.int64], view: Any
    ) -> Iterator[tuple[NDArray[np.int64], Any]]:
        from pipelines.features.fingerprints import Fingerprints

        start = 0
        for file in sorted(self.folder.iterdir()):
            with np.load(file) as arrays:
                found = Fingerprints(arrays["ids"], arrays["late"], arrays["lengths"], view)
            yield rows[start : start + len(found)], found
            start += len(found)


def _stream(grown: Grown) -> Figures:
    from threadpoolctl import threadpool_limits

    from pipelines.features.fingerprints import fingerprint
    from pipelines.models.factories import fingerprint_stream
    from pipelines.training.streaming import fit_streamed

    model = fingerprint_stream(seed=1)
    featurizing = {"cpu_seconds": 0.0, "wall_seconds": 0.0}
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(limits=1):
        for start in range(0, grown.count, PARTITION_ROWS):
            texts = grown.partition(start)
            found, seconds = timed(partial(fingerprint, texts, model[0].view))
            featurizing = {key: featurizing[key] + seconds[key] for key in featurizing}
            np.savez(
                Path(folder) / f"{start:09d}.npz",
                ids=found.ids, late=found.is_late, lengths=found.lengths,
            )  # fmt: skip
        dataset: Any = CachedFingerprints(Path(folder), grown.label)
        rows = np.arange(grown.count)
        _, fit = timed(lambda: fit_streamed(model, dataset, rows, grown.is_selection))
    return _figures(featurizing, fit)


def _tfidf(grown: Grown) -> Figures:
    from pipelines.models.factories import tfidf_logistic

    texts = [
        text
        for start in range(0, grown.count, PARTITION_ROWS)
        for text in grown.partition(start)
    ]  # fmt: skip
    model = tfidf_logistic(seed=1)
    words, features = timed(lambda: model[0].fit_transform(texts))
    _, fit = timed(lambda: model[-1].fit(words, grown.label))
    return _figures(features, fit)


def _figures(features: Figures, fit: Figures) -> Figures:
    return {
        "features_cpu_seconds": features["cpu_seconds"],
        "fit_cpu_seconds": fit["cpu_seconds"],
        "cpu_seconds": features["cpu_seconds"] + fit["cpu_seconds"],
        "fit_wall_seconds": fit["wall_seconds"],
        "wall_seconds": features["wall_seconds"] + fit["wall_seconds"],
    }


def as_markdown(results: dict[str, Figures]) -> str:
    tables = [_nights(results), _growth(results)]
    return "\n".join(table for table in tables if table)


def _nights(results: dict[str, Figures]) -> str:
    """A table of what yesterday's cache is worth, with ratios where both were measured."""
    titles = {"night_scratch": "nothing cached", "night_cached": "forty-nine nights cached"}
    parts = ("features", "counts", "load", "fit")
    chosen = {name: results[name] for name in titles if name in results}
    rows = [
        [titles[name], *(f"{each[f'{part}_cpu_seconds']:.2f}" for part in parts),
         f"{each['cpu_seconds']:.2f}", f"{each['wall_seconds']:.1f}", f"{each['peak_mb']:.0f}"]
        for name, each in chosen.items()
    ]  # fmt: skip
    if len(chosen) == len(titles):
        counted, every = (
            chosen["night_scratch"][key] / chosen["night_cached"][key]
            for key in ("counted_cpu_seconds", "cpu_seconds")
        )
        rows.append(["times less", f"{counted:.1f} (both)", "", "", "", f"{every:.1f}", "", ""])
    heads = ["50,000 reviews in fifty nights", *(f"{part} CPU s" for part in parts)]
    return markdown_table([*heads, "all CPU s", "wall s", "peak MB"], rows) if rows else ""


def _growth(results: dict[str, Figures]) -> str:
    """A table of growing corpora; walls are given with features cached, and without."""
    chosen = {name: each for name, each in results.items() if not name.startswith("night")}
    rows = []
    for name, each in chosen.items():
        rival = chosen.get(name.replace("stream", "tfidf"), {}).get("wall_seconds")
        ratio = [f"{rival / each[key]:.1f}" if rival and name.startswith("stream") else "-"
                 for key in ("wall_seconds", "fit_wall_seconds")]  # fmt: skip
        rows.append(
            [name.replace("_", " "), f"{each['features_cpu_seconds']:.1f}",
             f"{each['fit_cpu_seconds']:.1f}", f"{each['wall_seconds']:.1f}",
             f"{each['fit_wall_seconds']:.1f}", *ratio, f"{each['peak_mb']:.0f}"]
        )  # fmt: skip
    heads = ["corpus", "features CPU s", "fit CPU s", "wall s", "wall s, features cached",
             "times less wall than TF-IDF", "with features cached", "peak MB"]  # fmt: skip
    return markdown_table(heads, rows) if rows else ""


if __name__ == "__main__":
    main()
