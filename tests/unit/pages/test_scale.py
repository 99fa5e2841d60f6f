"""Years of nights, hundreds of open incidents and generations: what a page costs stays the same."""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest

from pipelines.core import links
from pipelines.core.keys import outcome_key, receipt_key, validation_key
from pipelines.records.deliveries import Delivery, Outcome, Receipt
from tests.support.made.made_validations import a_validation
from tests.support.made.registry_builders import a_log_entry, a_version, decided, promoted
from tests.support.page_site import Bucket, Pages

SOURCES = ("app", "partner", "web")
HELD = "12.5% of the rows break a row rule; the limit is 5.0% (quarantined_share)."
DISPUTED = "The champion agrees with 8.0% of these labels (label_agreement)."
UNREADABLE = "The file cannot be used: the gzip file ends before its end."


class Counting(Bucket):
    """A bucket in memory that finds keys quickly and counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []
        self.asked: list[str] = []

    def put(self, key: str, data: bytes) -> None:
        if key not in self.objects:
            insort(self.keys, key)
        self.objects[key] = data

    def put_once(self, key: str, data: bytes) -> Any:
        if key not in self.objects:
            insort(self.keys, key)
        return super().put_once(key, data)

    def get(self, key: str, *, max_bytes: int | None = None) -> bytes:
        self.asked.append(key)
        return super().get(key, max_bytes=max_bytes)

    def list(self, prefix: str) -> Any:
        found = []
        for key in self.keys[bisect_left(self.keys, prefix) :]:
            if not key.startswith(prefix):
                break
            found.append(self._info(key))
        # A store lists a thousand keys per answer.
        self.asked += [f"list {prefix}"] * (1 + len(found) // 1000)
        return found


@dataclass
class Years:
    """So many nights with three deliveries each; the newest ``held`` of one source are held."""

    nights: int
    held: int = 400
    pages: Pages = field(default_factory=lambda: Pages(models=Counting(), reviews=Counting()))

    def __post_init__(self) -> None:
        first = date(2026, 1, 1)
        for number in range(self.nights):
            night = (first + timedelta(days=number)).isoformat()
            for place, source in enumerate(SOURCES):
                is_held = source == "web" and number >= self.nights - self.held
                self.deliver(night, source, f"{number * 10 + place:064x}", is_held=is_held)

    def deliver(
        self, night: str, source: str, sha256: str, *, is_held: bool, name: str = "r.csv"
    ) -> None:
        number = int(sha256, 16) // 10
        why = (HELD, DISPUTED, UNREADABLE)[number % 3] if is_held else "All 40 rows count."
        rows = 0 if why == UNREADABLE else 40
        landing = f"landing/{source}/{night}/{name}"
        counts = {"delivered_rows": rows, "accepted_rows": 0 if is_held else rows,
                  "quarantined_rows": 0, "held_rows": rows if is_held else 0}  # fmt: skip
        verdict = "HELD" if is_held else "ACCEPTED"
        validation = a_validation(
            delivery=sha256, verdict=verdict, why=why, rules=(), examples=(), reasons={}, **counts
        )
        put = self.pages.reviews.put_record
        put(validation)
        put(Delivery(sha256=sha256, source=source, landing_key=landing, file_format="csv",
                     is_gzipped=False, size_bytes=1, night=night, raw_key=None))  # fmt: skip
        common = {"landing_key": landing, "version_tag": "1", "night": night,
                  "delivery": sha256, "verdict": verdict, "why": why} | counts  # fmt: skip
        put(Receipt(**common))
        put(Outcome(**common, source=source, counted_in=night, accepted=None, quarantined=None,
                    validation_key=validation.object_key))  # fmt: skip

    def get(self, path: str) -> Any:
        """A page, and how many requests it made to both buckets."""
        buckets = (self.pages.reviews, self.pages.models)
        for bucket in buckets:
            bucket.asked.clear()
        answer = self.pages.get(path)
        return answer, sum(len(bucket.asked) for bucket in buckets)


@pytest.fixture(scope="module")
def years():
    """A thousand nights, four hundred open incidents, three hundred generations."""
    made = Years(1000)
    registry, last = made.pages.registry, None
    for generation in range(1, 301):
        manifest = a_version(registry, f"version {generation}")
        key, decision = decided(registry, manifest, against=last)
        last = a_log_entry(
            generation, version=manifest.version, reference=manifest.version, decision_key=key,
            decision_sha256=decision.digest(), manifest_sha256=manifest.digest(),
            previous_entry_sha256=last.digest() if last else None,
        )  # fmt: skip
        registry.models.put_record(last)
    return made


@pytest.fixture(scope="module")
def short():
    return Years(100)


HELD_ONE = f"{9992:064x}"
EVERY_PAGE = [
    ("/incidents", 500),
    ("/incidents?source=web&rule=quarantined_share", 1_200),
    ("/incidents?q=no-such-file", 1_600),
    ("/incidents?state=settled", 2_200),
    (f"/incidents/{HELD_ONE}", 40),
    ("/sources", 300),
    ("/sources/web", 450),
    ("/champion", 600),
    ("/champion?page=3", 600),
    ("/decisions", 150),
    ("/decisions?verdict=REJECT", 1_000),
    ("/compare", 50),
    ("/runbooks", 0),
]


@pytest.mark.long
@pytest.mark.parametrize(("path", "most"), EVERY_PAGE)
def test_a_page_asks_the_store_so_many_times_at_most(years, path, most):
    answer, requests = years.get(path)

    assert answer.status_code == 200
    assert requests <= most


@pytest.mark.long
@pytest.mark.parametrize("path", ["/incidents", f"/incidents/{HELD_ONE}", "/sources/web"])
def test_ten_times_the_history_costs_only_its_listings(years, short, path):
    short_path = path.replace(HELD_ONE, f"{992:064x}")

    long_asked = [key for key in asked_by(years, path) if not key.startswith("list ")]
    short_asked = [key for key in asked_by(short, short_path) if not key.startswith("list ")]

    assert len(long_asked) <= len(short_asked) + 2  # the champion, where there is one


def asked_by(made: Years, path: str) -> list[str]:
    made.get(path)
    return [*made.pages.reviews.asked, *made.pages.models.asked]


def test_a_filter_shows_what_was_asked_for_and_goes_on_to_older_nights(short):
    page = short.get("/incidents?source=web&rule=label_agreement")[0].text

    assert "quarantined_share)" not in page
    assert page.count("(label_agreement).") == 33  # every third of a hundred nights
    assert "landing/app/" not in page


def test_a_file_and_a_part_of_a_digest_are_found(short):
    by_name = short.get("/incidents?q=landing/web/2026-04-09")[0].text
    by_digest = short.get(f"/incidents?q={992:064x}")[0].text

    assert by_name.count('<li class="open">') == by_digest.count('<li class="open">') == 1


def test_a_filter_that_lets_nothing_through_says_so(short):
    assert "Nothing of what you asked for." in short.get("/incidents?q=zzz")[0].text


def test_a_file_of_unknown_size_is_not_said_to_have_no_rows(short):
    page = short.get("/incidents?rule=unreadable+file")[0].text

    assert "unknown number of rows, none counts" in page
    assert "0 rows" not in page


def test_labels_in_doubt_are_not_decided_on_in_bulk(short):
    page = short.get("/incidents?rule=label_agreement")[0].text

    assert 'name="delivery"' not in page
    assert 'value="release"' not in page


def test_several_equal_incidents_are_chosen_at_once(short):
    page = short.get("/incidents?rule=quarantined_share")[0].text

    assert page.count('name="delivery"') == 34
    assert '<button type="submit" name="action" value="release"' in page


def test_files_that_cannot_be_read_are_not_released_in_bulk(short):
    page = short.get("/incidents?rule=unreadable+file")[0].text

    assert 'name="action" value="discard"' in page
    assert 'name="action" value="release"' not in page


def test_who_may_not_start_runs_chooses_nothing():
    made = Years(3, pages=Pages(Counting(), Counting(), may_start=lambda _dag: False))

    assert 'type="checkbox"' not in made.get("/incidents")[0].text


def test_what_is_shown_can_be_had_as_a_file(short):
    asked = "/incidents?source=web&rule=quarantined_share"

    table = short.get(f"{asked}&format=csv")[0]
    objects = short.get(f"{asked}&format=json")[0]

    lines = list(csv.DictReader(io.StringIO(table.text)))
    assert table.headers["content-disposition"] == 'attachment; filename="incidents.csv"'
    assert len(lines) == len(json.loads(objects.text)) == 34
    assert {line["why"] for line in lines} == {HELD}
    assert {line["delivered_rows"] for line in lines} == {"40"}


@pytest.mark.parametrize("name", ["=cmd()", "+1", "@x"])
def test_no_cell_of_a_file_is_a_formula(name):
    pages = Pages(reviews=Counting())
    night = "2026-01-05"
    torn = f"receipts/{night}/{name}.json"
    pages.reviews.objects[torn] = b"{"
    insort(pages.reviews.keys, torn)

    shown = pages.get("/incidents?format=csv").text

    cells = [cell for line in csv.reader(io.StringIO(shown)) for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_a_source_is_drawn_over_time(short):
    page = short.get("/sources/web")[0].text

    assert "Source web, 2026-02-10 to 2026-04-10" in page
    assert "rows that break a row rule, %" in page
    assert "labels that the champion agrees with, %" in page
    assert "held" in page


def test_a_source_that_delivered_nothing_has_no_page(short):
    assert short.get("/sources/nobody")[0].status_code == 404


def test_two_versions_are_compared_side_by_side():
    pages = Pages()
    first = promoted(pages.registry, "one")
    key, second = decided(pages.registry, a_version(pages.registry, "two"), against=first)
    one, other = (
        links.decision_link(decided_on).removeprefix(f"{links.decisions_link()}/")
        for decided_on in (first.decision_key, key)
    )

    page = pages.get(f"/compare?one={one}&other={other}").text

    assert "holdout: log loss" in page
    assert first.version in page
    assert second.version in pages.get(f"/compare?one={one}").text  # the champion with the newest
    assert pages.get(f"/compare?one={'0' * 20}/00000001-{'0' * 16}").status_code == 404
    assert "There is no decision yet" in Pages().get("/compare").text


def test_the_keys_of_the_double_are_those_of_the_project():
    made = Years(1)

    night, sha256 = "2026-01-01", "0" * 64
    landing = f"landing/app/{night}/r.csv"
    assert receipt_key(night, landing_key=landing, version_tag="1") in made.pages.reviews.keys
    assert outcome_key(sha256) in made.pages.reviews.keys
    assert validation_key(sha256, "")[:73] in "".join(made.pages.reviews.keys)


def test_a_night_of_many_files_is_read_once_and_of_few_what_people_decided():
    made = Years(1, held=0)
    for number in range(100, 500):
        name = f"{number}.csv"
        made.deliver("2026-01-01", "web", f"{number * 10:064x}", is_held=False, name=name)

    answer, requests = made.get(f"/incidents/{0:064x}")

    assert "Other deliveries in the night of 2026-01-01: 402." in " ".join(answer.text.split())
    assert requests <= 403 + 3 * 60 + 20
