"""Who is let in: nobody without a login, a viewer to read, an operator to act."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi.routing import APIRoute

from pipelines.pages.app import build
from pipelines.pages.site import Site, Viewer

pytestmark = pytest.mark.e2e


def nobody(*_):
    raise AssertionError("only the list of routes is wanted")


def routes():
    site = Site(reads=lambda _dag: lambda: None, view_as=lambda: Viewer(may_start=nobody),
                ask=nobody, stores=nobody)  # fmt: skip
    return [
        (method, re.sub(r"{[^}]+}", "x", route.path))
        for route in build(site).routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods)
    ]


@pytest.mark.parametrize(("method", "path"), routes())
def test_no_route_answers_who_is_not_logged_in(stack, api, method, path):
    reply = httpx.request(method, f"{stack.ui_url}/retraining{path}", timeout=30)

    assert reply.status_code in (401, 403)
    assert "Not logged in" in reply.text or "Not authenticated" in reply.text


def test_a_viewer_reads_a_held_delivery_and_gets_no_button(visit, world):
    page = visit("viewer").open(f"/incidents/{world.held}")

    assert page.get_by_text("None of its rows count").is_visible()
    assert page.locator("a.button, button").count() == 0
    assert page.get_by_text("Release: needs the right to start runs").is_visible()


def test_a_viewer_cannot_start_a_replay_past_the_pages_either(stack, tokens, world):
    reply = httpx.post(
        f"{stack.ui_url}/api/v2/dags/reviews_replay/dagRuns",
        headers={"Authorization": f"Bearer {tokens['viewer']}"},
        json={"logical_date": None, "conf": {"delivery": world.held, "reason": "because"}},
        timeout=30,
    )

    assert reply.status_code == 403
