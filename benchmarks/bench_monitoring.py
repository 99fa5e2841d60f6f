"""What the monitor notices, how soon, and how often it cries wolf, next to folk limits.

    python -m benchmarks.bench_monitoring --reviews imdb_reviews.parquet

One champion is trained on 20,000 of the real reviews, a fifth of the films held out. Nights are
drawn from the other 30,000, as they are or changed in one way. Each night is judged by
`monitoring.judge`, by a population stability index of probabilities and lengths with the limits 0.1
and 0.25, and by Kolmogorov-Smirnov tests at 5 % of probabilities, lengths and unseen words.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats

from benchmarks.compared.models import default_candidate
from benchmarks.measuring import machine_facts, markdown_table, write_report
from pipelines.core import config
from pipelines.models.prediction import positive_probability
from pipelines.monitoring import judge as judging
from pipelines.monitoring.reference import Reference, Usual
from pipelines.monitoring.sample import Scores, Texts
from pipelines.monitoring.word_table import WordTable
from pipelines.simulation import drift
from pipelines.training.split import is_holdout

SEED = 20260105
TRAINED_ROWS = 20_000
FOLK = (("PSI 0.1", "psi 0.1"), ("PSI 0.25", "psi 0.25"), ("KS 5 %", "ks 5 %"))
SOURCES = ("app", "desk", "partner", "web")
SETTINGS = config.load(config.CONFIG_FOLDER / "default.toml").monitoring

Labels = NDArray[np.int8]
Night = tuple[list[str], Labels]
Change = Callable[[list[str], Labels, np.random.Generator], Night]

# ── The changes ──────────────────────────────────────────────────────────────────────────────

_DOMAIN = {
    "movie": "restaurant", "movies": "restaurants", "film": "place", "films": "places",
    "actor": "waiter", "actors": "waiters", "acting": "service", "director": "chef",
    "plot": "menu", "story": "dinner", "scene": "dish", "scenes": "dishes", "watch": "eat",
    "watched": "ate", "watching": "eating", "script": "kitchen", "cast": "staff",
    "character": "wine", "characters": "wines", "ending": "dessert", "screen": "table",
}  # fmt: skip
_GERMAN = [
    "der", "die", "das", "und", "nicht", "mit", "von", "aber", "auch", "sehr", "gut", "schlecht",
    "ich", "war", "ist", "ein", "wie", "wenn", "noch", "nur", "immer", "wieder", "leider", "ganz",
    "langweilig", "spannend", "handlung", "schauspieler", "schon", "kein",
]  # fmt: skip


def slang(strongest: Sequence[str]) -> Change:
    """The words that decide most are others now, which the champion never saw."""
    others = drift.new_words(strongest)
    return lambda texts, labels, _rng: ([drift.replaced(text, others) for text in texts], labels)


def new_words(texts: list[str], labels: Labels, rng: np.random.Generator) -> Night:
    """One word in fifty is new."""

    def renewed(text: str) -> str:
        words = text.split(" ")
        for place in np.flatnonzero(rng.random(len(words)) < 0.02):
            words[place] = f"neo{rng.integers(300)}"
        return " ".join(words)

    return [renewed(text) for text in texts], labels


def shorter(texts: list[str], labels: Labels, _rng: np.random.Generator) -> Night:
    """Each text is cut to its first 200 characters."""
    return [text[:200] for text in texts], labels


def more_positive(texts: list[str], labels: Labels, rng: np.random.Generator) -> Night:
    """Seven in ten are positive, for the same number of reviews."""
    positive, negative = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wanted = round(0.7 * len(texts))
    rows = [*rng.choice(positive, wanted), *rng.choice(negative, len(texts) - wanted)]
    return [texts[row] for row in rows], labels[rows]


def markup(texts: list[str], labels: Labels, rng: np.random.Generator) -> Night:
    """A third of the texts are wrapped in markup."""
    wraps = rng.random(len(texts)) < 1 / 3
    wrapped = [
        f'<div class="review-body"><span>{text}</span></div>' if wrap else text
        for text, wrap in zip(texts, wraps, strict=True)
    ]
    return wrapped, labels


def german(texts: list[str], labels: Labels, rng: np.random.Generator) -> Night:
    """Five reviews in a hundred are in another language."""
    foreign = rng.random(len(texts)) < 0.05
    changed = [
        " ".join(rng.choice(_GERMAN, 120)) if is_foreign else text
        for text, is_foreign in zip(texts, foreign, strict=True)
    ]
    return changed, labels


def turned(texts: list[str], labels: Labels, rng: np.random.Generator) -> Night:
    """Two labels in ten are turned round."""
    return texts, np.where(rng.random(len(labels)) < 0.2, 1 - labels, labels).astype(np.int8)


def other_domain(texts: list[str], labels: Labels, _rng: np.random.Generator) -> Night:
    """They are about restaurants, by their nouns and verbs."""
    return [drift.replaced(text, _DOMAIN) for text in texts], labels


def broken_source(texts: list[str], labels: Labels, rng: np.random.Generator) -> Night:
    """Half of the labels of one source in four are turned round."""
    mine = np.arange(len(labels)) % len(SOURCES) == 2
    turns = mine & (rng.random(len(labels)) < 0.5)
    return texts, np.where(turns, 1 - labels, labels).astype(np.int8)


# ── The world ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class World:
    """A champion, its reference, and the reviews of nights to come."""

    model: Any
    reference: Reference
    texts: list[str]
    labels: Labels
    strongest: list[str]

    def night(self, rows: int, rng: np.random.Generator, change: Change | None) -> Night:
        chosen = rng.choice(len(self.texts), rows, replace=False)
        texts, labels = [self.texts[row] for row in chosen], self.labels[chosen]
        return (texts, labels) if change is None else change(texts, labels, rng)

    def read(self, night: Night) -> tuple[Scores, Texts, WordTable]:
        texts, labels = night
        words = WordTable(self.reference.words)
        groups = {f"source={name}": np.arange(len(labels)) % len(SOURCES) == place
                  for place, name in enumerate(SOURCES)}  # fmt: skip
        scores = Scores(positive_probability(self.model, texts), labels, groups)
        return scores, _texts(texts, labels, words), words


def _texts(texts: list[str], labels: Labels, words: WordTable) -> Texts:
    chars = np.array([len(text) for text in texts], np.float64)
    return Texts(words.read(texts), chars, tuple(np.bincount(labels, minlength=2).tolist()))


def make_world(reviews: pa.Table, trained: int) -> World:
    rng = np.random.default_rng(SEED)
    reviews = reviews.take(pa.array(rng.permutation(reviews.num_rows)))
    texts = reviews.column("text").to_pylist()
    labels = np.array(reviews.column("label").to_pylist())
    if labels.dtype.kind in "UO":
        labels = labels == "positive"
    labels = labels.astype(np.int8)
    films = reviews.column("movie_id").to_pylist()
    held_films = is_holdout(films, share=0.2, salt="films-2026")
    seen = np.arange(len(texts)) < trained
    held = np.array([held_films[film] for film in films])
    train, hold = np.flatnonzero(seen & ~held), np.flatnonzero(seen & held)
    hold = hold[: SETTINGS.reference_rows]
    model = default_candidate(seed=SEED)
    model.fit([texts[row] for row in train], labels[train])
    words = WordTable()
    words.read([texts[row] for row in train])
    known = len(words)
    unseen = words.read([texts[row] for row in hold]).share_from(known)
    spread = np.linspace(0, trained - 1, SETTINGS.reference_rows).astype(int)
    usual = _texts([texts[row] for row in spread], labels[spread], words)
    scores = Scores(positive_probability(model, [texts[row] for row in hold]), labels[hold], {})
    groups = {}
    for place, name in enumerate(SOURCES):
        mine = np.arange(len(hold)) % len(SOURCES) == place
        groups[f"source={name}"] = Usual(int(mine.sum()), int(scores.is_right[mine].sum()))
    reference = Reference(scores, groups, unseen, usual, tuple(words.names), known, "0" * 64)
    rest = np.flatnonzero(~seen)
    return World(
        model, reference, [texts[row] for row in rest], labels[rest],
        drift.strongest_words([texts[row] for row in train[:4000]], labels[train[:4000]] == 1, 150),
    )  # fmt: skip


# ── Folk limits ──────────────────────────────────────────────────────────────────────────────


def _psi(one: NDArray[Any], usual: NDArray[Any]) -> float:
    edges = np.quantile(usual, np.linspace(0, 1, 11)[1:-1])
    shares = [
        (np.bincount(np.searchsorted(edges, values), minlength=10) + 0.5) / (len(values) + 5)
        for values in (one, usual)
    ]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())


def folk(world: World, scores: Scores, texts: Texts) -> dict[str, bool]:
    reference = world.reference
    pairs = [
        (scores.probability, reference.scores.probability), (texts.chars, reference.texts.chars),
    ]  # fmt: skip
    unseen = (texts.documents.share_from(reference.known_words), reference.unseen)
    largest = max(_psi(*pair) for pair in pairs)
    p_values = [stats.ks_2samp(*pair).pvalue for pair in (*pairs, unseen)]
    return {
        "psi 0.1": largest > 0.1,
        "psi 0.25": largest > 0.25,
        "ks 5 %": bool(min(p_values) < 0.05),
    }


# ── The measurement ──────────────────────────────────────────────────────────────────────────


def judged(world: World, night: Night) -> dict[str, Any]:
    began = time.process_time()
    scores, texts, words = world.read(night)
    found = judging.judge(scores, texts, words, world.reference, SETTINGS, is_provisional=False)
    seconds = time.process_time() - began
    estimate = found.estimate
    accuracy = float(scores.is_right.mean())
    return {
        "verdict": found.verdict,
        "asked": asked(world, scores),
        "accuracy": accuracy,
        "covered": bool(estimate and estimate.low <= accuracy <= estimate.high),
        "beyond": [test.name for test in found.drift if test.is_beyond],
        "values": {test.name: test.value for test in found.drift},
        "cpu": seconds,
        **folk(world, scores, texts),
    }


def asked(world: World, scores: Scores) -> str:
    """The verdict on the same reviews if they were only asked about: no label, no text."""
    return judging.judge_answers(scores.probability, world.reference, SETTINGS).verdict


def quiet(world: World, rows: int, nights: int) -> dict[str, Any]:
    rng = np.random.default_rng([SEED, rows])
    found = [judged(world, world.night(rows, rng, None)) for _ in range(nights)]
    return {
        "rows": rows, "nights": nights,
        **{name: sum(one["verdict"] == name for one in found)
           for name in ("DRIFT", "FADING", "TOO_FEW")},
        **{name: sum(one[name] for one in found) for name in ("psi 0.1", "psi 0.25", "ks 5 %")},
        "asked": {name: sum(one["asked"] == name for one in found)
                  for name in ("DRIFT", "FADING")},
        "covered": float(np.mean([one["covered"] for one in found])),
        "accuracy": float(np.mean([one["accuracy"] for one in found])),
        "cpu seconds": float(np.median([one["cpu"] for one in found])),
        "largest": {name: max(one["values"].get(name, 0.0) for one in found)
                    for name in found[0]["values"]},
    }  # fmt: skip


def changed(world: World, name: str, change: Change, rows: int, trials: int) -> dict[str, Any]:
    """How many nights until it is noticed; a trial has two."""
    rng = np.random.default_rng([SEED, rows, len(name)])
    delays: list[int | None] = []
    nights: list[dict[str, Any]] = []
    folk_nights = dict.fromkeys(("psi 0.1", "psi 0.25", "ks 5 %"), 0)
    for _ in range(trials):
        delay = None
        for night in (1, 2):
            one = judged(world, world.night(rows, rng, change))
            nights.append(one)
            for rival in folk_nights:
                folk_nights[rival] += one[rival]
            if delay is None and one["verdict"] in {"DRIFT", "FADING"}:
                delay = night
        delays.append(delay)
    verdicts = [one["verdict"] for one in nights]
    beyond = [test for one in nights for test in one["beyond"]]
    return {
        "change": name, "rows": rows, "trials": trials,
        "accuracy": float(np.mean([one["accuracy"] for one in nights])),
        "first night": sum(delay == 1 for delay in delays),
        "second night": sum(delay == 2 for delay in delays),
        "missed": sum(delay is None for delay in delays),
        "FADING": verdicts.count("FADING") / len(verdicts),
        "asked": {name: sum(one["asked"] == name for one in nights)
                  for name in ("DRIFT", "FADING")},
        "by": {test: beyond.count(test) for test in sorted(set(beyond))},
        "covered": float(np.mean([one["covered"] for one in nights])),
        **{rival: count / len(nights) for rival, count in folk_nights.items()},
    }  # fmt: skip


def run(
    reviews: Path, *, sizes: Sequence[int], nights: int, trials: int, trained: int
) -> dict[str, Any]:
    world = make_world(pq.read_table(reviews), trained)
    changes: dict[str, Change] = {
        "slang for the 150 strongest words": slang(world.strongest),
        "one word in fifty is new": new_words,
        "cut to 200 characters": shorter,
        "70 % positive": more_positive,
        "markup in a third": markup,
        "5 % in another language": german,
        "20 % of labels turned": turned,
        "another domain": other_domain,
        "one source of four half turned": broken_source,
    }
    found: dict[str, Any] = {"quiet": [], "changed": []}
    for rows in sizes:
        line = quiet(world, rows, nights if rows <= 1000 else max(10, nights // 4))
        found["quiet"].append(line)
        _say(line)
        for name, change in changes.items():
            line = changed(
                world, name, change, rows, trials if rows <= 1000 else max(3, trials // 2)
            )
            found["changed"].append(line)
            _say(line)
    return found


def _say(line: dict[str, Any]) -> None:
    sys.stderr.write(f"bench-monitoring: {json.dumps(line)}\n")


def as_markdown(found: dict[str, Any]) -> str:
    """What is noticed, beside folk limits, of each change and size of a night."""
    heads = [
        "reviews a night", "change", "right on", "noticed at once", "in the second night", "missed",
        "FADING", "estimate's interval holds", *(name for name, _ in FOLK),
    ]  # fmt: skip
    rows = []
    for line in found["quiet"]:
        nights = line["nights"]
        rows.append([
            f"{line['rows']:,}", f"none, {nights} nights", f"{line['accuracy']:.1%}",
            f"{line['DRIFT'] + line['FADING']} of {nights}", "", "",
            f"{line['FADING'] / nights:.0%}", f"{line['covered']:.0%}",
            *(f"{line[key] / nights:.0%}" for _, key in FOLK),
        ])  # fmt: skip
        rows += [
            [f"{one['rows']:,}", one["change"], f"{one['accuracy']:.1%}",
             f"{one['first night']} of {one['trials']}", f"{one['second night']}",
             f"{one['missed']}", f"{one['FADING']:.0%}", f"{one['covered']:.0%}",
             *(f"{one[key]:.0%}" for _, key in FOLK)]
            for one in found["changed"] if one["rows"] == line["rows"]
        ]  # fmt: skip
    return markdown_table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reviews", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--nights", type=int, default=180)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument(
        "--trained", type=int, default=TRAINED_ROWS, help="reviews that the champion learns from"
    )
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = run(
        chosen.reviews, sizes=chosen.sizes, nights=chosen.nights, trials=chosen.trials,
        trained=chosen.trained,
    )  # fmt: skip
    write_report(chosen.json, {"machine": machine_facts(), **found}, as_markdown(found))


if __name__ == "__main__":
    main()
