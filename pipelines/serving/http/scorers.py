"""Score texts in a few threads, so that the event loop goes on answering.

A request is scored at once if a thread is free. Those that come meanwhile wait, and the next free
thread scores them together: many short calls cost several times what one call with all texts does.
Nobody waits for company, and no answer depends on it (`pipelines.models.prediction`).
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

MOST_TEXTS, MOST_CHARACTERS = 64, 1 << 18  # scored in one call, unless one request has more


@dataclass(frozen=True, eq=False)
class _Waiting:
    served: Served
    texts: list[str]
    answer: asyncio.Future[Probabilities]


class Scorers:
    """A few threads that score. Used by one event loop.

    Parameters
    ----------
    threads : int
        How many calls at once: as many as there are cores.
    on_call : callable
        Called with the number of texts of each call.
    """

    def __init__(self, threads: int, on_call: Callable[[int], None] = lambda _texts: None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._free, self._on_call = threads, on_call
        self._waiting: deque[_Waiting] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def score(self, served: Served, texts: list[str]) -> Probabilities:
        """Probability of positive per text, by this champion."""
        answer: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(served, texts, answer))
        self._start()
        return await answer

    async def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Do other work of a request in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._free:
            batch = self._next_batch()
            self._free -= 1
            self._on_call(sum(len(one.texts) for one in batch))
            done = self._pool.submit(_answers, batch)
            done.add_done_callback(partial(self._ended, loop, batch))

    def _next_batch(self) -> list[_Waiting]:
        """The requests that wait longest, of one champion and together not too much."""
        batch = [self._waiting.popleft()]
        texts, characters = len(batch[0].texts), _characters(batch[0])
        while self._waiting and self._waiting[0].served is batch[0].served:
            texts += len(self._waiting[0].texts)
            characters += _characters(self._waiting[0])
            if texts > MOST_TEXTS or characters > MOST_CHARACTERS:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _ended(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[_Waiting],
        done: Future[list[Probabilities | Exception]],
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._end, batch, done)

    def _end(self, batch: list[_Waiting], done: Future[list[Probabilities | Exception]]) -> None:
        self._free += 1
        for one, answer in zip(batch, done.result(), strict=True):
            if one.answer.done():
                continue  # nobody waits for it any more
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
        self._start()


def _characters(one: _Waiting) -> int:
    return sum(map(len, one.texts))


def _answers(batch: list[_Waiting]) -> list[Probabilities | Exception]:
    """The answer to each request; if they cannot be scored together, each is scored alone."""
    try:
        together = batch[0].served.probabilities([text for one in batch for text in one.texts])
    except Exception as error:  # noqa: BLE001 - it is the answer
        return [error] if len(batch) == 1 else [_answers([one])[0] for one in batch]
    ends = np.cumsum([0, *(len(one.texts) for one in batch)])
    return [together[start:end] for start, end in pairwise(ends)]
