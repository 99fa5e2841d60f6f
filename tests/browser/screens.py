"""Pictures of the pages for docs/screens: ``make screens``. No test; look at each one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screens"
WIDE, NARROW = {"width": 1100, "height": 800}, {"width": 360, "height": 740}
MOST_HEIGHT = 1800  # pixels; the top of a long page is enough


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
