"""Carry out a replay: release, revalidate or discard rows that do not count.

A replay adds an entry to the delivery's own ledger; nothing is removed or overwritten, so an
earlier snapshot stays the same. A plan is made first, from the newest entry. If another replay is
applied before it, the plan is refused.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from pipelines.core.errors import ReplayError, TrustError
from pipelines.core.keys import delivery_key
from pipelines.core.settings.settings import Settings
from pipelines.core.store import clock
from pipelines.core.store.bucket import Bucket
from pipelines.intake import standings
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import Delivery, Replay, ReplayPlan
from pipelines.records.validations import Validation
from pipelines.validation import storing
from pipelines.validation.replay_plan import measured_rows

logger = logging.getLogger(__name__)


# ── Carried out ──────────────────────────────────────────────────────────────────────────────


def apply_plan(reviews: Bucket, plan: ReplayPlan, settings: Settings, *, actor: str) -> Replay:
    """Carry a plan out. Repeating it changes nothing.

    Raises
    ------
    ReplayError
        If another replay was applied after the plan was made: make a new plan.
    """
    standing = standings.find(reviews, plan.delivery)
    if standing is None:
        raise ReplayError(f"delivery {plan.delivery} was never accepted or held")
    done = _already_done(standing, plan)
    if done is not None:
        return done
    if standing.newest.digest() != plan.follows:
        raise _overtaken(plan)
    delivery = reviews.get_record(delivery_key(plan.delivery), Delivery)
    replay = _replay(reviews, delivery, standing, plan, (settings, actor))
    winner = reviews.put_first(replay)
    if winner.token != replay.token:
        raise _overtaken(plan)
    if winner != replay:
        return winner
    logger.info(
        "delivery=%s action=%s verdict=%s accepted=%d quarantined=%d held=%d discarded=%d",
        replay.delivery, replay.action, replay.verdict, replay.accepted_rows,
        replay.quarantined_rows, replay.held_rows, replay.discarded_rows,
    )  # fmt: skip
    return replay


def _already_done(standing: Standing, plan: ReplayPlan) -> Replay | None:
    same = [entry for entry in standing.replays if entry.token == plan.digest()]
    return same[0] if same else None


def _overtaken(plan: ReplayPlan) -> ReplayError:
    return ReplayError(
        f"delivery {plan.delivery} was replayed since this plan was made from its entry "
        f"{plan.number - 1}. Look at it again: python -m pipelines delivery show {plan.delivery}"
    )


def _replay(
    reviews: Bucket,
    delivery: Delivery,
    standing: Standing,
    plan: ReplayPlan,
    by: tuple[Settings, str],
) -> Replay:
    settings, actor = by
    stored: dict[str, Any] = {"accepted": None, "quarantined": None}
    if plan.accept or plan.quarantine:
        rows, measured = measured_rows(reviews, delivery, settings)
        reasons = {row: list(codes) for row, codes in plan.quarantine}
        stored = storing.store_rows(
            reviews, delivery, rows, measured, good=np.array(plan.accept, np.intp),
            quarantined=reasons, partition_rows=settings.intake.partition_rows,
        )  # fmt: skip
    accepted = standing.accepted_rows + len(plan.accept)
    validation = reviews.get_record(plan.validation_key, Validation)
    counted = accepted + len(plan.quarantine) + plan.held_rows + plan.discarded_rows
    if counted != validation.delivered_rows:
        raise TrustError(
            f"replay of delivery {plan.delivery} does not add up: {validation.delivered_rows} "
            f"delivered, {counted} accounted for"
        )
    return Replay(
        delivery=plan.delivery,
        number=plan.number,
        follows=plan.follows,
        action=plan.action,
        verdict=plan.verdict,
        why=plan.why,
        delivered_rows=validation.delivered_rows,
        accepted_rows=accepted,
        quarantined_rows=len(plan.quarantine),
        held_rows=plan.held_rows,
        discarded_rows=plan.discarded_rows,
        validation_key=plan.validation_key,
        actor=actor,
        reason=plan.reason,
        token=plan.digest(),
        at=clock.written(clock.now(reviews)),
        **stored,
    )
