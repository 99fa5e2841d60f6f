"""Score texts without holding up the event loop, and together where they come together.

One call with many texts costs a fraction of many calls with one text each. Small requests that came
while the last call was running are scored in one call; none waits for others to come. Such a call
takes a millisecond or less with the default kind of model, about as long as handing it to a thread
and back would cost on busy cores, so it is done in the event loop. Small requests of other kinds of
models get a thread, and large ones calls of their own, in as many threads as there are cores. No
text's answer depends on the others in a call (`pipelines.models.prediction`).
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

MOST_TEXTS, MOST_CHARACTERS = 32, 1 << 14  # of small requests in one call; about ten reviews
MOST_REQUESTS = 16  # that are waited for; those after them have a call of their own
LARGE_TEXTS, LARGE_CHARACTERS = 16, 1 << 14  # a request with more is large


@dataclass(frozen=True, eq=False)
class _Waiting:
    served: Served
    texts: list[str]
    characters: int
    answer: asyncio.Future[Probabilities]


Batch = list[_Waiting]
Answers = list[Probabilities | Exception]


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
        self._is_busy = False  # a call with small requests is due, or runs in their thread
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
        """Have what waits scored, as soon as the event loop brings nothing more to it."""
        if self._queue and not self._is_busy:
            self._is_busy = True
            loop.call_soon(self._score_queue, loop, 0)

    def _score_queue(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        if seen < len(self._queue) < MOST_REQUESTS:
            loop.call_soon(self._score_queue, loop, len(self._queue))
            return
        batch = self._next_batch()
        if not batch[0].served.is_quick:
            self._submit(self._small, batch, loop)
            return
        self._on_call(sum(len(one.texts) for one in batch))
        self._end_small(batch, _answers(batch), loop)

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
        done: Future[Answers],
    ) -> None:
        if pool is self._small:
            self._end_small(batch, done.result(), loop)
        else:
            _hand_over(batch, done.result())

    def _end_small(self, batch: Batch, answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
        _hand_over(batch, answers)
        self._is_busy = False
        self._gather(loop)


def _hand_over(batch: Batch, answers: Answers) -> None:
    for one, answer in zip(batch, answers, strict=True):
        if one.answer.done():
            continue  # nobody waits for it any more
        if isinstance(answer, Exception):
            one.answer.set_exception(answer)
        else:
            one.answer.set_result(answer)


def _in_loop(
    loop: asyncio.AbstractEventLoop,
    end: Callable[[Future[Answers]], None],
    done: Future[Answers],
) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(end, done)


def _answers(batch: Batch) -> Answers:
    """The answer to each request; if they cannot be scored together, each is scored alone."""
    try:
        together = batch[0].served.probabilities([text for one in batch for text in one.texts])
    except Exception as error:  # noqa: BLE001 - it is the answer
        return [error] if len(batch) == 1 else [_answers([one])[0] for one in batch]
    ends = np.cumsum([0, *(len(one.texts) for one in batch)])
    return [together[start:end] for start, end in pairwise(ends)]
