"""Commands on the champion: show, history, at, rollback, release, pin, check, copy and score."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.cli.ids import version_of
from pipelines.cli.output import (
    EXIT_ERROR,
    Actor,
    AsJson,
    ForReal,
    Model,
    in_shell,
    parse_moment,
    print_facts,
    print_json,
    progress_bar,
    reports_errors,
    write_whole,
)
from pipelines.cli.tables import err, print_table
from pipelines.core import config
from pipelines.core.errors import PromotionError
from pipelines.core.store.keyring import Keyring
from pipelines.registry import rollback
from pipelines.steps import promote
from pipelines.steps.context import open_loop

champion_app = typer.Typer(help="Show, check, copy or replace the champion.", no_args_is_help=True)


@champion_app.command("show")
@reports_errors
def champion_show(model: Model = None, as_json: AsJson = False) -> None:
    """Show the champion: version, since when, why, and its scores."""
    from pipelines.serving import champion as serving_champion

    registry = open_loop(None, model).registry
    entry = serving_champion.find_champion(registry)
    manifest = registry.versions.champion_manifest(entry)
    facts = _entry_facts(entry) | {
        "champion_since": registry.log.began(entry).at,
        "candidate": manifest.candidate,
        "training_rows": manifest.training_rows,
        "model_bytes": manifest.model_size_bytes,
        "model_sha256": manifest.model_sha256,
        "snapshot": manifest.plan.snapshot,
    }
    print_facts(facts, as_json=as_json)


@champion_app.command("history")
@reports_errors
def champion_history(model: Model = None, as_json: AsJson = False) -> None:
    """List all champions, oldest first, and verify the chain of digests."""
    entries = [_entry_facts(entry) for entry in open_loop(None, model).registry.log.history()]
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            str(entry["generation"]), entry["version"], entry["at"],
            f"{entry['holdout_accuracy']:.4f}", entry["actor"], entry["reason"],
        )
        for entry in entries
    ]  # fmt: skip
    headers = ("generation", "version", "since", "holdout accuracy", "by", "reason")
    print_table(
        "Champions", headers, rows,
        if_empty="There is no champion yet. To make one: python -m pipelines retrain",
    )  # fmt: skip


@champion_app.command("at")
@reports_errors
def champion_at(
    moment: Annotated[
        str, typer.Argument(help="ISO 8601, e.g. 2026-01-05T03:00Z; without a zone it is UTC.")
    ],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show which version was champion at a moment."""
    registry = open_loop(None, model).registry
    at = parse_moment(moment)
    entry = registry.log.champion_at(at)
    if entry is None:
        raise PromotionError(f"there was no champion yet at {at.isoformat()}")
    print_facts(_entry_facts(entry), as_json=as_json)


@champion_app.command("rollback")
@reports_errors
def champion_rollback(
    reason: Annotated[str, typer.Option(help="Why. Kept in the log permanently.")],
    to: Annotated[
        str, typer.Option(help="A former champion's version, or 'previous'.")
    ] = rollback.PREVIOUS,
    is_for_real: ForReal = False,
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Put an older champion back. The present one cannot be promoted again until it is released."""
    registry = open_loop("retrain", model).registry
    target = to if to == rollback.PREVIOUS else version_of(registry, to)
    _, plan = rollback.make_plan(registry, target, reason=reason)
    facts: dict[str, Any] = {
        "from_version": plan.champion_version,
        "to_version": plan.target_version,
        "is_done": is_for_real,
    }
    if is_for_real:
        entry = rollback.apply_plan(registry, plan, actor=in_shell(actor))
        facts |= _entry_facts(entry)
        promote.confirm(registry.models.uri(registry.log.key(entry.generation)), model)
    print_facts(facts, as_json=as_json)
    if not is_for_real:
        err.print("This was a dry run. To do it, add --yes.")


@champion_app.command("release")
@reports_errors
def champion_release(
    version: Annotated[str, typer.Argument(help="A version that was rolled back.")],
    reason: Annotated[str, typer.Option(help="Why. Kept in the log permanently.")],
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Let a version that was rolled back compete again. The champion stays."""
    registry = open_loop("retrain", model).registry
    entry = rollback.release(
        registry, version_of(registry, version), actor=in_shell(actor), reason=reason
    )
    print_facts(_entry_facts(entry), as_json=as_json)


@champion_app.command("pin")
@reports_errors
def champion_pin(
    version: Annotated[str, typer.Argument(help="A version that is or was champion.")],
    reason: Annotated[str, typer.Option(help="Why. Kept in the log permanently.")],
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the reference that challengers must not be worse than. The champion stays."""
    registry = open_loop("retrain", model).registry
    entry = rollback.pin(
        registry, version_of(registry, version), actor=in_shell(actor), reason=reason
    )
    print_facts(_entry_facts(entry), as_json=as_json)


@champion_app.command("fsck")
@reports_errors
def champion_fsck(
    is_deep: Annotated[
        bool,
        typer.Option("--deep", help="Also read the bytes of deliveries, partitions and caches."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check every object of both buckets; exit code 1 if any is lost, changed or forged."""
    from pipelines.registry.fsck import check

    loop = open_loop(None)
    with progress_bar() as progress:
        bar = progress.add_task("reading everything", total=None)
        findings = check.check(
            loop.reviews, loop.registry, is_deep=is_deep,
            on_object=lambda done, total: progress.update(bar, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(finding.kind, finding.bucket, finding.key, finding.what) for finding in findings]
        print_table(
            "Findings", ("", "bucket", "object", "what"), rows,
            if_empty="Everything is as it was recorded.",
        )  # fmt: skip
    if any(finding.kind == "error" for finding in findings):
        raise typer.Exit(EXIT_ERROR)


@champion_app.command("pull")
@reports_errors
def champion_pull(
    to: Annotated[Path, typer.Option(help="Folder to write to; created if missing.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Copy the champion, verified, to a folder: model.skops, manifest.json, champion.json."""
    from pipelines.serving import champion as serving_champion

    entry = serving_champion.pull(open_loop(None, model).registry, to)
    print_facts(_entry_facts(entry) | {"folder": str(to)}, as_json=as_json)


@reports_errors
def score(
    file: Annotated[
        Path, typer.Argument(help="CSV, JSON Lines or Parquet with a column 'text', also .gz.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="A folder of 'champion pull', or a model's name. Default: the first's champion."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write to. Default: standard output.")
    ] = None,
    is_explained: Annotated[
        bool, typer.Option("--explain", help="Also name the n-grams that moved each answer.")
    ] = False,
    top: Annotated[int, typer.Option(min=0, help="How many n-grams to name.")] = 10,
) -> None:
    """Score each review of a file with the champion: one JSON line per row, in order."""
    from pipelines.serving import champion as serving_champion
    from pipelines.serving import scoring

    settings = config.load()
    is_folder = model is not None and model not in settings.model_names
    champion = (
        serving_champion.load_pulled(Path(model or ""), Keyring(settings.trust.trusted_keys))
        if is_folder
        else serving_champion.load_champion(open_loop(None, model).registry)
    )
    with progress_bar(shows_count=False) as progress:
        bar = progress.add_task(f"scoring {file.name}", total=1.0)
        batches = scoring.read_texts(
            file,
            lambda share: progress.update(bar, completed=share),
            names=settings.text_columns,
        )
        named_ngrams = top if is_explained else None
        lines = scoring.score_lines(champion, batches, named_ngrams=named_ngrams)
        if output is None:
            sys.stdout.writelines(lines)
        else:
            write_whole(output, lines)


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
