"""The pages on incidents: what they say, what they offer to whom, and that no review acts."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

import pytest

from tests.support.made.builders import NIGHT, some_rows
from tests.support.made.incident_builders import REASON, SECOND, ingest, odd_rows, replay, sent
from tests.support.page_site import Pages

HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(1)> {{ 12345*67891 }} \u202e =1+1\x07"


@pytest.fixture
def page(stores):
    def read(path: str, status: int = 200, *, may_start: bool = True) -> str:
        site = Pages(open_stores=lambda: stores, may_start=lambda _dag: may_start)
        reply = site.get(path)
        assert reply.status_code == status, reply.text
        return reply.text

    return read


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links += [value for name, value in attrs if name in ("href", "src")]


def words(page: str) -> str:
    """What a reader sees of it, on one line."""
    inside = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inside)).split())


def test_the_list_says_that_nothing_went_wrong_and_over_which_nights(stores, page):
    sent(stores, some_rows(40), "good.csv")
    ingest()

    assert f"Nights {NIGHT} to {NIGHT}, the newest first. Nothing went wrong." in words(
        page("/incidents")
    )


def test_an_empty_store_has_a_page(page):
    assert "There are no records of any night yet." in words(page("/incidents"))


@pytest.mark.long
def test_open_incidents_stand_above_settled_ones_and_link_to_their_page(stores, page):
    settled = sent(stores, odd_rows(3), "settled.csv")
    ingest()
    replay(settled, "discard")
    held = sent(stores, odd_rows(3, first=100, night=SECOND), "held.csv", night=SECOND)
    ingest(SECOND)

    shown = page("/incidents")

    assert words(shown).index("Needs a person (1)") < words(shown).index("Settled (1)")
    links = [link for link in Elements(shown).links if "/incidents/" in link]
    assert links == [f"/retraining/incidents/{held}", f"/retraining/incidents/{settled}"]
    assert REASON in words(shown)


def test_routine_quarantine_is_folded_away_and_still_leads_to_its_page(stores, page):
    rows = some_rows(100)
    routine = sent(stores, [rows[0] | {"label": "so so"}, *rows[1:]], "few.csv")
    ingest()

    shown = page("/incidents")

    assert "details" in Elements(shown).tags
    assert f"/retraining/incidents/{routine}" in Elements(shown).links


def test_a_held_delivery_says_all_that_is_needed_at_night(stores, page):
    sent(stores, some_rows(40), "good.csv")
    ingest()
    sent(stores, some_rows(40, first=500, night=SECOND), "b.csv", source="app", night=SECOND)
    held = sent(stores, odd_rows(3, first=100, night=SECOND), "bad.csv", night=SECOND)
    ingest(SECOND)

    shown = words(page(f"/incidents/{held}"))

    for said in (
        f"HELD: landing/web/{SECOND}/bad.csv",
        "None of its rows count: 40 are held.",
        "7.5% of the rows break a row rule; the limit is 5.0% (quarantined_share).",
        "0 label_unknown review-000100 so so Review 100 calls film 33 a dreadful evening",
        f"source last accepted on {NIGHT}: landing/web/{NIGHT}/good.csv, 40 rows",
        "rows with label_unknown 3 0",
        "Other deliveries in the night of 2026-01-06: 1. 40 of their rows count.",
        "There is no champion yet, so nothing answers.",
    ):
        assert said in shown


def test_its_buttons_open_the_form_filled_in_but_for_the_reason(stores, page):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()

    links = Elements(page(f"/incidents/{held}")).links

    assert [link for link in links if "/forms/" in link] == [
        f"/retraining/forms/reviews_ingest?night={NIGHT}",
        *(
            f"/retraining/forms/reviews_replay?delivery={held}&action={action}&dry_run=true"
            for action in ("revalidate", "release", "discard")
        ),
    ]
    assert "/retraining/runbooks/held-delivery" in links
    assert [link for link in links if link.startswith(f"/retraining/reports/{held}/")]


def test_who_may_not_start_runs_gets_no_button_and_is_told_why(stores, page):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()

    shown = page(f"/incidents/{held}", may_start=False)

    assert not [link for link in Elements(shown).links if "/forms/" in link]
    assert "Release: needs the right to start runs of reviews_replay" in words(shown)


def test_nothing_in_a_delivery_becomes_markup_or_hides(stores, page):
    rows = [
        row | {"text": f"{HOSTILE} {place}", "review_id": HOSTILE, "movie_id": HOSTILE}
        for place, row in enumerate(some_rows(40))
    ]
    held = sent(stores, rows, "<img src=x onerror=alert(1)>\u202e.csv", source="<script>")
    ingest()

    for shown in (page("/incidents"), page(f"/incidents/{held}")):
        elements = Elements(shown)
        assert "img" not in elements.tags
        assert shown.count("<script") == 1
        assert "\u202e" not in shown
        assert "\x07" not in shown
        assert str(12345 * 67891) not in words(shown)  # computed by no template


@pytest.mark.long
def test_a_source_that_fell_silent_has_a_page_with_the_form_of_the_ingest(stores, page, configure):
    configure(sources={"web": {"expected_every_days": 1}})
    sent(stores, some_rows(40), "r.csv")
    ingest()
    ingest(SECOND)

    shown = page(f"/incidents/missing/{SECOND}/web")

    assert f"last delivered for {NIGHT}" in words(shown)
    assert f"/retraining/forms/reviews_ingest?night={SECOND}" in Elements(shown).links
    assert f"/retraining/incidents/missing/{SECOND}/web" in Elements(page("/incidents")).links


def test_what_is_not_known_is_not_found_and_what_is_misspelt_is_not_looked_for(page):
    page(f"/incidents/{'0' * 64}", 404)
    page(f"/incidents/missing/{NIGHT}/web", 404)
    page("/incidents/abc", 404)
    page("/incidents?until=yesterday", 400)
    page("/incidents?until=2026-99-99", 400)
    page("/incidents/missing/2026-99-99/web", 404)


@pytest.mark.parametrize("key", ["receipts/zzz/x", "receipts/x", "missing/2026-99-99/web.json"])
def test_what_lies_below_no_night_is_no_night(stores, page, key):
    stores.reviews.put(key, b"{")

    assert "There are no records of any night yet." in words(page("/incidents"))


def test_torn_records_are_shown_beside_what_can_be_read(stores, page):
    held = sent(stores, odd_rows(3), "bad.csv")
    ingest()
    (report,) = [
        info.key for info in stores.reviews.list(f"reports/{held}/")
        if info.key.endswith("validation.json")
    ]  # fmt: skip
    stores.reviews.put(report, b"{")

    shown = words(page(f"/incidents/{held}"))

    assert "Not readable:" in shown
    assert "40 are held" in shown
    assert "Release" in shown


def test_the_runbook_is_a_page_of_ours(page):
    shown = page("/runbooks/held-delivery")

    assert "What is not affected</h2>" in shown
    assert "<img" not in shown
    page("/runbooks/no-such", 404)


@pytest.mark.long
def test_changed_content_under_one_name_links_to_what_came_first(stores, page):
    first = sent(stores, some_rows(40), "r.csv")
    ingest()
    second = sent(stores, some_rows(40, first=100), "r.csv")
    ingest(SECOND)

    assert f"/retraining/incidents/{first}" in Elements(page(f"/incidents/{second}")).links
