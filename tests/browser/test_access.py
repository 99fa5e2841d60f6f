"""Who is let in: nobody without a login, a viewer to read, an operator to act."""

from __future__ import annotations

import re

import httpx
import pytest

from tests.support.page_site import Pages
from tests.support.timing import HANG_SECONDS

pytestmark = pytest.mark.e2e


VALUES = {
    "{version}": "a" * 20,
    "{folder}": f"00000000-{'d' * 16}",
    "{dag_id}": "reviews_replay",
    "{run_id}": "x",
    "{delivery}": "e" * 64,
    "{basis}": "f" * 16,
    "{night}": "2026-01-05",
    "{source}": "web",
    "{name}": "held-delivery",
}


def routes():
    return [
        (method, re.sub(r"{\w+}", lambda found: VALUES[found[0]], route.path))
        for route in Pages().app.routes
        for method in sorted(route.methods)
    ]


@pytest.mark.parametrize(("method", "path"), routes())
def test_no_route_answers_who_is_not_logged_in(stack, api, method, path):
    reply = httpx.request(method, f"{stack.ui_url}/retraining{path}", timeout=HANG_SECONDS)

    assert reply.status_code == 401
    assert "Not logged in" in reply.text


def test_a_viewer_reads_a_held_delivery_and_gets_no_button(visit, world):
    page = visit("viewer").open(f"/incidents/{world.worse}")

    assert page.get_by_text("None of its rows count").is_visible()
    assert page.locator("a.button, button:not(.copy)").count() == 0
    assert page.get_by_text("Release: needs the right to start runs").is_visible()


def test_a_viewer_cannot_start_a_replay_past_the_pages_either(stack, tokens, world):
    reply = httpx.post(
        f"{stack.ui_url}/api/v2/dags/reviews_replay/dagRuns",
        headers={"Authorization": f"Bearer {tokens['viewer']}"},
        json={"logical_date": None, "conf": {"delivery": world.worse, "reason": "because"}},
        timeout=HANG_SECONDS,
    )

    assert reply.status_code == 403


def test_a_viewer_cannot_send_the_form_of_the_pages_either(visit, world):
    visitor = visit("viewer")
    page = visitor.open(f"/forms/reviews_replay?delivery={world.worse}&action=discard")

    assert page.locator("form").count() == 0
    assert page.get_by_text("You may look at this form but not start a run").is_visible()
    reply = page.request.post(
        f"{visitor.origin}/retraining/forms/reviews_replay",
        form={"delivery": world.worse, "action": "discard", "reason": "because I can"},
    )
    assert reply.status == 403


def test_a_link_of_an_alert_leads_through_the_login_to_its_page(visit, world):
    visitor = visit("")
    page, address = visitor.page, f"{visitor.origin}/retraining/incidents/{world.worse}"
    page.goto(address)

    page.get_by_role("link", name="Log in").click()
    page.locator("input[name=username]").fill("viewer")
    page.locator("input[name=password]").fill("viewer")
    page.locator("button[type=submit]").click()

    page.wait_for_url(address)
    assert page.get_by_text("None of its rows count").is_visible()
