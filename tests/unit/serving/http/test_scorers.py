"""Requests that wait together are scored in one call, each by its own champion."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from pipelines.models import prediction
from pipelines.serving.http import scorers
from pipelines.serving.http.scorers import Scorers


class Lengths:
    """Stands for a champion: a text's probability is its length over 100."""

    def __init__(self, *, waits_for=None, is_quick=False):
        self.calls: list[list[str]] = []
        self.threads: set[str] = set()
        self.is_quick, self._waits_for = is_quick, waits_for

    def probabilities(self, texts):
        if self._waits_for is not None:
            self._waits_for.wait(60)
        self.calls.append(texts)
        self.threads.add(threading.current_thread().name)
        if "bad" in texts:
            raise MemoryError
        return np.array([len(text) / 100 for text in texts])


def scored(requests, *, gate=None, threads=1):
    """Ask for the first alone, and for all others while it waits at the gate, if there is one."""
    calls = []

    async def run():
        pool = Scorers(threads, on_call=calls.append)
        waiting = [asyncio.ensure_future(pool.score(*requests[0]))]
        while gate is not None and not calls:
            await asyncio.sleep(0)
        waiting += [asyncio.ensure_future(pool.score(*request)) for request in requests[1:]]
        await asyncio.sleep(0)
        if gate is not None:
            gate.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        pool.close()
        return answers

    return asyncio.run(run()), calls


def values(answers):
    return [answer.probabilities.tolist() for answer in answers]


def test_a_lone_request_is_scored_at_once():
    (answer,), calls = scored([(Lengths(), ["four", "seven 7"])])

    assert answer.probabilities.tolist() == [0.04, 0.07]
    assert calls == [2]


def test_those_that_wait_are_scored_together_and_each_gets_its_own():
    gate = threading.Event()
    served = Lengths(waits_for=gate)

    answers, calls = scored([(served, ["a" * n]) for n in range(1, 6)], gate=gate)

    assert values(answers) == [
        [0.01],
        [0.02],
        [0.03],
        [0.04],
        [0.05],
    ]
    assert calls == [1, 4]


def test_requests_of_two_champions_are_never_scored_together():
    gate = threading.Event()
    old, new = Lengths(waits_for=gate), Lengths()

    _, calls = scored([(old, ["a"]), (old, ["b"]), (new, ["c"]), (new, ["d"])], gate=gate)

    assert (old.calls, new.calls) == ([["a"], ["b"]], [["c", "d"]])
    assert calls == [1, 1, 2]


@pytest.mark.parametrize(("name", "most"), [("MOST_TEXTS", 2), ("MOST_CHARACTERS", 4)])
def test_not_too_much_is_scored_together(monkeypatch, name, most):
    monkeypatch.setattr(scorers, name, most)
    gate = threading.Event()
    served = Lengths(waits_for=gate)

    _, calls = scored([(served, ["aa"]) for _ in range(5)], gate=gate)

    assert calls == [1, 2, 2]


def test_a_request_that_cannot_be_scored_spoils_no_other():
    gate = threading.Event()
    served = Lengths(waits_for=gate)

    answers, _ = scored([(served, ["a"]), (served, ["bad"]), (served, ["ccc"])], gate=gate)

    assert isinstance(answers[1], MemoryError)
    assert (answers[0].probabilities.tolist(), answers[2].probabilities.tolist()) == (
        [0.01],
        [0.03],
    )


def test_what_comes_at_the_same_time_is_scored_in_one_call_without_a_thread():
    served = Lengths(is_quick=True)

    answers, calls = scored([(served, ["a" * n]) for n in range(1, 6)])

    assert values(answers) == [
        [0.01],
        [0.02],
        [0.03],
        [0.04],
        [0.05],
    ]
    assert calls == [5]
    assert served.threads == {threading.main_thread().name}


def test_a_request_that_cannot_be_scored_in_the_event_loop_spoils_no_other():
    served = Lengths(is_quick=True)

    answers, _ = scored([(served, ["a"]), (served, ["bad"]), (served, ["ccc"])])

    assert isinstance(answers[1], MemoryError)
    assert (answers[0].probabilities.tolist(), answers[2].probabilities.tolist()) == (
        [0.01],
        [0.03],
    )


def test_no_more_than_a_few_requests_are_waited_for(monkeypatch):
    monkeypatch.setattr(scorers, "MOST_REQUESTS", 3)
    served = Lengths(is_quick=True)
    calls = []

    async def run():
        pool = Scorers(1, on_call=calls.append)

        async def come_one_by_one():
            waiting = []
            for _ in range(6):  # each brings the next one in the same round of the loop
                waiting.append(asyncio.ensure_future(pool.score(served, ["a"])))
                await asyncio.sleep(0)
            await asyncio.gather(*waiting)

        await come_one_by_one()
        pool.close()

    asyncio.run(run())

    assert sum(calls) == 6
    assert max(calls) <= 4


def test_a_large_request_is_scored_in_parts_and_answered_in_its_order(monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK_CHARACTERS", 200)
    served = Lengths()
    texts = ["a" * (number % 9 + 1) for number in range(200)]

    (answer,), calls = scored([(served, texts)], threads=2)

    assert answer.probabilities.tolist() == [len(text) / 100 for text in texts]
    assert len(calls) > 3
    assert sum(calls) == 200


def test_the_processor_time_of_a_call_is_shared_by_its_requests(monkeypatch):
    times = iter([10.0, 16.0])
    monkeypatch.setattr(scorers.time, "thread_time", lambda: next(times))
    served = Lengths(is_quick=True)

    answers, _ = scored([(served, ["a"]), (served, ["b"]), (served, ["c"])])

    assert [answer.cpu_seconds for answer in answers] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("texts", [["a"] * (scorers.LARGE_TEXTS + 1), ["a" * 20_000]])
def test_a_large_request_never_runs_in_the_event_loop(texts):
    served = Lengths(is_quick=True)

    scored([(served, texts)])

    assert threading.main_thread().name not in served.threads


def test_a_large_request_holds_up_no_small_one():
    gate = threading.Event()
    slow, quick = Lengths(waits_for=gate), Lengths()

    async def run():
        pool = Scorers(1)
        large = asyncio.ensure_future(pool.score(slow, ["a"] * (scorers.LARGE_TEXTS + 1)))
        await asyncio.sleep(0)
        small = await pool.score(quick, ["a"])
        was_waiting = not large.done()
        gate.set()
        answer = await large
        pool.close()
        return was_waiting, len(small.probabilities), len(answer.probabilities)

    assert asyncio.run(run()) == (True, 1, scorers.LARGE_TEXTS + 1)
