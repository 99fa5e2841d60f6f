"""Alerts about several models: each names its own, and no two are one incident."""

from __future__ import annotations

import pytest

from pipelines.alerts import messages
from pipelines.alerts.alert import Alert, Run
from pipelines.alerts.kinds import KINDS
from pipelines.core import config
from pipelines.core.settings.settings import FIRST
from pipelines.core.settings.settings import KINDS as DAG_KINDS
from pipelines.core.store.stores import Stores
from pipelines.steps.context import Loop
from pipelines.steps.incidents import monitor_alerts
from tests.support.made.registry_builders import a_log_entry
from tests.support.made.window_builders import a_window
from tests.support.page_site import Bucket
from tests.support.settings_file import write_settings

URL = "https://airflow.example"


@pytest.fixture
def two_models(tmp_path, monkeypatch):
    path = write_settings(tmp_path / "loop.toml", {"models": {"stars": {"seed": 7}}})
    monkeypatch.setenv("LOOP_CONFIG", str(path))


def about(model: str) -> list[Alert]:
    """Every alert about a model; two models have the same night, run, version and generation."""
    dags = FIRST if model == "sentiment" else model
    runs = [Run(dag_id=f"{dags}_{kind}", run_id="scheduled__1") for kind in DAG_KINDS]
    entry, of = a_log_entry(3, model_name=model), f" of {model}"
    windows = [a_window(verdict=verdict, model_name=model) for verdict in ("FADING", "DRIFT")]
    return [
        *(messages.failed_run(run, URL) for run in runs[:3]),
        messages.late(runs[0], 180, URL),
        messages.waiting("v" * 20, "So.", 20, runs[0], URL, of=of),
        messages.put_back(entry, runs[0], URL),
        messages.bake_inconclusive(entry, "why", runs[0], URL),
        messages.broken_log(model, "torn", runs[0], URL),
        *(messages.watched(window, "2026-01-05", runs[1], URL, of=of) for window in windows),
    ]


def test_incidents_of_two_models_are_never_one(two_models):
    first, stars = about("sentiment"), about("stars")

    assert len({alert.key for alert in [*first, *stars]}) == len(first) + len(stars)
    raised = {kind for kind, one in KINDS.items()
              if any(route.startswith(FIRST) for route in one.raised_by)}  # fmt: skip
    assert {alert.kind for alert in stars} == raised - {"housekeeping_failed"}


def test_every_alert_about_a_model_leads_to_its_runbook(two_models):
    """Where Airflow's address is known; those of the ingest are in `test_messages`."""
    for alert in about("sentiment"):
        pages = {link.name: link.url for link in alert.links}
        page = KINDS[alert.kind].runbook.removesuffix(".md")
        assert pages["runbook"] == f"{URL}/retraining/runbooks/{page}", alert.title


def test_the_title_of_an_alert_names_its_model(two_models):
    for alert in about("stars"):
        assert "stars" in alert.title, alert.title


def test_the_links_of_an_alert_lead_to_pages_about_its_model(two_models):
    pages = [link.url for alert in about("stars") for link in alert.links
             if link.name in {"champion", "monitoring page"}]  # fmt: skip

    assert len(pages) == 5
    assert all(url.endswith("?model=stars") for url in pages)
    assert not any("model=" in link.url for alert in about("sentiment") for link in alert.links)


def test_a_failed_run_of_the_first_model_is_the_incident_that_it_was():
    run = Run(dag_id="sentiment_retrain", run_id="scheduled__1")

    assert messages.failed_run(run, "").identity == "scheduled__1"


def test_the_monitor_of_a_model_reports_its_own_nights_by_its_name(two_models):
    stores, settings = Stores(Bucket(), Bucket()), config.load()
    stores.reviews.put_record(a_window(verdict="FADING", model_name="stars"))
    run = Run(dag_id="stars_monitor", run_id="run_1")

    (alert,) = monitor_alerts(Loop(settings.of("stars"), stores), run)

    assert alert.title.startswith("The champion of stars is less often right")
    assert list(monitor_alerts(Loop(settings, stores), run)) == []


def test_with_one_model_no_title_names_it():
    stores = Stores(Bucket(), Bucket())
    stores.reviews.put_record(a_window(verdict="FADING"))

    (alert,) = monitor_alerts(
        Loop(config.load(), stores), Run(dag_id="sentiment_monitor", run_id="r")
    )

    assert alert.title.startswith("The champion is less often right")
