"""Commands on the gate's decisions: show, verify, draw the card, answer."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from pipelines.cli.ids import version_of
from pipelines.cli.output import (
    EXIT_ERROR,
    Actor,
    AsJson,
    Model,
    in_shell,
    print_facts,
    print_json,
    reports_errors,
    write_files,
)
from pipelines.cli.tables import err, out, print_table, print_whole
from pipelines.core import provenance
from pipelines.core.errors import PromotionError
from pipelines.core.escaping import visible
from pipelines.steps import promote
from pipelines.steps.bake import shadow_lines
from pipelines.steps.context import open_loop

VersionThatWaits = Annotated[
    str | None, typer.Argument(help="Which version. Default: the only one that waits for a person.")
]


def how_to_answer(version: str, model: str | None) -> str:
    """What to type about a version that waits for a person."""
    about = version if model is None else f"{version} --model {model}"
    return (
        f"This version waits for a person: python -m pipelines decision approve {about} --reason "
        f"'...', or: decision reject {about} --reason '...'"
    )


decision_app = typer.Typer(help="Show, verify or answer a decision.", no_args_is_help=True)


@decision_app.command("show")
@reports_errors
def decision_show(
    version: Annotated[
        str | None, typer.Argument(help="Whose decision. Default: the champion's.")
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show a decision, rule by rule. Of several, show the one against the newest champion."""
    decision = _decision(version, model)
    if as_json:
        print_json(decision.model_dump(mode="json"))
        return
    print_rules(decision.version, decision.rules)
    out.print(
        Text.assemble((f"{decision.verdict}: ", "bold"), visible(decision.why)), soft_wrap=True
    )
    for line in shadow_lines(decision.version, model):
        out.print(Text(visible(line)), soft_wrap=True)
    if decision.approval == "needed":
        _print_approval(decision, model)


@decision_app.command("list")
@reports_errors
def decision_list(model: Model = None, as_json: AsJson = False) -> None:
    """List the versions that wait for a person."""
    facts = [
        {name: getattr(decision, name) for name in ("version", "verdict", "why")}
        for decision in _waiting(model)
    ]
    if as_json:
        print_json(facts)
        return
    print_table(
        "Waiting for a person", ("version", "verdict", "why"),
        [tuple(map(str, line.values())) for line in facts],
        if_empty="No version waits for a person.",
    )  # fmt: skip


def _waiting(model: str | None) -> list[Any]:
    from pipelines.registry import approvals

    loop = open_loop(None, model)
    return approvals.waiting(loop.registry, provenance.gate_policy(loop.settings))


@decision_app.command("card")
@reports_errors
def decision_card(
    version: Annotated[
        str | None, typer.Argument(help="Whose card. Default: the champion's.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder to write card and plots to; created if missing.")
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Show a version's model card, in Markdown. Of several decisions, the last one counts."""
    from pipelines.gate.card import card

    decision = _decision(version, model)
    loop = open_loop(None, model)
    files = card.read(loop.reviews, loop.registry, decision)
    if to is not None:
        write_files(to, files)
    facts = {"version": decision.version, "verdict": decision.verdict, "files": list(files)}
    text = files[card.CARD].decode("utf-8")
    if as_json:
        print_json(facts | {"folder": None if to is None else str(to), "card": text})
    elif to is not None:
        print_facts(facts | {"folder": str(to)}, as_json=False)
    else:
        sys.stdout.write(text)


def _print_approval(decision: Any, model: str | None) -> None:
    from pipelines.registry import approvals

    approval = approvals.find_approval(open_loop(None, model).registry, decision)
    if approval is None:
        err.print(how_to_answer(decision.version, model), soft_wrap=True)
        return
    answer = f"{approval.actor} said {approval.answer}: {approval.reason}"
    out.print(Text(visible(answer)), soft_wrap=True)


@decision_app.command("approve")
@reports_errors
def decision_approve(
    reason: Annotated[str, typer.Option(help="Why. Kept with the decision permanently.")],
    version: VersionThatWaits = None,
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Approve a version that waits for a person, and make it champion.

    Only a first model and an INCONCLUSIVE verdict can be approved, and only while the champion is
    the one that the decision compared it with.
    """
    version, decision_uri = _open_decision(version or _only_one_waiting(model), model)
    if promote.record_answer(decision_uri, "approve", in_shell(actor), reason, model) != "approve":
        raise PromotionError(f"version {version} was rejected before; the first answer stands")
    entry_uri = promote.promote(decision_uri, in_shell(actor), reason, model)
    promote.confirm(entry_uri, model)
    facts = {"version": version, "answer": "approve", "is_promoted": entry_uri is not None}
    print_facts(facts, as_json=as_json)


@decision_app.command("reject")
@reports_errors
def decision_reject(
    reason: Annotated[str, typer.Option(help="Why. Kept with the decision permanently.")],
    version: VersionThatWaits = None,
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Reject a version that waits for a person. The champion stays."""
    version, decision_uri = _open_decision(version or _only_one_waiting(model), model)
    answer = promote.record_answer(decision_uri, "reject", in_shell(actor), reason, model)
    print_facts({"version": version, "answer": answer}, as_json=as_json)


def _only_one_waiting(model: str | None) -> str:
    versions: list[str] = [decision.version for decision in _waiting(model)]
    if len(versions) != 1:
        raise PromotionError(
            f"These versions wait for a person: {', '.join(versions)}. Say which."
            if versions
            else "No version waits for a person."
        )
    return versions[0]


def _open_decision(given: str, model: str | None) -> tuple[str, str]:
    """A version, and the URI of the decision on it; refuses one made against a former champion.

    A decision that was already carried out is accepted, so that the command can be repeated.
    """
    loop = open_loop(None, model)
    registry, policy = loop.registry, provenance.gate_policy(loop.settings)
    version = version_of(registry, given)
    decision, champion = registry.decisions.last_decision(version, policy), registry.log.champion()
    generation = champion.generation if champion else 0
    is_done = champion is not None and champion.decision_sha256 == decision.digest()
    if decision.champion_generation != generation and not is_done:
        raise PromotionError(
            f"version {version} was compared with champion generation "
            f"{decision.champion_generation}; the champion is generation {generation} now. "
            "Decide again: python -m pipelines retrain"
        )
    return version, registry.models.uri(decision.object_key)


@decision_app.command("verify")
@reports_errors
def decision_verify(
    version: Annotated[
        str | None, typer.Argument(help="Whose decision. Default: the champion's.")
    ] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Check a decision's signature, and that deciding again gives the same verdict."""
    from pipelines.gate import decide

    decision = _decision(version, model)
    loop = open_loop(None, model)
    registry, settings = loop.registry, loop.settings
    evaluation = registry.decisions.evaluation_of(decision)
    check = registry.decisions.find_check(evaluation)
    is_same_policy = provenance.gate_policy(settings) == decision.policy
    again = decide.decide(evaluation, settings.gate, check)
    facts = {
        "version": decision.version,
        "verdict": decision.verdict,
        "signed_by": registry.models.signed_by(decision.object_key),
        "rules_are_those_in_force": is_same_policy,
        "decided_again": again.verdict if is_same_policy else None,
    }
    print_facts(facts, as_json=as_json)
    if facts["decided_again"] not in {None, decision.verdict}:
        raise typer.Exit(EXIT_ERROR)


def _decision(version: str | None, model: str | None) -> Any:
    loop = open_loop(None, model)
    registry = loop.registry
    if version is None:
        from pipelines.serving import champion as serving_champion

        return registry.decisions.decision(serving_champion.find_champion(registry).decision_key)
    version = version_of(registry, version)
    keys = registry.decisions.decision_keys(version)
    if not keys:
        raise PromotionError(f"no decision was made on a version {version!r}")
    try:
        return registry.decisions.last_decision(version, provenance.gate_policy(loop.settings))
    except PromotionError:  # other rules are in force now; it can still be looked at
        return registry.decisions.decision(keys[-1])


def print_rules(version: str, rules: Sequence[Any]) -> None:
    """Print rules by group; the sentences get the width that names and answers leave."""
    table = Table(title=Text(f"Version {version}"), title_justify="left", box=box.HORIZONTALS)
    for header, ratio in (("", None), ("asks about", None), ("rule", None), ("what it saw", 1)):
        table.add_column(header, ratio=ratio, overflow="fold", min_width=4)
    for group, members in itertools.groupby(rules, key=lambda rule: rule.group):
        table.add_section()
        for rule in members:
            answer = Text(rule.answer, "bold red" if rule.answer == "FAIL" else "")
            name = _narrow(rule.rule.removeprefix(f"{group} "))
            table.add_row(answer, Text(group), name, Text(visible(rule.sentence)))
    print_whole(table)


def _narrow(name: str, width: int = 22) -> Text:
    """A rule's name, broken at blanks and at `_`, `=` and `+`."""
    lines = [""]
    for part in re.split(r"(?<=[ _=+])", visible(name)):
        if lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return Text("\n".join(lines))
