"""A delivery that is hostile in every field: no page that shows it runs, asks or hides anything."""

from __future__ import annotations

import hostile
import pytest

pytestmark = pytest.mark.e2e


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
    visitor.page.wait_for_timeout(200)

    assert not is_inert(visitor)


def test_it_is_text_in_the_list_and_on_its_own_page(visit, world, ingest_run):
    ingest_run()
    visitor = visit("admin")

    for path in ("/incidents", f"/incidents/{world.hostile}"):
        page = visitor.open(path)
        assert is_inert(visitor)
        assert page.locator("img, iframe, object, embed, svg, meta[http-equiv]").count() == 0
        body = page.locator("body").inner_text()
        assert "\u202e" not in body
        assert "onerror=" in body
    assert "{{7*7}}" in body
    assert visitor.seen.violations == []
