"""Three verdicts: evidence against, everything looked at, or neither."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from pipelines.core import config
from pipelines.serving.bake import (
    GOLDEN_BATCH,
    MOST_REPLY_BYTES,
    Looks,
    Observation,
    Question,
    judge,
)
from pipelines.serving.http.app import make_app
from tests.support.made.served_builders import (
    MadeUpSource,
    a_service,
    answers_of,
    golden_set,
    model_of,
)

POLICY = config.load().serving.bake.model_copy(
    update={"deadline_seconds": 120, "min_seconds": 60, "max_seconds": 600, "min_requests": 100,
            "max_error_share": 0.01, "max_cpu_milliseconds": 500}
)  # fmt: skip
GOOD = Observation("http://a", generation=7, golden_difference=0.0, requests=100, errors=1,
                   cpu_p99_milliseconds=20.0)  # fmt: skip
QUIET = replace(GOOD, requests=3, errors=0)
NOT_ASKED = replace(GOOD, requests=0, errors=0, cpu_p99_milliseconds=None)
GONE = Observation("http://a", trouble="ConnectError")

TABLE = {
    # what the services show, seconds waited, verdict, whether it ends
    "all is well": ([GOOD], 0, "PASS", True),
    "all of several": ([GOOD, GOOD], 0, "PASS", True),
    "few requests, too early": ([QUIET], 59, "INCONCLUSIVE", False),
    "few requests, long enough": ([QUIET], 60, "PASS", True),
    "no request at all, too early": ([NOT_ASKED], 59, "INCONCLUSIVE", False),
    "no request at all, long enough": ([NOT_ASKED], 60, "PASS", True),
    "one of two is quiet": ([GOOD, QUIET], 30, "INCONCLUSIVE", False),
    "a later champion": ([replace(GOOD, generation=8, requests=None)], 0, "PASS", True),
    # evidence
    "refused": ([replace(GOOD, generation=6, refused="sha256")], 0, "FAIL", True),
    "other answers": ([replace(GOOD, golden_difference=1e-6)], 0, "FAIL", True),
    "no probability": ([replace(GOOD, golden_difference=math.inf)], 0, "FAIL", True),
    "not a number": ([replace(GOOD, golden_difference=math.nan)], 0, "FAIL", True),
    "errors": ([replace(GOOD, errors=2)], 0, "FAIL", True),
    "slow": ([replace(GOOD, cpu_p99_milliseconds=501.0)], 0, "FAIL", True),
    "one of two refused": ([GOOD, replace(GOOD, refused="sha256")], 0, "FAIL", True),
    "refused, the other is gone": ([GONE, replace(GOOD, refused="x")], 0, "FAIL", True),
    # no evidence yet: too few requests to blame the champion
    "three errors of three": ([replace(QUIET, errors=3)], 0, "INCONCLUSIVE", False),
    "slow once": ([replace(QUIET, cpu_p99_milliseconds=9e9)], 0, "INCONCLUSIVE", False),
    # missing or erroring
    "unreachable": ([GONE], 0, "INCONCLUSIVE", False),
    "unreachable at the deadline": ([GONE], 120, "INCONCLUSIVE", True),
    "one of two unreachable": ([GOOD, GONE], 60, "INCONCLUSIVE", False),
    "still the old one": ([replace(GOOD, generation=6)], 119, "INCONCLUSIVE", False),
    "still the old one at the deadline": ([replace(GOOD, generation=6)], 120, "INCONCLUSIVE", True),
    "no generation": ([replace(GOOD, generation=None)], 60, "INCONCLUSIVE", False),
    "no golden answers": ([replace(GOOD, golden_difference=None)], 599, "INCONCLUSIVE", False),
    "no golden answers at the end": ([replace(GOOD, golden_difference=None)], 600,
                                     "INCONCLUSIVE", True),
    "no count of requests": ([replace(GOOD, requests=None)], 599, "INCONCLUSIVE", False),
    "no count of errors": ([replace(GOOD, errors=None)], 599, "INCONCLUSIVE", False),
    "no processor time": ([replace(GOOD, cpu_p99_milliseconds=None)], 599, "INCONCLUSIVE", False),
    "no metric at the end": ([replace(GOOD, requests=None)], 600, "INCONCLUSIVE", True),
    "nobody": ([], 0, "INCONCLUSIVE", False),
}  # fmt: skip


@pytest.mark.parametrize(("seen", "waited", "verdict", "is_final"), TABLE.values(), ids=TABLE)
def test_the_verdict_on_what_the_services_show(seen, waited, verdict, is_final):
    judgement = judge(seen, 7, waited, POLICY)

    assert (judgement.verdict, judgement.is_final) == (verdict, is_final)
    assert judgement.reasons
    assert all(judgement.reasons)


def test_golden_answers_alone_do_not_pass_where_requests_are_demanded():
    demanding = POLICY.model_copy(update={"needs_requests": True})

    assert judge([QUIET], 7, 599, demanding).verdict == "INCONCLUSIVE"
    assert judge([QUIET], 7, 600, demanding).is_final


def test_an_error_among_few_requests_does_not_pass_by_the_golden_answers():
    assert judge([replace(QUIET, errors=3)], 7, 60, POLICY).verdict == "INCONCLUSIVE"


# ── Asking ───────────────────────────────────────────────────────────────────────────────────


def a_question(generation=1, number=1, **changes):
    values = {
        "entry_uri": "s3://models/sentiment/log/00000001.json",
        "generation": generation,
        "version": f"{generation:020x}",
        "addresses": ("http://service",),
        "expected": answers_of(model_of(number)),
        "began": 0.0,
    }
    return Question(**(values | changes))


def observed(transport, question, texts=None):
    async def ask():
        async with httpx.AsyncClient(transport=transport) as client:
            return await Looks(question, texts or golden_set().texts).look(client)

    (one,) = asyncio.run(ask())
    return one


def test_a_service_is_asked_the_golden_set_through_http_and_that_is_no_traffic():
    service = a_service()

    one = observed(httpx.ASGITransport(make_app(service)), a_question())

    assert one == Observation("http://service", generation=1, golden_difference=0.0,
                              requests=0, errors=0)  # fmt: skip
    assert service.champions.current.traffic.requests == 0


def test_a_service_that_answers_otherwise_is_seen():
    transport = httpx.ASGITransport(make_app(a_service(MadeUpSource(2))))

    assert observed(transport, a_question(number=1)).golden_difference > 1e-9
    assert observed(transport, a_question(number=2, version="f" * 20)).golden_difference == math.inf
    assert observed(transport, a_question(number=2, expected=(0.5,))).golden_difference == math.inf


def test_each_service_is_asked_the_golden_set_once_after_each_of_its_swaps():
    service = a_service()
    app, asked = make_app(service), []

    async def counted(scope, receive, send):
        asked.append(scope["path"])
        await app(scope, receive, send)

    async def look_often():
        looks = Looks(a_question(), golden_set().texts)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(counted)) as client:
            seen = [(await looks.look(client))[0] for _ in range(3)]
            first = asked.count("/v1/score")
            again = replace(service.champions.current, began=datetime(2026, 1, 1, tzinfo=UTC))
            service.champions.current = again  # as after a restart of the service
            return [*seen, *(await looks.look(client))], first

    seen, first = asyncio.run(look_often())

    assert [one.golden_difference for one in seen] == [0.0] * 4
    assert asked.count("/status") == 4
    assert asked.count("/v1/score") == 2 * first
    assert first == -(-len(golden_set().texts) // GOLDEN_BATCH)


def test_a_busy_machine_is_no_evidence():
    service = a_service()
    traffic = service.champions.current.traffic
    for _ in range(100):
        traffic.count(3_600.0, is_error=False)  # each client waited for an hour
        traffic.cpu_seconds.append(0.001)

    one = observed(httpx.ASGITransport(make_app(service)), a_question())

    assert one.cpu_p99_milliseconds == pytest.approx(1.0)
    assert judge([one], 1, 0, POLICY).verdict == "PASS"


def test_a_service_that_refused_the_champion_says_why(monkeypatch):
    source = MadeUpSource(1)
    service = a_service(source)
    source.promote(2)
    monkeypatch.setattr(source, "load", lambda _generation: 1 / 0)
    service.champions.look()

    one = observed(httpx.ASGITransport(make_app(service)), a_question(generation=2))

    assert one.generation == 1
    assert one.refused.startswith("ZeroDivisionError")


STATUS = {
    "champion": {"generation": 1}, "refused": None,
    "traffic": {"requests": 5, "errors": 0, "cpu_p99_milliseconds": 2.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"champion": None}, "generation"),
        ({"champion": {"generation": "1"}}, "generation"),
        ({"champion": {"generation": True}}, "generation"),
        ({"traffic": None}, "requests"),
        ({"traffic": {}}, "errors"),
        ({"traffic": {"requests": -1}}, "requests"),
        ({"traffic": {"requests": 1.5}}, "requests"),
        ({"traffic": {"cpu_p99_milliseconds": "fast"}}, "cpu_p99_milliseconds"),
    ],
)
def test_what_a_service_does_not_say_properly_counts_as_not_said(change, field):
    reply = json.dumps(STATUS | change)
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, text=reply))

    one = observed(transport, a_question(expected=()))

    assert getattr(one, field) is None
    assert judge([one], 1, 60, POLICY).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    "reply",
    [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(404),
     httpx.Response(302, headers={"location": "http://elsewhere"})],
)  # fmt: skip
def test_a_status_that_is_none_is_trouble(reply):
    one = observed(httpx.MockTransport(lambda _request: reply), a_question())

    assert one.trouble
    assert judge([one], 1, 60, POLICY).verdict == "INCONCLUSIVE"


def test_a_status_that_is_no_object_says_nothing():
    one = observed(
        httpx.MockTransport(lambda _request: httpx.Response(200, text="[]")), a_question()
    )

    assert one.generation is None


def test_a_service_whose_golden_answers_are_no_answers_is_trouble():
    def reply(request):
        is_status = request.url.path == "/status"
        return httpx.Response(200, text=json.dumps(STATUS if is_status else {"generation": 1}))

    assert observed(httpx.MockTransport(reply), a_question()).trouble


def golden_answers(*probabilities):
    """What a service answers to three golden texts; a text is taken as it is."""
    one = ", ".join(f'{{"probability": {each}}}' for each in probabilities)
    return f'{{"generation": 1, "version": "{1:020x}", "predictions": [{one}]}}'


def replying(status=STATUS, golden="{}"):
    def reply(request):
        is_status = request.url.path == "/status"
        return httpx.Response(200, text=status if is_status else golden)

    return httpx.MockTransport(reply)


@pytest.mark.attack
@pytest.mark.parametrize(
    "probabilities",
    [("NaN", 0.2, 0.3), (0.1, "NaN", 0.3), (0.1, 0.2, "NaN"), (0.1, "-Infinity", 0.3)],
)
def test_an_answer_that_is_no_number_is_not_the_one_at_the_gate(probabilities):
    transport = replying(json.dumps(STATUS), golden_answers(*probabilities))

    one = observed(transport, a_question(expected=(0.1, 0.2, 0.3)), ("a", "b", "c"))

    assert judge([one], 1, 60, POLICY).verdict == "FAIL"


@pytest.mark.attack
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"poor": 0.1, "middling": 0.2, "great": 0.7}, "PASS"),
        ({"great": 0.7, "middling": 0.2, "poor": 0.1}, "PASS"),
        ({"great": 0.1, "middling": 0.2, "poor": 0.7}, "FAIL"),
        ({"poor": 0.1, "middling": 0.2}, "INCONCLUSIVE"),
        ({"bad": 0.1, "so-so": 0.2, "good": 0.7}, "INCONCLUSIVE"),
        ([0.1, 0.2, 0.7], "INCONCLUSIVE"),
        (None, "INCONCLUSIVE"),
    ],
    ids=["right", "another order", "turned round", "one missing", "others", "a list", "none"],
)
def test_each_class_is_compared_by_its_name_whatever_the_order(answer, verdict):
    prediction = {"label": "great", "probability": 0.7, "probabilities": answer}
    golden = {"generation": 1, "version": f"{1:020x}", "predictions": [prediction]}
    names = ("poor", "middling", "great")
    question = a_question(expected=((0.1, 0.2, 0.7),), class_names=names)

    one = observed(replying(json.dumps(STATUS), json.dumps(golden)), question, ("a",))

    assert judge([one], 1, 60, POLICY).verdict == verdict


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.attack
@pytest.mark.parametrize(
    ("status", "golden"),
    [
        (DEEP, "{}"),
        ("[" + " " * MOST_REPLY_BYTES + "]", "{}"),
        (json.dumps(STATUS), DEEP),
        (json.dumps(STATUS), golden_answers(10**400, 0.2, 0.3)),
        (json.dumps(STATUS | {"traffic": {"cpu_p99_milliseconds": 10**400}}),
         golden_answers(0.1, 0.2, 0.3)),
    ],
    ids=["deep", "large", "deep golden answers", "a huge number", "a huge time"],
)  # fmt: skip
def test_an_answer_that_cannot_be_reckoned_with_is_trouble(status, golden):
    question = a_question(expected=(0.1, 0.2, 0.3))

    one = observed(replying(status, golden), question, ("a", "b", "c"))

    assert one.trouble
    assert judge([one], 1, 60, POLICY).verdict == "INCONCLUSIVE"


class Bytes(httpx.AsyncByteStream):
    def __init__(self, data):
        self._data = data

    async def __aiter__(self):
        yield self._data


@pytest.mark.attack
def test_an_answer_that_drips_in_is_given_up():
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                yield b" "
                await asyncio.sleep(0.01)

    async def look():
        transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Drip()))
        async with httpx.AsyncClient(transport=transport, timeout=0.1) as client:
            return await asyncio.wait_for(Looks(a_question(), ()).look(client), 10)

    (one,) = asyncio.run(look())

    assert one.trouble.startswith("TimeoutError")


@pytest.mark.attack
def test_an_answer_that_would_unfold_to_more_is_not_unfolded():
    bomb = gzip.compress(b" " * (64 << 20))
    replies = [httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Bytes(bomb))]

    one = observed(httpx.MockTransport(lambda _request: replies.pop()), a_question())

    assert "compressed" in one.trouble


def test_a_refusal_of_no_generation_is_none():
    status = json.dumps(STATUS | {"refused": {"generation": True, "why": "it says"}})

    assert not observed(replying(status), a_question(expected=())).refused
