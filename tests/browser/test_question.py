"""A person on call answers the question about a model in Airflow's own page."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from pipelines.core import config
from pipelines.core.store.stores import open_stores
from pipelines.registry import approvals
from pipelines.registry.registry import Registry
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS

pytestmark = [pytest.mark.e2e, pytest.mark.long]

RETRAIN, NAME, REASON = "sentiment_retrain", "asked", "it reads well, and nothing answers yet"
# Airflow 3.3.2 can lose an answer that comes sooner.
PATIENCE_SECONDS = 3


@pytest.fixture
def asking_run(api, stack):
    """A run of a model that has no champion yet, standing at its question."""
    before = stack.config.read_text(encoding="utf-8")
    store = config.load(stack.config).store
    write_settings(
        stack.config,
        {
            "store": {"reviews_bucket": store.reviews_bucket, "models_bucket": store.models_bucket},
            "model": {"name": NAME},
            "gate": {"ask_for_first_model": True, "max_overlap_share": 1.0, "min_accuracy": 0.0,
                     "min_recall": 0.0, "max_log_loss": 99.0},
        },
    )  # fmt: skip
    api.unpause(RETRAIN)
    run_id = api.trigger(RETRAIN, logical_date=None, conf={})
    deadline = time.monotonic() + HANG_SECONDS
    while not api.questions(RETRAIN, run_id):
        assert time.monotonic() < deadline, "it does not ask"
        assert api.state(RETRAIN, run_id) in {"queued", "running"}
        time.sleep(0.5)
    time.sleep(PATIENCE_SECONDS)
    yield run_id
    stack.config.write_text(before, encoding="utf-8")


def test_a_person_on_call_approves_a_model_in_the_browser(visit, api, stack, asking_run):
    visitor = visit("oncall")
    page = visitor.page
    page.goto(f"{stack.ui_url}/dags/{RETRAIN}/runs/{asking_run}/tasks/ask/required_actions")

    approve = page.get_by_role("button", name="Approve")
    expect(page.get_by_text("May this model become champion?").first).to_be_visible()
    expect(approve).to_be_disabled()
    page.get_by_role("textbox", name="Reason").fill(REASON)
    approve.click()

    assert api.wait(RETRAIN, asking_run, timeout_seconds=HANG_SECONDS) == "success"
    registry = Registry(open_stores(config.load(stack.config)).models, NAME)
    champion = registry.log.champion()
    approval = approvals.find_approval(registry, registry.decisions.decision_of(champion))
    assert (approval.answer, approval.reason) == ("approve", REASON)
    assert approval.actor.startswith("oncall")
