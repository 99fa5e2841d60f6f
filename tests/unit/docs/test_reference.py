"""The references are what the code says today, and leave nothing out."""

from __future__ import annotations

import re

import pytest

from ops import reference
from pipelines.core import config
from pipelines.core.store.stores import Stores
from pipelines.monitoring import facts, metrics
from pipelines.registry.fsck.places import PLACES
from tests.support.made.served_builders import a_service
from tests.support.made.window_builders import a_trigger, a_window, an_answered_day
from tests.support.page_site import Pages, a_succession


def page(name: str) -> str:
    return (reference.FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert page(name) == reference.PAGES[name](), "run: .venv/bin/python -m ops.reference"


def test_every_record_that_is_stored_has_its_fields_there() -> None:
    stored = {place.holds for place in PLACES if not isinstance(place.holds, str)}

    text = page("records.md")
    for record in stored:
        section = text.split(f"### `{record.__name__}`\n", 1)[1].split("### ", 1)[0]
        own = set(record.__annotations__) & set(record.model_fields)
        assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == own


def test_every_metric_that_a_scrape_of_the_loop_has_is_there() -> None:
    pages = Pages()
    a_succession(pages.registry, 1)
    stores = Stores(reviews=pages.reviews, models=pages.models)
    for record in (a_window("2026-01-05"), an_answered_day("2026-01-05"), a_trigger("2026-01-05")):
        stores.reviews.put_record(record)

    scrape = metrics.render(facts.read_all(stores, config.load())).decode()

    assert len(names(scrape)) > 30
    assert names(scrape) - listed() == set()


def test_every_metric_of_the_service_that_no_setting_switches_is_there() -> None:
    service = a_service()
    of_settings = {f"loop_scoring_{name}" for name in [*service._gauges(), *service._counters()]}

    scraped = names(service.metrics.page().decode())

    assert scraped - of_settings - listed() == set()


def names(scrape: str) -> set[str]:
    return {
        name.removesuffix("_total")
        for name in re.findall(r"^# TYPE (\w+) ", scrape, re.MULTILINE)
        if not name.endswith("_created")
    }


def listed() -> set[str]:
    return set(re.findall(r"^\| `(loop_\w+)` \|", page("metrics.md"), re.MULTILINE))
