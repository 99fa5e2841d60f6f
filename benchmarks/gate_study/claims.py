"""What the gate's benchmark must show, checked on its own figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.gate_study.erosion import ALWAYS_STALE, Erosion
from benchmarks.gate_study.resampling import Outcome
from benchmarks.gate_study.sheets import mean_accuracy, per_year
from benchmarks.gate_study.simulation import OURS, Tally

FULL_SIZE = 5_000  # reviews held out; the claims are about this size
CLEAR_FALL = 0.01  # of true accuracy
MIN_STOPPED, MAX_FALSE_ALARMS, MAX_EROSION = 0.99, 0.02, 0.005
NIGHTLY = ("other seed", "+4 % reviews")


@dataclass(frozen=True)
class Claim:
    """A promise, whether it was kept, and the figure that says so."""

    promise: str
    is_kept: bool
    figure: str


def about_models(outcomes: Iterable[Outcome]) -> Iterator[Claim]:
    """Stops what is worse, and every leak; lets nightly models be."""
    full = [each for each in outcomes if each.size == FULL_SIZE]
    worse = [each for each in full if each.true_change <= -CLEAR_FALL and each.kind == "bad"]
    leaks = [each for each in full if each.kind == "leak"]
    nightly = [each for each in full if each.name in NIGHTLY]
    if not (worse and leaks and nightly):
        return
    least = min(worse, key=lambda each: each.stopped_share)
    yield Claim(
        "stops at least 99 % of each challenger truly worse by 1 point or more, be the champion "
        "fresh or stale",
        least.stopped_share >= MIN_STOPPED,
        f"least: {least.stopped_share:.1%} ({least.name})",
    )
    caught = min(each.rules["overlap"] / each.repeats for each in leaks)
    yield Claim("stops every leak by the overlap check", caught == 1.0, f"{caught:.1%}")
    for name in sorted({each.name for each in nightly}):
        yield from _about_nightly(name, [each for each in nightly if each.name == name])


def _about_nightly(name: str, group: Sequence[Outcome]) -> Iterator[Claim]:
    alarms = sum(each.rejected_share for each in group) / len(group)
    passed = 1.0 - sum(each.stopped_share for each in group) / len(group)
    tried = sum(each.repeats for each in group)
    yield Claim(
        f"rejects, or cannot judge, at most 2 % of clean models ({name})",
        alarms <= MAX_FALSE_ALARMS,
        f"{alarms:.1%} of {tried:,}",
    )
    yield Claim(
        f"replaces a stale champion by a clean model ({name}) at least 98 % of the time",
        passed >= 1.0 - MAX_FALSE_ALARMS,
        f"{passed:.1%} of {tried:,}",
    )


def about_erosion(erosions: Iterable[Erosion]) -> Iterator[Claim]:
    """Even where any model that is not worse is let in, little is lost."""
    worst = max((each.lost_at_end for each in erosions if each.gate == ALWAYS_STALE), default=None)
    if worst is not None:
        yield Claim(
            "stops erosion before half a point is lost, on every holdout",
            worst < MAX_EROSION,
            f"worst: {100 * worst:.2f} points",
        )


def about_simulation(years: Sequence[Mapping[str, Tally]], nights: int) -> Iterator[Claim]:
    """Seldom far worse, and not at the price of accuracy."""
    if not years:
        return
    far = 2 * per_year(years, OURS, "far_worse", nights)
    yield Claim(
        "promotes a model truly worse by more than 0.5 point less than once in two years",
        far < 1.0,
        f"{far:.2f}",
    )
    margin = "accuracy > +0.5 pt"
    ours, theirs = mean_accuracy(years, OURS), mean_accuracy(years, margin)
    yield Claim(
        "loses no more mean accuracy than the margin gate",
        ours >= theirs,
        f"{100 * ours:.3f} % against {100 * theirs:.3f} %",
    )
