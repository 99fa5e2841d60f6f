"""Deliveries as `python -m pipelines delivery` shows and replays them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import config, replay_steps
from pipelines.errors import ReplayError

if TYPE_CHECKING:
    from pipelines.records import ReplayAction
    from pipelines.standings import Standing
    from pipelines.store import Bucket


def facts(standing: Standing) -> dict[str, Any]:
    """How a delivery stands, for people and for machines."""
    outcome, newest = standing.outcome, standing.newest
    return {
        "delivery": outcome.delivery,
        "landing_key": outcome.landing_key,
        "source": outcome.source,
        "night": outcome.night,
        "verdict": standing.verdict,
        "why": newest.why,
        "delivered_rows": newest.delivered_rows,
        "accepted_rows": standing.accepted_rows,
        "quarantined_rows": newest.quarantined_rows,
        "held_rows": newest.held_rows,
        "discarded_rows": standing.discarded_rows,
        "report": standing.validation_key.replace("/validation.json", "/report.html"),
        "replays": [
            {name: getattr(one, name) for name in ("number", "action", "actor", "reason", "at")}
            for one in standing.replays
        ],
    }


def shown(prefix: str) -> dict[str, Any]:
    """How one delivery stands, and what its rules found, as its page says it."""
    from pipelines import reports

    standing = find(prefix)
    found = reports.read(_reviews(), standing.validation_key)
    return facts(standing) | {"failed": [rule.sentence for rule in found.failed_rules]}


def unsettled() -> list[dict[str, Any]]:
    """Every delivery that is held or has rows in quarantine."""
    from pipelines import standings

    return [
        facts(one)
        for one in standings.every(_reviews())
        if one.verdict == "HELD" or one.quarantined is not None
    ]


def find(prefix: str) -> Standing:
    """The one delivery whose sha256 begins like this.

    Raises
    ------
    ReplayError
        If there is none, or more than one.
    """
    from pipelines import standings

    reviews = _reviews()
    names = {
        info.key.split("/")[1]
        for info in reviews.list(f"deliveries/{prefix}")
        if info.key.endswith("/outcome.json")
    }
    found = standings.find(reviews, names.pop()) if len(names) == 1 and len(prefix) >= 8 else None
    if found is None:
        raise ReplayError(
            f"{prefix!r} names no one delivery that was concluded. Give eight digits or more of "
            "one of those in: python -m pipelines delivery list"
        )
    return found


def write_page(prefix: str, to: Path) -> Path:
    """Draw the report of a delivery into a file that a browser can open."""
    from pipelines import reports

    standing = find(prefix)
    page = reports.page(_reviews(), standing.validation_key)
    try:
        to.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise ReplayError(f"cannot write {to}: {error.strerror}. Choose another file.") from error
    return to


def replay(
    prefix: str,
    action: ReplayAction,
    *,
    rows: list[int] | None,
    reason: str,
    is_for_real: bool,
    actor: str,
) -> dict[str, Any]:
    """Plan a replay and, if it is meant, carry it out; returns what became or would become."""
    standing = find(prefix)
    delivery = standing.outcome.delivery
    plan_uri = replay_steps.plan_replay(delivery, action, reason, rows)
    plan = _read_plan(plan_uri)
    if is_for_real or plan["number"] <= len(standing.replays):  # the newest one, repeated
        done = replay_steps.read_replay(replay_steps.apply_replay(plan_uri, actor))
        return {"is_done": True} | done.model_dump(mode="json")
    return {
        "is_done": False,
        "delivery": delivery,
        "action": action,
        "verdict": plan["verdict"],
        "why": plan["why"],
        "rows_that_would_count": len(plan["accept"]),
        "quarantined_rows": len(plan["quarantine"]),
        "held_rows": plan["held_rows"],
        "discarded_rows": plan["discarded_rows"],
    }


def _read_plan(plan_uri: str) -> dict[str, Any]:
    from pipelines.records import ReplayPlan
    from pipelines.store import open_stores

    reviews, key = open_stores(config.load().store).resolve(plan_uri)
    return reviews.get_record(key, ReplayPlan).model_dump(mode="json")


def _reviews() -> Bucket:
    from pipelines.store import open_stores

    return open_stores(config.load().store).reviews
