"""The steps of `reviews_replay`: a URI in, a URI out, the same for Airflow and the shell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.steps.context import open_loop

if TYPE_CHECKING:
    from pipelines.records.deliveries import Replay, ReplayAction

logger = logging.getLogger(__name__)


def plan_replay(
    delivery: str, action: ReplayAction, reason: str, rows: Sequence[int] | None = None
) -> str:
    """Plan a replay; returns the plan's URI. Nothing is changed yet."""
    from pipelines.serving import labeller
    from pipelines.validation import replay_plan

    loop = open_loop("ingest")
    champion = None
    if action == "revalidate":
        champion = labeller.find(loop.registry, loop.registry.log.champion())
    key, plan = replay_plan.make_plan(
        loop.reviews, delivery, action, rows=rows or None, reason=reason, settings=loop.settings,
        labeller=champion,
    )  # fmt: skip
    logger.info(
        "%s of delivery %s: it would be %s. %s accept=%d quarantine=%d held=%d discarded=%d",
        action, delivery, plan.verdict, plan.why, len(plan.accept), len(plan.quarantine),
        plan.held_rows, plan.discarded_rows,
    )  # fmt: skip
    return loop.reviews.uri(key)


def apply_replay(plan_uri: str, actor: str) -> str:
    """Carry a plan out; returns the ledger entry's URI. Repeating it changes nothing."""
    from pipelines.records.deliveries import ReplayPlan
    from pipelines.validation import replay_apply

    loop = open_loop("ingest")
    plan = loop.reviews.get_record(loop.key(plan_uri), ReplayPlan)
    replay = replay_apply.apply_plan(loop.reviews, plan, loop.settings, actor=actor)
    return loop.reviews.uri(replay.object_key)


def has_released_reviews(replay_uri: str) -> bool:
    """Whether rows count from this replay on, so that a retraining has something new."""
    return read_replay(replay_uri).accepted is not None


def read_replay(replay_uri: str) -> Replay:
    from pipelines.records.deliveries import Replay

    loop = open_loop("ingest")
    return loop.reviews.get_record(loop.key(replay_uri), Replay)
