"""No bad record and no hostile value makes a page a 500, acts on it, or hides the rest of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.core import links
from pipelines.core.errors import DataError, SignatureError
from pipelines.core.keys import alert_key
from pipelines.core.record import canonical_json
from pipelines.core.store import signing
from pipelines.intake import landing
from pipelines.pages.site import Reply
from pipelines.records.deliveries import Delivery, MissingDelivery, Outcome, Receipt
from pipelines.records.validations import Basis, RuleResult, Validation
from tests.support import sealing
from tests.support.in_memory import InMemory
from tests.support.made.registry_builders import a_version, decided, promoted
from tests.support.made.window_builders import a_trigger, a_window
from tests.support.page_site import Pages, links_of

pytestmark = pytest.mark.attack

NIGHT = "2026-01-05"
GOOD, BAD = "a" * 64, "b" * 64
EVIL = '<script>evil()</script><img src=x onerror="evil()">{{7*7}}\u202e\x07'
RUN = "manual__1"


def a_validation(delivery: str) -> Validation:
    rule = RuleResult(rule="row_count", severity="critical", is_passed=False, observed=1.0,
                      limit="at least 20", rows=1, sentence="It has 1 row.")  # fmt: skip
    basis = Basis(rules=GOOD, before=NIGHT, known=GOOD, trailing=(), champion=None)
    return Validation(
        delivery=delivery, verdict="HELD", why="It has 1 row.", basis=basis, delivered_rows=1,
        accepted_rows=0, quarantined_rows=0, held_rows=1, reasons={}, rules=(rule,), accepted=None,
        quarantined=None, page_sha256=GOOD,
    )  # fmt: skip


BASIS = a_validation(GOOD).basis.digest()[:16]


def held(bucket: InMemory, delivery: str, name: str) -> dict[str, str]:
    """A held delivery as the ledger has it; the keys of its records by kind."""
    key, tag = f"landing/web/{NIGHT}/{name}", name
    rows = {"delivered_rows": 1, "accepted_rows": 0, "quarantined_rows": 0, "held_rows": 1}
    records = {
        "delivery": Delivery(
            sha256=delivery, source="web", landing_key=key, file_format="csv", is_gzipped=False,
            size_bytes=1, night=NIGHT, raw_key=None,
        ),
        "outcome": Outcome(
            delivery=delivery, source="web", night=NIGHT, landing_key=key, version_tag=tag,
            counted_in=NIGHT, verdict="HELD", why="It has 1 row.", accepted=None, quarantined=None,
            validation_key=a_validation(delivery).object_key, **rows,
        ),
        "validation": a_validation(delivery),
        "receipt": Receipt(
            landing_key=key, version_tag=tag, night=NIGHT, delivery=delivery, verdict="HELD",
            why="It has 1 row.", **rows,
        ),
    }  # fmt: skip
    for record in records.values():
        bucket.put_record(record)
    return {kind: record.object_key for kind, record in records.items()}


@dataclass
class World:
    """Two held deliveries, a silent source, two champions: everything that pages tell of."""

    pages: Pages = field(default_factory=Pages)

    def __post_init__(self) -> None:
        reviews, registry = self.pages.reviews, self.pages.registry
        held(reviews, GOOD, "good.csv")
        self.bad = held(reviews, BAD, "bad.csv")
        reviews.put_record(MissingDelivery(
            night=NIGHT, source="app", expected_every_days=1, last_delivered_for=None))  # fmt: skip
        self.window, self.trigger = a_window(NIGHT, "DRIFT"), a_trigger()
        reviews.put_record(self.window)
        reviews.put_record(self.trigger)
        first = promoted(registry, "one")
        self.newest = promoted(registry, "two", against=first)
        self.other, _ = decided(registry, a_version(registry, "three"), against=self.newest)
        for dag, task, value in (
            ("reviews_ingest", "summarize_night", {"night": NIGHT}),
            ("sentiment_retrain", "decide", registry.models.uri(self.newest.decision_key)),
            ("sentiment_retrain", "promote", registry.models.uri(registry.log.key(2))),
            ("sentiment_rollback", "apply_rollback", registry.models.uri(registry.log.key(2))),
            ("sentiment_monitor", "watch", [reviews.uri(self.window.object_key)]),
            ("sentiment_monitor", "decide_trigger", reviews.uri(self.trigger.object_key)),
        ):
            self.returned(dag, task, value)
        for dag in links.DAGS:
            self.pages.answers["GET", f"/dags/{dag}/dagRuns/{RUN}"] = Reply(200, {
                "state": "success", "start_date": "2026-01-06T02:00:00Z"})  # fmt: skip

    def returned(self, dag: str, task: str, value: object) -> None:
        path = f"/dags/{dag}/dagRuns/{RUN}/taskInstances/{task}/xcomEntries/return_value"
        self.pages.answers["GET", path] = Reply(200, {"value": value})

    def planted(self) -> dict[str, tuple[InMemory, str]]:
        """Where a bad record is planted: one key of each kind."""
        reviews, models, log = self.pages.reviews, self.pages.models, self.pages.registry.log.key
        of_version = self.newest.decision_key.rpartition("/")[0]
        return {
            **{kind: (reviews, key) for kind, key in self.bad.items()},
            "missing": (reviews, f"missing/{NIGHT}/app.json"),
            "replay": (reviews, f"deliveries/{BAD}/replays/000001.json"),
            "report": (reviews, f"reports/{BAD}/{BASIS}/report.html"),
            "alert": (reviews, alert_key(BAD)),
            "claim": (reviews, f"alerts/{BAD}/webhook/001.json"),
            "window": (reviews, self.window.object_key),
            "trigger": (reviews, self.trigger.object_key),
            "log": (models, log(2)),
            "log ahead": (models, log(9)),
            "decision": (models, self.newest.decision_key),
            "evaluation": (models, f"{of_version}/evaluation.json"),
            "approval": (models, f"{of_version}/approval.json"),
            "check": (models, f"{of_version}/artefact_check.json"),
            "card": (models, f"{of_version}/card.md"),
            "manifest": (models, self.pages.registry.versions.key(self.newest.version)),
            "hint": (models, "sentiment/champion.json"),
        }

    @property
    def paths(self) -> list[str]:
        decision = links.decision_link(self.newest.decision_key).removeprefix(links.ROOT)
        return [
            "/monitoring", f"/monitoring?until={NIGHT}", f"/monitoring/{NIGHT}", "/metrics",
            "/champion", "/champion?at=2026-01-05T03:00", "/decisions", decision,
            f"{decision}/card", "/incidents", f"/incidents?until={NIGHT}", f"/incidents/{BAD}",
            f"/incidents/{GOOD}", f"/incidents/missing/{NIGHT}/app", f"/reports/{BAD}/{BASIS}",
            *(f"/runs/{dag}/{RUN}" for dag in links.DAGS),
        ]  # fmt: skip


def _changed(data: bytes, **values: object) -> bytes:
    return canonical_json(json.loads(data) | values)


def _filled(data: bytes, text: object) -> bytes:
    """Every text of the record replaced."""
    record = json.loads(data)
    return canonical_json({name: text if isinstance(value, str) else value
                           for name, value in record.items()})  # fmt: skip


@cache
def _long(chars: int) -> str:
    return "x" * chars


HUGE = 10**4_200
FAULTS = {
    "empty": lambda data: b"",
    "torn": lambda data: data[: len(data) // 2],
    "not JSON": lambda data: EVIL.encode(),
    "not UTF-8": lambda data: b"\xff\xfe" + data,
    "null": lambda data: b"null",
    "a list": lambda data: b"[[]]",
    "deep": lambda data: b"[" * 100_000,
    "foreign": lambda data: canonical_json({"schema_version": 99, "why": EVIL}),
    "another kind": lambda data: a_validation(GOOD).to_bytes(),
    "markup in every text": lambda data: _filled(data, EVIL),
    "no text in any": lambda data: _filled(data, ""),
    "slashes in every text": lambda data: _filled(data, "a/b/../c//d"),
    "surrogates": lambda data: _filled(data, "x").replace(b'"x"', b'"\\ud800"'),
    "long texts": lambda data: _filled(data, _long(200_000)),
    "oversized": lambda data: _filled(data, _long(3_000_000)),
    "huge numbers": lambda data: re.sub(rb":(\d+)", b":" + str(HUGE).encode(), data),
    "negative": lambda data: re.sub(rb":(\d+)", b":-1", data),
    "another night": lambda data: _changed(data, night="9999-99-99"),
    "another source": lambda data: _changed(data, source="a/../b"),
    "another delivery": lambda data: _changed(data, delivery=GOOD),
    "another key": lambda data: _changed(data, landing_key="landing/x", validation_key="x/y"),
    "another decision": lambda data: _changed(data, decision_key="decision.json", at="no moment"),
}
KINDS = tuple(World().planted())


def faulty(world: World, kind: str, fault: str) -> None:
    """Spoil a record, under a seal that is right: pages must not stand on the seal alone."""
    bucket, key = world.planted()[kind]
    body = bucket.objects.get(key, b"")
    try:
        seal = signing.read_seal(body, uri=key)
    except SignatureError:  # there is no record, or it is a file that a record names
        bucket.objects[key] = FAULTS[fault](a_validation(BAD).to_bytes())
        return
    payload = FAULTS[fault](body.partition(b"\n")[2])
    bucket.objects[key] = sealing.seal(payload, kind=seal["kind"], place=seal["place"])


def check(world: World) -> None:
    """Every page is there, holds no markup of a record, and the good records are on it."""
    with world.pages.client as client:
        replies = {path: client.get(path) for path in world.paths}
    shown = {}
    for path, reply in replies.items():
        shown[path] = reply.text
        assert reply.status_code in {200, 404, 409}, (path, reply.status_code, reply.text[-600:])
        assert "<script>evil" not in reply.text, path
        assert "<img" not in reply.text, path
        assert "\u202e" not in reply.text, path
        assert len(reply.text) < 5_000_000, path
        assert not [one for one in links_of(reply.text) if "evil" in one or ".." in one], path
    assert f"/retraining/incidents/{GOOD}" in links_of(shown["/incidents"])
    assert "good.csv" in shown[f"/incidents/{GOOD}"]
    assert links.decision_link(world.other) in links_of(shown["/decisions"])
    assert "Who was champion at a given time?" in shown["/champion"]


@pytest.mark.quick_every(9)  # which has each kind and each fault
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_bad_record_makes_a_page_a_500_or_hides_another(kind, fault):
    world = World()
    faulty(world, kind, fault)

    check(world)
    if kind != "log":
        assert "good.csv" in world.pages.get(f"/runs/reviews_ingest/{RUN}").text


@pytest.mark.parametrize("fault", ["empty", "torn", "markup in every text"])
def test_a_log_that_cannot_be_trusted_is_said_on_the_page_and_nothing_of_it_is_shown(fault):
    world = World()
    faulty(world, "log", fault)

    shown = world.pages.get("/champion?at=2026-01-05T03:00")

    assert shown.status_code == 200
    assert "The champion log cannot be trusted" in shown.text
    assert "champion fsck" in shown.text
    assert world.newest.version not in shown.text
    assert "Retrain now" in shown.text


# Names that no record of ours has

STRAY = [
    "receipts/x", "receipts/zzz/x", "receipts//x", f"receipts/{NIGHT}/", f"receipts/{NIGHT}/a/b/c",
    f"receipts/{NIGHT}/{EVIL}", f"receipts/{'9' * 900}/x", "receipts/0001-01-01/x.json",
    f"missing/{NIGHT}/a/b.json", f"missing/{NIGHT}/{EVIL}.json", f"missing/{NIGHT}/.json",
    "missing/9999-99-99/web.json", f"missing/{NIGHT}/..json", "deliveries/x/outcome.json",
    "deliveries//outcome.json", f"deliveries/{EVIL}/outcome.json", f"deliveries/{GOOD}/replays/x",
    f"deliveries/{BAD}/replays/{'9' * 800}.json", "alerts/x", f"alerts/{EVIL}/webhook/001.json",
    "sentiment/versions/x/gates/decision.json", "sentiment/versions/x/gates/y/decision.json",
    f"sentiment/versions/{EVIL}/gates/{EVIL}/decision.json",
    "sentiment/versions/gates/decision.json",
    "sentiment/versions//gates//decision.json", f"sentiment/log/{'9' * 900}.json",
    "sentiment/log/\u0663.json", "sentiment/log/x", f"landing/web/2062-01-05/{EVIL}.csv",
    f"landing/web/9999-12-31/{'x' * 900}.csv", f"landing/web/{NIGHT}/\x00.csv", "landing/\ufffd",
    "landing/web/2026-13-45/x.csv", "landing//", "landing/../x",
]  # fmt: skip


@pytest.mark.quick_every(4)
@pytest.mark.parametrize("key", STRAY, ids=ascii)
def test_no_stray_object_makes_a_page_a_500_or_hides_a_record(key):
    world = World()
    world.pages.reviews.objects[key] = b"{"
    world.pages.models.objects[key] = a_validation(GOOD).to_bytes()

    check(world)


# What Airflow and readers may say

XCOM = [
    None, True, 0, -1, HUGE, 1e308, "", " ", EVIL, [], [[]], {}, {"night": None}, {"night": EVIL},
    {"night": "../.."}, {"night": "0001-01-01"}, {"night": _long(5_000)}, {"night": ["x"]},
    {"night": NIGHT, "set_aside": EVIL}, {"night": NIGHT, "set_aside": [EVIL, None, {}, [[]]]},
    {"night": NIGHT, "set_aside": [{"landing_key": EVIL, "delivered_for": EVIL, "why": EVIL,
                                    "needs_person": True}]},
    "s3://memory/", "s3://memory/x", f"s3://memory/{EVIL}", f"s3://memory/{_long(3_000)}",
    "s3://memory/../../etc/passwd", "s3://memory/sentiment/log/" + "9" * 5_000 + ".json",
    "s3://memory/sentiment/log/\u0663.json", "s3://memory/sentiment/log/00000009.json",
    "s3://memory/sentiment/log/-1.json", "s3://memory/sentiment/log/1.json", "s3://other/x",
    f"s3://memory/sentiment/versions/{'a' * 20}/gates/00000000-{'d' * 16}/decision.json",
    "s3://memory/sentiment/versions/x/gates/y/decision.json", "s3://memory/\ud800",
    f"s3://memory/deliveries/{GOOD}/outcome.json", f"s3://memory/receipts/{NIGHT}",
    f"s3://memory/deliveries/{GOOD}/replay-plans/{'0' * 20}.json",
    f"s3://memory/deliveries/{BAD}/replays/000001.json", ["x"], [None, {}, HUGE],
    [f"s3://memory/monitoring/sentiment/windows/2026-01/2026-01-05-001-{'0' * 9}-{'0' * 16}.json"],
    f"s3://memory/monitoring/sentiment/triggers/2026-01/2026-01-05-{'0' * 16}.json",
]  # fmt: skip
TELLING = [(dag, task) for dag in links.DAGS for task in (
    "summarize_night", "take_snapshot", "plan", "has_work", "decide", "promote", "plan_rollback",
    "apply_rollback", "plan_replay", "apply_replay", "note_start", "watch",
    "decide_trigger")]  # fmt: skip


@pytest.mark.quick_every(4)
@pytest.mark.parametrize("value", XCOM, ids=lambda value: ascii(value)[:40])
def test_no_result_of_a_task_makes_a_run_report_a_500(value):
    world = World()
    faulty(world, "replay", "torn")
    for dag, task in TELLING:
        world.returned(dag, task, value)

    check(world)


@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"state": EVIL, "start_date": EVIL}])
def test_no_answer_of_airflow_makes_a_run_report_a_500(body):
    world = World()
    for where in world.pages.answers:
        world.pages.answers[where] = Reply(200, body)

    check(world)


QUERIES = [
    "at=%00", "at=%ff", f"at={quote(EVIL)}", "at=0001-01-01T00:00%2B23:59",
    "at=9999-12-31T23:59-23:59",
    "at=" + "9" * 5_000, "at=2026-01-05T03:00&at=x", "at=2026-W01-1", "at=24:00", "at=-1",
    "page=0", "page=-1", "page=" + "9" * 5_000, "page=1e9", "page=x", "page=%00", "page=1&page=2",
    "until=0001-01-01", "until=9999-12-31", "until=%ff", "until=2026-02-30", f"until={quote(EVIL)}",
    "until=2026-01-05%0a", "until=" + "0" * 5_000, "x=" * 500, "%", "&&&=", "reason=" + quote(EVIL),
    "rows=" + "[" * 5_000, "rows=[1e999]", "seed=NaN", "delivery=%ff", "dry_run=false",
    "dry_run=%00",
]  # fmt: skip


@pytest.mark.quick_every(4)
@pytest.mark.parametrize("query", QUERIES, ids=lambda one: one[:40])
def test_no_query_makes_a_page_a_500(query):
    world = World()
    for dag in links.DAGS:
        world.pages.answers["GET", f"/dags/{dag}/details"] = Reply(200, {
            "dag_id": dag, "doc_md": None, "params": {
                "rows": {"value": None, "schema": {"type": ["null", "array"]}},
                "delivery": {"schema": {"type": "string"}}, "seed": {"schema": {"type": "integer"}},
                "dry_run": {"value": True, "schema": {"type": "boolean"}}}})  # fmt: skip
    client = world.pages.client

    for path in (*world.paths, *(f"/forms/{dag}" for dag in links.DAGS)):
        reply = client.get(f"{path.partition('?')[0]}?{query}")
        assert reply.status_code in {200, 400, 404}, (path, reply.status_code)
        assert "<script>evil" not in reply.text
        assert "\u202e" not in reply.text


# Pure parts, for any text


@given(st.text(st.characters(codec=None)) | st.sampled_from(["/".join("abcdef"), "a/b/c/d"]))
def test_a_link_is_made_of_a_known_key_or_of_none(key):
    for made in (links.decision_link(key), links.card_link(key), links.report_link(key)):
        assert re.fullmatch(r"(/retraining/(decisions|reports)/[0-9a-f/-]+(card)?)?", made)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(codec=None)).map(lambda text: f"landing/{text}"))
def test_any_key_below_landing_is_understood(key):
    bucket = InMemory()
    bucket.objects[key] = b"x"
    day = landing.parse_name(key).delivered_for

    for night in (NIGHT, "2199-12-31", "1900-01-01"):
        aside = landing.set_aside(bucket, night)
        assert all(one.landing_key.isprintable() for one in aside)
        try:
            due = landing.discover(bucket, night, most=9)
        except DataError:
            continue  # after today
        assert not (due and aside)
        assert day is None or day.isoformat() <= night or due == []


def test_a_forged_report_is_not_shown_but_drawn_from_the_record():
    world = World()
    bucket, key = world.planted()["report"]
    bucket.objects[key] = b"<script>evil()</script>All is well."

    reply = world.pages.get(f"/reports/{BAD}/{BASIS}")

    assert reply.status_code == 200
    assert "It has 1 row." in reply.text
    assert "All is well" not in reply.text
    assert reply.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_a_file_that_no_night_takes_up_is_an_incident():
    world = World()
    world.pages.reviews.objects["landing/web/2062-01-05/a.csv"] = b"x"

    shown = world.pages.get("/incidents").text

    assert "SET_ASIDE" in shown
    assert "It is dated 2062-01-05" in shown
