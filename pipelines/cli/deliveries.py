"""Commands on deliveries: list, show, rows, report, and replay."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.ids import check_id, the_only
from pipelines.cli.output import (
    Actor,
    AsJson,
    ForReal,
    in_shell,
    print_facts,
    print_json,
    print_note,
    reports_errors,
)
from pipelines.cli.tables import err, out, print_table
from pipelines.core import keys
from pipelines.core.errors import ReplayError
from pipelines.records.deliveries import ReplayAction
from pipelines.steps import replay as steps_replay
from pipelines.steps.context import open_loop

if TYPE_CHECKING:
    from pipelines.core.store.bucket import Bucket
    from pipelines.intake.standings import Standing


def facts(standing: Standing) -> dict[str, Any]:
    """The state of a delivery, for people and for machines."""
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
        "report": keys.report_key(standing.validation_key),
        "replays": [
            {name: getattr(entry, name) for name in ("number", "action", "actor", "reason", "at")}
            for entry in standing.replays
        ],
    }


def shown(prefix: str) -> dict[str, Any]:
    """The state of one delivery, and the rules that it failed."""
    from pipelines.validation import report

    standing = find(prefix)
    validation = report.read(_reviews(), standing.validation_key)
    return facts(standing) | {
        "failed": [f"{rule.rule}: {rule.sentence}" for rule in validation.failed_rules],
        "reasons": dict(sorted(validation.reasons.items())),
    }


def unsettled() -> list[dict[str, Any]]:
    """Every delivery that is held or has rows in quarantine."""
    from pipelines.intake import standings

    return [
        facts(standing)
        for standing in standings.every(_reviews())
        if standing.verdict == "HELD" or standing.quarantined
    ]


def find(prefix: str) -> Standing:
    """The only delivery whose sha256 begins with this prefix.

    Raises
    ------
    ReplayError
        If no delivery matches, or several do.
    """
    from pipelines.intake import standings

    reviews = _reviews()
    found = {
        keys.folder_of(info.key)
        for info in reviews.list(f"{keys.DELIVERIES}{check_id(prefix, 64)}")
        if keys.is_outcome(info.key)
    }
    delivery = the_only(
        found, "finished delivery", prefix, listed_by="delivery list", error=ReplayError
    )
    if (standing := standings.find(reviews, delivery)) is None:
        raise ReplayError(f"delivery {delivery} was not concluded yet")
    return standing


def left_out(prefix: str, reason: str | None, first: int) -> dict[str, Any]:
    """The rows of a delivery that break a rule or whose label the champion disputes."""
    from pipelines.core import config
    from pipelines.validation import replay_plan, report

    standing = find(prefix)
    disputed = report.read(_reviews(), standing.validation_key).disputed
    is_asked = reason in (None, "label_agreement")
    count, rows = replay_plan.left_out(
        _reviews(), standing, config.load(), reason=reason, most=first
    )
    return {
        "delivery": standing.outcome.delivery,
        "delivered_rows": standing.newest.delivered_rows,
        "rows_that_break_a_rule": count,
        "rows": [asdict(row) for row in rows],
        "disputed": [row.model_dump() for row in disputed[:first] if is_asked],
    }


def write_page(prefix: str, to: Path) -> Path:
    """Draw the report of a delivery into a file that a browser can open."""
    from pipelines.validation import report

    standing = find(prefix)
    page = report.page(_reviews(), standing.validation_key)
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
    """Plan a replay and, with ``is_for_real``, carry it out; returns its effect."""
    standing = find(prefix)
    delivery = standing.outcome.delivery
    plan_uri = steps_replay.plan_replay(delivery, action, reason, rows)
    plan = _read_plan(plan_uri)
    is_repeated = plan["number"] <= len(standing.replays)
    if is_for_real or is_repeated:
        done = steps_replay.read_replay(steps_replay.apply_replay(plan_uri, actor))
        left = standing.newest.quarantined_rows if is_repeated else 0
        facts = {"is_done": True} | done.model_dump(mode="json")
        return facts | ({"left_in_quarantine": left} if left else {})
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
    from pipelines.records.deliveries import ReplayPlan

    loop = open_loop(None)
    return loop.reviews.get_record(loop.key(plan_uri), ReplayPlan).model_dump(mode="json")


def _reviews() -> Bucket:
    return open_loop(None).reviews


delivery_app = typer.Typer(
    help="Show deliveries that are held or quarantined, and replay them.", no_args_is_help=True
)


DeliveryId = Annotated[str, typer.Argument(help="Its sha256, or its first eight digits or more.")]
ReplayReason = Annotated[str, typer.Option("--reason", help="Why. Kept in the ledger permanently.")]
ReplayRows = Annotated[
    list[int] | None,
    typer.Option("--row", help="A quarantined row, from 0; repeat it. Default: all of them."),
]


@delivery_app.command("list")
@reports_errors
def delivery_list(as_json: AsJson = False) -> None:
    """List every delivery that is held or has rows in quarantine."""
    deliveries = unsettled()
    if as_json:
        print_json(deliveries)
        return
    columns = ("delivery", "landing_key", "verdict", "held_rows", "quarantined_rows", "why")
    rows = [tuple(str(delivery[name]) for name in columns) for delivery in deliveries]
    print_table(
        "Deliveries with rows that do not count", columns, rows,
        if_empty="Every delivered row counts: nothing is held or in quarantine.",
    )  # fmt: skip


@delivery_app.command("show")
@reports_errors
def delivery_show(delivery: DeliveryId, as_json: AsJson = False) -> None:
    """Show the state of a delivery, and what people decided on it."""
    print_facts(shown(delivery), as_json=as_json)


@delivery_app.command("rows")
@reports_errors
def delivery_rows(
    delivery: DeliveryId,
    reason: Annotated[
        str | None, typer.Option(help="Only rows with this reason, e.g. text_length.")
    ] = None,
    first: Annotated[int, typer.Option(min=1, help="How many rows to show.")] = 20,
    has_text: Annotated[bool, typer.Option("--with-text", help="Show their texts.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the rows that break a rule, and those whose label the champion disputes."""
    broken = left_out(delivery, reason, first)
    if not has_text:
        for row in [*broken["rows"], *broken["disputed"]]:
            del row["text"]
    if as_json:
        print_json(broken)
        return
    columns = ("row", "review_id", "reasons", *(["text"] if has_text else []))
    rows = [
        tuple(", ".join(row[name]) if name == "reasons" else str(row[name]) for name in columns)
        for row in broken["rows"]
    ]
    print_table("Rows that break a rule", columns, rows, if_empty="No row breaks a rule.")
    if broken["disputed"]:
        columns = ("row", "review_id", "label", *(["text"] if has_text else []))
        disputed = [tuple(str(row[name]) for name in columns) for row in broken["disputed"]]
        print_table(
            "Rows whose label the champion disputes, the surest first",
            columns,
            disputed,
            if_empty="",
        )
    how_many = f"{len(rows):,} are shown" + (
        f" (--first {broken['rows_that_break_a_rule']} shows all)"
        if len(rows) < broken["rows_that_break_a_rule"]
        else ""
    )
    err.print(
        f"{broken['rows_that_break_a_rule']:,} of {broken['delivered_rows']:,} rows break a rule; "
        f"{how_many}."
    )


@delivery_app.command("report")
@reports_errors
def delivery_report(
    delivery: DeliveryId,
    to: Annotated[Path, typer.Option(help="File to write the page to.")] = Path("report.html"),
) -> None:
    """Write a delivery's report to a file, to open it in a browser."""
    out.print(Text(str(write_page(delivery, to))))


@delivery_app.command("release")
@reports_errors
def delivery_release(
    delivery: DeliveryId,
    reason: ReplayReason,
    row: ReplayRows = None,
    is_for_real: ForReal = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Accept a held delivery, or quarantined rows, although they break a rule."""
    _replay_delivery(delivery, "release", row, reason, is_for_real, actor, as_json)


@delivery_app.command("revalidate")
@reports_errors
def delivery_revalidate(
    delivery: DeliveryId,
    reason: ReplayReason,
    row: ReplayRows = None,
    is_for_real: ForReal = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Validate a held delivery, or quarantined rows, by today's rules."""
    _replay_delivery(delivery, "revalidate", row, reason, is_for_real, actor, as_json)


@delivery_app.command("discard")
@reports_errors
def delivery_discard(
    delivery: DeliveryId,
    reason: ReplayReason,
    row: ReplayRows = None,
    is_for_real: ForReal = False,
    actor: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Discard a held delivery, or quarantined rows, permanently."""
    _replay_delivery(delivery, "discard", row, reason, is_for_real, actor, as_json)


def _replay_delivery(
    delivery: str,
    action: ReplayAction,
    rows: list[int] | None,
    reason: str,
    is_for_real: bool,
    actor: str | None,
    as_json: bool,
) -> None:
    facts = replay(
        delivery, action, rows=rows, reason=reason, is_for_real=is_for_real, actor=in_shell(actor)
    )
    print_facts(facts, as_json=as_json)
    if left := facts.get("left_in_quarantine"):
        print_note(
            f"this repeats replay {facts['number']}, so nothing more was done. {left:,} rows are "
            "still in quarantine: to decide on them, name them with --row or give another reason"
        )
    if not facts["is_done"]:
        err.print("This was a dry run. To do it, add --yes.")
