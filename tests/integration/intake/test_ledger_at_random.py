"""Whatever upstream, tasks and people do, and wherever a task dies: every row stays accounted for.

Hypothesis deals out the steps and looks for a sequence that breaks an invariant. The store is in
memory and can kill a task at any of its calls. Great Expectations really judges, once per frame.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipelines.core import config
from pipelines.core.config import CONFIG_FOLDER
from pipelines.core.errors import NoReviewsError, ReplayError
from pipelines.core.keys import RECEIPTS
from pipelines.intake import arrivals as intake_arrivals
from pipelines.intake import landing, snapshot, standings
from pipelines.intake import ledger as intake_ledger
from pipelines.intake.partitions import read_partition
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import Receipt, ReplayPlan
from pipelines.records.validations import Validation
from pipelines.training import dataset
from pipelines.validation import checks, replay_apply, replay_plan, validate
from tests.support.in_memory import InMemory
from tests.support.made.builders import Row, as_csv, landing_key, some_rows

pytestmark = pytest.mark.long

DEFAULT = config.load(CONFIG_FOLDER / "default.toml")
# So few that the rows of one delivery lie in several partitions.
STRICT = DEFAULT.model_copy(
    update={"intake": DEFAULT.intake.model_copy(update={"partition_rows": 7})}
)
LAX = STRICT.model_copy(
    update={
        "validation": STRICT.validation.model_copy(
            update={"max_quarantined_share": 0.5, "max_known_share": 0.9}
        )
    }
)
FIRST_NIGHT = date(2026, 1, 5)
LAST_NIGHT = FIRST_NIGHT + timedelta(days=5)


def with_bad_rows(rows: list[Row], count: int) -> list[Row]:
    return [
        row | ({"rating": 3 if n % 2 else 9} if n < count else {}) for n, row in enumerate(rows)
    ]


CONTENTS = {
    "good": as_csv(some_rows(24)),
    "other good": as_csv(some_rows(24, first=100)),
    "two bad rows": as_csv(with_bad_rows(some_rows(48, first=200), 2)),
    "too many bad rows": as_csv(with_bad_rows(some_rows(24, first=300), 3)),
    "rows of the good one again": as_csv(some_rows(24, first=20)),
    "mostly rows of the good one": as_csv(some_rows(24, first=4)),
    "too few rows": as_csv(some_rows(19, first=400)),
    "not readable": b"\xff\xfe\x00nothing",
}


class Killed(BaseException):
    """The process is gone; nothing catches it."""


class Mortal(InMemory):
    """A bucket whose client is killed at its n-th call: before, or after it was carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_left, self.dies_after = 0, False

    def _beside(self, call: Callable[[], Any]) -> Any:
        is_last = self.calls_left == 1
        self.calls_left = max(self.calls_left - 1, 0)
        if is_last and not self.dies_after:
            raise Killed
        answer = call()
        if is_last:
            raise Killed
        return answer

    def put_once(self, key: str, data: bytes) -> Any:
        return self._beside(lambda: super(Mortal, self).put_once(key, data))

    def put_file(self, key: str, file: IO[bytes]) -> None:
        self._beside(lambda: super(Mortal, self).put_file(key, file))

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        data: bytes = self._beside(lambda: super(Mortal, self).get(key, max_bytes=max_bytes))
        return data


def remembered(run_rules: Callable[..., Any]) -> Callable[..., Any]:
    """Great Expectations takes most of the time, and gets the same arguments many times."""
    answers: dict[str, Any] = {}

    def run(frame: Any, rules: list[Any]) -> Any:
        call = f"{frame.to_json()} {[(rule.name, rule.limit, rule.meaning) for rule in rules]}"
        key = hashlib.sha256(call.encode()).hexdigest()
        if key not in answers:
            answers[key] = run_rules(frame, rules)
        # The rule itself holds a limit that is only shown rounded: keep today's.
        by_name = {rule.name: rule for rule in rules}
        return [replace(answer, rule=by_name[answer.rule.name]) for answer in answers[key]]

    return run


class Ledger(RuleBasedStateMachine):
    """Upstream, the scheduler and an operator at one ledger."""

    plans: Bundle[ReplayPlan] = Bundle("plans")

    @initialize()
    def start(self) -> None:
        self.reviews, self.night, self.rules = Mortal(), FIRST_NIGHT, STRICT
        self.ever_accepted: dict[str, set[str]] = {}
        self.arrivals: set[str] = set()
        self.killed_entries: dict[str, bytes] = {}

    # ── What happens ─────────────────────────────────────────────────────────────────────────

    @rule(
        name=st.sampled_from(["a.csv", "b.csv"]),
        content=st.sampled_from(sorted(CONTENTS)),
        nights_late=st.integers(0, 1),
    )
    def upstream_drops(self, name: str, content: str, nights_late: int) -> None:
        """A new file, the same one again, or other content under the same name."""
        day = max(self.night - timedelta(days=nights_late), FIRST_NIGHT)
        self.reviews.put(landing_key(name, night=day.isoformat()), CONTENTS[content])

    @rule(calls=st.integers(0, 25), dies_after=st.booleans(), is_whole=st.booleans())
    def a_night_runs(self, calls: int, dies_after: bool, is_whole: bool) -> None:
        """The tasks of the night's due files, until one of them is killed at its n-th call."""
        night = self.night.isoformat()
        due = landing.discover(self.reviews, night, most=100, today=LAST_NIGHT)
        for key in due:
            self.attempt(0 if is_whole else calls, dies_after, lambda key=key: self.ingest(key))

    @rule(content=st.sampled_from(sorted(CONTENTS)))
    def the_same_bytes_come_under_two_names_at_once(self, content: str) -> None:
        """Both tasks find nothing concluded, then both conclude."""
        night = self.night.isoformat()
        names = [landing_key(name, night=night) for name in ("a.csv", "b.csv")]
        for name in names:
            self.reviews.put(name, CONTENTS[content])
        arrivals = [self.land(name) for name in names]
        validations = [self.validated(arrival) for arrival in arrivals]
        for arrival, validation in zip(arrivals, validations, strict=True):
            self.enter(arrival, validation)

    @rule(data=st.data(), calls=st.integers(0, 15), dies_after=st.booleans())
    @precondition(lambda self: self.arrivals)
    def a_task_is_repeated(self, data: st.DataObject, calls: int, dies_after: bool) -> None:
        arrival_key = data.draw(st.sampled_from(sorted(self.arrivals)))
        self.attempt(calls, dies_after, lambda: self.conclude(arrival_key))

    @rule()
    @precondition(lambda self: self.night < LAST_NIGHT)
    def the_next_night_comes(self) -> None:
        self.night += timedelta(days=1)

    @rule()
    def the_rules_change(self) -> None:
        self.rules = LAX if self.rules is STRICT else STRICT

    @rule(
        target=plans,
        data=st.data(),
        action=st.sampled_from(["release", "revalidate", "discard"]),
        takes_all=st.booleans(),
    )
    @precondition(lambda self: self.replayable())
    def a_replay_is_planned(self, data: st.DataObject, action: Any, takes_all: bool) -> Any:
        return self.planned(data, action, takes_all=takes_all)

    @rule(data=st.data(), action=st.sampled_from(["release", "revalidate", "discard"]))
    @precondition(lambda self: self.replayable())
    def a_row_is_replayed_at_once(self, data: st.DataObject, action: Any) -> None:
        """What people do mostly; so sequences reach deliveries that were replayed before."""
        plan = self.planned(data, action, takes_all=False)
        if plan.delivery:
            self.attempt(0, False, lambda: self.apply(plan))

    @rule(plan=plans, calls=st.integers(0, 15), dies_after=st.booleans())
    def a_plan_is_carried_out(self, plan: ReplayPlan, calls: int, dies_after: bool) -> None:
        """A fresh one, one that was overtaken, or one that was carried out before."""
        if plan.delivery:
            self.attempt(calls, dies_after, lambda: self.apply(plan))

    @rule(plan=consumes(plans))
    def a_plan_is_carried_out_twice(self, plan: ReplayPlan) -> None:
        if not plan.delivery or not self.attempt(0, False, lambda: self.apply(plan)):
            return
        before = dict(self.reviews.objects)
        again = self.attempt(0, False, lambda: self.apply(plan))
        assert again
        assert self.reviews.objects == before

    # ── How ──────────────────────────────────────────────────────────────────────────────────

    def attempt(self, calls: int, dies_after: bool, task: Callable[[], None]) -> bool:
        """Whether the task came to its end."""
        self.reviews.calls_left, self.reviews.dies_after = calls, dies_after
        try:
            task()
        except Killed:
            return False
        except ReplayError:
            return False
        finally:
            self.reviews.calls_left = 0
        return True

    def planned(self, data: st.DataObject, action: Any, *, takes_all: bool) -> ReplayPlan:
        """A plan changes nothing; one that is refused is a plan for no delivery."""
        standing = data.draw(st.sampled_from(self.replayable()), label="standing")
        places = self.quarantined(standing)
        rows = None if takes_all or not places else [data.draw(st.sampled_from(places))]
        before = dict(self.reviews.objects)
        try:
            _, plan = replay_plan.make_plan(
                self.reviews, standing.outcome.delivery, action,
                rows=rows, reason="because", settings=self.rules,
            )  # fmt: skip
        except ReplayError:
            return ReplayPlan.model_construct(delivery="")
        assert self.ledger(before) == self.ledger(self.reviews.objects)
        return plan

    def ingest(self, key: str) -> None:
        self.conclude(self.land(key))

    def land(self, key: str) -> str:
        night = self.night.isoformat()
        arrival_key, _ = intake_arrivals.receive(
            self.reviews, key, night=night, intake=self.rules.intake
        )
        self.arrivals.add(arrival_key)
        return arrival_key

    def conclude(self, arrival_key: str) -> None:
        """As the steps `validate` and `accept` do."""
        self.enter(arrival_key, self.validated(arrival_key))

    def validated(self, arrival_key: str) -> tuple[str, Validation] | None:
        """What a task finds in a delivery; None if it was concluded before."""
        arrival, delivery = intake_arrivals.read_arrival(self.reviews, arrival_key)
        if intake_ledger.find_outcome(self.reviews, delivery.sha256) is not None:
            return None
        return validate.validate(self.reviews, delivery, self.rules, before=arrival.night)

    def enter(self, arrival_key: str, validated: tuple[str, Validation] | None) -> None:
        arrival, delivery = intake_arrivals.read_arrival(self.reviews, arrival_key)
        if validated is None:
            outcome = intake_ledger.find_outcome(self.reviews, delivery.sha256)
        else:
            outcome = intake_ledger.conclude(
                self.reviews, arrival, delivery, validated[1], validated[0]
            )
        assert outcome is not None
        intake_ledger.give_receipt(self.reviews, arrival, outcome)

    def apply(self, plan: ReplayPlan) -> None:
        replay_apply.apply_plan(self.reviews, plan, self.rules, actor="tester")

    def replayable(self) -> list[Standing]:
        return [
            standing
            for standing in standings.every(self.reviews)
            if standing.verdict == "HELD" or standing.quarantined
        ]

    def quarantined(self, standing: Standing) -> list[int]:
        return [
            row
            for part in standing.quarantined
            for row in read_partition(self.reviews, part)["row"].to_pylist()
        ]

    def accepted(self, standing: Standing) -> list[str]:
        return [
            review_id
            for part in standing.accepted
            for review_id in read_partition(self.reviews, part)["review_id"].to_pylist()
        ]

    @staticmethod
    def ledger(objects: dict[str, bytes]) -> set[str]:
        return {key for key in objects if "/replays/" in key or key.endswith("outcome.json")}

    # ── What must always hold ────────────────────────────────────────────────────────────────

    @invariant()
    def every_row_of_a_delivery_is_accounted_for(self) -> None:
        for standing in standings.every(self.reviews):
            entry = standing.newest
            accepted, quarantined = self.accepted(standing), self.quarantined(standing)
            assert (len(accepted), len(quarantined)) == (
                entry.accepted_rows, entry.quarantined_rows,
            )  # fmt: skip
            accounted_for = (
                len(accepted) + len(quarantined) + entry.held_rows + standing.discarded_rows
            )
            assert accounted_for == standing.outcome.delivered_rows

    @invariant()
    def the_nights_add_up_to_the_deliveries(self) -> None:
        """Each delivery's rows are in one receipt; none yet, if the task was killed before it."""
        counted: Counter[str] = Counter()
        for info in self.reviews.list(RECEIPTS):
            receipt = self.reviews.get_record(info.key, Receipt)
            counted[receipt.delivery] += bool(receipt.delivered_rows)
            parts = receipt.accepted_rows + receipt.quarantined_rows + receipt.held_rows
            assert parts == receipt.delivered_rows
        assert max(counted.values(), default=0) <= 1

    @invariant()
    def no_row_counts_twice(self) -> None:
        """The same text in two deliveries can: it is left out when a dataset is read."""
        counted = 0
        for standing in standings.every(self.reviews):
            accepted = self.accepted(standing)
            assert len(accepted) == len(set(accepted))
            counted += len(accepted)
        try:
            pinned = snapshot.take(self.reviews, STRICT.split)
        except NoReviewsError:
            assert counted == 0
            return
        read = dataset.load_dataset(self.reviews, pinned)
        assert len(read.text_id) + read.duplicate_rows == pinned.rows == counted

    @invariant()
    def nothing_accepted_is_lost(self) -> None:
        now = {standing.outcome.delivery: standing for standing in standings.every(self.reviews)}
        for delivery, before in self.ever_accepted.items():
            assert before <= set(self.accepted(now[delivery]))
        self.ever_accepted = {name: set(self.accepted(standing)) for name, standing in now.items()}

    def teardown(self) -> None:
        """However it was left, the tasks of one more night come to an end and add up."""
        if not hasattr(self, "reviews"):
            return
        self.night = LAST_NIGHT
        self.a_night_runs(calls=0, dies_after=False, is_whole=True)
        for arrival_key in sorted(self.arrivals):
            self.conclude(arrival_key)
        delivered = sum(
            self.reviews.get_record(info.key, Receipt).delivered_rows
            for info in self.reviews.list(RECEIPTS)
        )
        outcomes = intake_ledger.all_outcomes(self.reviews)
        assert delivered == sum(outcome.delivered_rows for outcome in outcomes)


@pytest.fixture
def great_expectations_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "run_rules", remembered(checks.run_rules))


def test_whatever_happens_every_row_stays_accounted_for_and_none_counts_twice(
    great_expectations_once,
):
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("dies_after", [False, True])
@pytest.mark.parametrize("content", ["good", "two bad rows", "too few rows", "not readable"])
def test_a_killed_night_that_is_repeated_after_the_next_one_counts_nothing_twice(
    content, dies_after
):
    """Wherever it was killed, between the ledger's entry and the receipt, too."""
    for calls in range(1, 26):
        ledger = Ledger()
        ledger.start()
        ledger.upstream_drops(name="a.csv", content=content, nights_late=0)
        ledger.a_night_runs(calls=calls, dies_after=dies_after, is_whole=False)
        ledger.the_next_night_comes()
        ledger.a_night_runs(calls=0, dies_after=False, is_whole=True)

        for arrival_key in sorted(ledger.arrivals):
            ledger.conclude(arrival_key)

        ledger.the_nights_add_up_to_the_deliveries()
        ledger.teardown()


@pytest.mark.parametrize(
    ("content", "verdict"),
    [
        ("good", "ACCEPTED"),
        ("two bad rows", "PARTLY_ACCEPTED"),
        ("too many bad rows", "HELD"),
        ("too few rows", "HELD"),
        ("not readable", "HELD"),
    ],
)
def test_what_upstream_drops_at_random_is_worth_trying(content, verdict):
    ledger = Ledger()
    ledger.start()
    ledger.upstream_drops(name="a.csv", content=content, nights_late=0)

    ledger.a_night_runs(calls=0, dies_after=False, is_whole=True)

    (outcome,) = intake_ledger.all_outcomes(ledger.reviews)
    assert outcome.verdict == verdict
