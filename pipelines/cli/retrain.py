"""The command that retrains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.decisions import how_to_answer, print_rules
from pipelines.cli.output import (
    Actor,
    AsJson,
    Model,
    complain,
    failure_of,
    in_shell,
    print_json,
    progress_bar,
    reports_errors,
)
from pipelines.cli.tables import err, out
from pipelines.core import config, keys
from pipelines.core.escaping import visible
from pipelines.steps import context, promote
from pipelines.steps import retrain as steps_retrain
from pipelines.steps.context import open_loop


@reports_errors
def retrain(
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            help="Configured model to train; repeat to compare. Default: configured.",
            autocompletion=lambda: sorted(config.load().candidates),
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the configured seed.")] = None,
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Train and decide; do not change the champion.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why. Kept in the champion log.")] = "",
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Retrain on everything accepted, and promote the model if it is better.

    The same reviews, code, settings and seed give the same version, which is not trained twice.
    """
    with progress_bar(shows_count=False) as progress:
        bar = progress.add_task("pinning the accepted reviews", total=None)

        def on_step(step: str) -> None:
            progress.update(bar, description=step)

        facts = _retrain(
            (tuple(candidate or ()), seed), is_dry_run, (in_shell(actor), reason), on_step, model
        )
    if as_json:
        print_json(facts)
        return
    if "rules" in facts:
        from pipelines.records.decisions import GateRule

        rules = [GateRule.model_validate(rule) for rule in facts["rules"]]
        print_rules(facts["version"], rules)
    out.print(
        Text.assemble((f"{facts['verdict']}: ", "bold"), visible(facts["why"])), soft_wrap=True
    )
    if facts.get("needs_approval"):
        err.print(how_to_answer(facts["version"], model), soft_wrap=True)


def _retrain(
    chosen: tuple[tuple[str, ...], int | None],
    is_dry_run: bool,
    on_behalf: tuple[str, str],
    on_step: Callable[[str], None],
    model: str | None,
) -> dict[str, Any]:
    actor, reason = on_behalf
    plan_uri = steps_retrain.plan(steps_retrain.take_snapshot(model), *chosen, model)
    version = keys.name_of(plan_uri)
    registry = open_loop(None, model).registry
    if not steps_retrain.has_work(plan_uri, model):
        _finish_again(registry, version, on_step, model)
        why = "Nothing changed since the decision on this version, so nothing is trained."
        return {"verdict": "NOTHING_CHANGED", "why": why, "version": version, "is_trained": False}
    is_known = registry.versions.find_version(version) is not None
    on_step("computing features")
    cache = steps_retrain.featurize(plan_uri, model)
    manifest_uri = steps_retrain.train(plan_uri, on_step, model)
    on_step("evaluating champion and challenger on the same reviews")
    evaluation_uri = steps_retrain.evaluate(manifest_uri, model)
    on_step("trying the model file in a clean process")
    decision_uri = steps_retrain.decide(steps_retrain.verify(evaluation_uri, model), model)
    card_problem = _draw_card(decision_uri, on_step, model)
    decision, entry_uri = context.read_decision(decision_uri, model), None
    next_step = promote.next_step(decision_uri, is_dry_run=is_dry_run, model=model)
    if next_step == "promote":
        on_step("promoting")
        entry_uri = promote.promote(decision_uri, actor, reason, model)
        promote.confirm(entry_uri, model)
        decision = registry.decisions.last_decision(
            version, decision.policy
        )  # a lost race decides again
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


def _draw_card(decision_uri: str, on_step: Callable[[str], None], model: str | None) -> str | None:
    """Draw the card; returns why that failed, which does not stop the promotion."""
    on_step("drawing the model card")
    try:
        steps_retrain.write_card(decision_uri, model)
    except Exception as error:  # noqa: BLE001 - reported; the next run draws it
        problem = failure_of(error)
        complain(f"The model card is not drawn: {problem}")
        return problem
    return None


def _finish_again(
    registry: Any, version: str, on_step: Callable[[str], None], model: str | None
) -> None:
    """Finish what a stopped run left out: the card or the confirmation."""
    for decision_key in registry.decisions.decision_keys(version):
        _draw_card(registry.models.uri(decision_key), on_step, model)
    champion = registry.log.champion()
    if champion is not None and champion.version == version:
        on_step("confirming the champion")
        promote.confirm(registry.models.uri(registry.log.key(champion.generation)), model)
