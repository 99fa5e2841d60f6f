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
    assert found.replays[-1].actor.startswith("operator on airflow reviews_replay ")
    page = visit("viewer").open("/incidents?state=settled")
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
    expect(page.get_by_text("A dry run: the delivery would become DISCARDED.")).to_be_visible()


def test_without_a_reason_the_form_is_not_sent(visit, world):
    page = visit("operator").open(f"/incidents/{world.worse}")
    go(page, "Validate again")

    page.get_by_role("button", name="Start a run of reviews_replay").click()

    assert "/forms/reviews_replay" in page.url
    assert page.evaluate("document.querySelector('textarea').validity.valueMissing")


def test_a_filter_shows_one_source_and_a_file_of_it_is_downloaded(visit, world):
    page = visit("operator").open("/incidents")
    page.get_by_label("Source").fill("app")
    page.get_by_role("button", name="Show").click()

    expect(page.get_by_role("link", name=re.compile("one.csv"))).to_be_visible()
    assert page.get_by_role("link", name=re.compile("worse.csv")).count() == 0
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    assert "one.csv" in download.value.path().read_text(encoding="utf-8")


def test_several_held_deliveries_are_chosen_and_one_form_opens(visit, world):
    page = visit("operator").open("/incidents?rule=quarantined_share")
    page.get_by_label("all that are shown").check()
    chosen = page.locator("input[name=delivery]:checked").count()

    page.get_by_role("button", name="Discard the chosen ones").click()

    expect(page.get_by_label("Delivery")).to_have_value(re.compile(world.worse))
    expect(page.get_by_label("Dry run")).to_be_checked()
    runs = f"Start {chosen} runs of reviews_replay" if chosen > 1 else "Start a run of"
    expect(page.get_by_role("button", name=runs)).to_be_visible()


def test_a_name_is_copied_and_a_time_is_shown_in_words(visit, world):
    visitor = visit("viewer")
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.open(f"/incidents/{world.worse}")

    page.get_by_role("button", name=f"Copy {world.worse[:20]}").click()

    expect(page.get_by_role("button", name=f"Copy {world.worse[:20]}")).to_have_text("copied")
    assert page.evaluate("navigator.clipboard.readText()") == world.worse
    assert page.locator("time .dim").count() >= 1


def test_from_an_incident_to_its_runbook_source_and_run(visit, world, ingest_run):
    run_id = ingest_run()
    page = visit("viewer").open(f"/incidents/{world.hostile}")

    page.get_by_role("link", name="its report").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run report")
    assert unquote(page.url).endswith(run_id)
    expect(page.get_by_role("link", name="Open its log in Airflow").first).to_be_visible()
    expect(page.locator(".error").first).to_contain_text("is held")

    page = visit("viewer").open(f"/incidents/{world.worse}")
    page.get_by_role("link", name=re.compile("runbook: what the rule means")).click()
    page.get_by_role("main").get_by_role("link", name="poisoned-labels.md").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("wrong or poisoned")
    page.get_by_role("link", name="Sources").click()
    page.get_by_role("link", name="web", exact=True).click()
    expect(page.locator("svg.loop-plot")).to_be_visible()


def test_a_dry_run_of_a_rollback_shows_what_would_be_done(visit, api):
    api.unpause("sentiment_rollback")
    page = visit("operator").open("/champion")
    page.get_by_role("link", name="roll back to it").first.click()
    page.get_by_label("Reason").fill(REASON)

    page.get_by_role("button", name="Start a run of sentiment_rollback").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run report")
    run_id = unquote(page.url.rpartition("/")[2])
    assert api.wait("sentiment_rollback", run_id, timeout_seconds=HANG_SECONDS) == "success"
    page.reload()

    expect(page.get_by_text("would be put back as champion. Nothing was changed.")).to_be_visible()
    page.get_by_role("link", name="Open the form again, to do it").click()
    expect(page.get_by_label("Dry run")).to_be_checked()


def test_two_versions_are_compared(visit):
    page = visit("viewer").open("/decisions")
    page.get_by_role("link", name="Compare two").click()
    page.get_by_label("Other version").select_option(index=1)
    page.get_by_role("button", name="Compare").click()

    expect(page.get_by_role("rowheader", name="holdout: log loss")).to_be_visible()
