"""Whoever reads records in this project takes nothing from a forged one: reader by reader."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from pipelines.alerts import records
from pipelines.alerts.alert import Run
from pipelines.alerts.records import Attempt
from pipelines.core import config, provenance
from pipelines.core.errors import NightIncompleteError, ObjectMissingError, TrustError
from pipelines.core.keys import arrival_id, sibling
from pipelines.core.store import clock
from pipelines.core.store import stores as stores_module
from pipelines.gate.card import card
from pipelines.intake import arrivals, landing, ledger, nights, snapshot, standings
from pipelines.monitoring import kept
from pipelines.pages.views import incident as views_incident
from pipelines.pages.views import incidents
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import Arrival, Outcome, ReplayPlan
from pipelines.records.evaluations import Evaluation
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Plan
from pipelines.registry import approvals, promotion
from pipelines.registry import rollback as registry_rollback
from pipelines.registry.registry import Registry
from pipelines.serving import champion, confirm
from pipelines.steps import alerts, context, housekeeping, ingest, monitor, replay, retrain
from pipelines.steps import promote as steps_promote
from pipelines.steps import rollback as steps_rollback
from pipelines.validation import history, replay_apply, replay_plan, report
from tests.support import sealing
from tests.support.hostile import forgeries as forging
from tests.support.hostile import whole_world as whole
from tests.support.hostile.forgeries import KINDS

pytestmark = pytest.mark.attack

NIGHT = whole.NIGHTS[0]
RUN = Run(dag_id="reviews_ingest", run_id="manual__1")
# Where not the first record of a kind is read by all of its readers: the beginning of its key.
CHOSEN = {
    "LogEntry": "sentiment/log/00000005",
    "Outcome": "with replays",
    "Delivery": "with replays",
    "Manifest": "of the champion",
}
FIRST_GATE = ("Evaluation", "ArtefactCheck", "Decision", "CardFiles", "ApprovalRecord")


class World:
    """The whole world in memory; one record of it is about to be forged."""

    def __init__(self, whole_bytes, kind):
        self.honest = whole.in_memory(whole_bytes.reviews, whole_bytes.models)
        self.stores = whole.in_memory(whole_bytes.reviews, whole_bytes.models)
        self.reviews, self.models = self.stores.reviews, self.stores.models
        self.registry = Registry(self.models, "sentiment")
        self.entry = Registry(self.honest.models, "sentiment").log.champion()
        self.settings = config.load()
        self.one = self._chosen(kind)
        self.record = self.one.kind.from_bytes(self.one.payload, uri="")

    def _chosen(self, kind):
        targets = forging.targets(self.honest, kind)
        beginning = CHOSEN.get(kind.__name__, "")
        if beginning == "with replays":
            folder = next(key for key in self.reviews.objects if "/replays/" in key).split("/")[1]
            beginning = f"deliveries/{folder}"
        elif beginning == "of the champion":
            beginning = self.registry.versions.key(self.entry.version)
        elif kind.__name__ == "AttemptEnd":
            targets = [one for one in targets if "/mail/001.failed." in one.key]
        elif kind.__name__ in FIRST_GATE:
            targets = [one for one in targets if "/gates/00000000-" in one.key]
        return next(one for one in targets if one.key.startswith(beginning))

    def first(self, kind, **fields):
        """The first honest record of a kind with these values."""
        return next(
            record
            for target in forging.targets(self.honest, kind)
            if (record := kind.from_bytes(target.payload, uri=""))
            and all(getattr(record, name) == value for name, value in fields.items())
        )

    @property
    def uri(self):
        return getattr(self, self.one.bucket).uri(self.one.key)

    def sibling(self, name):
        return self.models.uri(sibling(self.one.key, name))

    def decision(self):
        key = sibling(self.one.key, "decision.json")
        return self.honest.models.get_record(key, Decision)

    def evaluation(self):
        key = sibling(self.one.key, "evaluation.json")
        return self.honest.models.get_record(key, Evaluation)

    def plan(self):
        return self.first(Plan, snapshot=self.record.digest())

    def forge(self, forgery):
        getattr(self, self.one.bucket).objects[self.one.key] = forgery.data


def take_up_again(world):
    return arrivals.receive(
        world.reviews, world.record.landing_key, night=NIGHT, intake=world.settings.intake
    )


def arrival_of(world, **more):
    return world.first(Arrival, delivery=world.record.delivery, **more)


def give_receipt_again(world):
    receipt = world.record
    arrival = arrival_of(world, landing_key=receipt.landing_key, version_tag=receipt.version_tag)
    outcome = world.first(Outcome, delivery=receipt.delivery)
    return ledger.give_receipt(world.reviews, arrival, outcome)


def take_again(world):
    return snapshot.take(world.reviews, world.settings.split)


def compare_with_history(world):
    return history.collect(
        world.reviews, delivery="0" * 64, source="web", before="2026-01-09",
        settings=world.settings.validation,
    )  # fmt: skip


def promote(world):
    decision = world.decision()
    return promotion.promote(
        world.registry, decision, policy=decision.policy, actor="test", reason=""
    )


def attempt_of(world, state):
    end = world.record
    return Attempt(end.incident, end.channel, end.number, state)


READERS = {
    "Arrival": [
        lambda w: arrivals.read_arrival(w.reviews, w.one.key),
        lambda w: ingest.validate(w.uri),
        lambda w: ingest.accept(w.uri, w.reviews.uri("reports/x/validation.json")),
    ],
    "NameClaim": [take_up_again],
    "Receipt": [
        lambda w: nights.summarize(w.reviews, w.record.night),
        give_receipt_again,
    ],
    "Delivery": [
        lambda w: arrivals.read_arrival(
            w.reviews, w.first(Arrival, delivery=w.record.sha256).object_key
        ),
        take_up_again,
        lambda w: replay_plan.make_plan(
            w.reviews, w.record.sha256, "revalidate", rows=None, reason="x", settings=w.settings
        ),
        lambda w: replay.plan_replay(w.record.sha256, "release", "x", [1]),
    ],
    "Outcome": [
        lambda w: standings.find(w.reviews, w.record.delivery),
        lambda w: standings.every(w.reviews),
        lambda w: ledger.find_outcome(w.reviews, w.record.delivery),
        lambda w: ledger.all_outcomes(w.reviews),
        take_again,
        compare_with_history,
        lambda w: retrain.take_snapshot(),
        lambda w: ingest.validate(w.reviews.uri(arrival_of(w).object_key)),
        lambda w: replay.plan_replay(w.record.delivery, "release", "x", [1]),
    ],
    "Replay": [
        lambda w: standings.find(w.reviews, w.record.delivery),
        lambda w: standings.every(w.reviews),
        take_again,
        compare_with_history,
        lambda w: retrain.take_snapshot(),
        lambda w: replay.read_replay(w.uri),
        lambda w: replay.has_released_reviews(w.uri),
        lambda w: replay.plan_replay(w.record.delivery, "release", "x", [1]),
        lambda w: replay_apply.apply_plan(w.reviews, w.first(ReplayPlan), w.settings, actor="x"),
    ],
    "ReplayPlan": [lambda w: replay.apply_replay(w.uri, "x")],
    "Validation": [lambda w: report.read(w.reviews, w.one.key)],
    "Snapshot": [
        lambda w: snapshot.pinned(w.reviews, w.plan()),
        lambda w: retrain.plan(w.uri),
        lambda w: retrain.featurize(w.models.uri(w.plan().object_key)),
        lambda w: retrain.evaluate(w.models.uri(w.registry.versions.key(w.plan().version))),
        lambda w: card.gather(
            w.reviews, w.registry, w.first(Decision, version=w.plan().version).object_key
        ),
    ],
    "Alert": [
        lambda w: records.read_alert(w.reviews, w.record.key),
        lambda w: records.was_reported(w.reviews, w.record.key),
    ],
    "Claim": [lambda w: records.read_claim(w.reviews, attempt_of(w, "unsettled"))],
    "AttemptEnd": [
        lambda w: records.read_end(w.reviews, attempt_of(w, "failed"), "failed"),
        lambda w: records.why_failed(w.reviews, attempt_of(w, "failed")),
    ],
    "Housekeeping": [lambda w: housekeeping.read_housekeeping(w.uri)],
    "LookedAt": [lambda w: records.has_looked(w.reviews, RUN)],
    "Window": [
        lambda w: monitor.windows([w.uri]),
        lambda w: monitor.watch(w.record.night),
    ],
    "AnsweredDay": [lambda w: monitor.answered_days([w.uri])],
    "TriggerDecision": [
        lambda w: monitor.read_decision(w.uri),
        lambda w: monitor.is_started(w.uri),
        lambda w: monitor.decide_trigger(w.record.night, w.record.day, w.record.actor),
    ],
    "Plan": [
        lambda w: w.registry.versions.plan(w.one.key),
        lambda w: retrain.has_work(w.uri),
        lambda w: retrain.featurize(w.uri),
        lambda w: retrain.train(w.uri),
        lambda w: w.registry.versions.add_plan(w.record),
    ],
    "Manifest": [
        lambda w: w.registry.versions.manifest(w.record.version),
        lambda w: w.registry.versions.find_version(w.record.version),
        lambda w: w.registry.versions.champion_manifest(w.entry),
        lambda w: champion.load_champion(w.registry),
        lambda w: retrain.train(w.models.uri(w.record.plan.object_key)),
        lambda w: retrain.evaluate(w.uri),
        lambda w: retrain.take_snapshot(),
        lambda w: w.registry.decisions.decision(
            w.first(Decision, version=w.record.version).object_key
        ),
    ],
    "Evaluation": [
        lambda w: w.registry.decisions.evaluation(w.one.key),
        lambda w: w.registry.decisions.evaluation_of(w.decision()),
        lambda w: w.registry.decisions.add_evaluation(w.record),
        lambda w: retrain.verify(w.uri),
        lambda w: retrain.decide(w.uri),
        lambda w: card.gather(w.reviews, w.registry, w.decision().object_key),
        lambda w: confirm.confirm(w.reviews, w.registry, 1, w.settings),
        promote,
    ],
    "ArtefactCheck": [
        lambda w: w.registry.decisions.find_check(w.evaluation()),
        lambda w: w.registry.decisions.add_check(w.record),
        lambda w: retrain.verify(w.sibling("evaluation.json")),
        lambda w: retrain.decide(w.sibling("evaluation.json")),
        lambda w: card.gather(w.reviews, w.registry, w.decision().object_key),
        promote,
    ],
    "Decision": [
        lambda w: w.registry.decisions.decision(w.one.key),
        lambda w: w.registry.decisions.decision_of(w.first(LogEntry, generation=1)),
        lambda w: w.registry.decisions.find_decision(w.record.version, 0, w.record.policy),
        lambda w: w.registry.decisions.last_decision(w.record.version, w.record.policy),
        lambda w: w.registry.decisions.add_decision(w.record),
        lambda w: context.read_decision(w.uri),
        lambda w: steps_promote.next_step(w.uri, is_dry_run=True),
        lambda w: steps_promote.describe_decision(w.uri),
        lambda w: retrain.write_card(w.uri),
        lambda w: steps_promote.record_answer(w.uri, "approve", "x", "y"),
        lambda w: steps_promote.promote(w.uri, "x"),
        lambda w: confirm.confirm(w.reviews, w.registry, 1, w.settings),
    ],
    "CardFiles": [
        lambda w: w.registry.decisions.find_card(w.decision()),
        lambda w: card.read(w.reviews, w.registry, w.decision()),
        lambda w: card.write(w.reviews, w.registry, w.decision().object_key),
    ],
    "ApprovalRecord": [
        lambda w: w.registry.decisions.find_approval(w.decision()),
        lambda w: approvals.find_approval(w.registry, w.decision()),
        lambda w: approvals.is_allowed(w.registry, w.decision()),
        lambda w: approvals.is_open(w.registry, w.decision()),
        lambda w: steps_promote.record_answer(w.sibling("decision.json"), "approve", "x", "y"),
        lambda w: steps_promote.next_step(w.sibling("decision.json"), is_dry_run=False),
        lambda w: steps_promote.promote(w.sibling("decision.json"), "x"),
        promote,
    ],
    "LogEntry": [
        lambda w: w.registry.log.champion(),
        lambda w: w.registry.check_nothing_cut(),
        lambda w: w.registry.log.entry(5),
        lambda w: w.registry.log.find_entry(5),
        lambda w: w.registry.log.history(),
        lambda w: w.registry.log.champion_at(datetime(2030, 1, 1, tzinfo=UTC)),
        lambda w: w.registry.log.withdrawn(),
        lambda w: champion.find_champion(w.registry),
        lambda w: champion.load_champion(w.registry),
        lambda w: registry_rollback.make_plan(w.registry, "previous", reason="x"),
        lambda w: registry_rollback.pin(w.registry, w.entry.version, actor="x", reason="y"),
        lambda w: retrain.take_snapshot(),
        lambda w: retrain.has_work(w.models.uri(w.first(Plan).object_key)),
    ],
    "RollbackPlan": [lambda w: steps_rollback.apply_rollback(w.uri, "x")],
}
# What goes on without such a record: their readers are in the tests below.
WITHOUT = {"MissingDelivery", "ChampionHint"}
CASES = [
    pytest.param(kind, number, id=f"{kind}-{number}")
    for kind, readers in READERS.items()
    for number in range(len(readers))
]


@pytest.fixture
def worlds(whole_bytes, monkeypatch):
    """``worlds(kind)`` is a world whose record of that kind will be forged; the steps use it."""

    def make(kind):
        world = World(whole_bytes, KINDS[kind])
        monkeypatch.setattr(stores_module, "open_stores", lambda *_, **__: world.stores)
        policy = world.first(Decision).policy
        monkeypatch.setattr(provenance, "gate_policy", lambda *_: policy)
        return world

    return make


def forgeries(world):
    others = [
        one for kind in (world.one.kind, KINDS["Plan"], KINDS["Claim"])
        for one in forging.targets(world.honest, kind)
    ]  # fmt: skip
    return forging.a_few(world.one, others)


def test_every_kind_of_record_has_its_readers_here():
    assert set(READERS) | WITHOUT == set(KINDS)


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_a_reader_refuses_what_is_forged(worlds, counted, kind, number):
    world, read = worlds(kind), READERS[kind][number]

    for forgery in (tried := forgeries(world)):
        world.forge(forgery)
        before = dict(world.models.objects), dict(world.reviews.objects)
        with pytest.raises(TrustError) as refused:
            read(world)
        assert world.one.key in str(refused.value), forgery.what
        assert before[0] == world.models.objects, forgery.what  # nothing was made of it

    counted("records", len(tried))


# ── Those that go on, and make nothing of it ─────────────────────────────────────────────────


def each_forged(world):
    for forgery in forgeries(world):
        world.forge(forgery)
        yield forgery


def test_a_forged_receipt_counts_for_nothing_so_its_file_stays_due(worlds, counted):
    world = worlds("Receipt")
    arrival = arrival_id(world.record.landing_key, world.record.version_tag)
    assert landing.nights_by_arrival(world.reviews, {arrival}) == {arrival: {NIGHT}}

    tried = [landing.nights_by_arrival(world.reviews, {arrival}) for _ in each_forged(world)]

    assert tried == [{}] * len(tried)
    counted("records", len(tried))


def test_a_night_with_a_forged_receipt_is_not_finished(worlds, counted):
    world = worlds("Receipt")

    tried = list(each_forged(world))
    for forgery in tried:
        world.forge(forgery)
        with pytest.raises(NightIncompleteError, match=world.one.key):
            ingest.check_night(NIGHT, [])

    counted("records", len(tried))


def test_a_forged_window_starts_nothing_and_stops_no_decision(worlds, counted):
    world = worlds("Window")
    night, name = world.record.night, world.record.model_name

    tried = list(each_forged(world))
    for number, forgery in enumerate(tried):
        world.forge(forgery)
        assert kept.newest_windows(world.reviews, name, night, 3, nights=1) == []
        uri = monitor.decide_trigger(night, night, f"run {number}")
        assert monitor.read_decision(uri).windows == ()

    counted("records", len(tried))


def test_a_forged_decision_to_start_is_none(worlds, counted):
    world = worlds("TriggerDecision")
    name, day, at = world.record.model_name, world.record.day, clock.read(world.record.at)
    honest = kept.newest_decisions(world.reviews, name, day, 3)

    for forgery in (tried := forgeries(world)):
        world.forge(forgery)
        left = kept.newest_decisions(world.reviews, name, day, 3)
        assert left == [one for one in honest if one != world.record]
        assert kept.last_start(world.reviews, name, at, timedelta(days=3)) is None

    counted("records", len(tried))


def test_a_forged_day_of_answers_is_not_shown(worlds, counted):
    world = worlds("AnsweredDay")
    name, day = world.record.model_name, world.record.day

    tried = [kept.newest_answers(world.reviews, name, day, 3) for _ in each_forged(world)]

    assert tried == [[]] * len(tried)
    counted("records", len(tried))


def test_a_forged_hint_proves_nothing_and_hides_no_champion(worlds, counted):
    world = worlds("ChampionHint")

    tried = [world.registry.log.champion() for _ in each_forged(world)]

    assert tried == [world.entry] * len(tried)
    counted("records", len(tried))


def test_a_forged_record_of_a_silence_hides_none_and_makes_up_none(worlds, counted, caplog):
    world = worlds("MissingDelivery")
    honest = [world.record]

    for forgery in (tried := forgeries(world)):
        world.forge(forgery)
        with caplog.at_level(logging.CRITICAL):
            summary = nights.night_summary(world.reviews, NIGHT, world.settings.sources)
        assert list(summary.missing) == honest
        look = views_incident.look_at_missing(world.reviews, world.registry, NIGHT, "silent")
        assert (look.missing, len(look.problems)) == (None, 1)

    counted("records", len(tried))


@pytest.mark.parametrize("kind", ["Receipt", "MissingDelivery"])
def test_a_forged_record_of_a_night_is_an_incident_by_its_key(worlds, counted, kind):
    world = worlds(kind)

    for forgery in (tried := forgeries(world)):
        world.forge(forgery)
        broken = [incident for incident in incidents.recent(world.reviews).incidents
                  if incident.kind == "UNREADABLE"]  # fmt: skip
        assert [one.subject for one in broken] == [world.one.key]

    counted("records", len(tried))


@pytest.mark.parametrize("kind", ["Outcome", "Replay"])
def test_a_forged_ledger_entry_is_left_out_where_deliveries_are_only_listed(worlds, counted, kind):
    world = worlds(kind)
    delivery = world.record.delivery

    for forgery in (tried := forgeries(world)):
        world.forge(forgery)
        found = standings.every(world.reviews, skips_torn=True)
        assert delivery not in {one.outcome.delivery for one in found}
        look = views_incident.look(world.reviews, world.registry, delivery)
        assert look.standing is None
        assert any(world.one.key in problem for problem in look.problems)

    counted("records", len(tried))


def test_an_alert_that_a_forged_record_says_was_sent_is_sent_again(worlds, counted):
    world = worlds("AttemptEnd")
    key = next(key for key in world.reviews.objects if key.endswith("002.sent.json"))
    incident = key.split("/")[1]

    honest = world.reviews.objects[key]
    tried = [forgery for forgery in forgeries(world) if forgery.data != honest]
    for forgery in tried:
        world.reviews.objects[key] = forgery.data
        (one,) = [attempt for attempt in records.attempts(world.reviews)
                  if (attempt.incident, attempt.channel) == (incident, "webhook")]  # fmt: skip
        assert one.state == "unsettled"

    counted("records", len(tried))


@pytest.mark.parametrize("kind", ["Alert", "AttemptEnd"])
def test_a_forged_alert_is_listed_as_unreadable_and_the_others_are_shown(worlds, counted, kind):
    world = worlds(kind)
    honest = len(alerts.every_alert())

    for forgery in (tried := forgeries(world)):
        world.forge(forgery)
        lines = alerts.every_alert()
        assert len(lines) == honest
        assert any(world.one.key in f"{line['title']} {line['why']}" for line in lines)

    counted("records", len(tried))


# ── A consumer's folder ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("kind", "name"), [("LogEntry", "champion.json"),
                                            ("Manifest", "manifest.json")])  # fmt: skip
def test_a_forged_file_in_a_consumers_folder_is_not_loaded(worlds, counted, tmp_path, kind, name):
    world = worlds(kind)
    champion.pull(world.registry, tmp_path)
    file = next(tmp_path.rglob(name))
    moved = "the record of "  # an older entry is one of ours, and says itself which it is

    tried = [
        one for one in forgeries(world) if kind != "LogEntry" or not one.what.startswith(moved)
    ]
    for forgery in tried:
        file.write_bytes(forgery.data)
        with pytest.raises(TrustError, match=name):
            champion.load_pulled(tmp_path, sealing.keyring())

    counted("records", len(tried))


def test_what_is_forged_in_the_store_is_not_pulled(worlds, counted, tmp_path):
    tried = 0
    for kind in ("LogEntry", "Manifest"):
        world = worlds(kind)
        champion.pull(world.registry, tmp_path)
        kept = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        for forgery in forgeries(world):
            world.forge(forgery)
            with pytest.raises((TrustError, ObjectMissingError), match=r"s3://"):
                champion.pull(world.registry, tmp_path)
            tried += 1
        assert kept == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    counted("records", tried)
