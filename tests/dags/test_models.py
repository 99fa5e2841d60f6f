"""Several models: the same DAGs for each, and nothing of one in what another one writes."""

from __future__ import annotations

import re
from datetime import date

import pendulum
import pytest
from airflow.sdk import get_parsing_context
from loop_defaults import ACCEPTED, wanted_of
from succession import champion_of

from pipelines.core import config
from pipelines.core.settings.settings import KINDS
from pipelines.intake import snapshot
from pipelines.records.validations import Validation
from pipelines.registry.registry import Registry
from pipelines.simulation import film_site
from pipelines.simulation.made_up import make_reviews
from pipelines.simulation.plans import DeliveryPlan, NightPlan
from pipelines.steps import ingest, monitor, retrain
from tests.support.made.builders import deliver, listing
from tests.support.made.dag_runs import DAGS, parsed_dags, run, states
from tests.support.settings_file import write_settings
from tests.support.timing import cpu_seconds

pytestmark = pytest.mark.airflow

FIRST, SECOND = "sentiment", "second-model"


@pytest.fixture
def two_models(configure):
    """A second model, from one source only, with another seed and another candidate."""
    configure(
        models={
            SECOND: {
                "seed": 7, "sources": ["web"], "schedule": "30 4 * * 1",
                "training": {"candidates": ["fingerprint_sgd"]},
                "triggers": {"on_new_reviews": False},
                "approval": {"timeout_hours": 3.0, "approvers": ["olga"]},
            }
        }
    )  # fmt: skip


@pytest.fixture
def bag(airflow_db, two_models):
    return parsed_dags()


def test_the_first_model_keeps_its_dags_and_the_second_has_the_same_ones(bag, dagbag):
    own = {f"{SECOND}_{kind}" for kind in KINDS}

    assert bag.import_errors == {}
    assert set(bag.dags) == set(dagbag.dags) | own
    for kind in KINDS:
        first, second = bag.dags[f"{FIRST}_{kind}"], bag.dags[f"{SECOND}_{kind}"]
        assert second.task_ids == first.task_ids
        assert first.task_ids == dagbag.dags[f"{FIRST}_{kind}"].task_ids
        assert set(second.tags) - set(first.tags) == {SECOND}


@pytest.mark.parametrize("kind", KINDS)
def test_the_manual_of_a_models_dag_names_its_own_dags_and_the_model(bag, kind):
    manual = bag.dags[f"{SECOND}_{kind}"].doc_md

    assert f"{FIRST}_" not in manual
    assert "sentiment classifier" not in manual
    assert re.findall(r"docs/runbooks/[a-z-]+\.md", manual)


def test_the_form_of_a_retraining_gives_the_candidates_of_the_configuration_as_examples(bag):
    of_form = {
        model: bag.dags[f"{model}_retrain"].params.get_param("candidates").schema["examples"]
        for model in (FIRST, SECOND)
    }

    assert of_form == {
        model: sorted(config.load().of(model).candidates) for model in (FIRST, SECOND)
    }
    assert of_form[FIRST]


def test_what_starts_and_limits_a_model_is_its_own(bag):
    first, second = bag.dags[f"{FIRST}_retrain"], bag.dags[f"{SECOND}_retrain"]

    assert {asset.name for asset in first.timetable.asset_condition.objects} == {
        ACCEPTED.name, wanted_of(FIRST).name,
    }  # fmt: skip
    (started_by,) = second.timetable.asset_condition.objects
    assert started_by == wanted_of(SECOND) != wanted_of(FIRST)
    assert second.timetable.timetable.expression == "30 4 * * 1"
    asks = second.task_dict["ask"]
    assert asks.response_timeout.total_seconds() == 3 * 3600
    assert [user["id"] for user in asks.assigned_users] == ["olga"]
    assert SECOND in asks.subject


def test_no_task_of_a_model_is_about_another_one(bag):
    for kind in KINDS:
        for name in (FIRST, SECOND):
            dag = bag.dags[f"{name}_{kind}"]
            assets = {asset for task in dag.tasks for asset in (*task.inlets, *task.outlets)}
            assert assets <= {champion_of(name), wanted_of(name)}
            given = [
                argument
                for task in dag.tasks
                for argument in (
                    *getattr(task, "op_args", ()),
                    *getattr(task, "op_kwargs", {}).values(),
                    getattr(task, "model", None),
                )
            ]
            other = FIRST if name == SECOND else SECOND
            assert other not in given
            assert name in given or kind == "release"


@pytest.fixture
def started(two_models, monkeypatch):
    """Parse a file as a task of a DAG does where it starts; Airflow's own way never ends it."""

    def parse(file_name, dag_id):
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", dag_id)
        assert get_parsing_context().dag_id == dag_id
        return parsed_dags(DAGS / file_name)

    return parse


@pytest.mark.parametrize("name", [FIRST, SECOND])
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_of_one_model_parses_the_dag_of_no_other(airflow_db, started, name, kind):
    bag = started(f"sentiment_{kind}.py", f"{name}_{kind}")

    assert bag.import_errors == {}
    assert set(bag.dags) == {f"{name}_{kind}"}


def test_a_task_of_a_dag_of_no_model_finds_its_dag(airflow_db, started):
    assert set(started("reviews_ingest.py", "reviews_ingest").dags) == {"reviews_ingest"}


@pytest.mark.long
def test_parsing_takes_time_in_proportion_to_the_models(airflow_db, tmp_path, monkeypatch):
    def parse(count):
        models = {f"m{number}": {"seed": number} for number in range(count)}
        path = write_settings(tmp_path / f"{count}.toml", {"models": models})
        monkeypatch.setenv("LOOP_CONFIG", str(path))
        bag = parsed_dags()
        assert len(bag.dags) == 7 + len(KINDS) * count

    few, many = (cpu_seconds(lambda count=count: parse(count), repeats=2) for count in (10, 40))

    assert many < 6 * few  # 4 if each model takes the same; 16 if each looks at all others


# ── Both, through Airflow ────────────────────────────────────────────────────────────────────


def ingest_nights(stores, *nights):
    plans = [
        NightPlan(date(2026, 1, 5), (DeliveryPlan("app", 800, "csv"),
                                     DeliveryPlan("web", 800, "csv"))),
        NightPlan(date(2026, 1, 6), (DeliveryPlan("app", 300, "csv"),
                                     DeliveryPlan("web", 300, "csv"))),
    ]  # fmt: skip
    for delivery in film_site.simulate(make_reviews(2200, seed=11), plans, seed=2):
        if delivery.night.isoformat() in nights:
            uri = deliver(stores, delivery.key, delivery.body)
            arrival = ingest.land(uri, delivery.night.isoformat())
            ingest.accept(arrival, ingest.validate(arrival))


def at(day, hour):
    return pendulum.datetime(2026, 1, day, hour, tz="UTC")


def of_model(stores, name):
    """What the models bucket holds of a model: keys, and the tags of their bytes."""
    return {info.key: info.version_tag for info in stores.models.list(f"{name}/")}


@pytest.mark.long
def test_two_models_side_by_side_share_reviews_and_nothing_else(bag, stores, configure):
    ingest_nights(stores, "2026-01-05")

    first_run = run(bag.dags[f"{FIRST}_retrain"], at=at(6, 4))
    alone, before = of_model(stores, FIRST), set(listing(stores.reviews))
    second_run = run(bag.dags[f"{SECOND}_retrain"], at=at(6, 5))
    again = run(bag.dags[f"{FIRST}_retrain"], at=at(6, 6))

    for done in (first_run, second_run):
        assert str(done.state) == "success"
        assert states(done)["confirm", -1] == "success"
    assert states(again)["train", -1] == "skipped"
    # Not a byte of the first model changed, and the second one wrote only below its own name.
    assert of_model(stores, FIRST) == alone
    own = of_model(stores, SECOND)
    folders = {info.key.partition("/")[0] for info in stores.models.list("")}
    assert folders - {"probes"} == {FIRST, SECOND}
    new = {key.partition("/")[0] for key in set(listing(stores.reviews)) - before}
    assert new <= {"snapshots", "features", "rollups", "alerts"}
    assert {key.removeprefix(SECOND).split("/")[1] for key in own} == {
        key.removeprefix(FIRST).split("/")[1] for key in alone
    }
    for keys_of_one, other in ((alone, SECOND), (own, FIRST)):
        for key in keys_of_one:
            assert f"{other}/".encode() not in stores.models.get(key), key

    registries = {name: Registry(stores.models, name) for name in (FIRST, SECOND)}
    entries = {name: registry.log.champion() for name, registry in registries.items()}
    for name, entry in entries.items():
        assert (entry.model_name, entry.generation) == (name, 1)
        assert f"airflow {name}_retrain " in entry.actor
        assert registries[name].decisions.decision_of(entry).model_name == name
    plans = {
        name: registries[name].versions.champion_manifest(entry).plan
        for name, entry in entries.items()
    }
    assert {name: plan.seed for name, plan in plans.items()} == {
        FIRST: config.load().model.seed, SECOND: 7,
    }  # fmt: skip
    rows = {name: snapshot.pinned(stores.reviews, plan).rows for name, plan in plans.items()}
    assert 0 < rows[SECOND] < rows[FIRST]

    # Without the second model, the first one's next plan would be the same.
    configure(models={SECOND: {"seed": 99}})
    planned = retrain.plan(retrain.take_snapshot())
    assert entries[FIRST].version in planned

    # Each watches its own champion, on the nights of its own sources.
    configure(models={SECOND: {"seed": 7, "sources": ["web"]}})
    ingest_nights(stores, "2026-01-06")
    validated = [
        stores.reviews.get_record(info.key, Validation)
        for info in stores.reviews.list("reports/")
        if info.key.endswith("validation.json")
    ]
    # Labels are compared with what the first model's champion says.
    assert {each.basis.champion for each in validated} == {None, entries[FIRST].version}
    for name in (FIRST, SECOND):
        assert str(run(bag.dags[f"{name}_monitor"], at=at(7, 6)).state) == "success"
        windows = [info.key for info in stores.reviews.list(f"monitoring/{name}/windows/")]
        (window,) = monitor.windows([stores.reviews.uri(windows[-1])], name)
        assert window.model_name == name
        assert window.champion_version == entries[name].version
        assert {source.source for source in window.sources} == (
            {"app", "web"} if name == FIRST else {"web"}
        )
    assert {info.key.split("/")[1] for info in stores.reviews.list("monitoring/")} == {
        FIRST, SECOND,
    }  # fmt: skip
