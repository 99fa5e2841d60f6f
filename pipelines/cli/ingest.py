"""Commands that set up the buckets, simulate a film site, and ingest a night."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.output import (
    EXIT_ERROR,
    EXIT_HELD,
    AsJson,
    check_exists,
    complain,
    default_night,
    failure_of,
    parse_day,
    print_facts,
    print_json,
    print_note,
    progress_bar,
    reports_errors,
    write_files,
)
from pipelines.cli.tables import out, print_table
from pipelines.core import config, grants
from pipelines.core.errors import DeliveryHeldError
from pipelines.core.escaping import visible
from pipelines.core.store.stores import make_task_logs_bucket
from pipelines.records.deliveries import NightSummary
from pipelines.steps import ingest as steps_ingest
from pipelines.steps.context import open_loop

NightOption = Annotated[
    str | None,
    typer.Option(help="Day whose deliveries to ingest, YYYY-MM-DD. Default: yesterday (UTC)."),
]


@reports_errors
def init(
    policies: Annotated[
        Path | None,
        typer.Option(
            help="Only write a policy for each role to this folder, created if missing: "
            "upstream.json, ingest.json, retrain.json, housekeeping.json, alerts.json, pages.json, "
            "scoring.json. "
            "Needs no store and no credentials.",
        ),
    ] = None,
    task_logs: Annotated[
        str | None,
        typer.Option(
            metavar="BUCKET",
            help="Also create this bucket for the logs of Airflow's tasks. Everything in it "
            "expires after 14 days, so one that holds something else is refused. With --policies, "
            "also write the policy of who keeps them there: logs.json.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the two buckets if they are missing, and prove that the store can be trusted.

    With --policies, only write an IAM policy in JSON for each role, for AWS, MinIO and Ceph, with
    the configured names of buckets and models. docs/grants.md says how to apply the policies, and
    what each role may do.
    """
    if policies is not None:
        _write_policies(policies, task_logs, as_json=as_json)
        return
    stores = open_loop(None).stores
    created = [
        bucket.name for bucket in (stores.reviews, stores.models) if bucket.create_if_missing()
    ]
    stores.models.prove_create_if_absent()
    if task_logs is not None:
        grants.task_logs_policy(task_logs, others=(stores.reviews.name, stores.models.name))
        created += [task_logs] if make_task_logs_bucket(task_logs) else []
    facts = {
        "endpoint": stores.models.endpoint,
        "reviews_bucket": stores.reviews.name,
        "models_bucket": stores.models.name,
        "created": created,
        "honours_create_if_absent": True,
    }
    print_facts(facts, as_json=as_json)


def _write_policies(folder: Path, task_logs: str | None, *, as_json: bool) -> None:
    settings = config.load()
    reviews, models = settings.store.reviews_bucket, settings.store.models_bucket
    made = grants.policies(
        reviews=reviews,
        models=models,
        names=settings.model_names,
        keeps_predictions=any(
            settings.of(name).serving.prediction_log.is_enabled for name in settings.model_names
        ),
    )
    policies: dict[str, dict[str, Any]] = {str(role): made[role] for role in made}
    if task_logs is not None:
        own = grants.task_logs_policy(task_logs, others=(reviews, models))
        policies[grants.TASK_LOGS] = own
    files = {f"{role}.json": grants.as_file(policy).encode() for role, policy in policies.items()}
    write_files(folder, files)
    print_facts({role: str(folder / f"{role}.json") for role in policies}, as_json=as_json)


@reports_errors
def simulate(
    source: Annotated[
        str | None,
        typer.Argument(
            help="Where the reviews come from: a .parquet, a Kaggle .csv, the official "
            "aclImdb_v1.tar.gz or its folder, 'imdb' (downloaded and verified), or 'made-up'. "
            "Default: imdb, else made-up."
        ),
    ] = None,
    nights: Annotated[int, typer.Option(min=1, max=3660, help="How many nights to make.")] = 5,
    rows_per_night: Annotated[
        int | None, typer.Option(min=1, help="Reviews per night. Default: all, spread evenly.")
    ] = None,
    first_night: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD. Default: the last night is yesterday.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Turn reviews into nightly deliveries under landing/, as the film site would drop them."""
    from pipelines.core.store import clock
    from pipelines.simulation import film_site, sources
    from pipelines.simulation import plans as simulation_plans

    given = parse_day(first_night) if first_night else None
    reviews = open_loop("upstream").reviews
    check_exists(reviews)
    opened = sources.open_source(source, cache_dir=cache_folder(), made_up_rows=10_000, seed=seed)
    # By this machine's clock: who may only deliver cannot ask the store for its time.
    yesterday = clock.day_before(datetime.now(UTC))
    start = given or yesterday - timedelta(days=nights - 1)
    plans = simulation_plans.even_nights(
        opened.table.num_rows, nights=nights, rows_per_night=rows_per_night, first_night=start
    )
    facts: dict[str, Any] = {"reviews": opened.description, "is_made_up": opened.is_made_up}
    facts["deliveries"] = []
    with progress_bar() as progress:
        bar = progress.add_task("deliveries", total=sum(len(plan.deliveries) for plan in plans))
        for delivery in film_site.simulate(opened.table, plans, seed=seed):
            reviews.put(delivery.key, delivery.body)
            facts["deliveries"].append({"key": delivery.key, "rows": delivery.rows})
            progress.advance(bar)
    if as_json:
        print_json(facts)
        return
    out.print(Text(opened.description))
    rows = [(line["key"], f"{line['rows']:,}") for line in facts["deliveries"]]
    print_table(
        "Delivered", ("landing key", "rows"), rows, if_empty="There was nothing to deliver."
    )


@reports_errors
def ingest(night: NightOption = None, as_json: AsJson = False) -> None:
    """Land, validate and accept or hold every delivery that is due.

    Exit code 0: all that is due is accepted, or nothing is due. 3: a delivery is held, overdue or
    needs a person; the rest is accepted. 1: some work failed and nothing is lost; run it again.
    """
    asked_for = parse_day(night) if night else None
    failures: list[str] = []
    with progress_bar() as progress:
        bar = progress.add_task("looking for what is due", total=None)
        day = (asked_for or default_night()).isoformat()
        due = steps_ingest.find_deliveries(day)
        progress.update(bar, description="reading what they are compared with")
        history_uri = steps_ingest.pin_history(day, due)
        progress.update(bar, total=len(due))
        for landing_uri in due:
            name = visible(landing_uri.rpartition("/")[2][:40])

            def on_step(doing: str, name: str = name) -> None:
                progress.update(bar, description=f"{doing} {name}")

            _ingest_one(landing_uri, history_uri, day, failures, on_step)
            progress.advance(bar)
    from pipelines.intake import nights as intake_nights

    try:
        stores = open_loop("ingest").stores
        summary = intake_nights.night_summary(stores.reviews, day, config.load().sources)
    except Exception:
        for failure in failures:
            complain(failure)
        raise
    failures += [f"{key} cannot be read, so it is not counted here" for key in summary.unreadable]
    if as_json:
        facts = {"is_complete": not failures, "failures": failures}
        print_json(summary.model_dump(mode="json") | facts)
    else:
        rows = [
            (
                receipt.landing_key, receipt.verdict, f"{receipt.accepted_rows:,}",
                f"{receipt.quarantined_rows:,}", f"{receipt.held_rows:,}", receipt.why,
            )
            for receipt in summary.receipts
        ]  # fmt: skip
        headers = ("landing key", "verdict", "accepted", "quarantined", "held", "why")
        state = "INCOMPLETE" if failures else summary.status
        print_table(
            f"Night {day}: {state}", headers, rows,
            if_empty=f"Night {day}: {state}. Nothing was delivered for it.",
        )  # fmt: skip
    is_held = bool(intake_nights.still_held(stores.reviews, summary))
    _end_night(summary, failures, is_held=is_held)


def _end_night(summary: NightSummary, failures: Sequence[str], *, is_held: bool) -> None:
    """Print what needs attention, and exit with the matching code."""
    from pipelines.intake import nights as intake_nights

    for failure in failures:
        complain(failure)
    for missing in summary.missing:
        complain(f"{intake_nights.sentence(missing)}. See docs/runbooks/missing-delivery.md")
    for file in summary.set_aside:
        print_line = complain if file.needs_person else print_note
        print_line(f"{file.landing_key}: {file.why}")
    if (more := summary.set_aside_deliveries - len(summary.set_aside)) > 0:
        print_note(f"{more:,} more files of landing/ are not taken up this night")
    if summary.side_files:
        print_note(f"{summary.side_files:,} hidden, temporary or marker files are no deliveries")
    if failures:
        raise typer.Exit(EXIT_ERROR)
    if is_held or summary.missing or summary.for_people:
        raise typer.Exit(EXIT_HELD)


def _ingest_one(
    landing_uri: str,
    history_uri: str | None,
    night: str,
    failures: list[str],
    on_step: Callable[[str], None],
) -> None:
    """Ingest one delivery; no failure of it stops the others."""
    try:
        on_step("landing")
        arrival_uri = steps_ingest.land(landing_uri, night)
        on_step("validating")
        pinned = (history_uri,) if history_uri is not None else ()
        validation_uri = steps_ingest.validate(arrival_uri, *pinned)
        on_step("accepting")
        steps_ingest.accept(arrival_uri, validation_uri)
    except DeliveryHeldError:
        pass  # recorded: the table shows it
    except Exception as error:  # noqa: BLE001 - reported, and due again
        failures.append(f"{visible(landing_uri)}: {failure_of(error)}")


def cache_folder() -> Path:
    """Where downloads are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "retraining-loop"
