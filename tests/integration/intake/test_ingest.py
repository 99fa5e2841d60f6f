"""One night's ingest, from the landing files to the receipts, whatever upstream drops."""

import gzip
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from great_expectations import expectations as gxe
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import (
    DeliveryHeldError,
    DigestMismatchError,
    NightHeldError,
    NightIncompleteError,
    TrustError,
)
from pipelines.core.keys import raw_key
from pipelines.core.store.bucket import Bucket, checked_key
from pipelines.core.store.stores import Stores, open_stores
from pipelines.intake import ledger
from pipelines.intake import nights as intake_nights
from pipelines.intake.landing import delivery_digest, parse_name
from pipelines.intake.partitions import read_partition
from pipelines.intake.snapshot import take
from pipelines.records.deliveries import Delivery, NightSummary, Outcome, Receipt
from pipelines.records.validations import Validation
from pipelines.simulation.damage import DELIVERED_SCHEMA, damage
from pipelines.simulation.plans import Format
from pipelines.steps import ingest as steps_ingest
from pipelines.validation import rules, validate
from pipelines.validation.rules import Rule
from tests.support.in_memory import InMemory
from tests.support.made.builders import (
    NIGHT,
    as_csv,
    as_file,
    as_jsonl,
    as_parquet,
    deliver,
    landing_key,
    listing,
    some_rows,
)
from tests.support.timing import HANG_SECONDS

NEXT_NIGHT = "2026-01-06"
GOOD = landing_key("good.csv", source="app")


def delivery_id(key: str, body: bytes) -> str:
    return delivery_digest(parse_name(key), body).hexdigest()


ROWS = some_rows(40, first=100)  # the damaged deliveries start from these
OWN_PREFIXES = ("landing/", "deliveries/", "arrivals/", "reports/", "accepted/", "quarantine/",
                "receipts/", "sketches/", "names/")  # fmt: skip


def ingest(night: str = NIGHT) -> Result:
    return CliRunner().invoke(app, ["ingest", "--night", night, "--json"])


def summary(result: Result) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(result.stdout)
    assert facts["failures"] == []
    return facts


def receipts(stores: Stores, night: str = NIGHT) -> dict[str, Receipt]:
    return {
        receipt.landing_key: receipt
        for receipt in intake_nights.summarize(stores.reviews, night).receipts
    }


def outcome(stores: Stores, receipt: Receipt) -> Outcome:
    entry = ledger.find_outcome(stores.reviews, receipt.delivery)
    assert entry is not None
    return entry


def report(stores: Stores, receipt: Receipt) -> Validation:
    return stores.reviews.get_record(outcome(stores, receipt).validation_key, Validation)


def counts(record: Receipt | Outcome | NightSummary) -> tuple[int, int, int, int]:
    return (
        record.delivered_rows,
        record.accepted_rows,
        record.quarantined_rows,
        record.held_rows,
    )


def failed_critical(validation: Validation) -> set[str]:
    return {
        rule.rule for rule in validation.rules if rule.severity == "critical" and not rule.is_passed
    }


# ── Deliveries with one fault each ───────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Case:
    """A delivery with one fault, and what must become of it. Families share a night."""

    name: str
    body: bytes | Callable[[], bytes]
    counts: tuple[int, int, int, int]  # delivered, accepted, quarantined, held
    reasons: dict[str, int]
    held_by: set[str] = field(default_factory=set)
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    says: str = ""

    @property
    def verdict(self) -> str:
        if self.held_by:
            return "HELD"
        return "PARTLY_ACCEPTED" if self.counts[2] else "ACCEPTED"


def changed(values: dict[str, Any], *, rows: int = 1) -> list[dict[str, Any]]:
    """Forty rows, the first ``rows`` of them changed."""
    return [row | values if number < rows else row for number, row in enumerate(ROWS)]


def plain_jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def plain_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def not_utf8(body: bytes) -> bytes:
    return body.replace(b"Review 100 calls", b"Review 100 calls caf\xe9", 1)


def text_that_is_not_utf8() -> pa.Array:
    texts = [row["text"].encode() for row in ROWS]
    texts[0] = b"Review 100 calls caf\xe9 a dreadful evening."
    return pa.Array.from_buffers(pa.string(), 40, pa.array(texts, pa.binary()).buffers())


def cut(body: bytes) -> bytes:
    return body[: len(body) * 6 // 10]


def unreadable(name: str, body: bytes | Callable[[], bytes], reason: str, rows: int = 0, **more):
    return Case(
        name, body, counts=(rows, 0, 0, rows), reasons={reason: rows}, held_by={reason}, **more
    )


def one_row_quarantined(name: str, body: bytes | Callable[[], bytes], reason: str) -> Case:
    return Case(name, body, counts=(40, 39, 1, 0), reasons={reason: 1})


RENAMED = table_of(ROWS).rename_columns({"text": "body"})
NUMBERED = pa.array([int(row["label"] == "positive") for row in ROWS])
CUT_CSV = as_csv(ROWS)[: as_csv(ROWS).rindex(b"cinema")]
HUGE = {"text": "long " * 4_000_000}  # 20 MB
JANUARY_5 = 1_767_571_200_000_000  # microseconds since 1970, of 2026-01-05
NO_ROWS = {"row_count", "quarantined_share", "known_share"}
NOTHING_READ = ("text_missing", "label_missing", "date_invalid", "review_id_missing")

CASES = {
    "cut: gzip": unreadable("r.csv.gz", cut(as_file(ROWS, "csv.gz")), "truncated"),
    "cut: gzip, JSON Lines": unreadable("r.jsonl.gz", cut(as_file(ROWS, "jsonl.gz")), "truncated"),
    "cut: Parquet": unreadable("r.parquet", cut(as_parquet(ROWS)), "truncated"),
    "cut: CSV, inside a quoted field": unreadable("r.csv", CUT_CSV, "malformed_csv"),
    "columns: renamed, CSV": unreadable(
        "r.csv", as_csv(ROWS).replace(b'"text"', b'"body"', 1), "wrong_columns", 40,
        says="missing columns ['text']",
    ),
    "columns: renamed, JSON Lines": unreadable(
        "r.jsonl", plain_jsonl(RENAMED.to_pylist()), "wrong_columns", 40
    ),
    "columns: renamed, Parquet": unreadable(
        "r.parquet", plain_parquet(RENAMED), "wrong_columns", 40
    ),
    "columns: doubled, CSV": unreadable(
        "r.csv", as_csv(ROWS).replace(b'"movie_id"', b'"label"', 1), "wrong_columns", 40,
        says="doubled columns ['label']",
    ),
    "columns: doubled, Parquet": unreadable(
        "r.parquet", lambda: plain_parquet(table_of(ROWS).append_column("label", NUMBERED)),
        "wrong_columns", 40,
    ),
    "columns: doubled in one line, JSON Lines": Case(
        "r.jsonl", as_jsonl(ROWS).replace(b'"label"', b'"label": "positive", "label"', 1),
        counts=(40, 39, 1, 0), reasons=dict.fromkeys(("malformed_row", *NOTHING_READ), 1),
    ),
    "labels: 0 and 1, Parquet": Case(
        "r.parquet", lambda: plain_parquet(with_column(table_of(ROWS), "label", NUMBERED)),
        counts=(40, 0, 0, 40), reasons={"label_unknown": 40}, held_by={"quarantined_share"},
    ),
    "labels: 0 and 1, JSON Lines": Case(
        "r.jsonl",
        lambda: plain_jsonl(with_column(table_of(ROWS), "label", NUMBERED).to_pylist()),
        counts=(40, 0, 0, 40), reasons={"label_unknown": 40}, held_by={"quarantined_share"},
    ),
    "encoding: one row not UTF-8, CSV": one_row_quarantined(
        "r.csv", not_utf8(as_csv(ROWS)), "invalid_utf8"
    ),
    "encoding: one row not UTF-8, JSON Lines": one_row_quarantined(
        "r.jsonl", not_utf8(as_jsonl(ROWS)), "invalid_utf8"
    ),
    "encoding: one row not UTF-8, Parquet": one_row_quarantined(
        "r.parquet",
        lambda: plain_parquet(with_column(table_of(ROWS), "text", text_that_is_not_utf8())),
        "invalid_utf8",
    ),
    "encoding: UTF-16, CSV": unreadable(
        "r.csv", as_csv(ROWS).decode().encode("utf-16"), "wrong_encoding"
    ),
    "encoding: UTF-16, JSON Lines": unreadable(
        "r.jsonl", as_jsonl(ROWS).decode().encode("utf-16"), "wrong_encoding"
    ),
    "labels: 2 of 40 unknown": Case(
        "r.csv", as_csv(changed({"label": "maybe"}, rows=2)),
        counts=(40, 38, 2, 0), reasons={"label_unknown": 2},
    ),
    "labels: 3 of 40 unknown": Case(
        "r.csv", as_csv(changed({"label": "maybe"}, rows=3)),
        counts=(40, 0, 0, 40), reasons={"label_unknown": 3}, held_by={"quarantined_share"},
        says="7.5% of the rows break a row rule; the limit is 5.0%",
    ),
    "huge: one review of 20 MB, CSV": unreadable(
        "r.csv", lambda: as_csv(changed(HUGE)), "malformed_csv"
    ),
    "huge: one review of 20 MB, JSON Lines": Case(
        "r.jsonl", lambda: as_jsonl(changed(HUGE)), counts=(40, 39, 1, 0),
        reasons=dict.fromkeys(("malformed_row", *NOTHING_READ), 1),
    ),
    "huge: one review of 20 MB, Parquet": unreadable(
        "r.parquet", lambda: as_parquet(changed(HUGE)), "too_large"
    ),
    "empty: nothing at all": unreadable("r.csv", b"", "empty_file"),
    "empty: CSV header": Case(
        "r.csv", as_csv([]), counts=(0, 0, 0, 0), reasons={}, held_by=NO_ROWS
    ),
    "empty: Parquet schema": Case(
        "r.parquet", as_parquet([]), counts=(0, 0, 0, 0), reasons={}, held_by=NO_ROWS
    ),
    "empty: blank lines": Case(
        "r.jsonl", b"\n\n", counts=(0, 0, 0, 0), reasons={}, held_by=NO_ROWS
    ),
    "empty: nothing but null": Case(
        "r.jsonl", plain_jsonl([dict.fromkeys(ROWS[0])] * 40), counts=(40, 0, 0, 40),
        reasons=dict.fromkeys(NOTHING_READ, 40),
        held_by={"quarantined_share"},
    ),
    "empty: almost, 19 rows": Case(
        "r.csv", as_csv(ROWS[:19]), counts=(19, 0, 0, 19), reasons={}, held_by={"row_count"}
    ),
    "kind: unknown extension": unreadable(
        "r.txt", as_csv(some_rows(40, first=200)), "unknown_format"
    ),
    "kind: no extension": unreadable("README", b"Hello.", "unknown_format"),
    "kind: CSV called Parquet": unreadable(
        "r.parquet", as_csv(some_rows(40, first=300)), "other_format"
    ),
    "kind: plain file called gzip": unreadable("r.csv.gz", as_csv(ROWS), "not_gzip"),
    "gzip bomb: 5 MB in a few KB": unreadable(
        "r.csv.gz", gzip.compress(as_csv(ROWS) + b" " * 5_000_000), "too_large",
        settings={"intake": {"max_decoded_bytes": 1_000_000}},
    ),
    "bytes: more than a delivery may have": unreadable(
        "r.csv", as_csv(ROWS) + b"\n" * 100_000, "too_large",
        settings={"intake": {"max_delivery_bytes": 100_000}},
    ),
    "rows: more than a delivery may have": unreadable(
        "r.csv", as_csv(ROWS), "too_many_rows", settings={"intake": {"max_rows": 39}}
    ),
    "encoding: NUL characters": Case(
        "r.csv", as_csv(changed({"text": "Good\0, but not \0\0 great, all things considered."})),
        counts=(40, 40, 0, 0), reasons={},
    ),
    "balance: one class only": Case(
        "r.csv", as_csv([row | {"label": "positive", "rating": 9} for row in ROWS]),
        counts=(40, 0, 0, 40), reasons={}, held_by={"class_balance"},
        settings={"validation": {"balance_min_rows": 40}},
    ),
    "kind: Parquet with an unknown time zone": Case(
        "r.parquet",
        lambda: plain_parquet(
            with_column(
                table_of(ROWS),
                "written_on",
                pa.array([JANUARY_5] * 40, pa.timestamp("us", "No/Zone")),
            )
        ),
        counts=(40, 40, 0, 0), reasons={},
    ),
}  # fmt: skip


FAMILIES = dict.fromkeys(name.partition(":")[0] for name in CASES)


def without_roll_ups(stores):
    return {key: tag for key, tag in listing(stores.reviews).items() if "rollups/" not in key}


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_a_fault_costs_what_it_spoils_and_never_the_deliveries_beside_it(stores, configure, family):
    cases = {name: case for name, case in CASES.items() if name.partition(":")[0] == family}
    keys = {name: landing_key(f"{n}-{case.name}") for n, (name, case) in enumerate(cases.items())}
    for name, case in cases.items():
        configure(**case.settings)
        deliver(stores, keys[name], case.body() if callable(case.body) else case.body)
    deliver(stores, GOOD, as_csv(some_rows(20)))

    first = ingest()
    after_first = without_roll_ups(stores)
    second = ingest()

    by_key = receipts(stores)
    good = by_key.pop(GOOD)
    assert (good.verdict, counts(good)) == ("ACCEPTED", (20, 20, 0, 0))
    verdicts = {key: (receipt.verdict, counts(receipt)) for key, receipt in by_key.items()}
    assert verdicts == {keys[name]: (case.verdict, case.counts) for name, case in cases.items()}
    reports = {key: report(stores, receipt) for key, receipt in by_key.items()}
    reasons = {
        key: (validation.reasons, failed_critical(validation))
        for key, validation in reports.items()
    }
    assert reasons == {keys[name]: (case.reasons, case.held_by) for name, case in cases.items()}
    assert all(case.says in by_key[keys[name]].why for name, case in cases.items())
    held = sum(bool(case.held_by) for case in cases.values())
    assert summary(first)["accepted_rows"] == 20 + sum(case.counts[1] for case in cases.values())
    assert summary(first)["held_deliveries"] == held
    assert first.exit_code == second.exit_code == (3 if held else 0)
    assert summary(second) == summary(first)
    assert without_roll_ups(stores) == after_first


def test_what_is_quarantined_is_kept_with_its_place_and_reasons(stores):
    rows = changed({"label": "maybe"}, rows=2)
    rows[1] = rows[1] | {"written_on": "2999-01-01"}
    deliver(stores, landing_key("r.csv"), as_csv(rows))

    ingest()

    (receipt,) = receipts(stores).values()
    kept = read_partition(stores.reviews, outcome(stores, receipt).quarantined).to_pylist()
    assert [(row["row"], sorted(row["reasons"]), row["text"]) for row in kept] == [
        (0, ["label_unknown"], rows[0]["text"]),
        (1, ["label_unknown", "written_in_future"], rows[1]["text"]),
    ]


def test_what_is_accepted_is_what_was_delivered(stores):
    deliver(stores, landing_key("r.jsonl"), as_jsonl(changed({"label": None})))

    ingest()

    (receipt,) = receipts(stores).values()
    accepted = read_partition(stores.reviews, outcome(stores, receipt).accepted).to_pylist()
    assert [row["review_id"] for row in accepted] == [row["review_id"] for row in ROWS[1:]]
    assert [row["text"] for row in accepted] == [row["text"] for row in ROWS[1:]]
    assert [row["label"] for row in accepted] == [row["rating"] // 9 for row in ROWS[1:]]
    assert {row["source"] for row in accepted} == {"web"}
    assert {row["written_on"] for row in accepted} == {date(2026, 1, 5)}


def test_a_file_too_large_to_copy_stays_in_landing_alone(stores, configure):
    configure(intake={"max_delivery_bytes": 100})
    deliver(stores, landing_key("r.csv"), as_csv(ROWS))

    ingest()

    assert not [key for key in listing(stores.reviews) if key.endswith("/raw")]


@pytest.mark.parametrize("rule_list", ["row_rules", "batch_rules"])
def test_a_check_that_crashes_holds_the_delivery(stores, monkeypatch, rule_list):
    usual = getattr(rules, rule_list)

    def broken(column: str, **common: Any) -> Any:
        return gxe.ExpectColumnMeanToBeBetween(column="no_such_column", max_value=1, **common)

    def with_a_broken_one(*arguments: Any, **named: Any) -> list[Rule]:
        return [*usual(*arguments, **named), Rule("broken", "row", "x", "none", "are odd", broken)]

    monkeypatch.setattr(rules, rule_list, with_a_broken_one)
    deliver(stores, landing_key("r.csv"), as_csv(ROWS))

    result = ingest()

    (receipt,) = receipts(stores).values()
    assert (receipt.verdict, counts(receipt)) == ("HELD", (40, 0, 0, 40))
    assert "The check broken itself failed to run" in receipt.why
    assert result.exit_code == 3


# ── The same again ───────────────────────────────────────────────────────────────────────────


def test_the_same_bytes_twice_in_one_night_count_once(stores):
    deliver(stores, landing_key("one.csv"), as_csv(ROWS))
    deliver(stores, landing_key("two.csv"), as_csv(ROWS))

    result = ingest()

    by_key = receipts(stores)
    assert by_key[landing_key("one.csv")].verdict == "ACCEPTED"
    assert by_key[landing_key("two.csv")].verdict == "DUPLICATE"
    assert counts(by_key[landing_key("two.csv")]) == (0, 0, 0, 0)
    assert "one.csv" in by_key[landing_key("two.csv")].why
    assert summary(result)["accepted_rows"] == 40
    assert summary(result)["duplicate_deliveries"] == 1
    assert result.exit_code == 0


@pytest.mark.long
def test_the_same_bytes_in_a_later_night_under_another_name_count_once(stores):
    deliver(stores, landing_key("one.csv"), as_csv(ROWS))
    ingest()
    deliver(stores, landing_key("two.csv", source="app", night=NEXT_NIGHT), as_csv(ROWS))

    result = ingest(NEXT_NIGHT)

    assert summary(result)["status"] == "NO_NEW_DATA"
    assert summary(result)["duplicate_deliveries"] == 1
    assert take(stores.reviews, config.load().split).rows == 40


@pytest.mark.long
def test_the_same_file_uploaded_again_in_parts_counts_once(stores):
    """In parts, S3 gives the same bytes another ETag, so the file looks changed."""
    key, body = landing_key("r.csv"), as_csv(ROWS)
    deliver(stores, key, body)
    ingest()
    client, place = stores.reviews._client, {"Bucket": stores.reviews.name, "Key": key}
    upload = client.create_multipart_upload(**place)["UploadId"]
    part = client.upload_part(**place, UploadId=upload, PartNumber=1, Body=body)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload=parts)

    result = ingest(NEXT_NIGHT)

    assert summary(result)["accepted_rows"] == 0
    assert summary(result)["duplicate_deliveries"] == 1


def test_held_bytes_stay_held_under_another_name(stores):
    deliver(stores, landing_key("one.csv"), as_csv(ROWS[:19]))
    ingest()
    deliver(stores, landing_key("two.csv", night=NEXT_NIGHT), as_csv(ROWS[:19]))

    result = ingest(NEXT_NIGHT)

    (receipt,) = receipts(stores, NEXT_NIGHT).values()
    assert receipt.verdict == "HELD"
    assert "(HELD)" in receipt.why
    assert summary(result)["accepted_rows"] == 0
    assert result.exit_code == 3


@pytest.mark.long
def test_a_file_that_was_held_for_its_name_alone_can_be_sent_again_under_the_right_one(stores):
    deliver(stores, landing_key("reviews.csv.bak"), as_csv(ROWS))
    held = ingest()
    deliver(stores, landing_key("reviews.csv", night=NEXT_NIGHT), as_csv(ROWS))

    right = ingest(NEXT_NIGHT)

    assert held.exit_code == 3
    assert right.exit_code == 0
    assert summary(right)["accepted_rows"] == len(ROWS)


@pytest.mark.long
def test_a_night_that_is_repeated_after_the_next_one_took_over_counts_nothing_twice(stores):
    deliver(stores, landing_key("r.csv"), as_csv(ROWS))
    arrival = steps_ingest.land(
        stores.reviews.uri(landing_key("r.csv")), NIGHT
    )  # and then it failed

    late = ingest(NEXT_NIGHT)
    steps_ingest.accept(arrival, steps_ingest.validate(arrival))

    nights = [steps_ingest.summarize_night(night)["accepted_rows"] for night in (NIGHT, NEXT_NIGHT)]
    assert summary(late)["accepted_rows"] == len(ROWS)
    assert nights == [0, len(ROWS)]


def test_bytes_that_were_changed_in_the_ledger_are_not_validated(stores):
    deliver(stores, GOOD, as_csv(ROWS))
    arrival = steps_ingest.land(stores.reviews.uri(GOOD), NIGHT)
    raw = next(key for key in listing(stores.reviews) if key.endswith("/raw"))
    stores.reviews.put(raw, as_csv(some_rows(len(ROWS), first=1000)))

    with pytest.raises(TrustError):
        steps_ingest.validate(arrival)
    stores.reviews.put(raw, as_csv(ROWS).replace(b"superb", b"SUPERB"))
    with pytest.raises(DigestMismatchError):
        steps_ingest.validate(arrival)


def test_a_file_with_very_many_columns_is_held_at_once(stores):
    names = ",".join(f"c{number}" for number in range(50_000))
    deliver(stores, landing_key("wide.csv"), f"{names}\n".encode())
    wide = json.dumps({f"c{number}": 1 for number in range(50_000)})
    deliver(stores, landing_key("wide.jsonl"), wide.encode())

    ingest()

    received = receipts(stores).values()
    assert [receipt.verdict for receipt in received] == ["HELD", "HELD"]
    assert any("max_columns=200" in receipt.why for receipt in received)


@pytest.mark.long
def test_a_changed_file_under_the_same_name_is_a_delivery_of_its_own(stores):
    deliver(stores, landing_key("r.csv"), as_csv(ROWS))
    ingest()
    deliver(stores, landing_key("r.csv"), as_csv(some_rows(25, first=500)))

    result = ingest(NEXT_NIGHT)

    assert summary(result)["accepted_rows"] == 25
    assert counts(intake_nights.summarize(stores.reviews, NIGHT)) == (40, 40, 0, 0)
    assert take(stores.reviews, config.load().split).rows == 65


# ── When ─────────────────────────────────────────────────────────────────────────────────────


def test_a_late_file_is_picked_up_by_the_next_night_and_dated_as_delivered(stores):
    deliver(stores, landing_key("one.csv"), as_csv(ROWS))
    ingest(NIGHT)
    deliver(stores, landing_key("late.csv"), as_csv(some_rows(30, first=500)))

    result = ingest(NEXT_NIGHT)

    (late,) = receipts(stores, NEXT_NIGHT).values()
    assert (late.landing_key, counts(late)) == (landing_key("late.csv"), (30, 30, 0, 0))
    assert outcome(stores, late).accepted.key.startswith("accepted/date=2026-01-05/")
    assert summary(result)["accepted_rows"] == 30
    assert set(receipts(stores, NIGHT)) == {landing_key("one.csv")}


def test_a_file_of_a_future_night_waits_for_it(stores):
    deliver(stores, landing_key("r.csv", night=NEXT_NIGHT), as_csv(ROWS))

    early, in_time = ingest(NIGHT), ingest(NEXT_NIGHT)

    assert summary(early)["deliveries"] == 0
    assert summary(in_time)["accepted_rows"] == 40


def test_a_file_that_is_still_being_written_is_left_alone(stores):
    deliver(stores, landing_key("r.csv.part"), cut(as_csv(ROWS)))

    result = ingest()

    assert summary(result)["status"] == "NO_NEW_DATA"
    assert set(listing(stores.reviews)) == {landing_key("r.csv.part")}


def test_an_empty_landing_is_no_fault(stores):
    result = ingest()

    assert summary(result)["status"] == "NO_NEW_DATA"
    assert result.exit_code == 0
    assert listing(stores.reviews) == {}


def test_a_night_of_nothing_but_held_deliveries_says_so(stores):
    deliver(stores, landing_key("r.csv"), b"")

    result = ingest()

    assert summary(result)["status"] == "ALL_HELD"
    with pytest.raises(NightHeldError, match=r"1 of 1 deliveries of 2026-01-05 are held"):
        steps_ingest.check_night(NIGHT, [stores.reviews.uri(landing_key("r.csv"))])
    assert result.exit_code == 3


def test_a_good_night_passes_the_final_check(stores):
    deliver(stores, GOOD, as_csv(some_rows(20)))
    ingest()

    assert steps_ingest.check_night(NIGHT, [stores.reviews.uri(GOOD)]) == "NEW_REVIEWS"
    assert steps_ingest.has_new_reviews(steps_ingest.summarize_night(NIGHT))


def test_a_delivery_without_a_conclusion_turns_the_night_red(stores):
    deliver(stores, GOOD, as_csv(some_rows(20)))
    ingest()
    due = [stores.reviews.uri(GOOD), stores.reviews.uri(landing_key("never.csv"))]

    with pytest.raises(NightIncompleteError, match=r"1 of 2 .*never\.csv"):
        steps_ingest.check_night(NIGHT, due)


# ── Names ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [
        "with blanks  and 'quotes\".csv",
        "<script>alert(1)</script>.csv",
        "[bold red]markup[/bold red].csv",
        "Bewertungen-\N{LATIN SMALL LETTER U WITH DIAERESIS}-日本語-\N{GRINNING FACE}.csv",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd.csv",
        "a+b&c=d?e#f;g.csv",
        "{{ ti.xcom_pull() }}.csv",
        "back\\slash.csv",
        "tab\tand bell\a.csv",
        "x" * 900 + ".csv",
    ],
    ids=lambda name: name[:12].encode("ascii", "replace").decode().strip(),
)
def test_a_hostile_name_is_only_a_name(stores, name):
    key = landing_key(name)
    deliver(stores, key, as_csv(ROWS))

    result = CliRunner().invoke(app, ["ingest", "--night", NIGHT])

    assert result.exit_code == 0, result.stderr
    assert set(receipts(stores)) == {key}
    assert counts(receipts(stores)[key]) == (40, 40, 0, 0)
    written = [each for each in listing(stores.reviews) if each != key]
    assert all(checked_key(each).startswith(OWN_PREFIXES) for each in written)


@pytest.mark.long
@pytest.mark.parametrize("source", ["Web", "we b", "..", "%2e%2e", "<b>", "x" * 33])
def test_a_source_that_is_no_name_is_filed_as_unsorted(stores, source):
    deliver(stores, landing_key("r.csv", source=source), as_csv(ROWS))

    ingest()

    (receipt,) = receipts(stores).values()
    assert outcome(stores, receipt).source == "unsorted"
    assert counts(receipt) == (40, 40, 0, 0)


# ── The command line ─────────────────────────────────────────────────────────────────────────


def test_a_missing_bucket_ends_with_the_command_that_creates_it(stores, configure):
    configure(store={"reviews_bucket": f"{stores.reviews.name}-missing"})

    result = ingest()

    assert result.exit_code == 1
    assert f"bucket '{stores.reviews.name}-missing' does not exist" in result.stderr
    assert "python -m pipelines init" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("night", ["yesterday", "2026-1-5", "2026-02-30"])
def test_a_night_that_is_no_day_is_refused(stores, night):
    result = ingest(night)

    assert result.exit_code == 2
    assert f"night is '{night}'" in " ".join(result.stderr.replace("│", " ").split())


def test_init_creates_both_buckets_once_and_proves_the_store(stores, configure):
    name = stores.reviews.name
    configure(store={"reviews_bucket": f"{name}-r", "models_bucket": f"{name}-m"})

    first, second = (CliRunner().invoke(app, ["init", "--json"]) for _ in range(2))

    assert json.loads(first.stdout)["created"] == [f"{name}-r", f"{name}-m"]
    assert json.loads(second.stdout)["created"] == []
    assert json.loads(second.stdout)["honours_create_if_absent"] is True


@pytest.mark.needs("expires_objects")
def test_init_makes_a_bucket_of_task_logs_that_expire_after_two_weeks(stores):
    name = f"{stores.reviews.name}-l"

    first, second = (
        CliRunner().invoke(app, ["init", "--task-logs", name, "--json"]) for _ in range(2)
    )

    client = stores.reviews._client
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
    assert json.loads(first.stdout)["created"] == [name]
    assert json.loads(second.stdout)["created"] == []
    assert (rule["Expiration"], rule["Status"]) == ({"Days": 14}, "Enabled")


def test_init_refuses_to_keep_task_logs_among_the_records(stores):
    result = CliRunner().invoke(app, ["init", "--task-logs", stores.reviews.name])

    assert result.exit_code == 1
    assert "need a bucket of their own" in " ".join(result.stderr.split())


def test_a_delivery_that_cannot_be_dealt_with_does_not_stop_the_others(stores):
    """Its bytes in the ledger were torn; the rest of the night is ingested all the same."""
    torn = as_csv(ROWS)
    deliver(stores, landing_key("a-torn.csv"), torn)
    deliver(stores, GOOD.replace("app", "zoo"), as_csv(some_rows(20)))
    name = delivery_id(landing_key("a-torn.csv"), torn)
    stores.reviews.put(raw_key(name), b"?" + torn[1:])

    result = ingest()

    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["accepted_rows"] == 20
    assert len(facts["failures"]) == 1
    assert "a-torn.csv" in facts["failures"][0]
    assert "was changed after it was recorded" in " ".join(result.stderr.split())


@pytest.mark.attack
def test_nothing_is_judged_by_a_ledger_of_which_an_entry_is_not_ours(stores):
    """With less to be compared with, a delivery might pass that should not."""
    deliver(stores, landing_key("a.csv"), as_csv(some_rows(40)))
    ingest()
    (receipt,) = receipts(stores).values()
    forged = outcome(stores, receipt)
    stores.reviews.put(forged.object_key, forged.to_bytes())
    later = some_rows(40, first=100, night=NEXT_NIGHT)
    deliver(stores, landing_key("b.csv", night=NEXT_NIGHT), as_csv(later))

    result = ingest(NEXT_NIGHT)

    assert result.exit_code == 1
    assert json.loads(result.stdout)["accepted_rows"] == 0
    assert "outcome.json is signed by nobody" in " ".join(result.stderr.split())


# ── Every row is somewhere ───────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=12)
@given(
    share=st.sampled_from([0.0, 0.02, 0.05, 0.06, 0.5, 1.0]),
    row_count=st.integers(20, 60),
    seed=st.integers(0, 1_000),
    file_format=st.sampled_from(["csv.gz", "jsonl", "parquet"]),
)
def test_every_delivered_row_is_accepted_quarantined_or_held(share, row_count, seed, file_format):
    whole = pa.Table.from_pylist(some_rows(row_count), schema=DELIVERED_SCHEMA)
    damaged, what = damage(whole, share=share, rng=np.random.default_rng(seed))
    format_name: Format = file_format
    body = as_file(damaged.to_pylist(), format_name)
    reviews = InMemory()
    reviews.put_once("deliveries/raw", body)
    delivery = Delivery(
        sha256=delivery_id(landing_key(f"r.{file_format}"), body), source="web",
        landing_key=landing_key(f"r.{file_format}"),
        file_format=file_format.removesuffix(".gz"), is_gzipped=file_format.endswith(".gz"),
        size_bytes=len(body), night=NIGHT, raw_key="deliveries/raw",
    )  # fmt: skip

    _, validation = validate.validate(reviews, delivery, config.load())

    assert (
        validation.accepted_rows + validation.quarantined_rows + validation.held_rows == row_count
    )
    is_held = len(what) / row_count > 0.05
    assert (validation.held_rows == row_count) == is_held
    places = [] if is_held else [place for place, _ in what]
    quarantined = (
        read_partition(reviews, validation.quarantined) if validation.quarantined else None
    )
    assert (quarantined["row"].to_pylist() if quarantined else []) == places
    accepted = read_partition(reviews, validation.accepted) if validation.accepted else None
    expected = [
        row["review_id"]
        for place, row in enumerate(whole.to_pylist())
        if place not in places and not is_held
    ]
    assert (accepted["review_id"].to_pylist() if accepted else []) == expected


# ── Several at once ──────────────────────────────────────────────────────────────────────────


def ingest_one(landing_uri: str) -> str:
    arrival = steps_ingest.land(landing_uri, NIGHT)
    return steps_ingest.accept(arrival, steps_ingest.validate(arrival))


def at_once(work: Callable[[str], str], uris: list[str]) -> list[str]:
    start = threading.Barrier(len(uris))

    def run(uri: str) -> str:
        start.wait(timeout=HANG_SECONDS)
        return work(uri)

    with ThreadPoolExecutor(len(uris)) as workers:
        return list(workers.map(run, uris))


def test_the_same_delivery_ingested_four_times_at_once_is_one_outcome(stores, configure):
    uri = deliver(stores, landing_key("r.csv"), as_csv(changed({"label": "maybe"}, rows=2)))

    outcomes = at_once(ingest_one, [uri] * 4)

    together = listing(stores.reviews)
    (receipt,) = receipts(stores).values()
    assert len(set(outcomes)) == 1
    assert counts(receipt) == (40, 38, 2, 0)
    assert set(together) == set(undisturbed(configure, as_csv(changed({"label": "maybe"}, rows=2))))


@pytest.mark.long
def test_the_same_bytes_under_two_names_at_once_count_once(stores):
    uris = [deliver(stores, landing_key(name), as_csv(ROWS)) for name in ("one.csv", "two.csv")]

    at_once(ingest_one, uris)

    verdicts = sorted(receipt.verdict for receipt in receipts(stores).values())
    assert verdicts == ["ACCEPTED", "DUPLICATE"]
    assert counts(intake_nights.summarize(stores.reviews, NIGHT)) == (40, 40, 0, 0)


def test_different_deliveries_at_once_keep_their_own_findings(stores):
    bodies = [as_csv(changed({"label": "maybe"}, rows=bad)) for bad in (0, 1, 2)]
    uris = [deliver(stores, landing_key(f"{n}.csv"), body) for n, body in enumerate(bodies)]

    at_once(ingest_one, uris)

    by_key = receipts(stores)
    assert [by_key[landing_key(f"{n}.csv")].quarantined_rows for n in range(3)] == [0, 1, 2]


@pytest.mark.long
def test_two_processes_ingesting_one_night_agree(stores):
    deliver(stores, landing_key("r.csv"), as_csv(changed({"label": "maybe"}, rows=2)))
    deliver(stores, landing_key("held.csv"), as_csv(ROWS[:19]))
    command = [sys.executable, "-m", "pipelines", "ingest", "--night", NIGHT, "--json"]

    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."})
        for _ in range(2)
    ]
    answers = [json.loads(process.communicate(timeout=HANG_SECONDS)[0]) for process in running]

    assert [process.returncode for process in running] == [3, 3]
    assert answers[0] == answers[1]
    assert counts(intake_nights.summarize(stores.reviews, NIGHT)) == (59, 38, 2, 19)


# ── Killed on the way ────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    """The process ends here: nothing may catch this."""


WRITES = ("put", "put_file", "put_once")


def killed_before_write(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """End at the given write to a bucket, from 0; returns the list of writes that were done."""
    done: list[str] = []

    def wrapped(write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(bucket: Bucket, key: str, data: Any) -> Any:
            if len(done) == number:
                raise Killed
            answer = write(bucket, key, data)
            done.append(key)
            return answer

        return counted

    for name in WRITES:
        patch.setattr(Bucket, name, wrapped(getattr(Bucket, name)))
    return done


def run_night() -> None:
    for uri in steps_ingest.find_deliveries(NIGHT):
        try:
            ingest_one(uri)
        except DeliveryHeldError:
            continue


def undisturbed(configure, body: bytes) -> dict[str, str]:
    """The listing that one delivery of these bytes ends in, in a bucket of its own."""
    stores = other_stores(configure, body, "undisturbed")
    run_night()
    return listing(stores.reviews)


def other_stores(configure, body: bytes, name: str) -> Stores:
    bucket = open_stores().reviews.name.partition("--")[0]
    configure(store={"reviews_bucket": f"{bucket}--{name}"})
    stores = open_stores()
    stores.reviews.create_if_missing()
    deliver(stores, landing_key("r.csv"), body)
    return stores


@pytest.mark.long
@pytest.mark.parametrize(
    ("body", "writes"),
    [
        # raw, delivery, name, arrival; accepted, sketch, quarantine, page, report; outcome, receipt
        pytest.param(as_csv(changed({"label": "maybe"}, rows=2)), 11, id="partly-accepted"),
        # the same without the three partitions
        pytest.param(as_csv(ROWS[:19]), 8, id="held"),
    ],
)
def test_a_run_killed_before_any_write_ends_as_an_undisturbed_one(
    stores, configure, monkeypatch, body, writes
):
    expected = undisturbed(configure, body)
    summary = intake_nights.summarize(open_stores().reviews, NIGHT)

    for number in range(writes):
        killed = other_stores(configure, body, f"killed-{number}")
        with monkeypatch.context() as patch:
            done = killed_before_write(patch, number)
            with pytest.raises(Killed):
                run_night()
        assert len(done) == number

        run_night()

        assert listing(killed.reviews) == expected
        assert intake_nights.summarize(killed.reviews, NIGHT) == summary
    with monkeypatch.context() as patch:
        other_stores(configure, body, "counted")
        assert len(killed_before_write(patch, writes + 1)) == 0
        run_night()


def test_a_run_killed_before_its_receipt_was_given_is_finished_by_the_next_night(
    stores, monkeypatch
):
    deliver(stores, landing_key("r.csv"), as_csv(ROWS))
    with monkeypatch.context() as patch:
        done = killed_before_write(patch, 9)  # all but the receipt
        with pytest.raises(Killed):
            run_night()
    assert done[-1].endswith("/outcome.json")

    result = ingest(NEXT_NIGHT)

    assert summary(result)["accepted_rows"] == 40
    assert take(stores.reviews, config.load().split).rows == 40
