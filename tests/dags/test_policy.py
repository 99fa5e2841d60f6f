"""What every DAG of this project owes to those who run it."""

import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk import CronDataIntervalTimetable, RetryAction, TriggerRule
from airflow.timetables.interval import CronDataIntervalTimetable as CoreTimetable
from jinja2 import Template
from loop_defaults import ACTOR, NIGHT, RETRY_POLICY

from pipelines.core import links
from pipelines.core.errors import CleanRoomGoneError, DataError, StoreUnavailableError
from pipelines.core.store import clock

PROJECT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "reviews_ingest", "reviews_replay", "sentiment_retrain", "sentiment_rollback",
    "sentiment_release", "sentiment_housekeeping", "sentiment_monitor",
}  # fmt: skip
HEAVY = ["pandas", "sklearn", "great_expectations", "boto3", "pyarrow", "scipy", "skops", "numpy"]

pytestmark = pytest.mark.airflow


def test_every_dag_imports_and_none_is_missing(dagbag):
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == EXPECTED


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_every_dag_says_who_owns_it_and_what_to_do_when_it_is_red(dagbag, dag_id):
    dag = dagbag.dags[dag_id]

    runbooks = re.findall(r"docs/runbooks/[a-z-]+\.md", dag.doc_md)

    assert dag.owner == "ml-platform"
    assert {"owner:ml-platform", "tier:1"} <= set(dag.tags)
    assert not dag.catchup
    assert runbooks
    assert all((PROJECT / path).is_file() for path in runbooks)


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_every_task_retries_by_kind_of_error_and_ends_in_time(dagbag, dag_id):
    for task in dagbag.dags[dag_id].tasks:
        assert task.retries == 3, task.task_id
        assert task.retry_policy is not None, task.task_id
        assert task.execution_timeout == timedelta(hours=1), task.task_id


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_every_form_field_has_a_title_and_says_what_it_does(dagbag, dag_id):
    dag = dagbag.dags[dag_id]

    fields = {name: dag.params.get_param(name) for name in dag.params}

    assert fields
    for name, field in fields.items():
        assert field.schema["title"], name
        assert field.description.endswith("."), name


HEADINGS = [
    "When it runs", "What it does", "When it is red", "How to rerun", "Runbook",
]  # fmt: skip


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_every_dag_has_a_manual_with_the_same_headings(dagbag, dag_id):
    dag = dagbag.dags[dag_id]

    sections = re.split(r"^#### (.+)$", dag.doc_md, flags=re.MULTILINE)

    assert sections[1::2] == HEADINGS
    assert all(len(text.strip()) > 20 for text in sections[2::2])
    assert dag.description.endswith(".")


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_every_task_is_shown_as_a_sentence_that_starts_as_its_id_does(dagbag, dag_id):
    for task in dagbag.dags[dag_id].tasks:
        verb = task.task_id.rpartition(".")[2].split("_")[0]
        words = task.task_display_name.split()
        assert words[0] == verb.capitalize(), task.task_id
        assert len(words) > 1, task.task_id


def test_the_group_of_tasks_says_what_it_is_about(dagbag):
    group = dagbag.dags["reviews_ingest"].task_group.children["delivery"]

    assert group.label == "Each delivery"
    assert group.tooltip.endswith("accepted or held.")


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_every_form_field_is_bounded_or_has_choices(dagbag, dag_id):
    """What a person types is refused by the form, not by a task an hour later."""
    limits = {"enum", "pattern", "format", "maxLength", "maximum", "items"}
    dag = dagbag.dags[dag_id]

    for name in dag.params:
        schema = dag.params.get_param(name).schema
        assert schema["type"] == "boolean" or limits & set(schema), name


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_form_can_be_sent_as_it_opens_unless_a_reason_must_be_given(dagbag, dag_id):
    """The page takes a field whose default is empty, but not null, for one that must be filled."""
    dag = dagbag.dags[dag_id]
    must_be_filled = {
        "sentiment_rollback": {"reason"},
        "sentiment_release": {"reason", "version"},
        "reviews_replay": {"reason", "delivery"},
    }.get(dag_id, set())

    blocking = {
        name
        for name in dag.params
        if (field := dag.params.get_param(name)).value in ("", [], {})
        or (not field.has_value and "null" not in field.schema["type"])
    }

    assert blocking == must_be_filled


def test_a_permanent_error_is_not_retried_and_a_transient_one_is():
    def action_for(error):
        return RETRY_POLICY.evaluate(error, try_number=1, max_tries=3, context={}).action

    assert action_for(DataError("bad")) == RetryAction.FAIL
    assert action_for(StoreUnavailableError("down")) == RetryAction.RETRY
    assert action_for(CleanRoomGoneError("gave no answer")) == RetryAction.RETRY


def test_parsing_the_dags_loads_nothing_heavy():
    code = (
        "import sys, json; sys.path[:0] = ['plugins', 'dags', '.']\n"
        "import airflow.sdk, pendulum\n"
        "from airflow.sdk import dag, task, task_group, Param, TriggerRule\n"
        "before = set(sys.modules)\n"
        "import reviews_ingest, reviews_replay, sentiment_release, sentiment_retrain\n"
        "import sentiment_rollback, sentiment_monitor, sentiment_housekeeping\n"
        f"print(json.dumps(sorted((set(sys.modules) - before) & set({HEAVY!r}))))"
    )

    reply = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert json.loads(reply.stdout.splitlines()[-1]) == []


def test_importing_the_plugins_reads_no_configuration():
    """Airflow imports them once: what reads the DAGs, and tasks, are forked from there."""
    code = (
        "import sys, pathlib; sys.path[:0] = ['plugins', '.']\n"
        "for path in sorted(pathlib.Path('plugins').glob('*.py')): __import__(path.stem)\n"
        "from pipelines.core import config\n"
        "print(config._load.cache_info().currsize)"
    )

    reply = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )

    assert reply.stdout.splitlines()[-1] == "0"


def test_a_scheduled_night_covers_a_whole_day(dagbag):
    timetable = dagbag.dags["reviews_ingest"].timetable

    assert isinstance(timetable, CronDataIntervalTimetable)


def test_a_night_that_could_not_be_listed_is_red(dagbag):
    """`summarize_night` runs whatever happened, so the check must also ask `find_deliveries`."""
    check = dagbag.dags["reviews_ingest"].task_dict["check_night"]

    assert check.upstream_task_ids == {"find_deliveries", "summarize_night"}
    assert check.trigger_rule == TriggerRule.ALL_SUCCESS


def test_nothing_waits_for_the_model_card(dagbag):
    drawn = dagbag.dags["sentiment_retrain"].task_dict["write_card"]

    assert drawn.upstream_task_ids == {"decide"}
    assert drawn.downstream_task_ids == {"alert"}


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_the_last_task_tells_people_and_changes_the_colour_of_no_run(dagbag, dag_id):
    """A teardown runs whatever happened before, and a run is as red as the tasks before it."""
    dag = dagbag.dags[dag_id]
    alert = dag.task_dict["alert"]

    others = {task.task_id for task in dag.tasks} - {"alert"}
    assert alert.is_teardown
    assert not alert.on_failure_fail_dagrun
    assert alert.get_flat_relative_ids(upstream=True) == others


def at(day, hour, minute=0):
    return pendulum.datetime(2026, 1, day, hour, minute, tz="UTC")


def a_run(run_after, logical_date=None, interval=(None, None)):
    start, end = interval
    return SimpleNamespace(
        run_after=run_after, logical_date=logical_date, data_interval_start=start,
        data_interval_end=end,
    )  # fmt: skip


def night_of(dagbag, night=None, **names):
    environment = dagbag.dags["reviews_ingest"].get_template_env()
    return environment.from_string(NIGHT).render(params={"night": night}, **names)


def by_hand(dagbag, moment):
    """A run by Airflow's own form: dated, with the interval that Airflow finds for the date."""
    found = dagbag.dags["reviews_ingest"].timetable
    core = CoreTimetable(found.expression, timezone="UTC")
    interval = core.infer_manual_data_interval(run_after=moment)
    return a_run(moment, moment, (interval.start, interval.end))


@pytest.mark.parametrize("started", [at(8, 2), at(8, 2, 1), at(8, 23, 59), at(9, 1)])
def test_the_night_of_a_scheduled_run_is_the_day_its_interval_starts_on(dagbag, started):
    scheduled = a_run(started, at(7, 2), (at(7, 2), at(8, 2)))

    assert night_of(dagbag, dag_run=scheduled) == "2026-01-07"


@pytest.mark.parametrize(
    ("moment", "night"),
    [
        (at(8, 0), "2026-01-07"), (at(8, 1, 59), "2026-01-07"), (at(8, 2), "2026-01-07"),
        (at(8, 23, 59), "2026-01-07"), (at(9, 0), "2026-01-08"),
    ],
)  # fmt: skip
def test_an_empty_night_by_hand_is_the_last_complete_day_as_in_the_shell(dagbag, moment, night):
    store = SimpleNamespace(clock=lambda: moment)

    shell = clock.last_complete_day(store)
    without_a_date = night_of(dagbag, dag_run=a_run(moment))
    with_a_date = night_of(dagbag, dag_run=by_hand(dagbag, moment))

    assert (str(shell), without_a_date, with_a_date) == (night, night, night)


def test_an_interval_that_was_given_by_rest_is_kept(dagbag):
    """With a date that is not its own, too."""
    given = a_run(at(8, 1), at(8, 1), (at(5, 2), at(6, 2)))

    assert night_of(dagbag, dag_run=given) == "2026-01-05"


def test_the_night_of_the_form_wins(dagbag):
    assert night_of(dagbag, "2025-12-24", dag_run=a_run(at(8, 1))) == "2025-12-24"


@pytest.mark.parametrize(
    ("person", "actor"),
    [
        ("olga", "olga on airflow sentiment_rollback manual__1"),
        (None, "airflow sentiment_rollback manual__1"),
    ],
)
def test_who_started_a_run_is_named_besides_the_run(person, actor):
    named = Template(ACTOR).render(
        dag_run=SimpleNamespace(triggering_user_name=person),
        dag=SimpleNamespace(dag_id="sentiment_rollback"),
        run_id="manual__1",
    )

    assert named == actor
    assert links.actor(named).run == "/dags/sentiment_rollback/runs/manual__1"


def test_whatever_is_recorded_names_who_started_the_run(dagbag):
    recording = {
        ("reviews_replay", "apply_replay"), ("sentiment_rollback", "apply_rollback"),
        ("sentiment_release", "apply_release"), ("sentiment_retrain", "promote"),
        ("sentiment_monitor", "decide_trigger"), ("sentiment_housekeeping", "tidy_up"),
    }  # fmt: skip
    naming = {
        (dag_id, task.task_id)
        for dag_id, dag in dagbag.dags.items()
        for task in dag.tasks
        if ACTOR in getattr(task, "op_args", ())
    }

    assert naming == recording


@pytest.mark.parametrize(
    ("due", "name"),
    [
        (["s3://reviews/landing/app/a.csv", "s3://reviews/landing/web/2026-01-05/b.csv"],
         "web/2026-01-05/b.csv"),
        (["x", "s3://reviews/landing/" + 900 * "a"], 200 * "a"),
        (None, "1"),
    ],
)  # fmt: skip
def test_a_mapped_task_is_named_by_its_file(dagbag, due, name):
    tasks = [
        task for task in dagbag.dags["reviews_ingest"].tasks if task.task_id[:9] == "delivery."
    ]
    pulled = SimpleNamespace(map_index=1, xcom_pull=lambda **_: due)

    assert len(tasks) == 3
    assert {Template(task.map_index_template).render(ti=pulled) for task in tasks} == {name}


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_manual_leads_to_its_runbooks(dagbag, dag_id):
    manual = dagbag.dags[dag_id].doc_md

    assert "](/retraining/runbooks/" in manual
    assert "`docs/runbooks/" not in manual


def test_a_failed_task_says_where_to_look(dagbag):
    callbacks = {
        callback.__name__
        for dag in dagbag.dags.values()
        for task in dag.tasks
        for callback in task.on_failure_callback or ()
    }

    assert callbacks == {"say_where"}


def test_what_only_a_person_starts_does_not_wait_to_be_unpaused(dagbag):
    ready = {name for name, dag in dagbag.dags.items() if dag.is_paused_upon_creation is False}

    assert ready == {"reviews_replay", "sentiment_rollback", "sentiment_release"}
