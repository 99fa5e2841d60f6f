"""The loop from a shell: the same steps as Airflow's tasks, on the same S3.

Credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_ENDPOINT_URL_S3 (or a profile or role); settings from the file that LOOP_CONFIG names.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import itertools
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pipelines import cli_alerts, cli_deliveries, config, grants, provenance, rollback, steps, trust
from pipelines.errors import (
    BucketMissingError,
    ConfigError,
    DeliveryHeldError,
    LoopError,
    PromotionError,
    SourceError,
    StoreRefusedError,
    sentence,
)
from pipelines.grants import Role
from pipelines.records import NightSummary, ReplayAction
from pipelines.visible import visible

logger = logging.getLogger(__name__)

EXIT_ERROR, EXIT_HELD = 1, 3

_HOW_TO_ANSWER = (
    "This version waits for a person: python -m pipelines decision approve {version} --reason "
    "'...', or: decision reject {version} --reason '...'"
)

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
champion_app = typer.Typer(help="Who is champion, who was, and a copy of it.", no_args_is_help=True)
delivery_app = typer.Typer(
    help="Deliveries: why held, which rows, and another look at them.", no_args_is_help=True
)
decision_app = typer.Typer(help="Why a version was promoted, or not.", no_args_is_help=True)
alerts_app = typer.Typer(help="Who is told of incidents, and was.", no_args_is_help=True)
keys_app = typer.Typer(help="Keys that sign and are trusted.", no_args_is_help=True)
app.add_typer(champion_app, name="champion")
app.add_typer(delivery_app, name="delivery")
app.add_typer(decision_app, name="decision")
app.add_typer(alerts_app, name="alerts")
app.add_typer(keys_app, name="keys")

out, err = Console(), Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON on standard output.")]
NightOption = Annotated[
    str | None,
    typer.Option(help="Day whose deliveries to ingest, YYYY-MM-DD. Default: yesterday (UTC)."),
]


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn any error into one sentence on standard error and exit code 1; see `failure_of`."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            _check_texts(kwargs)
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise  # typer's own ways to end
        except KeyboardInterrupt:
            err.print("stopped; run the same command again to go on")
            raise typer.Exit(130) from None
        except Exception as error:
            _complain(failure_of(error))
            raise typer.Exit(EXIT_ERROR) from error

    return wrapped


def failure_of(error: Exception) -> str:
    """A sentence on any error. Where it happened is logged, which ``--verbose`` shows."""
    if not isinstance(error, LoopError):
        logger.info("what was not expected:", exc_info=error)
    return sentence(error)


def _check_texts(given: Mapping[str, object]) -> None:
    """Refuse what cannot be stored or printed, before anything is done.

    Raises
    ------
    BadParameter
        If a text or path is not UTF-8 or holds a NUL; typer makes exit code 2 of it.
    """
    for name, value in given.items():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str | Path) and not _is_text(str(text)):
                option = name.replace("_", "-")
                raise typer.BadParameter(
                    f"{option} is {visible(str(text)[:100])!r}, which is not UTF-8 text without NUL"
                )


def _is_text(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


@app.callback()
def main(
    is_verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also log what is done, to standard error.")
    ] = False,
) -> None:
    level = logging.INFO if is_verbose else logging.WARNING
    logging.basicConfig(
        level=level,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_path=False, markup=False)],
    )
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding stops nothing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@app.command()
@reports_errors
def init(
    policies: Annotated[
        Path | None,
        typer.Option(
            help="Only write a policy for each role to this folder, made if missing: "
            "upstream.json, ingest.json, retrain.json, alerts.json, pages.json, scoring.json. "
            "Needs no store and no credentials.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create the two buckets if they are missing, and prove that the store can be trusted.

    With --policies, write instead who may do what there: IAM policies in JSON, as AWS, MinIO and
    Ceph take them, from the configured names of buckets and model. How to apply them, and what each
    role may do: docs/grants.md.
    """
    if policies is not None:
        _write_policies(policies, as_json=as_json)
        return
    stores = _stores()
    created = [
        bucket.name for bucket in (stores.reviews, stores.models) if bucket.create_if_missing()
    ]
    stores.models.prove_create_if_absent()
    facts = {
        "endpoint": stores.models.endpoint,
        "reviews_bucket": stores.reviews.name,
        "models_bucket": stores.models.name,
        "created": created,
        "honours_create_if_absent": True,
    }
    _tell(facts, as_json=as_json)


def _write_policies(folder: Path, *, as_json: bool) -> None:
    settings = config.load()
    made = grants.policies(
        reviews=settings.store.reviews_bucket,
        models=settings.store.models_bucket,
        model=settings.model.name,
    )
    files = {f"{role}.json": grants.as_file(policy).encode() for role, policy in made.items()}
    _write_files(folder, files)
    _tell({role: str(folder / f"{role}.json") for role in made}, as_json=as_json)


@app.command()
@reports_errors
def replay(
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
        str | None, typer.Option(help="YYYY-MM-DD. Default: so that the last one is yesterday.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Turn reviews into nightly deliveries under landing/, as the film site would drop them."""
    from pipelines import replayer, sources

    reviews = _stores("upstream").reviews
    _check_exists(reviews)
    opened = sources.open_source(source, cache_dir=cache_folder(), made_up_rows=10_000, seed=seed)
    start = _day(first_night) if first_night else _yesterday() - timedelta(days=nights - 1)
    plans = replayer.even_nights(
        opened.table.num_rows, nights=nights, rows_per_night=rows_per_night, first_night=start
    )
    facts: dict[str, Any] = {"reviews": opened.description, "is_made_up": opened.is_made_up}
    facts["deliveries"] = []
    with _progress() as progress:
        bar = progress.add_task("deliveries", total=sum(len(plan.deliveries) for plan in plans))
        for delivery in replayer.replay(opened.table, plans, seed=seed):
            reviews.put(delivery.key, delivery.body)
            facts["deliveries"].append({"key": delivery.key, "rows": delivery.rows})
            progress.advance(bar)
    if as_json:
        _print_json(facts)
        return
    out.print(Text(opened.description))
    rows = [(line["key"], f"{line['rows']:,}") for line in facts["deliveries"]]
    _print_table("Delivered", ("landing key", "rows"), rows)


@app.command()
@reports_errors
def ingest(night: NightOption = None, as_json: AsJson = False) -> None:
    """Land, validate and accept or hold every delivery that is due.

    Exit code 0: all that is due is accepted or there is nothing. 3: something is held, overdue or
    needs a person, the rest is accepted. 1: not all could be done, nothing is lost; run it again.
    """
    day = (_day(night) if night else _yesterday()).isoformat()
    due = steps.find_deliveries(day)
    failures: list[str] = []
    with _progress() as progress:
        bar = progress.add_task(f"night {day}", total=len(due))
        for landing_uri in due:
            progress.update(bar, description=visible(landing_uri.rpartition("/")[2][:40]))
            _ingest_one(landing_uri, day, failures)
            progress.advance(bar)
    from pipelines import rhythm

    try:
        stores = _stores("ingest")
        summary = rhythm.night_summary(stores.reviews, day, config.load().sources)
    except Exception:
        for failure in failures:
            _complain(failure)
        raise
    failures += [f"{key} cannot be read, so it is not counted here" for key in summary.unreadable]
    if as_json:
        facts = {"is_complete": not failures, "failures": failures}
        _print_json(summary.model_dump(mode="json") | facts)
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
        _print_table(f"Night {day}: {state}", headers, rows)
    _end_night(summary, failures)


def _end_night(summary: NightSummary, failures: Sequence[str]) -> None:
    """Say what somebody has to look at, and end with the exit code for it."""
    from pipelines import rhythm

    for failure in failures:
        _complain(failure)
    for missing in summary.missing:
        _complain(f"{rhythm.sentence(missing)}. See docs/runbooks/missing-delivery.md")
    for one in summary.set_aside:
        tell = _complain if one.needs_person else _note
        tell(f"{one.landing_key}: {one.why}")
    if (more := summary.set_aside_deliveries - len(summary.set_aside)) > 0:
        _note(f"{more:,} more files of landing/ are not taken up this night")
    if failures:
        raise typer.Exit(EXIT_ERROR)
    if summary.held_deliveries or summary.missing or summary.for_people:
        raise typer.Exit(EXIT_HELD)


def _ingest_one(landing_uri: str, night: str, failures: list[str]) -> None:
    """One delivery; what goes wrong with it, whatever it is, does not stop the others."""
    try:
        arrival_uri = steps.land(landing_uri, night)
        steps.accept(arrival_uri, steps.validate(arrival_uri))
    except DeliveryHeldError:
        pass  # recorded: the table shows it
    except Exception as error:  # noqa: BLE001 - it is told, and is due again
        failures.append(f"{visible(landing_uri)}: {failure_of(error)}")


DeliveryId = Annotated[str, typer.Argument(help="Its sha256, or its first eight digits or more.")]
ReplayReason = Annotated[str, typer.Option("--reason", help="Why. Kept in the ledger for good.")]
ReplayRows = Annotated[
    list[int] | None,
    typer.Option("--row", help="A quarantined row, from 0; repeat it. Default: all of them."),
]
ForReal = Annotated[
    bool, typer.Option("--yes", help="Do it. Without this only show what would be done.")
]


@delivery_app.command("list")
@reports_errors
def delivery_list(as_json: AsJson = False) -> None:
    """Every delivery that is held or has rows in quarantine."""
    found = cli_deliveries.unsettled()
    if as_json:
        _print_json(found)
        return
    columns = ("delivery", "landing_key", "verdict", "held_rows", "quarantined_rows", "why")
    rows = [tuple(str(one[name]) for name in columns) for one in found]
    _print_table("Not all of these counts", columns, rows)


@delivery_app.command("show")
@reports_errors
def delivery_show(delivery: DeliveryId, as_json: AsJson = False) -> None:
    """How a delivery stands, and what people decided on it."""
    _tell(cli_deliveries.shown(delivery), as_json=as_json)


@delivery_app.command("report")
@reports_errors
def delivery_report(
    delivery: DeliveryId,
    to: Annotated[Path, typer.Option(help="File to write the page to.")] = Path("report.html"),
) -> None:
    """Copy a delivery's report, to open it in a browser."""
    out.print(Text(str(cli_deliveries.write_page(delivery, to))))


@delivery_app.command("release")
@reports_errors
def delivery_release(
    delivery: DeliveryId,
    reason: ReplayReason,
    row: ReplayRows = None,
    is_for_real: ForReal = False,
    as_json: AsJson = False,
) -> None:
    """Let a held delivery, or quarantined rows, count although a rule says no."""
    _replay_delivery(delivery, "release", row, reason, is_for_real, as_json)


@delivery_app.command("revalidate")
@reports_errors
def delivery_revalidate(
    delivery: DeliveryId,
    reason: ReplayReason,
    row: ReplayRows = None,
    is_for_real: ForReal = False,
    as_json: AsJson = False,
) -> None:
    """Judge a held delivery, or quarantined rows, by today's rules."""
    _replay_delivery(delivery, "revalidate", row, reason, is_for_real, as_json)


@delivery_app.command("discard")
@reports_errors
def delivery_discard(
    delivery: DeliveryId,
    reason: ReplayReason,
    row: ReplayRows = None,
    is_for_real: ForReal = False,
    as_json: AsJson = False,
) -> None:
    """Give up a held delivery, or quarantined rows, for good."""
    _replay_delivery(delivery, "discard", row, reason, is_for_real, as_json)


def _replay_delivery(
    delivery: str,
    action: ReplayAction,
    rows: list[int] | None,
    reason: str,
    is_for_real: bool,
    as_json: bool,
) -> None:
    facts = cli_deliveries.replay(
        delivery, action, rows=rows, reason=reason, is_for_real=is_for_real,
        actor=f"shell {_user()}",
    )  # fmt: skip
    _tell(facts, as_json=as_json)
    if not facts["is_done"]:
        err.print("This was a dry run. To do it, add --yes.")


@app.command()
@reports_errors
def retrain(
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="Configured model to train; repeat to compare. Default: configured."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the configured seed.")] = None,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and decide; leave the champion as it is.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Kept with the champion's succession.")] = "",
    as_json: AsJson = False,
) -> None:
    """Retrain on everything accepted, and promote the model if it is better.

    The same reviews, code, settings and seed are the same version: it is not trained twice.
    """
    with _progress(shows_count=False) as progress:
        bar = progress.add_task("pinning the accepted reviews", total=None)

        def on_step(step: str) -> None:
            progress.update(bar, description=step)

        facts = _retrain(tuple(candidate or ()), seed, is_dry_run, reason, on_step)
    if as_json:
        _print_json(facts)
        return
    if "rules" in facts:
        from pipelines.judgement import GateRule

        rules = [GateRule.model_validate(rule) for rule in facts["rules"]]
        _print_rules(facts["version"], rules)
    out.print(
        Text.assemble((f"{facts['verdict']}: ", "bold"), visible(facts["why"])), soft_wrap=True
    )
    if facts.get("needs_approval"):
        err.print(_HOW_TO_ANSWER.format(version=facts["version"]), soft_wrap=True)


def _print_rules(version: str, rules: Sequence[Any]) -> None:
    """Groups apart, names whole, and the sentences with the room that is left."""
    table = Table(title=Text(f"Version {version}"), title_justify="left", box=box.HORIZONTALS)
    for header, ratio in (("", None), ("asks about", None), ("rule", None), ("what it saw", 1)):
        table.add_column(header, ratio=ratio, overflow="fold", min_width=4)
    for group, members in itertools.groupby(rules, key=lambda rule: rule.group):
        table.add_section()
        for rule in members:
            answer = Text(rule.answer, "bold red" if rule.answer == "FAIL" else "")
            name = _narrow(rule.rule.removeprefix(f"{group} "))
            table.add_row(answer, Text(group), name, Text(visible(rule.sentence)))
    out.print(table)


def _narrow(name: str, width: int = 22) -> Text:
    """A rule's name, broken where it has a joint rather than anywhere."""
    lines = [""]
    for part in re.split(r"(?<=[ _=+])", visible(name)):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return Text("\n".join(lines))


def _retrain(
    candidates: tuple[str, ...],
    seed: int | None,
    is_dry_run: bool,
    reason: str,
    on_step: Callable[[str], None],
) -> dict[str, Any]:
    plan_uri = steps.plan(steps.take_snapshot(), candidates, seed)
    version = plan_uri.rpartition("/")[2].removesuffix(".json")
    registry = _registry()
    if not steps.has_work(plan_uri):
        _finish_again(registry, version, on_step)
        why = "Nothing changed since this version was decided on: nothing is trained."
        return {"verdict": "NOTHING_CHANGED", "why": why, "version": version, "is_trained": False}
    is_known = registry.find_version(version) is not None
    on_step("computing features")
    cache = steps.featurize(plan_uri)
    manifest_uri = steps.train(plan_uri, on_step)
    on_step("evaluating champion and challenger on the same reviews")
    evaluation_uri = steps.evaluate(manifest_uri)
    on_step("trying the model file in a clean process")
    decision_uri = steps.decide(steps.verify(evaluation_uri))
    card_problem = _draw_card(decision_uri, on_step)
    decision, entry_uri = steps.read_decision(decision_uri), None
    next_step = steps.next_step(decision_uri, is_dry_run=is_dry_run)
    if next_step == "promote":
        on_step("promoting")
        entry_uri = steps.promote(decision_uri, f"shell {_user()}", reason)
        steps.confirm(entry_uri)
        decision = registry.last_decision(version, decision.policy)  # a lost race decides again
    return {
        "verdict": decision.verdict,
        "why": decision.why,
        "version": version,
        "is_trained": not is_known,
        "is_promoted": entry_uri is not None,
        "needs_approval": next_step == "ask",
        "champion_generation_before": decision.champion_generation,
        "card_problem": card_problem,
        "features": cache,
        "rules": [rule.model_dump(mode="json") for rule in decision.rules],
    }


def _draw_card(decision_uri: str, on_step: Callable[[str], None]) -> str | None:
    """Why the card could not be drawn: it speaks of a decision, and stops none."""
    on_step("drawing the model card")
    try:
        steps.write_card(decision_uri)
    except Exception as error:  # noqa: BLE001 - it is told, and drawn by the next run
        problem = failure_of(error)
        _complain(f"The model card is not drawn: {problem}")
        return problem
    return None


def _finish_again(registry: Any, version: str, on_step: Callable[[str], None]) -> None:
    """What a stopped run left out, the card or the confirmation, is done by the next one."""
    for decision_key in registry.decision_keys(version):
        _draw_card(registry.models.uri(decision_key), on_step)
    champion = registry.champion()
    if champion is not None and champion.version == version:
        on_step("confirming the champion")
        steps.confirm(registry.models.uri(registry.log_key(champion.generation)))


@champion_app.command("show")
@reports_errors
def champion_show(as_json: AsJson = False) -> None:
    """The champion: version, since when, why, and how good."""
    from pipelines import serving

    registry = _registry()
    entry = serving.find_champion(registry)
    manifest = registry.champion_manifest(entry)
    facts = _entry_facts(entry) | {
        "candidate": manifest.candidate,
        "training_rows": manifest.training_rows,
        "model_bytes": manifest.model_size_bytes,
        "model_sha256": manifest.model_sha256,
        "snapshot": manifest.plan.snapshot,
    }
    _tell(facts, as_json=as_json)


@champion_app.command("history")
@reports_errors
def champion_history(as_json: AsJson = False) -> None:
    """The succession of champions, oldest first, with its chain of digests checked."""
    entries = [_entry_facts(entry) for entry in _registry().history()]
    if as_json:
        _print_json(entries)
        return
    rows = [
        (
            str(entry["generation"]), entry["version"], entry["at"],
            f"{entry['holdout_accuracy']:.4f}", entry["actor"], entry["reason"],
        )
        for entry in entries
    ]  # fmt: skip
    headers = ("generation", "version", "since", "holdout accuracy", "by", "reason")
    _print_table("Champions", headers, rows)


@champion_app.command("at")
@reports_errors
def champion_at(
    moment: Annotated[
        str, typer.Argument(help="ISO 8601, e.g. 2026-01-05T03:00Z; without a zone it is UTC.")
    ],
    as_json: AsJson = False,
) -> None:
    """Who was champion at a moment: what answered then?"""
    registry = _registry()
    asked = _moment(moment)
    entry = registry.champion_at(asked)
    if entry is None:
        raise PromotionError(f"there was no champion yet at {asked.isoformat()}")
    _tell(_entry_facts(entry), as_json=as_json)


@champion_app.command("rollback")
@reports_errors
def champion_rollback(
    reason: Annotated[str, typer.Option(help="Why. Kept in the log for good.")],
    to: Annotated[
        str, typer.Option(help="A former champion's version, or 'previous'.")
    ] = rollback.PREVIOUS,
    is_for_real: Annotated[
        bool, typer.Option("--yes", help="Do it. Without this only show what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put an older champion back. The present one cannot come back until it is released."""
    registry = _registry("retrain")
    _, plan = rollback.make_plan(registry, to, reason=reason)
    facts: dict[str, Any] = {
        "from_version": plan.champion_version,
        "to_version": plan.target_version,
        "is_done": is_for_real,
    }
    if is_for_real:
        entry = rollback.apply_plan(registry, plan, actor=f"shell {_user()}")
        facts |= _entry_facts(entry)
        steps.confirm(registry.models.uri(registry.log_key(entry.generation)))
    _tell(facts, as_json=as_json)
    if not is_for_real:
        err.print("This was a dry run. To do it, add --yes.")


@champion_app.command("release")
@reports_errors
def champion_release(
    version: Annotated[str, typer.Argument(help="A version that was rolled back.")],
    reason: Annotated[str, typer.Option(help="Why. Kept in the log for good.")],
    as_json: AsJson = False,
) -> None:
    """Let a version that was rolled back compete again. The champion stays."""
    entry = rollback.release(_registry("retrain"), version, actor=f"shell {_user()}", reason=reason)
    _tell(_entry_facts(entry), as_json=as_json)


@champion_app.command("pin")
@reports_errors
def champion_pin(
    version: Annotated[str, typer.Argument(help="A version that is or was champion.")],
    reason: Annotated[str, typer.Option(help="Why. Kept in the log for good.")],
    as_json: AsJson = False,
) -> None:
    """Make a version the reference that challengers must not be worse than. The champion stays."""
    entry = rollback.pin(_registry("retrain"), version, actor=f"shell {_user()}", reason=reason)
    _tell(_entry_facts(entry), as_json=as_json)


@champion_app.command("fsck")
@reports_errors
def champion_fsck(
    is_deep: Annotated[
        bool,
        typer.Option("--deep", help="Also read the bytes of deliveries, partitions and caches."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every object of both buckets; exit code 1 if one was lost, changed or forged."""
    from pipelines import fsck

    stores = _stores()
    with _progress() as progress:
        bar = progress.add_task("reading everything", total=None)
        findings = fsck.check(
            stores.reviews, _registry(), is_deep=is_deep,
            on_object=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        _print_json([asdict(found) for found in findings])
    elif findings:
        rows = [(found.kind, found.bucket, found.key, found.what) for found in findings]
        _print_table("Findings", ("", "bucket", "object", "what"), rows)
    else:
        out.print("Everything is as it was recorded.")
    if any(found.kind == "error" for found in findings):
        raise typer.Exit(EXIT_ERROR)


@decision_app.command("show")
@reports_errors
def decision_show(
    version: Annotated[
        str | None, typer.Argument(help="Whose decision. Default: the champion's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """A decision, rule by rule. With several, the one against the newest champion."""
    decision = _decision(version)
    if as_json:
        _print_json(decision.model_dump(mode="json"))
        return
    _print_rules(decision.version, decision.rules)
    out.print(Text.assemble((f"{decision.verdict}: ", "bold"), decision.why), soft_wrap=True)
    if decision.approval == "needed":
        _print_approval(decision)


@decision_app.command("card")
@reports_errors
def decision_card(
    version: Annotated[
        str | None, typer.Argument(help="Whose card. Default: the champion's.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write card and plots to; made if missing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The model card of a decided version, in Markdown. With several decisions, of the last one."""
    from pipelines import card

    decision = _decision(version)
    files = card.read(_stores().reviews, _registry(), decision)
    if to is not None:
        _write_files(to, files)
    facts = {"version": decision.version, "verdict": decision.verdict, "files": list(files)}
    text = files[card.CARD].decode("utf-8")
    if as_json:
        _print_json(facts | {"folder": None if to is None else str(to), "card": text})
    elif to is not None:
        _tell(facts | {"folder": str(to)}, as_json=False)
    else:
        sys.stdout.write(text)


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise SourceError(
            f"cannot write to {folder}: {error.strerror}. Choose another folder."
        ) from error


def _print_approval(decision: Any) -> None:
    from pipelines import promotion

    approval = promotion.find_approval(_registry(), decision)
    if approval is None:
        err.print(_HOW_TO_ANSWER.format(version=decision.version), soft_wrap=True)
        return
    said = f"{approval.actor} said {approval.answer}: {approval.reason}"
    out.print(Text(visible(said)), soft_wrap=True)


@decision_app.command("approve")
@reports_errors
def decision_approve(
    version: Annotated[str, typer.Argument(help="The version that waits for a person.")],
    reason: Annotated[str, typer.Option(help="Why. Kept with the decision for good.")],
    as_json: AsJson = False,
) -> None:
    """Let a version through whose decision asks for a person, and make it champion.

    Only a first model and an INCONCLUSIVE verdict can be approved, and only while the champion is
    still the one that the decision was made against.
    """
    decision_uri = _open_decision_uri(version)
    if steps.record_answer(decision_uri, "approve", f"shell {_user()}", reason) != "approve":
        raise PromotionError(f"version {version} was rejected before; the first answer stands")
    entry_uri = steps.promote(decision_uri, f"shell {_user()}", reason)
    steps.confirm(entry_uri)
    facts = {"version": version, "answer": "approve", "is_promoted": entry_uri is not None}
    _tell(facts, as_json=as_json)


@decision_app.command("reject")
@reports_errors
def decision_reject(
    version: Annotated[str, typer.Argument(help="The version that waits for a person.")],
    reason: Annotated[str, typer.Option(help="Why. Kept with the decision for good.")],
    as_json: AsJson = False,
) -> None:
    """Say no to a version whose decision asks for a person. The champion stays."""
    answer = steps.record_answer(_open_decision_uri(version), "reject", f"shell {_user()}", reason)
    _tell({"version": version, "answer": answer}, as_json=as_json)


def _open_decision_uri(version: str) -> str:
    """The decision on a version; refuses one that was made against a former champion.

    One that was acted on already is no such: repeating a command must be safe.
    """
    registry = _registry()
    decision, champion = _decision(version), registry.champion()
    generation = champion.generation if champion else 0
    is_done = champion is not None and champion.decision_sha256 == decision.digest()
    if decision.champion_generation != generation and not is_done:
        raise PromotionError(
            f"version {version} was decided on against champion generation "
            f"{decision.champion_generation}; it is generation {generation} now. Decide again: "
            "python -m pipelines retrain"
        )
    return str(registry.models.uri(decision.object_key))


@decision_app.command("verify")
@reports_errors
def decision_verify(
    version: Annotated[
        str | None, typer.Argument(help="Whose decision. Default: the champion's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a decision's signature, and that deciding again on its evaluation says the same."""
    from pipelines import gate

    decision = _decision(version)
    registry = _registry()
    evaluation = registry.evaluation_of(decision)
    check = registry.find_check(evaluation)
    settings = config.load()
    is_same_policy = provenance.gate_policy(settings) == decision.policy
    again = gate.decide(evaluation, settings.gate, check)
    facts = {
        "version": decision.version,
        "verdict": decision.verdict,
        "signed_by": registry.models.signed_by(decision.object_key),
        "rules_are_those_in_force": is_same_policy,
        "decided_again": again.verdict if is_same_policy else None,
    }
    _tell(facts, as_json=as_json)
    if facts["decided_again"] not in {None, decision.verdict}:
        raise typer.Exit(EXIT_ERROR)


def _decision(version: str | None) -> Any:
    registry = _registry()
    if version is None:
        from pipelines import serving

        return registry.decision(serving.find_champion(registry).decision_key)
    keys = registry.decision_keys(version)
    if not keys:
        raise PromotionError(f"no decision was made on a version {version!r}")
    return registry.decision(keys[-1])


@keys_app.command("new")
@reports_errors
def keys_new(
    file: Annotated[Path, typer.Argument(help="Where to write the private key; must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make a signing key. Keep the file secret; the public half goes into trust.trusted_keys."""
    _tell({"file": str(file), "public_key": trust.write_new_key(file)}, as_json=as_json)


@keys_app.command("show")
@reports_errors
def keys_show(as_json: AsJson = False) -> None:
    """The keys whose signature counts here."""
    _tell({"trusted_keys": sorted(trust.trusted_keys())}, as_json=as_json)


@alerts_app.command("check")
@reports_errors
def alerts_check(as_json: AsJson = False) -> None:
    """Send a test by every channel that is switched on, and say what happened.

    Exit code 0: all of them work. 1: one does not, or alerts are off.
    """
    lines = cli_alerts.check()
    if as_json:
        _print_json(lines)
    else:
        rows = [
            (one["channel"], "sent" if one["is_sent"] else "FAILED", one["why"]) for one in lines
        ]
        _print_table("Alerts", ("channel", "test", "why"), rows)
    if not lines:
        _complain("alerts are off: no channel of [alerts] is switched on in the configuration")
    if not lines or not all(one["is_sent"] and not one["why"] for one in lines):
        raise typer.Exit(EXIT_ERROR)


@alerts_app.command("list")
@reports_errors
def alerts_list(
    only_untold: Annotated[
        bool, typer.Option("--untold", help="Only what was not sent, or not surely.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every incident that was told, by which channel, and what could not be sent."""
    lines = cli_alerts.told(only_untold=only_untold)
    if as_json:
        _print_json(lines)
        return
    names = ("kind", "title", "channel", "state", "attempts", "why")
    _print_table("Alerts", names, [tuple(str(one[name]) for name in names) for one in lines])


@keys_app.command("export")
@reports_errors
def keys_export(
    file: Annotated[Path, typer.Argument(help="Where to write them; an older file is replaced.")],
    as_json: AsJson = False,
) -> None:
    """Write the trusted public keys for LOOP_TRUSTED_KEYS_FILE of processes that only read."""
    exported = sorted(trust.export_trusted_keys(file))
    _tell({"file": str(file), "trusted_keys": exported}, as_json=as_json)


@champion_app.command("pull")
@reports_errors
def champion_pull(
    to: Annotated[Path, typer.Option(help="Folder to write to; made if missing.")],
    as_json: AsJson = False,
) -> None:
    """Copy the champion, verified, to a folder: model.skops, manifest.json, champion.json."""
    from pipelines import serving

    entry = serving.pull(_registry(), to)
    _tell(_entry_facts(entry) | {"folder": str(to)}, as_json=as_json)


@app.command()
@reports_errors
def score(
    file: Annotated[
        Path, typer.Argument(help="CSV, JSON Lines or Parquet with a column 'text', also .gz.")
    ],
    model: Annotated[
        Path | None, typer.Option(help="A folder of 'champion pull'. Default: the champion.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write here instead of to standard output.")
    ] = None,
) -> None:
    """Score each review of a file with the champion: one JSON line per row, in order."""
    from pipelines import scoring, serving

    champion = serving.load_pulled(model) if model else serving.load_champion(_registry())
    with _progress(shows_count=False) as progress:
        bar = progress.add_task(f"scoring {file.name}", total=1.0)
        batches = scoring.read_texts(file, lambda share: progress.update(bar, completed=share))
        lines = serving.score_lines(champion, batches)
        if output is None:
            sys.stdout.writelines(lines)
        else:
            _write_whole(output, lines)


def _write_whole(path: Path, lines: Iterator[str]) -> None:
    """Write beside, then put in place: a stopped run leaves no half file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.writelines(lines)
        part.replace(path)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}. Choose another file.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where downloads are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "retraining-loop"


def _check_exists(bucket: Any) -> None:
    """Fail early where a bucket is missing; who may only deliver may not look."""
    try:
        bucket.check_exists()
    except BucketMissingError:
        raise
    except StoreRefusedError:
        logging.getLogger(__name__).info("bucket=%s exists=unknown", bucket.name)


def _stores(role: Role | None = None) -> Any:
    from pipelines.store import open_stores

    return open_stores(config.load().store, role)


def _registry(role: Role | None = None) -> Any:
    from pipelines.registry import Registry

    return Registry(_stores(role).models, config.load().model.name)


def _entry_facts(entry: Any) -> dict[str, Any]:
    names = (
        "generation",
        "version",
        "kind",
        "subject",
        "at",
        "actor",
        "reason",
        "holdout_accuracy",
        "holdout_log_loss",
        "reference",
    )
    return {name: getattr(entry, name) for name in names}


def _user() -> str:
    try:
        return visible(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return "unknown"


def _yesterday() -> date:
    from pipelines import clock

    return clock.last_complete_day(_stores().reviews)


def _moment(text: str) -> datetime:
    from pipelines import clock

    if (moment := clock.read(text)) is None:
        raise ConfigError(f"{text!r} is no moment like 2026-01-05T03:00Z")
    return moment


def _day(text: str) -> date:
    from pipelines.landing import checked_night

    return checked_night(text)


def _progress(*, shows_count: bool = True) -> Progress:
    """A progress bar on standard error, shown on terminals only."""
    counted = [MofNCompleteColumn()] if shows_count else []
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), *counted,
        TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip


def _tell(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(facts)
        return
    table = Table(show_header=False, box=None)
    for name, value in facts.items():
        table.add_row(Text(name.replace("_", " "), style="dim"), Text(visible(str(value))))
    out.print(table)


def _complain(message: str) -> None:
    err.print(Text.assemble(("error: ", "bold red"), visible(message)), soft_wrap=True)


def _note(message: str) -> None:
    err.print(Text.assemble(("note: ", "bold"), visible(message)), soft_wrap=True)


def _print_json(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def _print_table(title: str, headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(title=Text(title), title_justify="left")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    out.print(table)


if __name__ == "__main__":
    app()
