"""The ways that people take through the pages, clicked from the first to the last step."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from pipelines.core import config
from pipelines.core.store.stores import open_stores
from pipelines.intake import standings
from tests.support.timing import HANG_SECONDS

pytestmark = pytest.mark.e2e

REASON = "the labels are right, upstream says"


def standing(stack, delivery):
    return standings.find(open_stores(config.load(stack.config)).reviews, delivery)


def go(page, link):
    page.get_by_role("link", name=link).first.click()


def test_from_the_champion_to_its_decision_and_back(visit):
    page = visit("viewer").open("/champion")
    version = page.locator("main strong.code").first.inner_text()

    page.get_by_role("main").get_by_role("link", name="decision", exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Decision on {version}")
    assert page.get_by_text("PROMOTE").first.is_visible()
    page.get_by_role("navigation", name="Retraining").get_by_role("link", name="Champion").click()

    expect(page.locator("main strong.code").first).to_have_text(version)


def test_airflows_own_page_shows_the_incidents_in_its_frame(visit, stack, world):
    visitor = visit("viewer")
    visitor.page.goto(f"{stack.ui_url}/plugin/incidents")

    frame = visitor.page.frame_locator("iframe")

    expect(frame.get_by_role("heading", level=1)).to_have_text("Incidents")
    frame.get_by_role("link", name=re.compile("worse.csv")).click()
    expect(frame.get_by_text("None of its rows count")).to_be_visible()


def test_an_operator_releases_a_held_delivery_with_a_reason(visit, api, stack, world):
    page = visit("operator").open("/incidents")
    go(page, re.compile("bad.csv"))
    go(page, "Release")
    expect(page.get_by_label("Delivery")).to_have_value(world.held)
    expect(page.get_by_label("Action")).to_have_value("release")
    expect(page.get_by_label("Dry run")).to_be_checked()
    expect(page.get_by_label("Reason")).to_have_value("")

    page.get_by_label("Reason").fill(REASON)
    page.get_by_label("Dry run").uncheck()
    page.get_by_role("button", name="Start a run of reviews_replay").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run report")
    run_id = unquote(page.url.rpartition("/")[2])
    assert api.wait("reviews_replay", run_id, timeout_seconds=HANG_SECONDS) == "success"
    page.reload()
    expect(page.get_by_text("The delivery is PARTLY_ACCEPTED.")).to_be_visible()

    go(page, world.held)
    expect(page.get_by_text("Settled.")).to_be_visible()
    assert page.get_by_text(REASON).first.is_visible()
    found = standing(stack, world.held)
    assert (found.verdict, found.accepted_rows) == ("PARTLY_ACCEPTED", 37)
    page = visit("viewer").open("/incidents")
    settled = page.locator("section", has=page.get_by_role("heading", name="Settled"))
    expect(settled.get_by_role("link", name=re.compile("bad.csv"))).to_be_visible()


def test_a_dry_run_by_an_admin_changes_nothing(visit, api, stack, world):
    page = visit("admin").open(f"/incidents/{world.worse}")
    go(page, "Discard")
    page.get_by_label("Reason").fill(REASON)

    page.get_by_role("button", name="Start a run of reviews_replay").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run report")
    run_id = unquote(page.url.rpartition("/")[2])

    assert api.wait("reviews_replay", run_id, timeout_seconds=HANG_SECONDS) == "success"
    assert standing(stack, world.worse).replays == ()
    page.reload()
    expect(
        page.get_by_text("A dry run, or not finished: it would become DISCARDED.")
    ).to_be_visible()


def test_without_a_reason_the_form_is_not_sent(visit, world):
    page = visit("operator").open(f"/incidents/{world.worse}")
    go(page, "Validate again")

    page.get_by_role("button", name="Start a run of reviews_replay").click()

    assert "/forms/reviews_replay" in page.url
    assert page.evaluate("document.querySelector('textarea').validity.valueMissing")
