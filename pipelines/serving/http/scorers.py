"""Score texts in a few threads, so that the event loop goes on answering.

One call with many texts costs a fraction of many calls with one text each, so small requests that
wait at the same time are scored together, in one thread. A lone request is scored at once. Where
the last call had several requests, the next one waits for as many again, but only
`MOST_WAIT_SECONDS`. Large requests get calls of their own, in as many threads as there are cores.
No text's answer depends on the others in a call (`pipelines.models.prediction`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.serving.served import Served

Result = TypeVar("Result")
Probabilities = NDArray[np.float64]

MOST_WAIT_SECONDS = 0.001
MOST_TEXTS, MOST_CHARACTERS = 64, 1 << 17  # of small requests in one call
LARGE_TEXTS, LARGE_CHARACTERS = 16, 1 << 15  # a request with more is large


@dataclass(frozen=True, eq=False)
class _Waiting:
    served: Served
    texts: list[str]
    characters: int
    answer: asyncio.Future[Probabilities]


Batch = list[_Waiting]


class Scorers:
    """A few threads that score. Used by one event loop.

    Parameters
    ----------
    threads : int
        For large requests: as many as there are cores.
    on_call : callable
        Called with the number of texts of each call.

    Attributes
    ----------
    waiting : int
        Requests that wait or are being scored.
    """

    def __init__(self, threads: int, on_call: Callable[[int], None] = lambda _texts: None) -> None:
        self._large = ThreadPoolExecutor(threads, thread_name_prefix="score-large")
        self._small = ThreadPoolExecutor(1, thread_name_prefix="score-small")
        self._on_call = on_call
        self._queue: deque[_Waiting] = deque()
        self._is_busy = False  # the thread for small requests
        self._company = 1  # requests in its last call
        self._timer: asyncio.TimerHandle | None = None
        self.waiting = 0

    async def score(self, served: Served, texts: list[str]) -> Probabilities:
        """Probability of positive per text, by this champion."""
        loop = asyncio.get_running_loop()
        characters = sum(map(len, texts))
        one = _Waiting(served, texts, characters, loop.create_future())
        self.waiting += 1
        try:
            if len(texts) > LARGE_TEXTS or characters > LARGE_CHARACTERS:
                self._submit(self._large, [one], loop)
            else:
                self._queue.append(one)
                self._gather(loop)
            return await one.answer
        finally:
            self.waiting -= 1

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Do other work of a request in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._large, work, *arguments)

    def close(self) -> None:
        for pool in (self._large, self._small):
            pool.shutdown(wait=False, cancel_futures=True)

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Score what waits, once as many have come as last time, or the time is up."""
        if self._is_busy or not self._queue:
            return
        if len(self._queue) >= self._company:
            self._score_queue(loop)
        elif self._timer is None:
            self._timer = loop.call_later(MOST_WAIT_SECONDS, self._score_queue, loop)

    def _score_queue(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._next_batch()
        self._company, self._is_busy = len(batch), True
        self._submit(self._small, batch, loop)

    def _next_batch(self) -> Batch:
        """The requests that wait longest, of one champion and together not too much."""
        batch = [self._queue.popleft()]
        texts, characters = len(batch[0].texts), batch[0].characters
        while self._queue and self._queue[0].served is batch[0].served:
            texts += len(self._queue[0].texts)
            characters += self._queue[0].characters
            if texts > MOST_TEXTS or characters > MOST_CHARACTERS:
                break
            batch.append(self._queue.popleft())
        return batch

    def _submit(
        self, pool: ThreadPoolExecutor, batch: Batch, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._on_call(sum(len(one.texts) for one in batch))
        end = partial(self._end, pool, batch, loop)
        pool.submit(_answers, batch).add_done_callback(partial(_in_loop, loop, end))

    def _end(
        self,
        pool: ThreadPoolExecutor,
        batch: Batch,
        loop: asyncio.AbstractEventLoop,
        done: Future[list[Probabilities | Exception]],
    ) -> None:
        for one, answer in zip(batch, done.result(), strict=True):
            if one.answer.done():
                continue  # nobody waits for it any more
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        if pool is self._small:
            self._is_busy = False
            self._gather(loop)


def _in_loop(
    loop: asyncio.AbstractEventLoop,
    end: Callable[[Future[list[Probabilities | Exception]]], None],
    done: Future[list[Probabilities | Exception]],
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(end, done)


def _answers(batch: Batch) -> list[Probabilities | Exception]:
    """The answer to each request; if they cannot be scored together, each is scored alone."""
    try:
        together = batch[0].served.probabilities([text for one in batch for text in one.texts])
    except Exception as error:  # noqa: BLE001 - it is the answer
        return [error] if len(batch) == 1 else [_answers([one])[0] for one in batch]
    ends = np.cumsum([0, *(len(one.texts) for one in batch)])
    return [together[start:end] for start, end in pairwise(ends)]
