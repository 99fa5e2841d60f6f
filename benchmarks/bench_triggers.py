"""A year of nights: what it gains to retrain nightly, weekly, never, or when the monitor asks.

    python -m benchmarks.bench_triggers --reviews imdb_reviews.parquet

The real reviews come in as a first load and 364 nights of 90. Meanwhile the 150 strongest words
are replaced one after the other (nights 91 to 210), the next 100 at once (night 240), and from
night 300 on seven reviews in ten are positive. Every policy sees the same nights. Its champion
answers each night's reviews before anything is trained on them; a retraining is fitted to all
reviews so far, and the gate decides about it. The model is the default one; of a quicker one with
single words, two nights' versions differ so much by chance that the gate can hardly tell.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.bench_monitoring import SEED, SOURCES
from benchmarks.compared.models import default_candidate
from benchmarks.gate_study.records import Case, decided, evaluation_of
from benchmarks.measuring import machine_facts, markdown_table, tree_cpu_seconds, write_report
from pipelines.core import config
from pipelines.core.provenance import TRAINING, code_digest, environment_digest
from pipelines.core.record import sha256_of
from pipelines.core.settings.settings import Settings
from pipelines.evaluation.fair_rows import newest_mask
from pipelines.evaluation.metrics import rounded
from pipelines.evaluation.scores import Scored
from pipelines.evaluation.slices import Described, slice_masks
from pipelines.features.fingerprints import Fingerprints, fingerprint
from pipelines.models.prediction import positive_probability
from pipelines.monitoring import judge, reference, triggers
from pipelines.monitoring.reference import Reference
from pipelines.monitoring.sample import read_texts, score
from pipelines.monitoring.word_table import WordTable
from pipelines.records.decisions import PROMOTABLE
from pipelines.records.monitoring import Window
from pipelines.simulation.drift import new_words, replaced, strongest_words
from pipelines.training.split import is_holdout

FIRST_ROWS, NIGHTS, NIGHTLY_ROWS = 14_000, 364, 90
USUAL_NIGHTLY_ROWS = 1_000  # for which the limits in rows are set
SLOW_WORDS, SUDDEN_WORDS = 150, 100
SHIFTED_SHARE = 0.7
SOON_NIGHTS = 28  # that a model is asked about at once; few are champion for longer
DAY_ONE = datetime(2026, 1, 5, 2, tzinfo=UTC)
DIGEST, VERSION = "0" * 64, "a" * 20

Mask = NDArray[np.bool_]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Calendar:
    """The nights on which things change; fewer nights in all have the same parts, but shorter."""

    nights: int = NIGHTS

    @property
    def slow(self) -> tuple[int, int]:
        return self._at(91), self._at(210)

    @property
    def sudden(self) -> int:
        return self._at(240)

    @property
    def shift(self) -> int:
        return self._at(300)

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        first, last = self.slow
        return {
            "as usual": (1, first - 1), "slow drift": (first, last),
            "after it": (last + 1, self.sudden - 1), "sudden drift": (self.sudden, self.shift - 1),
            "class shift": (self.shift, self.nights),
        }  # fmt: skip

    def _at(self, night: int) -> int:
        return round(night * self.nights / NIGHTS)


def settings_of_the_year(rows: int) -> Settings:
    """The defaults; where nights are much smaller, with limits in rows for them."""
    defaults = config.load(config.CONFIG_FOLDER / "default.toml")
    gate = {"bootstrap_repeats": 500}
    if rows >= USUAL_NIGHTLY_ROWS:
        return defaults.model_copy(update={"gate": defaults.gate.model_copy(update=gate)})
    scale = USUAL_NIGHTLY_ROWS / NIGHTLY_ROWS
    monitoring = defaults.monitoring.model_copy(
        update={"window_nights": 3, "reference_rows": defaults.monitoring.reference_rows // 4}
    )
    volume = {"new_rows": round(defaults.triggers.new_rows / scale)}
    gate |= {"min_newest_rows": 200, "min_slice_rows": 50}
    return defaults.model_copy(
        update={
            "monitoring": monitoring,
            "triggers": defaults.triggers.model_copy(update=volume),
            "gate": defaults.gate.model_copy(update=gate),
        }
    )


# ── The reviews ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Year:
    """All reviews in the order in which they come; ``night`` is 0 for the first load."""

    table: pa.Table
    labels: NDArray[np.int8]
    night: NDArray[np.int64]
    is_held_out: Mask
    prints: Fingerprints
    described: Described

    def until(self, night: int) -> NDArray[np.intp]:
        return np.flatnonzero(self.night <= night)

    def of(self, first: int, last: int) -> NDArray[np.intp]:
        return np.flatnonzero((self.night >= first) & (self.night <= last))

    def held_out(self, night: int) -> NDArray[np.intp]:
        return np.flatnonzero((self.night <= night) & self.is_held_out)


def make_year(reviews: pa.Table, *, first_rows: int, nights: int, rows: int) -> Year:
    """Deal the reviews out to the nights, and change them as they come."""
    rng = np.random.default_rng(SEED)
    reviews = reviews.take(pa.array(rng.permutation(reviews.num_rows)))
    labels = reviews.column("label").to_numpy().astype(np.int8)
    night = np.repeat(np.arange(nights + 1), [first_rows, *[rows] * nights])
    calendar = Calendar(nights)
    order = _dealt(labels, night, calendar)
    labels, dealt = labels[order], reviews.take(pa.array(order))
    texts = dealt.column("text").to_pylist()
    known = strongest_words(
        texts[:4000], labels[:4000] == 1, SLOW_WORDS + SUDDEN_WORDS
    )  # fmt: skip
    texts = [
        _as_written(text, known, at, calendar)
        for text, at in zip(texts, night.tolist(), strict=True)
    ]
    films = dealt.column("movie_id").to_pylist()
    held = is_holdout(films, share=0.2, salt="films-2026")
    sources = [SOURCES[place % len(SOURCES)] for place in range(len(texts))]
    table = pa.table({
        "text_id": dealt.column("review_id"), "text": pa.array(texts, pa.large_string()),
        "label": labels, "rating": dealt.column("rating"), "source": sources,
        "movie_id": dealt.column("movie_id"),
    })  # fmt: skip
    return Year(
        table, labels, night, np.array([held[film] for film in films], np.bool_),
        fingerprint(texts, default_candidate(seed=SEED)[0].view), Described.of_tables([table]),
    )  # fmt: skip


def _dealt(labels: NDArray[np.int8], night: NDArray[np.int64], calendar: Calendar) -> list[int]:
    """Rows in the order of the nights; from the shift on, more of them are positive."""
    waiting = {label: np.flatnonzero(labels == label).tolist()[::-1] for label in (0, 1)}
    order: list[int] = []
    for at, count in zip(*np.unique(night, return_counts=True), strict=True):
        positive = round((SHIFTED_SHARE if at >= calendar.shift else 0.5) * count)
        own = [waiting[1].pop() for _ in range(positive)]
        own += [waiting[0].pop() for _ in range(count - positive)]
        order += np.random.default_rng([SEED, int(at)]).permutation(own).tolist()
    return order


def _as_written(text: str, known: list[str], night: int, calendar: Calendar) -> str:
    """The text with the words that people use on that night."""
    first, last = calendar.slow
    gone = round(SLOW_WORDS * min(1.0, max(0, night - first + 1) / (last - first + 1)))
    words = known[:gone] + (known[SLOW_WORDS:] if night >= calendar.sudden else [])
    return replaced(text, new_words(words)) if words else text


# ── The loop ─────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Model:
    """A version of all reviews up to a night that are not held out.

    Attributes
    ----------
    known : ndarray of float64, shape (n_reviews,)
        Its answers to the reviews of the year that it was asked for; NaN where it was not.
    """

    year: Year
    night: int
    known: Probabilities

    def answers(self, rows: NDArray[np.intp]) -> Probabilities:
        if np.isnan(self.known[rows]).any():
            missing = np.flatnonzero(np.isnan(self.known))
            texts = self.year.prints.take(missing)
            self.known[missing] = positive_probability(self.pipeline, texts)
        return self.known[rows]

    @functools.cached_property
    def pipeline(self) -> Any:
        """Fitted again: the monitor asks few of them, and it is the same model each time."""
        return _fitted(self.year, self.night)


def _fitted(year: Year, night: int) -> Any:
    rows = year.until(night)
    rows = rows[~year.is_held_out[rows]]
    made = default_candidate(seed=SEED)
    return made.fit(year.prints.take(rows), year.labels[rows])


class Fits:
    """The models of the nights, fitted by helper processes some nights ahead.

    Parameters
    ----------
    folder : Path, optional
        Where the models' answers are kept, so that a run that was ended goes on where it was.
    processes : int
        Helpers; 0: each model is fitted here when it is asked for.
    """

    def __init__(self, year: Year, last: int, folder: Path | None, processes: int) -> None:
        self._year, self._last, self._nights_ahead = year, last, processes
        self._folder = None if folder is None else folder / _kept_of(year)
        self._ahead: dict[int, Future[Probabilities]] = {}
        _YEARS.append(year)  # where helpers find it, who are forked when the first model is due
        fork = multiprocessing.get_context("fork")
        self._pool = ProcessPoolExecutor(processes, fork) if processes else None

    def __enter__(self) -> Fits:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        _YEARS.remove(self._year)

    def of(self, night: int) -> Model:
        if self._pool is not None:
            for ahead in range(night, min(night + self._nights_ahead, self._last) + 1):
                if ahead not in self._ahead and self._kept(ahead) is None:
                    self._ahead[ahead] = self._pool.submit(_answers_of, ahead)
        answers = self._kept(night)
        if answers is None:
            waiting = self._ahead.pop(night, None)
            answers = _answers_of(night) if waiting is None else waiting.result()
            self._keep(night, answers)
        return Model(self._year, night, answers)

    def _path(self, night: int) -> Path | None:
        return None if self._folder is None else self._folder / f"{night:03d}.npy"

    def _kept(self, night: int) -> Probabilities | None:
        path = self._path(night)
        if path is None or not path.exists():
            return None
        kept: Probabilities = np.load(path, allow_pickle=False)
        return kept

    def _keep(self, night: int, answers: Probabilities) -> None:
        path = self._path(night)
        if path is not None:
            unfinished = path.with_suffix(".tmp.npy")
            np.save(unfinished, answers, allow_pickle=False)
            unfinished.replace(path)


_YEARS: list[Year] = []  # of the process that forks the helpers


def _answers_of(night: int) -> Probabilities:
    year = _YEARS[-1]
    is_soon = (year.night > night) & (year.night <= night + SOON_NIGHTS)
    rows = np.flatnonzero(year.is_held_out | is_soon)
    answers = np.full(len(year.night), np.nan)
    with threadpool_limits(limits=1):
        model = _fitted(year, night)
        answers[rows] = positive_probability(model, year.prints.take(rows), most_threads=1)
    return answers


def _kept_of(year: Year) -> str:
    """The folder of the models of this code, these libraries and these reviews."""
    parts = [code_digest(*TRAINING), environment_digest(), sha256_of(year.prints.ids.tobytes()),
             sha256_of(year.night.tobytes() + year.labels.tobytes())]  # fmt: skip
    return sha256_of("\n".join(parts).encode())[:20]


class Policy:
    """One way to decide when to retrain; the gate decides what is promoted."""

    name = "never"

    def __init__(self, year: Year, settings: Settings, first: Model) -> None:
        self.year, self.settings = year, settings
        self.champions, self.reference = [first], first
        self.answers_right: list[Mask] = []
        self.retrainings = self.promotions = 0
        self.verdicts: Counter[str] = Counter()

    @property
    def accuracies(self) -> list[float]:
        return [float(right.mean()) for right in self.answers_right]

    @property
    def champion(self) -> Model:
        return self.champions[-1]

    def serve(self, night: int) -> None:
        rows = self.year.of(night, night)
        answers = self.champion.answers(rows)
        self.answers_right.append((answers >= 0.5) == (self.year.labels[rows] == 1))

    def wants(self, night: int) -> bool:  # noqa: ARG002
        return False

    def retrain(self, challenger: Model) -> None:
        """Have the gate decide, and promote what it lets through."""
        self.retrainings += 1
        decision = decided(evaluation_of(self._case(challenger), self.settings.gate),
                           self.settings.gate)  # fmt: skip
        self.verdicts[decision.verdict] += 1
        if decision.verdict in PROMOTABLE:
            self.promotions += 1
            self.champions.append(challenger)
            self.champions = self.champions[-10:]
            if decision.becomes_reference:
                self.reference = challenger

    def _case(self, challenger: Model) -> Case:
        night, year, gate = challenger.night, self.year, self.settings.gate
        rows = year.held_out(night)
        described = Described(**{
            name: values[rows] for name, values in vars(year.described).items()
        })  # fmt: skip
        has_own_reference = self.reference is not self.champion
        return Case(
            scored=Scored(
                year.labels[rows], challenger.answers(rows),
                self.champion.answers(rows),
                self.reference.answers(rows) if has_own_reference else None,
            ),
            newest=newest_mask(_nights(year.night[rows]), gate.newest_rows),
            slices=slice_masks(described, gate.slices, min_rows=gate.min_slice_rows),
            age_nights=night - self.champion.night,
            has_own_reference=has_own_reference,
        )  # fmt: skip


def _nights(numbers: NDArray[np.int64]) -> NDArray[np.str_]:
    names, places = np.unique(numbers, return_inverse=True)
    return np.array([_day(int(number)) for number in names])[places]


def _day(night: int) -> str:
    return (DAY_ONE + timedelta(days=night)).date().isoformat()


class Nightly(Policy):
    name = "every night"

    def wants(self, night: int) -> bool:  # noqa: ARG002
        return True


class Ungated(Nightly):
    """What people do without a gate: each night's version is published."""

    name = "every night, without a gate"

    def retrain(self, challenger: Model) -> None:
        self.retrainings += 1
        self.promotions += 1
        self.champions = [challenger]


class Weekly(Policy):
    name = "every week"

    def wants(self, night: int) -> bool:
        return night % 7 == 0


class Ours(Policy):
    """When `triggers.choose` says so, about windows that `judge.judge` judged."""

    name = "when the monitor asks"

    def __init__(self, year: Year, settings: Settings, first: Model) -> None:
        super().__init__(year, settings, first)
        self.references: dict[int, Reference] = {}
        self.windows: list[Window] = []
        self.last_start: datetime | None = None
        self.starts: list[tuple[int, str]] = []

    def wants(self, night: int) -> bool:
        if (window := self._window(night)) is not None:
            self.windows.insert(0, window)
        now = DAY_ONE + timedelta(days=night)
        known = triggers.Known(
            windows=tuple(self.windows[: self.settings.triggers.windows]),
            generation=self.champion.night + 1,
            new_rows=int((self.year.night[self.year.until(night)] > self.champion.night).sum()),
            champion_since=DAY_ONE + timedelta(days=self.champion.night),
            now=now,
            last_start=self.last_start,
        )
        choice = triggers.choose(known, self.settings.triggers)
        if choice.is_started:
            self.last_start = now
            self.starts.append((night, str(choice.trigger)))
        return choice.is_started

    def _window(self, night: int) -> Window | None:
        """The nights that end with this one, by the newest champion that learned none of them."""
        first = night - self.settings.monitoring.window_nights + 1
        asked = next((one for one in reversed(self.champions) if one.night < first), None)
        if asked is None:
            return None
        usual = self._reference(asked)
        table = self.year.table.take(pa.array(self.year.of(first, night)))
        words = WordTable(usual.words)
        texts = read_texts(table, words)
        scores = score(asked.pipeline, table, self.settings.gate)
        found = judge.judge(
            scores, texts, words, usual, self.settings.monitoring, is_provisional=False
        )
        return Window(
            model_name="sentiment", first_night=_day(first), night=_day(night), partitions=(),
            rows=len(scores), champion_generation=asked.night + 1, champion_version=VERSION,
            reference=DIGEST, rules=DIGEST, sources=(), coverage=1.0, is_provisional=False,
            late_nights=0, verdict=found.verdict, why=found.why, measured=found.measured,
            estimate=found.estimate, drift=found.drift, groups=found.groups, words=found.words,
        )  # fmt: skip

    def _reference(self, model: Model) -> Reference:
        if model.night not in self.references:
            wanted = round(self.settings.monitoring.reference_rows / 0.2)
            rows = self.year.until(model.night)[::-1][:wanted]
            made = reference.made_of(
                self.year.table.take(pa.array(rows)), self.year.is_held_out[rows],
                model.pipeline, self.settings,
            )  # fmt: skip
            found = reference.decode(reference.encode(made))
            if found is None:
                raise RuntimeError("the reference cannot be read back")
            self.references[model.night] = found
        return self.references[model.night]


def run(
    reviews: pa.Table,
    *,
    first_rows: int,
    nights: int,
    rows: int,
    kept: Path | None = None,
    processes: int = 0,
) -> list[Policy]:
    """Play the year for every policy; a version that several want is fitted once."""
    settings = settings_of_the_year(rows)
    year = make_year(reviews, first_rows=first_rows, nights=nights, rows=rows)
    with Fits(year, nights, kept, processes) as fits:
        first = fits.of(0)
        kinds = (Ungated, Nightly, Weekly, Ours, Policy)
        policies = [kind(year, settings, first) for kind in kinds]
        for night in range(1, nights + 1):
            for policy in policies:
                policy.serve(night)
            wanting = [policy for policy in policies if policy.wants(night)]
            challenger = fits.of(night) if wanting else first
            for policy in wanting:
                policy.retrain(challenger)
            if night % 28 == 0:
                print(f"night {night:,} of {nights:,}", file=sys.stderr, flush=True)
    return policies


# ── What came of it ──────────────────────────────────────────────────────────────────────────


def figures(policies: list[Policy]) -> list[dict[str, Any]]:
    """One line per policy: mean accuracy served, in all and by part of the year, and its cost."""
    lines = []
    first = np.concatenate(policies[0].answers_right)
    for policy in policies:
        served = np.array(policy.accuracies)
        calendar = Calendar(len(served))
        change = np.concatenate(policy.answers_right).astype(np.float64) - first
        lines.append({
            "policy": policy.name,
            "accuracy": rounded(served.mean()),
            "change": rounded(change.mean()),  # from the first policy, on the same reviews
            "change_error": rounded(1.96 * change.std() / len(change) ** 0.5),
            **{name: rounded(part.mean()) for name, (low, high) in calendar.parts.items()
               if len(part := served[low - 1 : high])},
            "retrainings": policy.retrainings,
            "promotions": policy.promotions,
            "verdicts": dict(policy.verdicts),
            "starts": policy.starts if isinstance(policy, Ours) else [],
            "windows": dict(Counter(window.verdict for window in policy.windows))
            if isinstance(policy, Ours) else {},
        })  # fmt: skip
    return lines


def as_markdown(lines: list[dict[str, Any]]) -> str:
    """The table of the policies."""
    parts = [name for name in Calendar().parts if name in lines[0]]
    return markdown_table(
        ["retrained", "mean accuracy served", "points from the first, 95 %", *parts,
         "retrainings", "promotions"],
        [
            [
                line["policy"], f"{line['accuracy']:.2%}",
                f"{100 * line['change']:+.2f} ± {100 * line['change_error']:.2f}",
                *[f"{line[name]:.2%}" for name in parts],
                f"{line['retrainings']:,}", f"{line['promotions']:,}",
            ]
            for line in lines
        ],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--nights", type=int, default=NIGHTS, help="fewer: a shorter year")
    parser.add_argument("--rows", type=int, default=NIGHTLY_ROWS, help="reviews a night")
    parser.add_argument(
        "--first-rows", type=int, default=FIRST_ROWS, help="reviews before the first night"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--keep", type=Path, help="a folder for what models answered: a run that was ended goes on"
    )
    chosen = parser.parse_args()
    began = tree_cpu_seconds()
    with threadpool_limits(limits=1):
        policies = run(
            pq.read_table(chosen.reviews),
            first_rows=chosen.first_rows, nights=chosen.nights, rows=chosen.rows, kept=chosen.keep,
            processes=len(os.sched_getaffinity(0)),
        )  # fmt: skip
    lines = figures(policies)
    report = {"machine": machine_facts(), "cpu_seconds": tree_cpu_seconds() - began,
              "policies": lines}  # fmt: skip
    write_report(chosen.json, report, as_markdown(lines))


if __name__ == "__main__":
    main()
