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
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.models.prediction import chunks
from pipelines.serving.swap import Served

Result = TypeVar("Result")

MOST_TEXTS, MOST_CHARACTERS = 32, 1 << 14  # of small requests in one call; about ten reviews
MOST_REQUESTS = 16  # that are waited for; those after them have a call of their own
LARGE_TEXTS, LARGE_CHARACTERS = 16, 1 << 14  # a request with more is large


class Scored(NamedTuple):
    """What `models.prediction.probabilities` returns, and the processor time that it took."""

    probabilities: NDArray[np.float64]
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class _Waiting:
    served: Served
    texts: list[str]
    characters: int
    answer: asyncio.Future[Scored]


Batch = list[_Waiting]
Answers = list[Scored | Exception]


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

    async def score(self, served: Served, texts: list[str]) -> Scored:
        """The answer of this champion to each text."""
        characters = sum(map(len, texts))
        self.waiting += 1
        try:
            if len(texts) > LARGE_TEXTS or characters > LARGE_CHARACTERS:
                return await self._score_large(served, texts)
            loop = asyncio.get_running_loop()
            one = _Waiting(served, texts, characters, loop.create_future())
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

    async def _score_large(self, served: Served, texts: list[str]) -> Scored:
        """Score a request in parts, each in a thread that becomes free."""
        parts = cast("list[list[str]]", list(chunks(texts)))
        for part in parts:
            self._on_call(len(part))
        scored = await asyncio.gather(*(self.run(_scored, served, part) for part in parts))
        return Scored(
            np.concatenate([one.probabilities for one in scored]),
            sum(one.cpu_seconds for one in scored),
        )

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
        self._on_call(sum(len(one.texts) for one in batch))
        if batch[0].served.is_quick:
            self._end(batch, _answers(batch), loop)
            return
        done = loop.run_in_executor(self._small, _answers, batch)
        done.add_done_callback(lambda done: self._end(batch, done.result(), loop))

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

    def _end(self, batch: Batch, answers: Answers, loop: asyncio.AbstractEventLoop) -> None:
        for one, answer in zip(batch, answers, strict=True):
            if one.answer.done():
                continue  # nobody waits for it any more
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        self._is_busy = False
        self._gather(loop)


def _scored(served: Served, texts: list[str]) -> Scored:
    began = time.thread_time()
    probabilities = served.probabilities(texts)
    return Scored(probabilities, time.thread_time() - began)


def _answers(batch: Batch) -> Answers:
    """The answer to each request; if they cannot be scored together, each is scored alone."""
    try:
        together = _scored(batch[0].served, [text for one in batch for text in one.texts])
    except Exception as error:  # noqa: BLE001 - it is the answer
        return [error] if len(batch) == 1 else [_answers([one])[0] for one in batch]
    ends = accumulate((len(one.texts) for one in batch), initial=0)
    share = together.cpu_seconds / len(batch)
    return [Scored(together.probabilities[start:end], share) for start, end in pairwise(ends)]
