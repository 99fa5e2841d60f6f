"""Does every service answer with the new champion, and as it answered at the gate? Three verdicts.

FAIL needs evidence: a service refused the champion, answers otherwise than the gate recorded, fails
its requests, or needs much processor time for them. How long a client waits is no evidence: that
may be due to a busy machine. PASS needs all of these looked at, in every service. Everything else,
such as a service that cannot be reached or a number that is missing, is INCONCLUSIVE: it is looked
at again, and in the end a person decides. Where requests are few, the golden answers are enough.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict

from pipelines.core.escaping import plain
from pipelines.core.settings.operation import BakeSettings
from pipelines.evaluation.check_rows import largest_difference
from pipelines.records.evaluations import Answer

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

LARGEST_DIFFERENCE = 1e-9
BAKE_HEADER = "X-Bake"  # the service does not count requests that have it
GOLDEN_BATCH = 64
MOST_REPLY_BYTES = 1024 * 1024  # of one answer of a service
_MOST_CHARS = 300
# What an answer may raise that is none of a service.
_NO_ANSWER = (
    httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError,
    OverflowError, RecursionError,
)  # fmt: skip


class Question(BaseModel):
    """What the services are asked; small enough to wait in Airflow's database.

    Attributes
    ----------
    expected : tuple of float, or of tuples of float
        The gate's probabilities for the golden set; empty if it had another golden set.
    class_names : tuple of str
        The classes, in the order of each of ``expected``, if there are more than two.
    began : float
        When the bake began, in seconds since 1970, so that it goes on after a restart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    entry_uri: str
    generation: int
    version: str
    addresses: tuple[str, ...]
    expected: tuple[Answer, ...]
    class_names: tuple[str, ...] = ()
    began: float


@dataclass(frozen=True)
class Observation:
    """What one service showed; None is what it did not show.

    Attributes
    ----------
    trouble : str
        Why it could not be asked; empty if it answered.
    refused : str
        Why it refused the new champion; empty if it did not.
    golden_difference : float or None
        Largest difference of its golden answers from the gate's.
    cpu_p99_milliseconds : float or None
        Processor time in which 99 of 100 requests were scored; None also while nobody has asked it
        anything.
    """

    address: str
    trouble: str = ""
    generation: int | None = None
    refused: str = ""
    golden_difference: float | None = None
    requests: int | None = None
    errors: int | None = None
    cpu_p99_milliseconds: float | None = None


@dataclass(frozen=True)
class Judgement:
    """A verdict, with a sentence for each reason. Only a final one ends the bake."""

    verdict: Verdict
    reasons: tuple[str, ...]
    is_final: bool


def judge(
    seen: Sequence[Observation], generation: int, waited_seconds: float, policy: BakeSettings
) -> Judgement:
    """The verdict on a champion's generation, so many seconds after the bake began."""
    failures = [reason for one in seen for reason in _evidence(one, generation, policy)]
    if failures:
        return Judgement("FAIL", tuple(failures), is_final=True)
    doubts = [reason for one in seen for reason in _doubts(one, generation, waited_seconds, policy)]
    if seen and not doubts:
        counts = [f"{one.address} answers as at the gate, {_asked(one)}" for one in seen]
        return Judgement("PASS", tuple(counts), is_final=True)
    is_behind = any(not _is_there(one, generation) for one in seen)
    is_late = is_behind and waited_seconds >= policy.deadline_seconds
    is_final = is_late or waited_seconds >= policy.max_seconds
    return Judgement("INCONCLUSIVE", tuple(doubts or ["no service is configured"]), is_final)


def _is_there(one: Observation, generation: int) -> bool:
    return not one.trouble and one.generation is not None and one.generation >= generation


def _evidence(one: Observation, generation: int, policy: BakeSettings) -> Iterator[str]:
    """What speaks against the champion."""
    if one.refused:
        yield f"{one.address} refused it: {one.refused}"
    if one.trouble or one.generation != generation:
        return
    difference = one.golden_difference
    if difference is not None and not difference <= LARGEST_DIFFERENCE:
        yield f"{one.address} answers otherwise than the gate recorded, by {difference:.2e}"
    if not _has_counts(one) or (one.requests or 0) < policy.min_requests:
        return
    share = (one.errors or 0) / (one.requests or 1)
    if share > policy.max_error_share:
        yield (
            f"{one.address} failed {one.errors:,} of {one.requests:,} requests; at most "
            f"{policy.max_error_share:.1%} may fail"
        )
    spent = one.cpu_p99_milliseconds
    if spent is not None and spent > policy.max_cpu_milliseconds:
        yield (
            f"{one.address} scores 99 of 100 requests in {spent:.0f} ms of processor time each; at "
            f"most {policy.max_cpu_milliseconds:.0f} ms are allowed"
        )


def _doubts(
    one: Observation, generation: int, waited_seconds: float, policy: BakeSettings
) -> Iterator[str]:
    """What keeps the champion from passing for now."""
    if one.trouble:
        yield f"{one.address} could not be asked: {one.trouble}"
    elif one.generation is None:
        yield f"{one.address} does not say which generation answers"
    elif one.generation < generation:
        yield f"{one.address} still answers with generation {one.generation}"
    elif one.generation == generation:  # a later one is judged by its own run
        yield from _doubts_about_answers(one, waited_seconds, policy)


def _doubts_about_answers(
    one: Observation, waited_seconds: float, policy: BakeSettings
) -> Iterator[str]:
    if one.golden_difference is None:
        yield f"{one.address}: its golden answers were not compared with the gate's"
    if not _has_counts(one):
        yield f"{one.address} does not say how many requests it answered and failed"
        return
    is_enough = (one.requests or 0) >= policy.min_requests
    if is_enough and one.cpu_p99_milliseconds is None:
        yield f"{one.address} does not say what processor time its answers took"
    elif not is_enough and one.errors:
        yield f"{one.address} failed {one.errors} of only {one.requests} requests"
    elif not is_enough and (policy.needs_requests or waited_seconds < policy.min_seconds):
        yield f"{one.address} was asked {one.requests} times; {policy.min_requests} are enough"


def _has_counts(one: Observation) -> bool:
    return one.requests is not None and one.errors is not None


def _asked(one: Observation) -> str:
    return f"{one.requests or 0:,} requests, {one.errors or 0:,} failed"


# ── Asking ───────────────────────────────────────────────────────────────────────────────────


class Looks:
    """The looks of one bake, which ask each service the golden set once after each of its swaps.

    What they remember may be lost: a look then asks again.
    """

    def __init__(self, question: Question, golden_texts: Sequence[str]) -> None:
        self._question, self._texts = question, golden_texts
        self._differences: dict[tuple[str, str], float] = {}

    async def look(self, client: httpx.AsyncClient) -> list[Observation]:
        """Ask every service at once how it is, and those with the new champion the golden set."""
        asked = (self._observe(client, address) for address in self._question.addresses)
        return list(await asyncio.gather(*asked))

    async def _observe(self, client: httpx.AsyncClient, address: str) -> Observation:
        question = self._question
        try:
            facts = await _asked_for(client, "GET", f"{address}/status")
            difference = None
            if _whole(_part(facts, "champion", "generation")) == question.generation:
                swap = address, str(_part(facts, "champion", "answers_since"))
                difference = await self._difference(client, swap)
            return _observation(address, facts, question.generation, difference)
        except _NO_ANSWER as error:
            why = plain(f"{type(error).__name__}: {error}", most=_MOST_CHARS)
            return Observation(address, trouble=why)

    async def _difference(self, client: httpx.AsyncClient, swap: tuple[str, str]) -> float | None:
        if not self._question.expected:
            return None
        if swap in self._differences:
            return self._differences[swap]
        difference = await _golden_difference(client, swap[0], self._question, self._texts)
        if difference is not None:
            self._differences[swap] = difference
        return difference


async def _asked_for(client: httpx.AsyncClient, method: str, url: str, **sent: Any) -> Any:
    """The JSON of an answer, which has the client's time as a whole, and a bounded size.

    Raises
    ------
    HTTPError, TimeoutError, ValueError, RecursionError
        If it does not come, or is none.
    """
    as_it_is = {"Accept-Encoding": "identity", **sent.pop("headers", {})}
    async with asyncio.timeout(client.timeout.read):
        async with client.stream(method, url, headers=as_it_is, **sent) as reply:
            reply.raise_for_status()
            if "Content-Encoding" in reply.headers:
                raise ValueError("its answer is compressed, which was not asked for")
            body = bytearray()
            async for chunk in reply.aiter_bytes():
                body += chunk
                if len(body) > MOST_REPLY_BYTES:
                    raise ValueError(f"its answer has more than {MOST_REPLY_BYTES:,} bytes")
    return json.loads(body)


def _observation(
    address: str, facts: Any, generation: int, difference: float | None
) -> Observation:
    """What a status says; anything of another type than it should be counts as not said."""
    refused = _whole(_part(facts, "refused", "generation")) == generation
    spent = _part(facts, "traffic", "cpu_p99_milliseconds")
    return Observation(
        address,
        generation=_whole(_part(facts, "champion", "generation")),
        refused=plain(str(_part(facts, "refused", "why")), most=_MOST_CHARS) if refused else "",
        golden_difference=difference,
        requests=_whole(_part(facts, "traffic", "requests")),
        errors=_whole(_part(facts, "traffic", "errors")),
        cpu_p99_milliseconds=(
            spent if isinstance(spent, float | int) and math.isfinite(spent) else None
        ),
    )


def _part(facts: Any, section: str, name: str) -> Any:
    inner = facts.get(section) if isinstance(facts, dict) else None
    return inner.get(name) if isinstance(inner, dict) else None


def _whole(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


async def _golden_difference(
    client: httpx.AsyncClient, address: str, question: Question, texts: Sequence[str]
) -> float | None:
    """Largest difference of a service's answers; None if another champion took over meanwhile."""
    answers: list[Answer] = []
    for start in range(0, len(texts), GOLDEN_BATCH):
        facts = await _asked_for(
            client, "POST", f"{address}/v1/score",
            json={"texts": list(texts[start : start + GOLDEN_BATCH])},
            headers={BAKE_HEADER: "golden"},
        )  # fmt: skip
        if facts["generation"] != question.generation:
            return None
        if facts["version"] != question.version:
            return math.inf
        answers += [_answer(one, question.class_names) for one in facts["predictions"]]
    return largest_difference(answers, question.expected)


def _answer(prediction: Any, class_names: Sequence[str]) -> Answer:
    """The probability of positive, or that of each class, whatever the order of the answer is."""
    if class_names:
        shares = prediction["probabilities"]
        return tuple(float(shares[name]) for name in class_names)
    return float(prediction["probability"])
