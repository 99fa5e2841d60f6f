"""What metrics are made of: the newest records, read with a bounded number of requests."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, pairwise
from typing import TypeVar

from pipelines.alerts import records as alert_records
from pipelines.core import keys, provenance
from pipelines.core.errors import sentence
from pipelines.core.parallel import MOST_READS, in_parallel
from pipelines.core.settings.settings import Settings
from pipelines.core.store import clock
from pipelines.core.store.stores import Stores
from pipelines.intake.recent import NewestNight, newest_night
from pipelines.monitoring import kept
from pipelines.records.decisions import Decision
from pipelines.records.evaluations import Evaluation
from pipelines.records.monitoring import AnsweredDay, TriggerDecision, Window
from pipelines.records.succession import LogEntry
from pipelines.registry import approvals
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)

WINDOWS = 30  # of which the verdicts are counted

Value = TypeVar("Value")


@dataclass
class Facts:
    """What could be read. A part that cannot be read is named in ``broken``; the rest is shown.

    Attributes
    ----------
    model : str
        Which model it is about.
    entry, began : LogEntry or None
        The newest entry of the champion log, and the one that made its version champion.
    decision, evaluation : Decision, Evaluation or None
        On which the champion was promoted.
    verdicts : dict of str to int
        Of all decisions against the present champion.
    waiting : int
        Decisions that wait for a person.
    windows : tuple of Window
        Of the newest nights, newest first.
    answers : AnsweredDay or None
        The newest day of answers; None, too, where the prediction log is off.
    trigger : TriggerDecision or None
        The newest.
    newest : NewestNight or None
        What the newest night was like, of all models; looked at with the first one.
    step_seconds : dict of str to float
        How long each step of the champion's retraining took, from what the one before stored.
    unsent : int or None
        Alerts that a channel did not take, of all models; counted with the first one.
    now : datetime
        By the store's clock.
    broken : dict of str to str
        Part and why it cannot be read.
    """

    model: str
    now: datetime
    entry: LogEntry | None = None
    began: LogEntry | None = None
    decision: Decision | None = None
    evaluation: Evaluation | None = None
    verdicts: dict[str, int] = field(default_factory=dict)
    waiting: int = 0
    windows: tuple[Window, ...] = ()
    answers: AnsweredDay | None = None
    trigger: TriggerDecision | None = None
    newest: NewestNight | None = None
    step_seconds: dict[str, float] = field(default_factory=dict)
    unsent: int | None = None
    broken: dict[str, str] = field(default_factory=dict)

    def part(self, name: str, read: Callable[[], Value], otherwise: Value) -> Value:
        """The result of reading; ``otherwise`` where that fails, with a line in the log."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - a scrape shows what can be read
            self.broken[name] = sentence(error)
            logger.warning("metrics part=%s cannot be read: %s", name, sentence(error))
            return otherwise


def read_all(stores: Stores, settings: Settings) -> Iterator[Facts]:
    """Everything that the metrics show of each model of the configuration, the first one first.

    A few are read at a time: what is shown of a model is small, what was read for it is not.
    """

    def read_one(name: str) -> Facts:
        return read(stores, settings.of(name), is_first=name == settings.model.name)

    names = iter(settings.model_names)
    while few := list(islice(names, MOST_READS)):
        yield from in_parallel(read_one, few)


def read(stores: Stores, settings: Settings, *, is_first: bool = True) -> Facts:
    """Everything that the metrics show of one model; with the first one, what all models share.

    Raises
    ------
    StoreUnavailableError
        If the store does not say what time it is.
    """
    facts = Facts(model=settings.model.name, now=clock.now(stores.reviews))
    registry = Registry(stores.models, settings.model.name)
    facts.entry = facts.part("champion_log", registry.log.champion, None)
    if facts.entry is not None:
        _read_champion(facts, registry, facts.entry)
    _read_decisions(facts, registry, settings)
    today = facts.now.date().isoformat()
    facts.windows = facts.part(
        "windows",
        lambda: tuple(
            kept.newest_windows(
                stores.reviews,
                registry.name,
                today,
                WINDOWS,
                nights=settings.monitoring.window_nights,
            )
        ),
        (),
    )

    def answers() -> AnsweredDay | None:
        newest = kept.newest_answers(stores.reviews, registry.name, today, 1)
        return newest[0] if newest else None

    if settings.serving.prediction_log.is_enabled:
        facts.answers = facts.part("answers", answers, None)

    def trigger() -> TriggerDecision | None:
        newest = kept.newest_decisions(stores.reviews, registry.name, today, 1)
        return newest[0] if newest else None

    facts.trigger = facts.part("triggers", trigger, None)
    if is_first:
        none: int | None = None
        facts.unsent = facts.part("alerts", lambda: _unsent(stores), none)
        facts.newest = facts.part("nights", lambda: newest_night(stores.reviews, today), None)
    return facts


def _read_champion(facts: Facts, registry: Registry, entry: LogEntry) -> None:
    facts.began = facts.part("champion_log", lambda: registry.log.began(entry), None)
    facts.decision = facts.part("decision", lambda: registry.decisions.decision_of(entry), None)
    if (decision := facts.decision) is not None:
        facts.evaluation = facts.part(
            "evaluation", lambda: registry.decisions.evaluation_of(decision), None
        )
    if (began := facts.began) is not None and began.kind == "promotion":
        none: dict[str, float] = {}
        facts.step_seconds = facts.part("steps", lambda: _step_seconds(registry, began), none)


def _step_seconds(registry: Registry, entry: LogEntry) -> dict[str, float]:
    """Between the moments at which a listing says that the steps' records were stored."""
    model, version = entry.model_name, entry.version
    stored = {
        "plan": keys.plan_key(model, version), "train": keys.manifest_key(model, version),
        "evaluate": keys.sibling(entry.decision_key, keys.EVALUATION), "decide": entry.decision_key,
        "promote": keys.log_key(model, entry.generation),
    }  # fmt: skip
    folders = [stored["plan"], f"{keys.versions_folder(model)}{version}/", stored["promote"]]
    moments = {info.key: info.moment for folder in folders for info in registry.models.list(folder)}
    return {
        step: (ended - began).total_seconds()
        for before, step in pairwise(stored)
        if (began := moments.get(stored[before])) and (ended := moments.get(stored[step]))
    }


def _read_decisions(facts: Facts, registry: Registry, settings: Settings) -> None:
    generation = facts.entry.generation if facts.entry else 0

    def against() -> tuple[Decision, ...]:
        return tuple(registry.decisions.against(generation, provenance.gate_policy(settings)))

    none: tuple[Decision, ...] = ()
    made = facts.part("decisions", against, none)
    facts.verdicts = dict(Counter(decision.verdict for decision in made))
    facts.waiting = facts.part(
        "decisions", lambda: sum(_is_waiting(registry, decision) for decision in made), 0
    )


def _is_waiting(registry: Registry, decision: Decision) -> bool:
    return (
        decision.approval == "needed"
        and approvals.may_ever_be(registry, decision)
        and approvals.find_approval(registry, decision) is None
    )


def _unsent(stores: Stores) -> int:
    attempts = alert_records.attempts(stores.reviews)
    return sum(attempt.state != "sent" for attempt in attempts)
