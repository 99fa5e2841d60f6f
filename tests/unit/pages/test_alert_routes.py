"""Every alert, rule and DAG has an owner, a runbook and a way to people."""

from __future__ import annotations

import ast
import re
from datetime import date
from pathlib import Path
from typing import get_args

import pytest

from pipelines.alerts.kinds import KINDS, RULE_ALERTS
from pipelines.core import config
from pipelines.core.settings.operation import AlertName
from pipelines.intake.files.decoding import decode
from pipelines.simulation.film_site import simulate
from pipelines.simulation.made_up import make_reviews
from pipelines.simulation.plans import DeliveryPlan, NightPlan
from pipelines.validation import checks

ROOT = Path(__file__).resolve().parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
SHARED = (ROOT / "plugins" / "loop_defaults.py").read_text(encoding="utf-8")
DEFAULT = config.CONFIG_FOLDER / "default.toml"

each_kind = pytest.mark.parametrize("kind", sorted(KINDS))
each_dag = pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
each_runbook = pytest.mark.parametrize(
    "path",
    sorted(set(RUNBOOKS.glob("*.md")) - {RUNBOOKS / "README.md"}),
    ids=lambda path: path.stem,
)


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name) and node.func.id == name]  # fmt: skip


def routes_of(path: Path) -> set[str]:
    """The ways in which a DAG file has people told, as `KINDS` names them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (decorator,) = calls(tree, "loop_dag")
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
    routes = {f"{path.stem}.alert"} if calls(tree, "alert_task") else set()
    if '"on_failure_callback": alert_failed_run,' in SHARED:  # by `loop_dag`
        routes.add(f"{path.stem}.failed")
    if "late_after(" in given.get("deadline", ""):
        routes.add(f"{path.stem}.late")
    if calls(tree, "AskPerson"):
        routes.add(f"{path.stem}.ask")
    if calls(tree, "Bake"):
        routes.add(f"{path.stem}.bake")
    return routes


def rules_that_can_hold() -> set[str]:
    """Every critical rule, also one that has nothing to compare with yet and is a note."""
    plan = NightPlan(date(2026, 1, 5), (DeliveryPlan("web", 400, "csv"),))
    (delivery,) = simulate(make_reviews(400, seed=1), [plan], seed=0)
    settings = config.load(DEFAULT)
    rows = decode(delivery.body, "csv", is_gzipped=False, intake=settings.intake)
    checked = checks.check_rows(rows, night=date(2026, 1, 5), settings=settings.validation)
    return {result.rule for result in checked.results if result.severity in {"critical", "note"}}


def test_the_table_has_every_alert_and_no_other():
    assert set(KINDS) == set(get_args(AlertName))


@each_kind
def test_every_alert_has_an_owner_a_runbook_and_somebody_who_raises_it(kind):
    known = {"alerts"}.union(*(routes_of(path) for path in DAG_FILES))

    assert KINDS[kind].owner
    assert (RUNBOOKS / KINDS[kind].runbook).is_file()
    assert KINDS[kind].raised_by
    assert set(KINDS[kind].raised_by) <= known


def test_every_rule_that_can_hold_a_delivery_has_an_alert():
    assert rules_that_can_hold() == set(RULE_ALERTS)


@pytest.mark.parametrize("rule", sorted(RULE_ALERTS))
def test_the_runbook_of_held_deliveries_explains_every_rule(rule):
    text = (RUNBOOKS / "held-delivery.md").read_text(encoding="utf-8")

    assert f"`{rule}`" in text
    assert RULE_ALERTS[rule] in KINDS


@each_dag
def test_every_dag_tells_people_in_its_last_task_and_when_it_failed(path):
    routes = routes_of(path)

    assert {f"{path.stem}.alert", f"{path.stem}.failed"} <= routes
    announced = {route for kind in KINDS.values() for route in kind.raised_by}
    assert routes <= announced


@each_dag
def test_every_dag_names_its_owner_and_the_runbook_of_each_of_its_alerts(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    manual = ast.get_docstring(tree) or ""
    own = {kind.runbook for kind in KINDS.values()
           if f"{path.stem}.failed" in kind.raised_by}  # fmt: skip

    owners = re.findall(r'^OWNER = "([\w-]+)"$', SHARED, re.MULTILINE)
    assert owners == [kind.owner for kind in list(KINDS.values())[:1]]
    assert own
    assert {name for name in own if f"docs/runbooks/{name}" not in manual} == set()


@pytest.mark.parametrize("dag", ["reviews_ingest", "sentiment_retrain"])
def test_what_runs_every_night_can_be_late(dag):
    assert f"{dag}.late" in routes_of(ROOT / "dags" / f"{dag}.py")


@each_runbook
def test_every_runbook_belongs_to_an_alert_and_says_when_it_is_over_and_whom_to_call(path):
    text = path.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)

    rules = (ROOT / "ops" / "prometheus" / "rules.yml").read_text(encoding="utf-8")
    is_of_prometheus = f"runbook: docs/runbooks/{path.name}" in rules
    assert is_of_prometheus or path.name in {kind.runbook for kind in KINDS.values()}
    assert headings[-2:] == ["How to know that it is over", "Whom to call"]


def test_the_list_of_runbooks_says_what_the_table_says():
    text = (RUNBOOKS / "README.md").read_text(encoding="utf-8")

    for name, kind in KINDS.items():
        raised = ", ".join(f"`{one}`" for one in kind.raised_by)
        line = f"| `{name}` | {kind.severity} | {kind.means} | {raised} | "
        assert f"{line}[{kind.runbook}]({kind.runbook}) |" in text
