"""Pictures of the pages for docs/screens: ``make screens``. No test; look at each one."""

from __future__ import annotations

import random
from pathlib import Path
from urllib.parse import quote

import pytest

from pipelines.core import config
from pipelines.core.store.stores import open_stores
from pipelines.records.monitoring import MovedWord
from tests.support.made.window_builders import a_trigger, a_window, night_after

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screens"
WIDE, NARROW = {"width": 1100, "height": 800}, {"width": 360, "height": 740}
MOST_HEIGHT = 1800  # pixels; the top of a long page is enough


NIGHTS, DRIFTED, FADED = 60, range(38, 40), range(40, 44)
WORDS = (("stream", 0.21, 0.02), ("episode", 0.19, 0.03), ("season", 0.17, 0.04))


def judged(number, accuracy, version):
    """A night of new words from the first that drifted to the last that faded."""
    night, about = night_after(number), {"champion_version": version}
    if number in FADED:
        accuracy -= 0.06
        why = f"The champion is right on {accuracy:.1%}; 90.0% is usual."
        kept = a_window(night, "FADING", accuracy=accuracy, why=why, **about)
    elif number in DRIFTED:
        why = "Which words reviews have differs by 0.080; the limit is 0.050."
        kept = a_window(night, "DRIFT", accuracy=accuracy, why=why, **about)
    else:
        why = f"All as usual: the champion is right on {accuracy:.1%}."
        generation = 1 + number // FADED.stop
        return a_window(night, accuracy=accuracy, why=why, champion_generation=generation, **about)
    tests = [
        test.model_copy(update={"value": value, "sentence": f"{value:.3f}; the limit is 0.050."})
        for test in kept.drift
        for value in [0.08 if test.name in {"words", "unseen_words"} else 0.01]
    ]
    words = tuple(MovedWord(word=word, share=now, usual=usual) for word, now, usual in WORDS)
    moved = {"drift": tuple(tests), "words": words, "champion_generation": 1}
    return kept.model_copy(update=moved)


@pytest.fixture(scope="module")
def judged_nights(world):
    """Two months that were judged: two nights had drift, four faded, and a retraining was asked."""
    reviews, chance = open_stores(config.load()).reviews, random.Random(7)
    version = world.decision.partition("/")[0]
    for number in range(NIGHTS):
        reviews.put_record(judged(number, chance.gauss(0.9, 0.008), version))
    why = "2 of the last 3 windows are FADING, and the newest is."
    reviews.put_record(
        a_trigger(night_after(43), night=night_after(42), is_started=True, trigger="fading",
                  champion_version=version, why=why)
    )  # fmt: skip
    return f"?until={night_after(NIGHTS - 1)}"


def taken(page, name):
    FOLDER.mkdir(exist_ok=True)
    height = min(page.evaluate("document.documentElement.scrollHeight"), MOST_HEIGHT)
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    page.screenshot(path=FOLDER / f"{name}.png")


@pytest.mark.parametrize(
    ("name", "path", "how"),
    [
        ("champion-light", "/champion", {}),
        ("champion-dark", "/champion", {"color_scheme": "dark"}),
        ("champion-narrow", "/champion", {"viewport": NARROW}),
        ("decision-light", "/decisions/{decision}", {}),
        ("decision-narrow", "/decisions/{decision}", {"viewport": NARROW}),
        ("decisions-dark", "/decisions", {"color_scheme": "dark"}),
        ("rollback-form", "/forms/sentiment_rollback", {}),
        ("incidents", "/incidents", {}),
        ("incident", "/incidents/{worse}", {}),
        ("incident-dark", "/incidents/{worse}", {"color_scheme": "dark"}),
        ("incident-narrow", "/incidents/{worse}", {"viewport": NARROW}),
        ("incident-hostile", "/incidents/{hostile}", {}),
        ("source", "/sources/web", {}),
        ("source-narrow", "/sources/web", {"viewport": NARROW}),
        ("compare", "/compare", {}),
        ("card", "/decisions/{decision}/card", {}),
        ("runbook", "/runbooks/held-delivery", {}),
        ("missing", "/incidents/missing/{missing[0]}/{missing[1]}", {}),
        ("replay-form", "/forms/reviews_replay?delivery={worse}&action=release&dry_run=true", {}),
    ],
)
def test_picture(visit, world, ingest_run, name, path, how):
    ingest_run()
    page = visit("operator", **({"viewport": WIDE} | how)).open(path.format(**vars(world)))

    taken(page, name)


def test_picture_of_the_run_report_in_airflow(visit, stack, ingest_run):
    run_id = quote(ingest_run(), safe="")
    page = visit("operator", viewport={"width": 1300, "height": 800}).page

    page.goto(f"{stack.ui_url}/dags/reviews_ingest/runs/{run_id}/plugin/run-report")
    page.frame_locator("iframe").get_by_role("heading", name="Run report").wait_for()

    page.screenshot(path=FOLDER / "run-report-light.png")


@pytest.mark.parametrize(
    ("name", "path", "how"),
    [
        ("monitoring", "", {}),
        ("monitoring-dark", "", {"color_scheme": "dark"}),
        ("monitoring-narrow", "", {"viewport": NARROW}),
        ("monitoring-night", f"/{night_after(FADED[0])}", {}),
    ],
)
def test_picture_of_the_monitoring(visit, judged_nights, name, path, how):
    page = visit("operator", **({"viewport": WIDE} | how)).open(
        f"/monitoring{path or judged_nights}"
    )

    taken(page, name)


MODELS = {"app": {"sources": ["app"]}, "partner": {"sources": ["partner"]}}


@pytest.mark.parametrize("started", [MODELS], ids=["models"], indirect=True)
@pytest.mark.parametrize(
    ("name", "path", "how"),
    [
        ("models", "/models", {}),
        ("models-dark", "/models", {"color_scheme": "dark"}),
        ("models-narrow", "/models", {"viewport": NARROW}),
        ("model-champion", "/champion?model=app", {}),
        ("model-champion-narrow", "/champion?model=app", {"viewport": NARROW}),
    ],
)
def test_picture_of_several_models(visit, name, path, how):
    page = visit("operator", **({"viewport": WIDE} | how)).open(path)

    taken(page, name)
