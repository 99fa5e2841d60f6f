"""The step of `sentiment_retrain` that asks the services about a new champion.

Where to wait is Airflow's part (``plugins/baking.py``): `begin` says what to ask, `rulings` asks
until there is a verdict, and `end` acts on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, TypedDict

from pipelines.alerts.alert import Run
from pipelines.core import keys
from pipelines.core.errors import BakeInconclusiveError, ConfirmationError, PromotionError
from pipelines.steps import alerts, incidents
from pipelines.steps.context import open_loop, settings_of

if TYPE_CHECKING:
    from pipelines.serving.bake import Verdict

logger = logging.getLogger(__name__)


class Ruling(TypedDict):
    """A verdict and its reasons, as they cross from Airflow's triggerer to a worker."""

    question: str
    verdict: Verdict
    reasons: list[str]
    is_final: bool


def begin(entry_uri: str | None, model: str | None = None) -> str | None:
    """What to ask the configured services about a promotion, as JSON; None if nobody is asked."""
    if entry_uri is None:
        logger.info("Nothing was promoted, so no service is asked.")
        return None
    from pipelines.evaluation.golden import load_golden
    from pipelines.serving.bake import Question
    from pipelines.serving.champion import evaluation_of

    loop = open_loop(model=model)
    registry, addresses = loop.registry, loop.settings.serving.addresses
    if not addresses:
        logger.info("No service is configured: serving.addresses is empty.")
        return None
    generation = keys.generation_of(loop.key(entry_uri), registry.name)
    if generation is None:
        raise PromotionError(f"{entry_uri} is not an entry of this model's champion log")
    entry = registry.log.entry(generation)
    evaluation = evaluation_of(registry, entry)
    names = loop.settings.model.class_names
    golden = load_golden(loop.settings.evaluation.golden_file, names)
    is_same = golden.digest == evaluation.golden.set_id
    return Question(
        entry_uri=entry_uri,
        generation=generation,
        version=entry.version,
        addresses=addresses,
        expected=evaluation.golden_probabilities if is_same else (),
        class_names=names if len(names) > 2 else (),
        began=time.time(),
    ).model_dump_json()


async def rulings(question: str, model: str | None = None) -> AsyncIterator[Ruling]:
    """Ask all services again and again; the last ruling is final.

    Needs no store. Settings and golden set are read once.
    """
    import asyncio

    import httpx

    from pipelines.evaluation.golden import load_golden
    from pipelines.serving import bake

    asked = bake.Question.model_validate_json(question)
    settings = await asyncio.to_thread(settings_of, model)
    policy = settings.serving.bake
    golden = await asyncio.to_thread(
        load_golden, settings.evaluation.golden_file, settings.model.class_names
    )
    looks = bake.Looks(asked, golden.texts)
    async with httpx.AsyncClient(timeout=policy.timeout_seconds, trust_env=False) as client:
        while True:
            seen = await looks.look(client)
            waited_seconds = max(0.0, time.time() - asked.began)
            judgement = bake.judge(seen, asked.generation, waited_seconds, policy)
            yield Ruling(
                question=question,
                verdict=judgement.verdict,
                reasons=list(judgement.reasons),
                is_final=judgement.is_final,
            )
            if judgement.is_final:
                return
            await asyncio.sleep(policy.every_seconds)


def end(ruling: Ruling, run: Run, model: str | None = None) -> None:
    """Act on the verdict: nothing, put the former champion back, or have a person decide.

    Raises
    ------
    ConfirmationError
        On FAIL; it says what was put back.
    BakeInconclusiveError
        On INCONCLUSIVE: the champion stays.
    """
    from pipelines.registry import rollback
    from pipelines.serving.bake import Question

    asked = Question.model_validate_json(ruling["question"])
    why = "; ".join(ruling["reasons"])
    logger.info("generation=%d bake=%s: %s", asked.generation, ruling["verdict"], why)
    if ruling["verdict"] == "PASS":
        return
    if ruling["verdict"] == "INCONCLUSIVE":
        alerts.alert_bake(run, asked.generation, why, model)
        raise BakeInconclusiveError(generation=asked.generation, why=why)
    registry = open_loop(model=model).registry
    back = rollback.undo(
        registry, asked.generation, actor=incidents.BAKE_ACTOR, reason=f"bake: {why}"[:500]
    )
    raise ConfirmationError(generation=asked.generation, why=why, put_back=back)


def shadow_lines(version: str, model: str | None = None) -> list[str]:
    """What the configured services say of a version that scores along with the champion."""
    import httpx

    serving = settings_of(model).serving
    lines = []
    for address in serving.addresses:
        try:
            reply = httpx.get(
                f"{address}/status", timeout=serving.bake.timeout_seconds, trust_env=False
            )
            shadow = reply.json()["shadow"]
            if shadow is None or shadow["version"] != version:
                continue
            lines += [
                f"In the shadow of {champion} at {address}: {found['other_label']:,} of "
                f"{found['texts']:,} texts got another label; probabilities differ by "
                f"{found['mean_difference']:.4f} on average, {found['largest_difference']:.4f} at "
                "most."
                for champion, found in shadow["against"].items()
            ]
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s was not asked about its shadow: %s", address, type(error).__name__)
    return lines
