"""The page Monitoring: nights, filters, one night, and a thousand of them."""

import re
from pathlib import Path

import pytest

from pipelines.pages import frame
from tests.support.made.window_builders import a_trigger, a_window, an_answered_day, night_after
from tests.support.page_site import Pages
from tests.support.settings_file import write_settings

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def pages():
    return Pages()


def put(pages, *windows):
    for window in windows:
        pages.reviews.put_record(window)


def test_without_a_window_the_page_says_when_the_first_will_come(pages):
    answer = pages.get("/monitoring")

    assert answer.status_code == 200
    assert "No night was judged yet" in answer.text


def test_nights_are_charted_against_their_limits_and_listed_newest_first(pages):
    put(pages, *(a_window(night_after(n), accuracy=0.9 + n / 1000) for n in range(5)),
        a_window(night_after(5), "FADING", accuracy=0.8, champion_generation=5))  # fmt: skip

    html = pages.get("/monitoring").text

    assert html.index(night_after(5)) < html.index(f">{night_after(4)}</a>")
    assert html.count('class="loop-plot"') == 2
    assert "FADING below" in html
    assert "another champion" in html
    assert f"{night_after(5)}: 80.0% of 1,000, FADING" in html
    assert re.search(r'class="tag bad">FADING', html)


def test_the_nights_can_be_cut_to_a_source_a_slice_and_a_test(pages):
    put(pages, *(a_window(night_after(n)) for n in range(3)))

    html = pages.get("/monitoring?part=length%3Dshort&test=words&span=30").text

    assert "Accuracy on new reviews, %: length=short" in html
    assert "Drift as a multiple of its limit: words" in html
    assert "<option selected>30</option>" in html
    assert "FADING below" not in html  # slices are shown and never judged


def test_what_is_asked_for_and_does_not_exist_shows_the_usual(pages):
    put(pages, a_window(), a_window(night_after(1)))

    html = pages.get("/monitoring?part=source%3Dx&test=nothing&span=7&until=never").text

    assert "Accuracy on new reviews, %: all" in html
    assert "<option selected>90</option>" in html


def test_decisions_on_retrainings_are_listed_and_starts_are_marked(pages):
    put(pages, a_window(), a_window(night_after(1)))
    today = pages.reviews.clock().date().isoformat()
    pages.reviews.put_record(
        a_trigger(
            today, is_started=True, trigger="fading", why="FADING in 2 of 3.", night=night_after(1)
        )
    )

    html = pages.get("/monitoring").text

    assert "FADING in 2 of 3." in html
    assert "retraining asked for" in html
    assert "/dags/sentiment_monitor/runs/run_1" in html


def test_what_the_services_were_asked_is_listed_where_the_log_is_on(pages, tmp_path, monkeypatch):
    pages.reviews.put_record(an_answered_day(night_after(0), why=HOSTILE))
    pages.reviews.put_record(an_answered_day(night_after(1), "DRIFT"))
    assert "What the services were asked" not in pages.get("/monitoring").text

    path = write_settings(
        tmp_path / "loop.toml", {"serving": {"prediction_log": {"is_enabled": True}}}
    )
    monkeypatch.setenv("LOOP_CONFIG", str(path))
    html = pages.get(f"/monitoring?until={night_after(1)}").text

    assert "What the services were asked" in html
    assert html.index("What was asked is DRIFT.") < html.index("&lt;script&gt;")
    assert HOSTILE not in html
    assert "88.0% to 92.0%" in html


def test_a_night_shows_what_changed_and_the_words_that_moved(pages):
    put(pages, a_window(verdict="DRIFT", word="streaming"))

    html = pages.get("/monitoring/2026-01-05").text

    assert "streaming" in html
    assert html.count('class="tag bad">beyond') == 7
    assert "90.00% (95 % interval 88.0% to 92.0%), 90.00% is usual" in html
    assert '<td class="number">1,050</td>' in html


def test_a_night_leads_back_to_all_nights(pages):
    put(pages, a_window())

    way = pages.get("/monitoring/2026-01-05").text.partition('aria-label="You are here"')[2]

    assert 'href="/retraining/monitoring"' in way.partition("</nav>")[0]


def test_dates_are_not_broken_in_the_head_of_a_line_either():
    templates = (Path(frame.__file__).parent / "templates").glob("*.jinja")
    css = (Path(frame.__file__).parent / "templates" / "page.css").read_text()

    cells = {
        cell
        for template in templates
        for cell in re.findall(r'<(t[hd])\b[^>]*class="keep"', template.read_text())
    }

    assert cells == {"th", "td"}
    assert all(f"{cell}.keep" in css for cell in cells)


def test_a_night_that_was_judged_again_says_so_and_an_unknown_one_is_not_found(pages):
    put(pages, a_window(), a_window(partitions=("a" * 64, "f" * 64)))

    assert "Judged again" in pages.get("/monitoring/2026-01-05").text
    assert pages.get("/monitoring/2026-01-06").status_code == 404
    assert pages.get("/monitoring/2026-99-99").status_code == 404


def test_a_night_leads_to_its_sources_whose_labels_may_be_the_cause(pages):
    put(pages, a_window())

    assert '<a href="/retraining/sources/web">web</a>' in pages.get("/monitoring/2026-01-05").text


def test_words_sources_and_reasons_stay_text(pages):
    put(pages, a_window(word=HOSTILE, why=HOSTILE), a_window(night_after(1), why=HOSTILE))

    for path in ("/monitoring", "/monitoring/2026-01-05"):
        html = pages.get(path).text
        assert HOSTILE not in html
        assert "&lt;script&gt;" in html


def test_a_changed_window_leaves_a_gap_and_is_named(pages):
    put(pages, a_window(), a_window(night_after(1)))
    key = a_window().object_key
    pages.reviews.objects[key] = pages.reviews.objects[key].replace(b"QUIET", b"DRIFT")

    html = pages.get("/monitoring").text

    assert "The window of 2026-01-05 cannot be read" in html
    assert night_after(1) in html


def test_a_thousand_nights_are_one_page_and_each_record_is_read_once(pages, monkeypatch):
    put(pages, *(a_window(night_after(n), "DRIFT" if n % 50 == 0 else "QUIET")
                 for n in range(1000)))  # fmt: skip
    app, read = pages.client, []
    get = pages.reviews.get
    monkeypatch.setattr(
        pages.reviews, "get", lambda key, **more: read.append(key) or get(key, **more)
    )
    path = f"/monitoring?span=1000&until={night_after(999)}"

    first, again = app.get(path), app.get(path)

    assert first.status_code == again.status_code == 200
    assert "1000 nights from 2026-01-05" in first.text
    assert len(first.text) < 200_000
    assert len([key for key in read if "/windows/" in key]) == 1000


def test_older_nights_are_a_link_away(pages):
    put(pages, *(a_window(night_after(n)) for n in range(40)))

    html = pages.get(f"/monitoring?span=30&until={night_after(39)}").text
    older = re.search(r'href="([^"]+)">Older nights', html)[1].replace("&amp;", "&")

    assert f"until={night_after(9)}" in older
    assert night_after(9) in pages.get(older.removeprefix("/retraining")).text
