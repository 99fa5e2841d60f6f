"""Each DAG once through `dag.test()`, against the S3 test server."""

import pendulum
import pytest

from pipelines.core.errors import PermanentError
from pipelines.features.answer_cache import FOLDER
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_sgd
from pipelines.registry.registry import Registry
from tests.support.made.builders import listing
from tests.support.made.dag_runs import deliver_night, run, states
from tests.support.made.registry_builders import promoted

pytestmark = pytest.mark.airflow

NIGHT = "2026-01-05"


def test_a_night_with_a_broken_delivery_is_red_and_its_good_one_is_trained_on(dagbag, stores):
    ingest, retrain = dagbag.dags["reviews_ingest"], dagbag.dags["sentiment_retrain"]
    deliver_night(stores)

    night = run(ingest, at=pendulum.datetime(2026, 1, 5, 2, tz="UTC"), conf={"night": NIGHT})
    first = run(retrain, at=pendulum.datetime(2026, 1, 6, 2, tz="UTC"))
    second = run(retrain, at=pendulum.datetime(2026, 1, 6, 3, tz="UTC"))

    found = states(night)
    assert str(night.state) == "failed"
    assert found["delivery.validate", 0] == "success"
    assert found["delivery.validate", 1] == "failed"
    assert found["delivery.accept", 0] == "success"
    assert found["delivery.accept", 1] == "upstream_failed"
    assert found["announce", -1] == "success"
    assert found["check_night", -1] == "failed"
    assert str(first.state) == "success"
    assert states(first)["featurize", 0] == "success"
    assert states(first)["confirm", -1] == "success"
    assert str(second.state) == "success"
    assert states(second)["train", -1] == "skipped"
    assert len(Registry(stores.models, "sentiment").log.history()) == 1


def test_a_night_without_deliveries_is_green_and_announces_nothing(dagbag, stores):
    night = run(dagbag.dags["reviews_ingest"], at=pendulum.datetime(2026, 1, 7, 2, tz="UTC"))

    found = states(night)
    assert str(night.state) == "success"
    assert found["summarize_night", -1] == "success"
    assert found["announce", -1] == "skipped"


def test_a_rollback_from_the_form_is_a_dry_run_first_and_then_acts(dagbag, stores):
    texts = ["a great film", "a great cast", "a dull film", "a dull cast"] * 5
    model = dump_model(fingerprint_sgd(seed=1, ngram_max=1).fit(texts, [1, 1, 0, 0] * 5))
    registry = Registry(stores.models, "sentiment")
    first = promoted(registry, "a", model=model)
    second = promoted(registry, "b", against=first, model=model)
    dag = dagbag.dags["sentiment_rollback"]

    dry = run(dag, at=pendulum.datetime(2026, 1, 8, 1, tz="UTC"), conf={"reason": "it is bad"})
    champion_after_dry_run = registry.log.champion()
    real = run(
        dag,
        at=pendulum.datetime(2026, 1, 8, 2, tz="UTC"),
        conf={"reason": "it is bad", "dry_run": False},
    )

    assert str(dry.state) == "success"
    assert states(dry)["apply_rollback", -1] == "skipped"
    assert champion_after_dry_run == second
    assert states(real)["apply_rollback", -1] == "success"
    # These versions were never really evaluated, so there is nothing to confirm them with.
    assert states(real)["confirm", -1] == "failed"
    assert [entry.version for entry in registry.log.history()][2:] == [first.version]


@pytest.mark.long
def test_a_dry_run_decides_and_promotes_nothing(dagbag, stores):
    deliver_night(stores)
    run(
        dagbag.dags["reviews_ingest"],
        at=pendulum.datetime(2026, 1, 5, 3, tz="UTC"),
        conf={"night": NIGHT},
    )

    dry = run(
        dagbag.dags["sentiment_retrain"],
        at=pendulum.datetime(2026, 1, 6, 4, tz="UTC"),
        conf={"dry_run": True},
    )

    assert str(dry.state) == "success"
    assert states(dry)["decide", -1] == "success"
    assert states(dry)["promote", -1] == "skipped"
    assert Registry(stores.models, "sentiment").log.champion() is None


@pytest.mark.attack
def test_a_dry_run_changes_nothing_although_somebody_marks_the_task_that_asks_as_successful(
    dagbag, stores
):
    dag, at = dagbag.dags["sentiment_housekeeping"], pendulum.datetime(2026, 1, 9, tz="UTC")

    done = dag.test(
        logical_date=at,
        run_after=at,
        run_conf={"dry_run": True},
        mark_success_pattern="is_for_real",
    )

    assert states(done)["is_for_real", -1] == "success"
    assert states(done)["tidy_up", -1] == "failed"


@pytest.mark.attack
def test_whatever_acts_refuses_to_in_a_dry_run(dagbag, monkeypatch):
    acting = {
        dag_id: task
        for dag_id, dag in dagbag.dags.items()
        for task in dag.tasks
        if task.task_id == "promote" or "is_for_real" in task.upstream_task_ids
    }

    for task in acting.values():
        plugin = task.python_callable.__globals__  # other tests may have loaded it again
        monkeypatch.setitem(plugin, "get_current_context", lambda: {"params": {"dry_run": True}})
        with pytest.raises(PermanentError, match="this run is a dry run"):
            task.python_callable()
    assert sorted(acting) == [
        dag_id for dag_id, dag in sorted(dagbag.dags.items()) if "dry_run" in dag.params
    ]


def test_many_packs_are_featurized_and_scored_in_shares_which_one_task_puts_together(
    dagbag, stores, configure, monkeypatch
):
    monkeypatch.setattr("pipelines.features.packs.LARGEST_BYTES", 0)  # each is a pack of its own
    configure(training={"packs_per_task": 1})
    deliver_night(stores, sources=("app", "tv"))
    night = pendulum.datetime(2026, 1, 5, 2, tz="UTC")
    run(dagbag.dags["reviews_ingest"], at=night, conf={"night": NIGHT})

    done = run(dagbag.dags["sentiment_retrain"], at=pendulum.datetime(2026, 1, 7, 2, tz="UTC"))

    found = states(done)
    assert str(done.state) == "success"
    for task_id in ("featurize", "score"):
        assert [found[task_id, number] for number in range(2)] == ["success"] * 2
    assert found["evaluate", -1] == "success"
    answers = [key for key in listing(stores.reviews) if key.startswith(FOLDER)]
    assert len(answers) == 2  # of the challenger; there is no champion yet
