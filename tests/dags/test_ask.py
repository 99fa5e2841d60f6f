"""The question to a person: its form, what becomes of each answer, and of none."""

from copy import copy, deepcopy
from datetime import UTC, date, datetime, timedelta

import approval
import pendulum
import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError, TaskAwaitingInput
from approval import MIN_REASON_CHARS, REASON, AskPerson

from pipelines.core import config
from pipelines.core.settings.operation import ApprovalSettings
from pipelines.registry.registry import Registry
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from pipelines.steps import ingest, promote
from tests.support.made.builders import deliver

pytestmark = pytest.mark.airflow

OPS = {"id": "ops", "name": "ops"}
REPLY = {"actor": "ops on airflow", "reason": "I read its errors"}


@pytest.fixture
def retrain(dagbag):
    return dagbag.dags["sentiment_retrain"]


def asking(**settings):
    return AskPerson(
        task_id="ask",
        subject="May it?",
        body="It is good.\n2 hours.",
        decision_uri="s3://models/decision.json",
        settings=ApprovalSettings(**({"timeout_hours": 2} | settings)),
    )


def answered(task, *, option="Approve", user=OPS, reason="it reads well", **changes):
    """What the task returns when Airflow hands it this answer."""
    event = {
        "chosen_options": [option],
        "params_input": {REASON: reason},
        "responded_at": datetime(2026, 1, 6, tzinfo=UTC),
        "responded_by_user": user,
        "timedout": False,
    }
    mine = copy(task)
    mine.params = deepcopy(task.params)  # it writes the answer into them
    return mine.execute_complete({"run_id": "manual__1"}, event | changes, "s3://decision")


def test_only_these_tasks_follow_a_decision_and_a_promotion_comes_from_two_of_them(retrain):
    tasks = retrain.task_dict

    assert tasks["choose"].downstream_task_ids == {"promote", "ask", "keep_champion"}
    assert tasks["ask"].downstream_task_ids == {"record_answer"}
    assert tasks["promote"].upstream_task_ids == {"decide", "choose", "record_answer", "note_start"}
    assert tasks["promote"].trigger_rule == TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS
    assert tasks["confirm"].trigger_rule == TriggerRule.ALL_SUCCESS


def test_the_question_waits_as_long_as_configured_and_then_takes_no(retrain):
    ask = retrain.task_dict["ask"]

    assert (ask.options, ask.defaults) == (["Approve", "Reject"], ["Reject"])
    assert ask.response_timeout == timedelta(hours=config.load().approval.timeout_hours)


def test_the_form_of_the_question_has_a_reason_only_and_no_field_of_the_runs_form(retrain):
    """Airflow would lay the value that a run was started with over a field of the same name."""
    ask = retrain.task_dict["ask"]

    assert set(ask.params) == {REASON}
    assert REASON not in retrain.params
    assert ask.params[REASON] == ""  # an empty text must be filled before a button can be pressed


def test_only_the_configured_people_may_answer():
    assert asking(approvers=("ops", "7")).assigned_users == [
        {"id": "ops", "name": "ops"},
        {"id": "7", "name": "7"},
    ]
    assert asking().assigned_users == []


@pytest.mark.parametrize(("option", "says"), [("Approve", "approve"), ("Reject", "reject")])
@pytest.mark.parametrize(
    ("user", "shown"), [(OPS, "ops"), ({"id": "7", "name": "ada"}, "ada (id 7)")]
)
def test_an_answer_says_who_gave_it_in_which_run_and_why(retrain, option, says, user, shown):
    reply = answered(retrain.task_dict["ask"], option=option, user=user, reason=" it reads well ")

    assert reply == {
        "decision_uri": "s3://decision",
        "answer": says,
        "actor": f"{shown} on airflow sentiment_retrain manual__1",
        "reason": "it reads well",
    }


def test_when_the_time_is_up_there_is_no_answer():
    assert answered(asking(), option="Reject", user=None, reason="", timedout=True) is None


@pytest.mark.parametrize("params_input", [{}, None, {REASON: ""}, {REASON: "    "}, {REASON: "ok"}])
def test_an_answer_without_a_reason_is_asked_for_again(retrain, params_input):
    with pytest.raises(ParamValidationError):
        answered(retrain.task_dict["ask"], params_input=params_input)


def test_a_reason_of_the_least_length_is_enough(retrain):
    assert answered(retrain.task_dict["ask"], reason="x" * MIN_REASON_CHARS)["reason"] == "xxxxx"


def test_the_question_waits_and_remembers_which_decision_it_is_about(monkeypatch):
    monkeypatch.setattr(approval, "shown_question", lambda task, context: "It is good.\n1 hour.")
    monkeypatch.setattr(HITLOperator, "execute", parked)

    with pytest.raises(TaskAwaitingInput) as waiting:
        asking().execute({})

    assert waiting.value.kwargs == {"decision_uri": "s3://models/decision.json"}


def parked(_task, _context):
    raise TaskAwaitingInput(method_name="execute_complete")


def test_a_run_that_asked_about_another_decision_before_does_not_ask_again(monkeypatch):
    """Airflow goes on showing the first question of a task that was cleared."""
    monkeypatch.setattr(approval, "shown_question", lambda task, context: "It is bad.\n2 hours.")

    with pytest.raises(AirflowFailException, match="Start a new run"):
        asking().execute({})


def test_the_question_holds_the_decision_and_what_it_holds_is_not_rendered(retrain, monkeypatch):
    template = retrain.task_dict["ask"].body
    ti = type("Ti", (), {"xcom_pull": lambda self, task_ids: f"the uri of {task_ids}"})()

    shown = (
        retrain.get_template_env()
        .from_string(template)
        .render(ti=ti, describe_decision=lambda uri: f"{uri} {{{{ 7 * 7 }}}}")
    )

    assert shown == "the uri of decide {{ 7 * 7 }}"
    describe = retrain.user_defined_macros["describe_decision"]
    assert (describe.func, describe.keywords) == (promote.describe_decision, {"model": "sentiment"})


# ── Whole runs ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def first_model_asks(stores, configure):
    """Accepted reviews, no champion, and settings that ask for the first one."""
    # Made-up reviews are alike, so many of those held out resemble one that was trained on.
    configure(gate={"ask_for_first_model": True, "max_overlap_share": 1.0})
    plans = [
        simulation_plans.NightPlan(
            date(2026, 1, 5), (simulation_plans.DeliveryPlan("web", 1200, "csv.gz"),)
        )
    ]
    for delivery in film_site.simulate(make_reviews(1200, seed=3), plans, seed=0):
        arrival = ingest.land(deliver(stores, delivery.key, delivery.body), "2026-01-05")
        ingest.accept(arrival, ingest.validate(arrival))
    return Registry(stores.models, "sentiment")


def run(dag, minute, **options):
    at = pendulum.datetime(2026, 1, 6, 5, minute, tz="UTC")
    dag_run = dag.test(logical_date=at, run_after=at, **options)
    states = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}
    names = ("ask", "record_answer", "keep_champion", "promote", "confirm")
    return str(dag_run.state), tuple(states[name] for name in names)


def rules_that_failed(registry):
    """Why a model was not even asked about, for whoever reads a failure of these tests."""
    keys = [info.key for info in registry.models.list("sentiment/versions/")]
    decisions = [registry.decisions.decision(key) for key in keys if key.endswith("/decision.json")]
    return [rule.sentence for one in decisions for rule in one.rules if not rule.is_passed]


def answers(monkeypatch, says):
    """Stand in for the person and for Airflow's waiting, which `dag.test()` cannot do."""
    monkeypatch.setattr(
        AskPerson,
        "execute",
        lambda task, context: {"decision_uri": task.decision_uri, "answer": says, **REPLY},
    )


def test_marking_the_question_as_done_approves_nothing_and_an_approval_promotes(
    retrain, first_model_asks, monkeypatch
):
    by_hand = run(retrain, 1, mark_success_pattern="ask")
    champion_before = first_model_asks.log.champion()
    answers(monkeypatch, "approve")
    approved = run(retrain, 2)

    asked = ("success", ("success", "success", "skipped", "skipped", "skipped"))
    assert by_hand == asked, rules_that_failed(first_model_asks)
    assert champion_before is None
    assert approved == ("success", ("success", "success", "skipped", "success", "success"))
    (entry,) = first_model_asks.log.history()
    assert (entry.actor, entry.reason) == (REPLY["actor"], REPLY["reason"])


@pytest.mark.long
def test_after_a_rejection_the_champion_stays_and_nobody_is_asked_again(
    retrain, first_model_asks, monkeypatch
):
    answers(monkeypatch, "reject")
    rejected = run(retrain, 3)
    again = run(retrain, 4)

    asked = ("success", ("success", "success", "skipped", "skipped", "skipped"))
    assert rejected == asked, rules_that_failed(first_model_asks)
    assert again == ("success", ("skipped",) * 5)
    assert first_model_asks.log.champion() is None


def test_the_runbook_names_the_field_of_the_reason_as_the_rest_api_does():
    runbook = (config.PROJECT / "docs" / "runbooks" / "approval.md").read_text(encoding="utf-8")

    assert f"REST API the field of the reason is called `{REASON}`" in runbook
