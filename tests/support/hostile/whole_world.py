"""A world in which every kind of record and file lies, made by the steps that make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest import mock

from typer.testing import CliRunner

from pipelines.alerts import records
from pipelines.alerts.alert import Alert, Run
from pipelines.alerts.notifier import Notifier
from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import AlertChannelError
from pipelines.core.store import rollups
from pipelines.core.store.bucket import ObjectInfo
from pipelines.core.store.stores import Stores
from pipelines.intake import standings
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.monitoring import answers
from pipelines.records.housekeeping import Doomed
from pipelines.registry import housekeeping
from pipelines.registry import rollback as registry_rollback
from pipelines.registry.registry import Registry
from pipelines.steps import monitor, promote, replay, retrain
from pipelines.steps import rollback as steps_rollback
from tests.support.in_memory import InMemory
from tests.support.made.alert_builders import an_alert
from tests.support.made.answer_builders import many_answers, put_answers
from tests.support.made.builders import as_csv, deliver, landing_key, some_rows

NIGHTS = "2026-01-05", "2026-01-06"
HELD_KEY = landing_key("held.csv", source="partner")
SETTINGS: dict[str, dict[str, Any]] = {
    "gate": {"ask_for_first_model": True, "max_overlap_share": 1.0},
    "sources": {"silent": {"expected_every_days": 1}},
    "alerts": {"retry_after_minutes": 0.0},
}


@dataclass
class AChannel:
    """A way to send alerts that does as it is told."""

    error: AlertChannelError | None = None
    name: Any = "webhook"

    def send(self, _alert: Alert) -> str:
        if self.error is not None:
            raise self.error
        return ""


def make(stores: Stores, ingest_night: Any) -> None:
    """Two nights with all that can happen in them, for empty buckets and `SETTINGS`."""
    _first_night(stores, ingest_night)
    _retrain("approve")
    ingest_night(2)
    monitor.watch(NIGHTS[1])
    monitor.decide_trigger(NIGHTS[1], NIGHTS[1], "tester")
    _answer(stores)
    _retrain(None)
    _change_champions(stores)
    _tell(stores)
    _roll_up(stores)
    _tidy_up(stores)


def _first_night(stores: Stores, ingest_night: Any) -> None:
    ingest_night(1)
    rows = [row | ({"label": "so so"} if n < 3 else {}) for n, row in enumerate(some_rows(40))]
    for key, body in (
        (HELD_KEY, as_csv(rows)),
        (landing_key("again.csv", source="partner"), as_csv(rows)),
        (landing_key("other.csv", source="partner"), as_csv(some_rows(40, first=100))),
        (landing_key("junk.csv", source="partner"), b"no,such,columns\n1,2,3\n"),
    ):
        deliver(stores, key, body)
    CliRunner().invoke(app, ["ingest", "--night", NIGHTS[0], "--json"])
    deliver(stores, landing_key("other.csv", source="partner"), as_csv(some_rows(40, first=200)))
    CliRunner().invoke(app, ["ingest", "--night", NIGHTS[0], "--json"])
    held = delivery_digest(parse_name(HELD_KEY), as_csv(rows)).hexdigest()
    for action, chosen in (("release", None), ("discard", [0])):
        plan = replay.plan_replay(held, action, "upstream says so", chosen)
        replay.apply_replay(plan, "tester")
    replay.plan_replay(held, "discard", "thought over, and not done", [1])


def _retrain(answer: Any) -> None:
    plan = retrain.plan(retrain.take_snapshot())
    retrain.featurize(plan)
    manifest = retrain.train(plan)
    retrain.score(plan)
    decision = retrain.decide(retrain.verify(retrain.evaluate(manifest)))
    retrain.write_card(decision)
    if answer:
        promote.record_answer(decision, answer, "ops", "it reads well")
    assert promote.promote(decision, actor="test")


def _answer(stores: Stores) -> None:
    """A day of a scoring service, which the monitor judged."""
    champion = Registry(stores.models, "sentiment").log.champion()
    assert champion is not None
    put_answers(stores.reviews, NIGHTS[1], many_answers(champion.generation, champion.version))
    registry = Registry(stores.models, "sentiment")
    assert answers.judge_new(stores.reviews, registry, config.load(), until=NIGHTS[1])


def _change_champions(stores: Stores) -> None:
    registry = Registry(stores.models, "sentiment")
    newest = registry.log.history()[-1].version
    steps_rollback.apply_rollback(steps_rollback.plan_rollback("previous", "it is slow"), "ops")
    registry_rollback.release(registry, newest, actor="ops", reason="it is fast again")
    registry_rollback.pin(registry, newest, actor="ops", reason="the best so far")


def _tell(stores: Stores) -> None:
    settings = config.load().alerts
    fails = AlertChannelError(channel="webhook", why="busy", is_dead=False)
    is_dead = AlertChannelError(channel="mail", why="no such host")
    channels = [AChannel(fails), AChannel(is_dead, "mail")]
    notifier = Notifier(stores.reviews, channels, settings)
    notifier.notify(an_alert())
    notifier.notify(an_alert(identity="b" * 64))
    Notifier(stores.reviews, [AChannel()], settings).sweep()
    records.mark_looked(stores.reviews, Run(dag_id="reviews_ingest", run_id="manual__1"))


def _roll_up(stores: Stores) -> None:
    """As a night after some more of them would."""
    plan = retrain.plan(retrain.take_snapshot())
    with mock.patch.object(rollups, "FEWEST_NEW", 1):
        standings.every(stores.reviews, keeps=True)
        retrain.featurize(plan)
        Registry(stores.models, "sentiment").log.history(keeps=True)


def _tidy_up(stores: Stores) -> None:
    outgrown = Doomed(
        bucket="reviews", key="features/fp0-n2-b40/of-long-ago.npz", size_bytes=1,
        stored_at="2025-01-05T00:00:00+00:00", why="no rows that count have these features",
    )  # fmt: skip
    housekeeping.apply(
        stores.reviews, [Registry(stores.models, "sentiment")], [outgrown], actor="ops"
    )


class Fast(InMemory):
    """Without version tags, since nothing here asks whether an object was changed since."""

    def _info(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self.objects[key]), "tag")


def in_memory(reviews: dict[str, bytes], models: dict[str, bytes]) -> Stores:
    """The same objects without a server."""
    buckets = []
    for name, objects in (("reviews", reviews), ("models", models)):
        bucket = Fast()
        bucket.name, bucket.objects = name, dict(objects)
        buckets.append(bucket)
    return Stores(*buckets)
