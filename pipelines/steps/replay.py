"""The steps of `reviews_replay`: an URI in, an URI out, the same for Airflow and the shell."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.core import config
from pipelines.steps.context import registry_in, stores_as

if TYPE_CHECKING:
    from pipelines.records.deliveries import Replay, ReplayAction

logger = logging.getLogger(__name__)


def plan_replay(
    delivery: str, action: ReplayAction, reason: str, rows: Sequence[int] | None = None
) -> str:
    """Think a replay over; returns the plan's URI. Nothing is changed yet."""
    from pipelines.serving import label_judge
    from pipelines.validation import replay_plan

    stores, settings = stores_as("ingest"), config.load()
    asked = action == "revalidate"
    champion = label_judge.find(registry_in(stores)) if asked else None
    key, plan = replay_plan.make_plan(
        stores.reviews, delivery, action, rows=rows or None, reason=reason, settings=settings,
        judge=champion,
    )  # fmt: skip
    logger.info(
        "%s delivery %s: would be %s. %s accept=%d quarantine=%d held=%d discarded=%d",
        action, delivery, plan.verdict, plan.why, len(plan.accept), len(plan.quarantine),
        plan.held_rows, plan.discarded_rows,
    )  # fmt: skip
    return stores.reviews.uri(key)


def apply_replay(plan_uri: str, actor: str) -> str:
    """Carry a plan out; returns the ledger entry's URI. Repeating it changes nothing."""
    from pipelines.records.deliveries import ReplayPlan
    from pipelines.validation import replay_apply

    reviews, key = stores_as("ingest").resolve(plan_uri)
    plan = reviews.get_record(key, ReplayPlan)
    done = replay_apply.apply_plan(reviews, plan, config.load(), actor=actor)
    return reviews.uri(done.object_key)


def has_released_reviews(replay_uri: str) -> bool:
    """Whether rows count from this replay on, so that the retraining must be told."""
    return read_replay(replay_uri).accepted is not None


def read_replay(replay_uri: str) -> Replay:
    from pipelines.records.deliveries import Replay

    reviews, key = stores_as("ingest").resolve(replay_uri)
    return reviews.get_record(key, Replay)
