"""Whatever answers in the store's place: a step ends as always, or says that the store is away.

Each step of the loop is counted in an undisturbed run. Then it is run again and again from the
same state, with one fault played to one of its requests. Afterwards it is repeated undisturbed,
and what it leaves must be what it leaves otherwise. ``LOOP_TEST_ATTACK_PLAYS`` says how many faults
each step meets; there are some twenty thousand, of which an even share is played.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from pipelines.alerts.alert import Run
from pipelines.cli.app import app
from pipelines.core.errors import (
    DeliveryHeldError,
    LoopError,
    ObjectMissingError,
    StoreUnavailableError,
)
from pipelines.core.record import sha256_of
from pipelines.core.store import keyring
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.stores import Stores
from pipelines.simulation.film_site import DroppedFile
from pipelines.steps import alerts, context, ingest, promote, replay, retrain, rollback
from tests.support.hostile.store import Fault, Hostile, Request, faults_for, hostile_store
from tests.support.made.builders import as_csv, deliver, landing_key, some_rows
from tests.support.services.alert_servers import web_server
from tests.support.services.s3_under_test import GIVEN_SERVER

pytestmark = [
    pytest.mark.long,
    pytest.mark.attack,
    pytest.mark.usefixtures("one_clean_room_per_model"),
    pytest.mark.timeout(1800),  # on a machine that does much else; alone, all take two minutes
]

# Per step; a real server takes its time.
PLAYS = int(os.environ.get("LOOP_TEST_ATTACK_PLAYS", "3" if GIVEN_SERVER else "12"))
DEAR = max(2, PLAYS // 2)  # for steps that reckon longer than they speak with the store
FIRST, SECOND = "2026-01-05", "2026-01-06"
BAD = landing_key("bad.csv", night=FIRST)
FUTURE = "2100-01-01T00:00Z"

_IS_AWAY = re.compile(
    "did not answer|not come from an S3 store|answered 50|no conclusive answer in"
)
_CACHED = re.compile(r'\\*"cached\\*": \d+,(\\n|\s)*\\*"computed\\*": \d+')
_TRAINED = re.compile(r'is_trained\\*": (true|false)')
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+0-9:]*")
# Entries with a time and a token, so their bytes differ each time; that they are there does not.
_TIMED = re.compile(r"/log/\d+\.json$|/replays/")

Objects = dict[str, bytes]
Say = Callable[[str], str]  # an earlier step's answer, for this test's buckets


# ── The steps ────────────────────────────────────────────────────────────────────────────────


def command(*arguments: str) -> Any:
    """What a command prints; the complaint that the store is away is the error it stands for."""
    result = CliRunner().invoke(app, [*arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    complaint = " ".join(result.stderr.split())
    if result.exit_code == 1 and _IS_AWAY.search(complaint):
        raise StoreUnavailableError(complaint)
    return [result.exit_code, result.stdout, complaint if result.exit_code else ""]


def pulled(_: Say) -> Any:
    """The files of a pulled champion, by digest."""
    with tempfile.TemporaryDirectory() as folder:
        command("champion", "pull", "--to", folder)
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {file.name: sha256_of(file.read_bytes()) for file in sorted(files)}


@dataclass(frozen=True)
class Step:
    """Something that is run; ``is_aside`` is undone before the next one."""

    name: str
    run: Callable[[Say], Any]
    is_aside: bool = False
    plays: int = PLAYS


def _landing_of(night: str) -> Callable[[Say], str]:
    return lambda say: next(
        uri for uri in json.loads(say(f"find {night}")) if not uri.endswith("bad.csv")
    )


def _bad(say: Say) -> str:
    return next(uri for uri in json.loads(say(f"find {FIRST}")) if uri.endswith("bad.csv"))


def _held(say: Say) -> str:
    return str(json.loads(say("list deliveries"))[0]["delivery"])


def _ingest_steps(night: str, plays: int = PLAYS) -> Iterator[Step]:
    of = _landing_of(night)
    yield Step(f"find {night}", lambda _: ingest.find_deliveries(night))
    yield Step(f"land {night}", lambda say: ingest.land(of(say), night), plays=plays)
    yield Step(f"validate {night}", lambda say: ingest.validate(say(f"land {night}")), plays=DEAR)
    yield Step(
        f"accept {night}",
        lambda say: ingest.accept(say(f"land {night}"), say(f"validate {night}")),
        plays=plays,
    )


def _retrain_steps(night: str, plays: int = PLAYS) -> Iterator[Step]:
    def task(verb: str, do: Callable[..., Any], after: str, plays: int = plays) -> Step:
        return Step(f"{verb} {night}", lambda say: do(say(f"{after} {night}")), plays=plays)

    yield Step(f"snapshot {night}", lambda _: retrain.take_snapshot(), plays=plays)
    yield task("plan", retrain.plan, "snapshot")
    yield task("has work", retrain.has_work, "plan")
    yield task("featurize", retrain.featurize, "plan")
    yield task("train", retrain.train, "plan", plays=DEAR)
    yield task("evaluate", retrain.evaluate, "train")
    yield task("verify", retrain.verify, "evaluate")
    yield task("decide", retrain.decide, "verify")
    yield task("write card", retrain.write_card, "decide")
    yield task("read decision", lambda uri: context.read_decision(uri).verdict, "decide")
    yield task("next step", lambda uri: promote.next_step(uri, is_dry_run=False), "decide")
    if night == FIRST:
        yield task(
            "answer", lambda uri: promote.record_answer(uri, "approve", "me", "ok"), "decide"
        )
    yield task("promote", lambda uri: promote.promote(uri, "me"), "decide", plays=PLAYS)
    yield task("confirm", promote.confirm, "promote", plays=PLAYS)


def _all_steps() -> Iterator[Step]:
    yield Step("command init", lambda _: command("init", "--json"))
    yield from list(_ingest_steps(FIRST))[:1]
    yield Step("command ingest", lambda _: command("ingest", "--night", FIRST), True, DEAR)
    yield from list(_ingest_steps(FIRST))[1:]
    yield Step("land bad", lambda say: ingest.land(_bad(say), FIRST))
    yield Step("hold bad", lambda say: ingest.validate(say("land bad")), plays=DEAR)
    yield Step("summarize", lambda _: ingest.summarize_night(FIRST))
    yield Step("check", lambda say: ingest.check_night(FIRST, json.loads(say(f"find {FIRST}"))))
    yield Step("list deliveries", lambda _: json.loads(command("delivery", "list", "--json")[1]))
    yield Step("show delivery", lambda say: command("delivery", "show", _held(say)))
    yield Step(
        "command release",
        lambda say: command("delivery", "release", _held(say), "--reason", "ok", "--yes"),
        True,
        DEAR,
    )
    yield Step("plan replay", lambda say: replay.plan_replay(_held(say), "release", "looked at"))
    yield Step("apply replay", lambda say: replay.apply_replay(say("plan replay"), "me"))
    yield Step("has released", lambda say: replay.has_released_reviews(say("apply replay")))
    yield Step("command retrain", lambda _: command("retrain", "--json"), True, DEAR // 2)
    yield from _retrain_steps(FIRST)
    yield from _ingest_steps(SECOND, plays=PLAYS // 2)
    yield from _retrain_steps(SECOND, plays=PLAYS // 2)
    yield Step("command retrain again", lambda _: command("retrain", "--json"), is_aside=True)
    for words in (
        "champion show", "champion history", f"champion at {FUTURE}", "champion fsck",
        "champion fsck --deep", "decision show", "decision card", "decision verify",
        "delivery list", "alerts list", "champion rollback --reason so",
    ):  # fmt: skip
        yield Step(f"command {words}", lambda _, words=words: command(*words.split()))
    yield Step("pull", pulled)
    yield Step("plan rollback", lambda _: rollback.plan_rollback("previous", "it is worse"))
    yield Step("roll back", lambda say: rollback.apply_rollback(say("plan rollback"), "me"))
    yield Step("confirm rollback", lambda say: promote.confirm(say("roll back")))


STEPS = list(_all_steps())


# ── What happened undisturbed ────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Moment:
    """One step of the undisturbed run: the state on either side, its answer and its requests."""

    before: tuple[Objects, Objects]
    after: tuple[Objects, Objects]
    answer: str
    requests: tuple[Request, ...]


@dataclass
class Chronicle:
    """The undisturbed run of all steps, and the key that signed in it."""

    moments: dict[str, Moment] = field(default_factory=dict)
    signing_key: bytes = b""


@pytest.fixture(scope="session")
def chronicle() -> Chronicle:
    """Filled by the first test of this process."""
    return Chronicle()


@pytest.fixture
def hostile(s3_server, stores, configure, monkeypatch) -> Iterator[Hostile]:
    """The proxy that all of the loop's own clients go through; `stores` goes past it."""
    configure(gate={"ask_for_first_model": True}, store={"max_attempts": 1})
    with hostile_store(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
        yield proxy


@dataclass
class World:
    """This test's buckets, what is in them, and the undisturbed run in their terms."""

    stores: Stores
    hostile: Hostile
    chronicle: Chronicle

    def say(self, name: str) -> str:
        answer = self.chronicle.moments[name].answer
        for which, bucket in zip(("REVIEWS", "MODELS"), self._buckets(), strict=True):
            answer = answer.replace(f"s3://{which}/", bucket.uri(""))
        return str(json.loads(answer)) if answer.startswith('"') else answer

    def run(self, step: Step) -> str:
        """The step's answer, or the error that is its answer, without names and times."""
        try:
            answer = json.dumps(step.run(self.say), default=str)
        except StoreUnavailableError:
            raise
        except LoopError as error:
            answer = f"{type(error).__name__}: {error}"
        answer = answer.replace(self.hostile.address, "ENDPOINT")
        answer = _CACHED.sub("AS MANY", answer)  # what was cached before the fault stays cached
        answer = _TRAINED.sub("IS TRAINED", answer)  # and what was trained, trained
        for which, bucket in zip(("REVIEWS", "MODELS"), self._buckets(), strict=True):
            answer = answer.replace(bucket.name, which)
        return _TIMES.sub("TIME", answer)

    def after(self, before: tuple[Objects, Objects], touched: set[str]) -> tuple[Objects, Objects]:
        """What the buckets hold, when only these paths can differ from an earlier state."""
        held = (dict(before[0]), dict(before[1]))
        for bucket, objects in zip(self._buckets(), held, strict=True):
            for key in _keys(bucket, touched):
                objects.pop(key, None)
                with contextlib.suppress(ObjectMissingError):
                    objects[key] = bucket.get(key)
        return held

    def restore(self, wanted: tuple[Objects, Objects], touched: set[str] | None = None) -> None:
        """Put the buckets, empty or different in the touched paths only, into a state."""
        for bucket, objects in zip(self._buckets(), wanted, strict=True):
            keys = set(objects) if touched is None else _keys(bucket, touched)
            for key in keys:
                bucket.put(key, objects[key]) if key in objects else bucket.delete(key)

    def paths(self) -> set[str]:
        """The paths of all that there is."""
        return {f"/{bucket.name}/{info.key}" for bucket in self._buckets()
                for info in bucket.list("")}  # fmt: skip

    def _buckets(self) -> tuple[Bucket, Bucket]:
        return self.stores.reviews, self.stores.models


@pytest.fixture
def world(
    stores: Stores, hostile: Hostile, chronicle: Chronicle, nightly_deliveries: list[DroppedFile]
) -> World:
    """Buckets in which nothing is yet, beside the undisturbed run."""
    made = World(stores, hostile, chronicle)
    if chronicle.moments:
        path = keyring.development_key_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chronicle.signing_key)
    else:
        for delivery in nightly_deliveries:
            deliver(stores, delivery.key, delivery.body)
        deliver(stores, BAD, as_csv(some_rows(3, night=FIRST)))
        landed = {f"/{stores.reviews.name}/{info.key}" for info in stores.reviews.list("")}
        now = made.after(({}, {}), landed)
        try:
            for step in STEPS:
                now = _record(step, made, now)
        except BaseException:  # half of a run is none: the next test makes it again
            chronicle.moments.clear()
            raise
        chronicle.signing_key = keyring.development_key_path().read_bytes()
        made.restore(({}, {}), made.paths())
    return made


def _record(step: Step, world: World, before: tuple[Objects, Objects]) -> tuple[Objects, Objects]:
    """Run the step undisturbed; returns the state after it."""
    world.hostile.start_over()
    answer = world.run(step)
    requests = tuple(world.hostile.requests)
    after = world.after(before, written(world))
    world.chronicle.moments[step.name] = Moment(before, after, answer, requests)
    if not step.is_aside:
        return after
    world.restore(before, written(world))
    return before


def _keys(bucket: Bucket, paths: set[str]) -> set[str]:
    start = f"/{bucket.name}/"
    return {path.removeprefix(start) for path in paths
            if path.startswith(start) and "/probes/" not in path}  # fmt: skip


def comparable(objects: tuple[Objects, Objects]) -> list[dict[str, bytes]]:
    return [
        {key: b"" if _TIMED.search(key) else data for key, data in bucket.items()}
        for bucket in objects
    ]


# ── The attack ───────────────────────────────────────────────────────────────────────────────


def plays_of(requests: tuple[Request, ...], most: int, offset: int) -> list[tuple[int, str, Fault]]:
    """Which fault is played to which request: all of them, or an even share."""
    every = [
        (number, name, fault)
        for number, request in enumerate(requests)
        for name, fault in faults_for(request.kind).items()
    ]
    step = max(1, len(every) // most)
    return every[offset % step :: step][:most]


def attack(world: World, step: Step, number: int, fault: Fault) -> tuple[bool, str | None]:
    """Run the step with a fault; whether it is done, and what is wrong with how that ended."""
    moment = world.chronicle.moments[step.name]
    world.hostile.start_over({number: fault})
    try:
        answer = world.run(step)
    except StoreUnavailableError:
        return False, None
    except Exception as error:  # noqa: BLE001  whatever else leaves a step is what is looked for
        return False, f"{type(error).__name__}: {error}"
    is_alike = without_card_problem(answer) == without_card_problem(moment.answer)
    return True, None if is_alike else f"answered {answer}"


def without_card_problem(answer: object) -> str:
    """What was answered, apart from a card that a store which is away kept from being drawn."""
    away = r'card_problem\\*": \\*"cannot [^\n]*? the store at ENDPOINT .*?(?=,\\+n *\\*"features)'
    return re.sub(away, r'card_problem\\": null', str(answer))


def written(world: World) -> set[str]:
    """The paths of what this run's requests may have changed."""
    return {
        unquote(request.target.partition("?")[0])
        for request in world.hostile.requests
        if request.method in {"PUT", "DELETE"}
    }


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_ends_as_always_or_says_that_the_store_is_away(world, step, counted):
    moment = world.chronicle.moments[step.name]
    world.restore(moment.before)
    plays = plays_of(moment.requests, step.plays, offset=STEPS.index(step))
    wrong, touched = [], set()

    for number, name, fault in plays:
        is_done, what = attack(world, step, number, fault)
        touched |= written(world)
        request = moment.requests[number]
        if what is not None:
            wrong.append(f"{name}, to {request.method} {request.target[:90]}: {what[:300]}")
        if request.method in {"PUT", "DELETE"} and not is_done:
            world.hostile.start_over()
            assert world.run(step) == moment.answer, f"repeated after {name}"
            touched |= written(world)
        if (number, name) != plays[-1][:2]:
            world.restore(moment.before, touched)
    world.hostile.start_over()
    repeated = world.run(step)

    counted("replies", world.hostile.played)
    assert wrong == []
    assert repeated == moment.answer
    left = world.after(({}, {}), world.paths())
    assert comparable(left) == comparable(moment.after)
    assert world.hostile.played > 0 or not plays


def test_people_are_told_in_the_end_whatever_answers_in_between(
    stores, hostile, configure, monkeypatch, counted
):
    configure(alerts={"retry_after_minutes": 1e-6, "webhook": {"is_enabled": True}})
    uri = deliver(stores, BAD, as_csv(some_rows(3, night=FIRST)))
    arrival = ingest.land(uri, FIRST)
    with pytest.raises(DeliveryHeldError):
        ingest.validate(arrival)
    run = Run(dag_id="reviews_ingest", run_id="night")
    untold = []

    with web_server() as posts:
        monkeypatch.setenv("LOOP_WEBHOOK_URL", posts.url)
        hostile.start_over()
        alerts.alert_night(run, FIRST, [uri])
        plays = plays_of(tuple(hostile.requests), 2 * PLAYS, offset=1)
        for number, name, fault in plays:
            for info in stores.reviews.list("alerts/"):
                stores.reviews.delete(info.key)
            posts.received.clear()
            hostile.start_over({number: fault})
            alerts.alert_night(run, FIRST, [uri])
            hostile.start_over()
            alerts.alert_night(run, FIRST, [uri])
            kinds = {json.loads(message.body)["kind"] for message in posts.received}
            if "held_delivery" not in kinds:
                untold.append((number, name, kinds))

    counted("replies", hostile.played)
    assert untold == []
