"""The pages where there are several models: which one a page is about, and that links keep it."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from pipelines.core import links
from pipelines.pages.frame import MOST_MODELS
from pipelines.pages.site import Reply
from pipelines.registry.registry import Registry
from tests.support.made.registry_builders import a_version, decided, promoted
from tests.support.made.window_builders import a_trigger, a_window
from tests.support.page_site import Outline, Pages, links_of
from tests.support.settings_file import write_settings


@pytest.fixture
def models(tmp_path, monkeypatch):
    """Make the configuration hold these models besides the first."""

    def configured(*names):
        path = write_settings(
            tmp_path / f"{len(names)}.toml", {"models": {name: {} for name in names}}
        )
        monkeypatch.setenv("LOOP_CONFIG", str(path))

    configured("stars")
    return configured


@pytest.fixture
def pages(models):
    """A champion and a rejected version of each model, and a judged night of each."""
    site = Pages()
    for registry in (site.registry, Registry(site.models, "stars")):
        first = promoted(registry, f"{registry.name} one")
        promoted(registry, f"{registry.name} two", against=first)
        site.reviews.put_record(a_window("2026-01-05", model_name=registry.name))
        site.reviews.put_record(a_trigger("2026-01-06", model_name=registry.name))
    return site


@pytest.fixture
def stars(pages):
    return Registry(pages.models, "stars")


PER_MODEL = ["/champion", "/decisions", "/compare", "/monitoring", "/monitoring/2026-01-05"]
OF_A_MODEL = re.compile(r"/retraining/(champion|decisions|compare|monitoring)\b")


def versions_in(text, registry):
    return {entry.version for entry in registry.log.history() if entry.version in text}


@pytest.mark.parametrize("path", PER_MODEL)
def test_every_link_of_a_page_about_a_model_leads_to_the_same_model(pages, path):
    """Except the selector, and links of the first model's need no parameter."""
    text = pages.get(f"{path}?model=stars").text
    own = re.sub(r'<nav class="models".*?</nav>', "", text, flags=re.DOTALL)

    about_models = [link for link in map(html.unescape, links_of(own)) if OF_A_MODEL.match(link)]

    assert about_models
    for link in about_models:
        assert parse_qs(urlsplit(link).query).get("model") == ["stars"], link
    forms = [form for form in Outline(own).all("form") if form.get("method") == "get"]
    hidden = [field["value"] for field in Outline(own).all("input") if field.get("name") == "model"]
    assert hidden == ["stars"] * len(forms)
    assert "model=" not in "".join(
        link for link in links_of(pages.get(path).text) if "model=stars" not in link
    )


@pytest.mark.parametrize("path", ["/champion", "/decisions", "/compare"])
def test_a_page_shows_the_versions_of_its_model_only(pages, stars, path):
    of_first, of_stars = pages.get(path).text, pages.get(f"{path}?model=stars").text

    assert versions_in(of_first, pages.registry)
    assert not versions_in(of_first, stars)
    assert versions_in(of_stars, stars)
    assert not versions_in(of_stars, pages.registry)
    assert pages.get(f"{path}?model=sentiment").text == of_first


def test_the_pages_of_each_decision_are_found_by_their_links(pages, stars):
    for registry in (pages.registry, stars):
        key = registry.log.champion().decision_key
        for link in (links.decision_link(key), links.compare_link(key)):
            answer = pages.get(link.removeprefix(links.ROOT))
            assert answer.status_code == 200, link
            assert registry.log.champion().version in answer.text
    own = links.decision_link(stars.log.champion().decision_key)
    assert pages.get(urlsplit(own).path.removeprefix(links.ROOT)).status_code == 404


def test_the_buttons_of_a_page_start_the_dags_of_its_model(pages):
    text = pages.get("/champion?model=stars").text + pages.get("/monitoring?model=stars").text

    forms = {urlsplit(link).path for link in links_of(text) if "/forms/" in link}

    assert forms == {
        f"{links.ROOT}/forms/stars_{kind}" for kind in ("retrain", "rollback", "monitor")
    }


@pytest.mark.parametrize(
    ("path", "dag_id"),
    [("/champion", "stars_retrain"), ("/decisions", "stars_retrain"), ("/compare", "stars_retrain"),
     ("/monitoring", "stars_monitor")],
)  # fmt: skip
def test_reading_a_model_needs_the_right_to_read_its_own_dag(pages, path, dag_id):
    pages.refusal, pages.refuses = 403, lambda asked: asked == dag_id

    assert pages.get(f"{path}?model=stars").status_code == 403
    assert pages.get(path).status_code == 200
    assert pages.get(f"{path}?model=stars&model=sentiment").status_code == 200
    assert pages.get(f"{path}?model=sentiment&model=stars").status_code == 403


@pytest.mark.parametrize("asked", ["gone", "../x", "%00", "sentiment_retrain"])
@pytest.mark.parametrize("path", PER_MODEL)
def test_a_model_that_does_not_exist_is_not_found(pages, path, asked):
    assert pages.get(f"{path}?model={asked}").status_code == 404


def test_the_page_of_all_models_shows_each_champion_and_newest_verdict(pages, stars):
    champion = stars.log.champion()
    decided(stars, a_version(stars, "worse"), against=champion, verdict="REJECT")

    page = pages.get("/models").text

    assert champion.version in page
    assert pages.registry.log.champion().version in page
    assert {"REJECT", "PROMOTE"} <= set(re.findall(r"[A-Z]{6,}", page))
    assert f"{links.ROOT}/champion?model=stars" in map(html.unescape, links_of(page))


def test_the_page_of_all_models_shows_only_those_that_may_be_read(pages, stars):
    pages.refusal, pages.refuses = 403, lambda asked: asked == "stars_retrain"

    page = pages.get("/models").text

    assert stars.log.champion().version not in page
    assert pages.registry.log.champion().version in page
    assert "1 more are not shown" in page


def test_a_model_without_anything_or_with_a_broken_log_hides_no_other(pages, stars, models):
    models("stars", "moods")
    pages.models.objects[stars.log.key(2)] = b"torn"

    page = pages.get("/models")

    assert page.status_code == 200
    assert pages.registry.log.champion().version in page.text
    assert "moods" in page.text
    assert "none yet" in page.text


def test_the_frame_lets_a_reader_choose_the_same_page_of_another_model(pages, models):
    text = pages.get("/monitoring?model=stars").text
    choices = re.search(r'<nav class="models".*?</nav>', text, flags=re.DOTALL)[0]

    assert links_of(choices) == [
        f"{links.ROOT}/monitoring", f"{links.ROOT}/monitoring?model=stars", f"{links.ROOT}/models",
    ]  # fmt: skip
    assert choices.count("aria-current") == 1

    models(*[f"m{number}" for number in range(MOST_MODELS)])
    many = re.search(r'<nav class="models".*?</nav>', pages.get("/champion").text, re.DOTALL)[0]
    assert links_of(many) == [f"{links.ROOT}/models"]


@pytest.mark.parametrize("path", PER_MODEL)
def test_a_page_about_a_model_names_it_in_its_heading_and_in_the_tab_of_the_browser(pages, path):
    for model in ("stars", "sentiment"):
        text = pages.get(f"{path}?model={model}").text

        assert re.search(rf"<title>[^<]+ - {model}</title>", text)
        assert re.search(rf'<h1>[^<]+ <span class="dim">{model}</span></h1>', text)
    assert "<h1>Models</h1>" in pages.get("/models").text
    assert "<h1>Incidents</h1>" in pages.get("/incidents").text


def test_with_one_model_nothing_speaks_of_models(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOP_CONFIG", str(write_settings(tmp_path / "one.toml", {})))
    pages = Pages()

    for path in ("/champion", "/decisions", "/incidents"):
        text = pages.get(path).text
        assert 'class="models"' not in text
        assert "model=" not in text
        assert '<span class="dim">sentiment' not in text


def run_of(pages, dag_id, **results):
    where = f"/dags/{dag_id}/dagRuns/run_1"
    pages.answers["GET", where] = Reply(200, {"dag_run_id": "run_1", "state": "success"})
    for task, value in results.items():
        path = f"{where}/taskInstances/{task}/xcomEntries/return_value"
        pages.answers["GET", path] = Reply(200, {"value": value})
    return pages.get(f"/runs/{dag_id}/run_1")


def test_the_report_of_a_run_is_about_the_model_of_its_dag(pages, stars):
    entry = stars.log.champion()
    uris = {
        "decide": f"s3://memory/{entry.decision_key}", "promote": f"s3://memory/{entry.object_key}",
    }  # fmt: skip

    own, foreign = (
        run_of(pages, "stars_retrain", **uris),
        run_of(pages, "sentiment_retrain", **uris),
    )

    assert "Its version became champion." in own.text
    assert links.decision_link(entry.decision_key) in map(html.unescape, links_of(own.text))
    assert f"{links.ROOT}/champion?model=stars" in map(html.unescape, links_of(own.text))
    assert "It ended without a decision." in foreign.text
    assert "not part of the retraining loop" in run_of(pages, "gone_retrain").text


def test_the_report_of_the_monitor_names_the_nights_that_it_judged(pages):
    for model, dag_id in (("sentiment", "sentiment_monitor"), ("stars", "stars_monitor")):
        window = a_window("2026-01-05", model_name=model)
        page = run_of(pages, dag_id, watch=[f"s3://memory/{window.object_key}"]).text

        assert links.monitoring_link("2026-01-05", model) in map(html.unescape, links_of(page))


def test_each_model_has_its_forms(pages):
    for dag_id, status in (("stars_rollback", 200), ("gone_rollback", 404)):
        details = {"dag_id": dag_id, "params": {}, "doc_md": "### Put it back"}
        pages.answers["GET", f"/dags/{dag_id}/details"] = Reply(200, details)

        answer = pages.get(f"/forms/{dag_id}")

        assert answer.status_code == status
    assert 'class="danger"' in pages.get("/forms/stars_rollback").text


def test_the_page_of_all_models_is_marked_in_the_selector(pages):
    for path, is_marked in (("/models", True), ("/champion?model=stars", False)):
        current = [
            link["href"]
            for link in Outline(pages.get(path).text).all("a")
            if "aria-current" in link and link["href"].endswith("/models")
        ]
        assert bool(current) is is_marked, path
