"""Plan a replay: what a person's decision would do to rows that do not count."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipelines.core.errors import ReplayError, UnreadableDeliveryError
from pipelines.core.keys import delivery_key, replay_plan_key
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.intake import arrivals, standings
from pipelines.intake.files.decoding import DATE_INVALID
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.intake.partitions import read_lines
from pipelines.intake.standings import Standing
from pipelines.records.data import Partition
from pipelines.records.deliveries import Delivery, ReplayAction, ReplayPlan, ReplayVerdict
from pipelines.validation import checks, history, validate
from pipelines.validation.drift import Labeller
from pipelines.validation.measurements import Measured, measure
from pipelines.validation.rules import LABELS

_REASONS = ["row", "reasons"]
_RULES = "docs/runbooks/replay.md"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Effect:
    """What an action would do to the rows of a delivery."""

    accept: tuple[int, ...] = ()
    quarantine: tuple[tuple[int, tuple[str, ...]], ...] = ()
    discard: int = 0
    is_held: bool = False
    held_rows: int = 0
    why: str = ""
    validation_key: str | None = None


def make_plan(
    reviews: Bucket,
    delivery: str,
    action: ReplayAction,
    *,
    rows: Sequence[int] | None,
    reason: str,
    settings: Settings,
    labeller: Labeller | None = None,
) -> tuple[str, ReplayPlan]:
    """Plan a replay: decide what would become of which rows.

    A release or discard that repeats an earlier one (same rows, same reason) gets that one's plan,
    so that a command or a task whose answer was lost can be repeated.

    Parameters
    ----------
    reviews : Bucket
        Where the ledger is.
    delivery : str
        Its sha256.
    action : {"release", "revalidate", "discard"}
        Accept rows, validate them by today's rules, or give them up permanently.
    rows : sequence of int or None
        Positions of quarantined rows; None for all, and for a delivery that is held.
    reason : str
        Kept permanently.
    settings : Settings
        Today's rules.
    labeller : Labeller, optional
        The champion, for ``revalidate``.

    Returns
    -------
    key, plan : str, ReplayPlan
        Where the plan was stored, and the plan.

    Raises
    ------
    ReplayError
        If the reason is blank, the delivery is unknown, or the action applies to none of its rows.
    """
    standing, record = _requested(reviews, delivery, reason)
    positions = None if rows is None else tuple(sorted(set(rows)))
    repeated = _repeated(reviews, standing, (action, positions, reason.strip()))
    if repeated:
        return repeated.object_key, repeated
    _check_any_left(standing)
    effect = _effect(reviews, record, standing, action, rows, (settings, labeller))
    number = len(standing.replays) + 1
    plan = ReplayPlan(
        delivery=delivery,
        number=number,
        follows=standing.newest.digest(),
        action=action,
        rows=positions,
        verdict=_verdict(standing, effect),
        why=effect.why,
        accept=effect.accept,
        quarantine=effect.quarantine,
        discarded_rows=standing.discarded_rows + effect.discard,
        held_rows=effect.held_rows,
        validation_key=effect.validation_key or standing.validation_key,
        reason=reason.strip(),
    )
    reviews.put_record(plan)
    return plan.object_key, plan


@dataclass(frozen=True)
class LeftOut:
    """A row that does not count."""

    row: int  # position in the delivery, from 0
    review_id: str | None
    reasons: tuple[str, ...]
    text: str | None


def left_out(
    reviews: Bucket, standing: Standing, settings: Settings, *, reason: str | None, most: int
) -> tuple[int, list[LeftOut]]:
    """How many rows are in quarantine or, of a held delivery, break a rule today; and the first.

    Those with the reason code ``reason``, if one is given.

    Raises
    ------
    UnreadableDeliveryError
        If the delivery is held because its file cannot be read.
    """
    if standing.verdict != "HELD":
        reasons = _quarantined(reviews, standing.quarantined)
        chosen = _with_reason(reasons, reason)
        lines = read_lines(reviews, standing.quarantined, ["row", "review_id", "text"])
        shown = set(chosen[:most])
        texts = [(x["row"], x["review_id"], x["text"]) for x in lines if x["row"] in shown]
    else:
        delivery = reviews.get_record(delivery_key(standing.outcome.delivery), Delivery)
        rows, reasons = _checked_today(reviews, delivery, standing, settings)
        chosen = _with_reason(reasons, reason)
        texts = [
            line
            for numbers, block in rows.select(chosen[:most])
            for line in zip(numbers, block.review_id, block.text, strict=True)
        ]
    first = [LeftOut(row, name, tuple(reasons[row]), text) for row, name, text in texts]
    return len(chosen), first


def _with_reason(reasons: dict[int, list[str]], reason: str | None) -> list[int]:
    return sorted(row for row, codes in reasons.items() if reason is None or reason in codes)


def _requested(reviews: Bucket, delivery: str, reason: str) -> tuple[Standing, Delivery]:
    if not reason.strip():
        raise ReplayError("a replay needs a reason, for people who read the ledger later")
    standing = standings.find(reviews, delivery)
    if standing is None:
        raise ReplayError(
            f"delivery {delivery!r} was never accepted or held. To list those that are held or "
            "have quarantined rows: python -m pipelines delivery list"
        )
    return standing, reviews.get_record(delivery_key(delivery), Delivery)


def _repeated(
    reviews: Bucket,
    standing: Standing,
    request: tuple[ReplayAction, tuple[int, ...] | None, str],
) -> ReplayPlan | None:
    """The plan of an earlier replay that was asked for in the same way.

    Rules may change, so each revalidation is a new request.
    """
    action, rows, reason = request
    for replay in reversed(standing.replays):
        if action == "revalidate" or (replay.action, replay.reason) != (action, reason):
            continue
        plan = reviews.find_record(replay_plan_key(replay.delivery, replay.token), ReplayPlan)
        if plan is not None and plan.rows == rows:
            logger.warning(
                "delivery=%s this request repeats replay %d, so nothing more is done. To decide on "
                "other rows, name them or give another reason.", replay.delivery, plan.number,
            )  # fmt: skip
            return plan
    return None


def _check_any_left(standing: Standing) -> None:
    if standing.verdict != "HELD" and not standing.quarantined:
        raise ReplayError(
            f"delivery {standing.outcome.delivery} is {standing.verdict}: no row of it is held or "
            "quarantined"
        )


def _effect(
    reviews: Bucket,
    delivery: Delivery,
    standing: Standing,
    action: ReplayAction,
    rows: Sequence[int] | None,
    by: tuple[Settings, Labeller | None],
) -> _Effect:
    settings, labeller = by
    if standing.verdict != "HELD":
        return _on_quarantined(reviews, delivery, standing, action, rows, settings)
    if rows is not None:
        raise ReplayError("a held delivery is replayed as a whole: leave the rows out")
    if action == "discard":
        count = standing.newest.held_rows
        return _Effect(discard=count, why=f"All {count:,} held rows are given up.")
    if action == "revalidate":
        return _validated(reviews, delivery, standing, settings, labeller)
    return _released(reviews, delivery, standing, settings)


def _on_quarantined(
    reviews: Bucket,
    delivery: Delivery,
    standing: Standing,
    action: ReplayAction,
    rows: Sequence[int] | None,
    settings: Settings,
) -> _Effect:
    reasons = _quarantined(reviews, standing.quarantined)
    chosen = _chosen(rows, reasons)
    if action == "discard":
        why = f"{len(chosen):,} quarantined rows are given up."
        return _Effect(quarantine=_left(reasons, chosen), discard=len(chosen), why=why)
    if action == "release":
        _check_usable(measured_rows(reviews, delivery, settings)[1], chosen)
        accept = chosen
    else:
        _, now = _checked_today(reviews, delivery, standing, settings)
        reasons |= {row: now[row] for row in chosen if row in now}
        accept = [row for row in chosen if row not in now]
    why = f"{len(accept):,} of {len(chosen):,} chosen rows count from now on."
    return _Effect(tuple(accept), _left(reasons, accept), why=why)


def _validated(
    reviews: Bucket,
    delivery: Delivery,
    standing: Standing,
    settings: Settings,
    labeller: Labeller | None,
) -> _Effect:
    key, validation = validate.validate(
        reviews, delivery, settings, before=standing.outcome.counted_in, labeller=labeller
    )
    if validation.verdict == "HELD":
        why = f"Today's rules would still hold it. {validation.why}"
        return _Effect(is_held=True, held_rows=validation.held_rows, why=why, validation_key=key)
    quarantine = _quarantined(reviews, validation.quarantined_parts)
    accept = tuple(row for row in range(validation.delivered_rows) if row not in quarantine)
    left = _left(quarantine, ())
    return _Effect(accept, left, why=validation.why, validation_key=key)


def _released(
    reviews: Bucket, delivery: Delivery, standing: Standing, settings: Settings
) -> _Effect:
    """Rows that break a row rule still go to quarantine."""
    try:
        _, reasons = _checked_today(reviews, delivery, standing, settings)
    except UnreadableDeliveryError as error:
        raise ReplayError(
            f"delivery {delivery.sha256} cannot be released because its file cannot be read: "
            f"{error.detail} Ask upstream for a complete file: {_RULES}"
        ) from error
    accept = tuple(row for row in range(standing.newest.held_rows) if row not in reasons)
    why = f"{len(accept):,} rows count from now on, {len(reasons):,} go to quarantine."
    return _Effect(accept, _left(reasons, ()), why=why)


def _checked_today(
    reviews: Bucket, delivery: Delivery, standing: Standing, settings: Settings
) -> tuple[SpooledRows, dict[int, list[str]]]:
    past = history.collect(
        reviews, delivery=delivery.sha256, source=delivery.source,
        before=standing.outcome.counted_in, settings=settings.validation,
    )  # fmt: skip
    rows = arrivals.read_rows(reviews, delivery, settings)
    night = date.fromisoformat(delivery.night)
    checked = checks.check_rows(rows, night=night, settings=settings.validation, history=past)
    return rows, checked.reasons


def _quarantined(reviews: Bucket, parts: Sequence[Partition]) -> dict[int, list[str]]:
    """The reason codes of each row in quarantine."""
    return {line["row"]: line["reasons"] for line in read_lines(reviews, parts, _REASONS)}


def _chosen(rows: Sequence[int] | None, reasons: dict[int, list[str]]) -> list[int]:
    if rows is None:
        return sorted(reasons)
    unknown = sorted(set(rows) - set(reasons))
    if unknown or not rows:
        raise ReplayError(
            f"rows {unknown[:10]} are not in quarantine. Rows in quarantine: {sorted(reasons)[:20]}"
        )
    return sorted(set(rows))


def _left(
    reasons: dict[int, list[str]], gone: Sequence[int]
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    without = set(gone)
    return tuple(
        (row, tuple(codes)) for row, codes in sorted(reasons.items()) if row not in without
    )


def measured_rows(
    reviews: Bucket, delivery: Delivery, settings: Settings
) -> tuple[SpooledRows, Measured]:
    rows = arrivals.read_rows(reviews, delivery, settings)
    night = date.fromisoformat(delivery.night)
    return rows, measure(rows, night=night, settings=settings.validation)


def _check_usable(measured: Measured, chosen: Sequence[int]) -> None:
    """Refuse rows without a text, a label or a day: nothing can be trained on them."""
    labels, undated = measured.frame["label"].tolist(), measured.frame[DATE_INVALID].tolist()
    has_text = (measured.text_ids != 0).any(axis=1).tolist()
    unusable = [
        row for row in chosen if not has_text[row] or labels[row] not in LABELS or undated[row]
    ]
    if unusable:
        raise ReplayError(
            f"rows {unusable[:10]} cannot be released: each lacks a text of the allowed length, a "
            "known label or a day. Choose other rows, or discard these."
        )


def _verdict(standing: Standing, effect: _Effect) -> ReplayVerdict:
    if effect.is_held:
        return "HELD"
    if effect.quarantine:
        return "PARTLY_ACCEPTED"
    return "ACCEPTED" if effect.accept or standing.accepted else "DISCARDED"
