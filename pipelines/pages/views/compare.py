"""Two decided versions side by side, each by the evaluation of its own day."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipelines.gate.card.sentences import Judged
from pipelines.pages.views.champion import NOTHING
from pipelines.records.evaluations import AnyMetrics


@dataclass(frozen=True)
class Compared:
    """One line: what is compared, and the value of each version."""

    name: str
    one: str
    other: str
    change: str = NOTHING

    @property
    def differs(self) -> bool:
        return self.one != self.other


def compared(one: Judged, other: Judged) -> list[Compared]:
    """Every number and fact that both versions have."""
    return [*_facts(one, other), *_metrics(one, other), *_slices(one, other)]


def _facts(one: Judged, other: Judged) -> Iterator[Compared]:
    lines: tuple[tuple[str, Callable[[Judged], str]], ...] = (
        ("verdict", lambda judged: judged.decision.verdict),
        ("compared with", lambda judged: judged.decision.champion_version or "no champion"),
        ("holdout reviews", lambda judged: f"{judged.evaluation.holdout.rows:,}"),
        ("holdout", lambda judged: judged.evaluation.holdout.set_id[:16]),
        ("model file", lambda judged: f"{judged.evaluation.artefact_bytes / 1e6:,.1f} MB"),
        ("failed behaviour cases", _failures),
        ("rules that failed", _broken),
    )
    for name, value in lines:
        yield Compared(name, value(one), value(other))


def _failures(judged: Judged) -> str:
    behaviour = judged.evaluation.behaviour
    if behaviour is None:
        return NOTHING
    cases = sum(score.cases for score in behaviour.capabilities)
    return f"{sum(score.failures for score in behaviour.capabilities):,} of {cases:,}"


def _broken(judged: Judged) -> str:
    broken = [rule.rule for rule in judged.decision.rules
              if not rule.is_passed and rule.group != "gain"]  # fmt: skip
    return ", ".join(broken) or "none"


def _metrics(one: Judged, other: Judged) -> Iterator[Compared]:
    for name in ("holdout", "newest", "golden"):
        before, after = (getattr(judged.evaluation, name).challenger for judged in (one, other))
        old, new = (_shown_scores(metrics, judged.evaluation.names)
                    for metrics, judged in ((before, one), (after, other)))  # fmt: skip
        for label in old | new:
            is_share = label.startswith(_SHARES)
            yield _line(f"{name}: {label}", old.get(label), new.get(label), is_share=is_share)


_SHARES = ("accuracy", "recall", "calibration error")


def _shown_scores(metrics: AnyMetrics | None, names: tuple[str, ...]) -> dict[str, float | None]:
    """Scores in the order in which they are shown; None where there are none."""
    recalls = metrics.recalls if metrics else (None,) * len(names)
    by_class = {f"recall {name}": value for name, value in zip(names, recalls, strict=True)}
    of_all = {
        name.replace("_", " "): getattr(metrics, name, None)
        for name in ("accuracy", "calibration_error", "f1", "roc_auc", "log_loss")
    }
    order = dict(reversed(by_class.items())) if len(names) == 2 else by_class
    return {"accuracy": of_all.pop("accuracy"), **order, **of_all}


def _slices(one: Judged, other: Judged) -> Iterator[Compared]:
    after = {part.name: part.challenger_accuracy for part in other.evaluation.slices}
    for part in one.evaluation.slices:
        if part.name in after:
            name = f"accuracy on {part.name}"
            yield _line(name, part.challenger_accuracy, after[part.name], is_share=True)


def _line(name: str, one: float | None, other: float | None, *, is_share: bool) -> Compared:
    def shown(value: float | None) -> str:
        if value is None:
            return NOTHING
        return f"{value:.2%}" if is_share else f"{value:.4f}"

    if one is None or other is None:
        return Compared(name, shown(one), shown(other))
    change = f"{100 * (other - one):+.2f} points" if is_share else f"{other - one:+.4f}"
    return Compared(name, shown(one), shown(other), change)
