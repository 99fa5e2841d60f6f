"""Every kind of fault in every format gives exactly the outcome that its oracle says."""

import dataclasses

import pyarrow as pa
import pytest

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.errors import DeliveryHeldError, NightHeldError, UnreadableDeliveryError
from pipelines.intake import arrivals, ledger, nights
from pipelines.intake.files.decoding import Rows
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.intake.partitions import read_partition
from pipelines.records.data import Partition
from pipelines.records.deliveries import Arrival, Delivery
from pipelines.records.validations import Validation
from pipelines.simulation.damage import DELIVERED_SCHEMA
from pipelines.simulation.film_site import encode
from pipelines.simulation.plans import Format
from pipelines.validation import validate
from tests.support.hostile.fault_deliveries import (
    EARLIER_NIGHTS,
    FAULTS,
    NIGHT,
    Champion,
    Fault,
    Row,
    earlier_night,
    good_night,
)
from tests.support.in_memory import InMemory
from tests.support.made.builders import in_memory, landing_key

pytestmark = pytest.mark.long

SETTINGS = load(CONFIG_FOLDER / "default.toml")
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "parquet")


def as_file(rows: list[Row], file_format: Format) -> bytes:
    names = {field.name: field.type for field in DELIVERED_SCHEMA}
    schema = pa.schema([(name, names.get(name, pa.string())) for name in rows[0]])
    return encode(pa.Table.from_pylist(rows, schema=schema), file_format)


def landed(reviews: InMemory, rows: list[Row], file_format: Format, night: str) -> Delivery:
    key, body = landing_key(f"r.{file_format}", night=night), as_file(rows, file_format)
    sha256 = delivery_digest(parse_name(key), body).hexdigest()
    reviews.put_once(f"deliveries/{sha256}/raw", body)
    return Delivery(
        sha256=sha256, source="web", landing_key=key, file_format=file_format, is_gzipped=False,
        size_bytes=len(body), night=night, raw_key=f"deliveries/{sha256}/raw",
    )  # fmt: skip


def accepted_before(reviews: InMemory) -> InMemory:
    """Four good nights that are concluded."""
    for number in range(EARLIER_NIGHTS):
        rows = earlier_night(number)
        night = rows[0]["written_on"]
        delivery = landed(reviews, rows, "parquet", night)
        key, report = validate.validate(
            reviews, delivery, SETTINGS, before=night, labeller=Champion()
        )
        arrival = Arrival(
            landing_key=delivery.landing_key, version_tag="1", night=night, delivery=delivery.sha256
        )
        ledger.conclude(reviews, arrival, delivery, report, key)
    return reviews


@pytest.fixture(scope="module")
def four_nights() -> InMemory:
    return accepted_before(InMemory())


@pytest.fixture
def reviews(four_nights: InMemory) -> InMemory:
    """A bucket of the test's own, in which four good nights were accepted."""
    copy = InMemory()
    copy.objects = dict(four_nights.objects)
    return copy


def judged(reviews: InMemory, fault: Fault, file_format: Format = "parquet") -> Validation:
    delivery = landed(reviews, fault.build(good_night()), file_format, NIGHT.isoformat())
    champion = Champion() if fault.asks_champion else None
    _, report = validate.validate(
        reviews, delivery, SETTINGS, before=NIGHT.isoformat(), labeller=champion
    )
    return report


def failed(report: Validation, severity: str) -> set[str]:
    return {rule.rule for rule in report.rules if rule.severity == severity and not rule.is_passed}


def kept(reviews: InMemory, partition: Partition | None) -> list[Row]:
    return read_partition(reviews, partition).to_pylist() if partition else []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_fault_has_exactly_its_own_outcome(reviews, fault):
    """In each format. Files that decode to the very same rows are judged once: that is enough."""
    seen: list[Rows | str] = []
    for file_format in FORMATS:
        rows = decoded(reviews, fault, file_format)
        if rows not in seen:
            check_outcome(reviews, fault, file_format)
        seen.append(rows)


def decoded(reviews: InMemory, fault: Fault, file_format: Format) -> Rows | str:
    delivery = landed(reviews, fault.build(good_night()), file_format, NIGHT.isoformat())
    try:
        return in_memory(arrivals.read_rows(reviews, delivery, SETTINGS))
    except UnreadableDeliveryError as error:
        return f"{file_format}: {error}"


def check_outcome(reviews: InMemory, fault: Fault, file_format: Format) -> None:
    rows = fault.build(good_night())
    report = judged(reviews, fault, file_format)
    assert (report.verdict, failed(report, "critical")) == (fault.verdict, fault.held_by)
    assert failed(report, "warning") == fault.warns
    quarantined = kept(reviews, report.quarantined)
    assert {row["row"]: set(row["reasons"]) for row in quarantined} == fault.reasons
    is_held = fault.verdict == "HELD"
    good = [] if is_held else [row for place, row in enumerate(rows) if place not in fault.reasons]
    assert [row["text"] for row in kept(reviews, report.accepted)] == [row["text"] for row in good]
    assert report.accepted_rows + report.quarantined_rows + report.held_rows == len(rows)
    assert report.held_rows == (len(rows) if is_held else 0)


def test_there_are_at_least_25_kinds_of_fault():
    assert len({fault.name for fault in FAULTS if fault.verdict != "ACCEPTED"}) >= 25


def test_what_a_delivery_was_compared_with_is_recorded(reviews):
    report = judged(reviews, FAULTS[0])

    trailing = [reviews.get_record(key, Validation) for key in report.basis.trailing]
    assert [earlier.basis.before for earlier in trailing] == [
        f"2026-01-{day:02d}" for day in (5, 6, 7, 8)
    ]
    assert report.reference is not None
    assert report.reference.rows == 4 * 300


def test_a_delivery_of_the_same_night_is_no_history(reviews):
    alone = judged(reviews, FAULTS[0])
    beside = landed(reviews, earlier_night(0)[:100], "csv", NIGHT.isoformat())
    key, report = validate.validate(reviews, beside, SETTINGS, before=NIGHT.isoformat())
    arrival = Arrival(
        landing_key="landing/web/x.csv", version_tag="1", night=NIGHT.isoformat(),
        delivery=beside.sha256,
    )  # fmt: skip
    ledger.conclude(reviews, arrival, beside, report, key)

    again = judged(reviews, FAULTS[0])

    assert again == alone


@pytest.mark.parametrize(
    ("rule", "runbook"),
    [("label_agreement", "poisoned-labels.md"), ("known_share", "held-delivery.md")],
)
def test_the_errors_of_a_held_file_and_its_night_lead_to_the_runbook_of_their_alert(
    reviews, rule, runbook
):
    fault = next(fault for fault in FAULTS if fault.held_by == {rule})
    delivery = landed(reviews, fault.build(good_night()), "csv", NIGHT.isoformat())
    key, report = validate.validate(
        reviews, delivery, SETTINGS, before=NIGHT.isoformat(), labeller=Champion()
    )
    arrival = Arrival(
        landing_key=delivery.landing_key, version_tag="1", night=NIGHT.isoformat(),
        delivery=delivery.sha256,
    )  # fmt: skip
    outcome = ledger.conclude(reviews, arrival, delivery, report, key)

    with pytest.raises(DeliveryHeldError) as of_file:
        ledger.check_not_held(reviews, arrival, outcome)
    summary = nights.night_summary(reviews, NIGHT.isoformat(), {})
    with pytest.raises(NightHeldError) as of_night:
        nights.check(reviews, summary, [delivery.landing_key])

    for caught in (of_file, of_night):
        assert f"What to do: docs/runbooks/{runbook}" in str(caught.value)


def test_without_history_or_champion_what_cannot_be_judged_is_a_note():
    report = judged(InMemory(), dataclasses.replace(FAULTS[0], asks_champion=False))

    notes = {rule.rule for rule in report.rules if rule.severity == "note"}
    assert notes == {
        "row_count_change", "class_balance_change", "length_drift", "vocabulary_drift",
        "label_agreement",
    }  # fmt: skip
    assert failed(report, "critical") == failed(report, "warning") == set()
