"""Requests that wait together are scored in one call, each by its own champion."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from pipelines.serving.http import scorers
from pipelines.serving.http.scorers import Scorers


class Lengths:
    """Stands for a champion: a text's probability is its length over 100."""

    def __init__(self, *, waits_for=None):
        self.calls: list[list[str]] = []
        self._waits_for = waits_for

    def probabilities(self, texts):
        if self._waits_for is not None:
            self._waits_for.wait(60)
        self.calls.append(texts)
        if "bad" in texts:
            raise MemoryError
        return np.array([len(text) / 100 for text in texts])


def scored(requests, *, gate=None, threads=1):
    """Ask all at once; the first call waits until all others are asked."""
    calls = []

    async def run():
        pool = Scorers(threads, on_call=calls.append)
        waiting = [asyncio.ensure_future(pool.score(*request)) for request in requests]
        await asyncio.sleep(0)
        if gate is not None:
            gate.set()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        pool.close()
        return answers

    return asyncio.run(run()), calls


def test_a_lone_request_is_scored_at_once():
    (answer,), calls = scored([(Lengths(), ["four", "seven 7"])])

    assert answer.tolist() == [0.04, 0.07]
    assert calls == [2]


def test_those_that_wait_are_scored_together_and_each_gets_its_own():
    gate = threading.Event()
    served = Lengths(waits_for=gate)

    answers, calls = scored([(served, ["a" * n]) for n in range(1, 6)], gate=gate)

    assert [answer.tolist() for answer in answers] == [[0.01], [0.02], [0.03], [0.04], [0.05]]
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
    assert (answers[0].tolist(), answers[2].tolist()) == ([0.01], [0.03])


def test_where_requests_come_together_the_next_ones_are_waited_for_but_not_for_long():
    calls = []
    served = Lengths()

    async def run():
        pool = Scorers(1, on_call=calls.append)
        await asyncio.gather(*(pool.score(served, ["a"]) for _ in range(4)))
        company = pool._company
        late = await pool.score(served, ["alone"])
        again = await pool.score(served, ["alone"])
        pool.close()
        return company, late.tolist(), again.tolist()

    company, late, again = asyncio.run(run())

    assert company == 3
    assert (late, again) == ([0.05], [0.05])
    assert calls == [1, 3, 1, 1]


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
        return was_waiting, len(small), len(answer)

    assert asyncio.run(run()) == (True, 1, scorers.LARGE_TEXTS + 1)
