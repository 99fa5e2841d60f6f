"""A delivery that is hostile in every field: no page that shows it runs, asks or hides anything."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from pipelines.alerts import mail as alerts_mail
from pipelines.alerts import messages
from pipelines.alerts.alert import Run
from pipelines.core import config
from pipelines.core.keys import outcome_key
from pipelines.core.store.stores import open_stores
from pipelines.records.deliveries import Outcome
from pipelines.records.validations import Validation
from tests.support.hostile import page_requests as hostile

pytestmark = [pytest.mark.e2e, pytest.mark.long]


def is_inert(visitor):
    """Whether nothing happened in the page or any frame of it."""
    visitor.page.wait_for_timeout(200)  # for handlers that fire late
    sentinels = [
        frame.evaluate(f"typeof window.{hostile.SENTINEL}") for frame in visitor.page.frames
    ]
    seen = visitor.seen
    return (
        set(sentinels) == {"undefined"}
        and not (seen.dialogs or seen.errors or seen.foreign)
        and visitor.page.url.startswith(visitor.origin)
    )


def test_the_watch_would_notice(visit, stack):
    visitor = visit("")
    visitor.page.goto(f"{stack.ui_url}/api/v2/version")
    assert is_inert(visitor)

    visitor.page.set_content(hostile.MARKUP[1])

    assert any(not is_inert(visitor) for _ in range(1000))  # each look waits a moment


def texts_of(visitor, page):
    """The page's text, once nothing else has come of it."""
    assert is_inert(visitor)
    assert page.locator("img, iframe, object, embed, meta[http-equiv=refresh]").count() == 0
    body = page.locator("body").inner_text()
    assert not {"\u202e", "\u2066", "\u200b", "\x07", "\x1b"} & set(body)
    return body


def test_it_is_text_in_the_list_and_on_its_own_page(visit, world, ingest_run):
    ingest_run()
    visitor = visit("admin")

    listed = texts_of(visitor, visitor.open("/incidents"))
    shown = texts_of(visitor, visitor.open(f"/incidents/{world.hostile}"))

    assert "onerror=" in listed
    for said in ("{{7*7}} {% for x in [] %}", "\\u202eright to left\\u202c", "=HYPERLINK("):
        assert said in shown
    assert visitor.seen.violations == []


def test_it_is_text_in_the_report_of_the_run_that_held_it(visit, ingest_run):
    run_id = ingest_run()
    visitor = visit("admin")

    shown = texts_of(visitor, visitor.open(f"/runs/reviews_ingest/{quote(run_id, safe='')}"))

    assert "onerror=" in shown
    assert visitor.seen.violations == []


def test_it_is_text_in_the_full_report(visit, world, ingest_run):
    ingest_run()
    visitor = visit("admin")
    page = visitor.open(f"/incidents/{world.hostile}")

    page.get_by_role("link", name="full report").click()

    page.get_by_role("heading", name="HELD").wait_for()
    assert is_inert(visitor)
    assert page.locator("img, iframe, script").count() == 0
    assert "onerror=" in page.locator("body").inner_text()


def test_it_is_text_in_the_mail_that_tells_of_it(visit, stack, world, ingest_run, tmp_path):
    run = Run(dag_id="reviews_ingest", run_id=ingest_run(), failed_tasks=("delivery.validate",))
    reviews = open_stores(config.load(stack.config)).reviews
    outcome = reviews.get_record(outcome_key(world.hostile), Outcome)
    found = reviews.get_record(outcome.validation_key, Validation)
    alert = messages.held(outcome, found, f"javascript:{outcome.why}", run, stack.ui_url)
    mail = tmp_path / "mail.html"
    mail.write_text(alerts_mail.html(alert), encoding="utf-8")
    visitor = visit("")

    visitor.page.goto(mail.as_uri())

    visitor.page.wait_for_timeout(200)
    assert visitor.page.evaluate(f"typeof window.{hostile.SENTINEL}") == "undefined"
    assert (visitor.seen.dialogs, visitor.seen.errors) == ([], [])
    assert visitor.seen.foreign == [mail.as_uri()]  # the mail itself, and nothing else
    assert visitor.page.locator("script, img, iframe").count() == 0
    assert "onerror=" in visitor.page.locator("body").inner_text()
    links = visitor.page.locator("a").evaluate_all("all => all.map((one) => one.href)")
    assert [one for one in links if not one.startswith(f"{stack.ui_url}/")] == []


def test_it_is_a_value_and_no_more_in_the_form(visit):
    visitor = visit("operator")
    sent = quote(hostile.MARKUP[2], safe="")

    page = visitor.open(f"/forms/reviews_replay?delivery={sent}&reason={sent}&action={sent}")

    assert is_inert(visitor)
    assert page.get_by_label("Delivery").input_value() == hostile.MARKUP[2]
    assert page.get_by_label("Reason").input_value() == ""  # a link gives none
