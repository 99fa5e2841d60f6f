import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.core.errors import TrustError
from pipelines.core.record import canonical_json, sha256_of
from pipelines.records.deliveries import Arrival, Receipt
from pipelines.records.evaluations import Metrics
from pipelines.records.versions import Plan

ZEROS = "0" * 64

# Any character but lone surrogates, which UTF-8 cannot hold.
texts = st.text(st.characters(exclude_categories=["Cs"]))


def an_arrival(**changes) -> Arrival:
    values = {
        "landing_key": "landing/web/2026-01-05/reviews.csv",
        "version_tag": "abc",
        "night": "2026-01-05",
        "delivery": ZEROS,
    }
    return Arrival(**(values | changes))


def a_receipt(**changes) -> Receipt:
    counts = dict.fromkeys(("delivered_rows", "accepted_rows", "quarantined_rows", "held_rows"), 0)
    named = an_arrival().model_dump()
    return Receipt(**(named | counts | {"verdict": "ACCEPTED", "why": "All count."} | changes))


def a_plan(**changes) -> Plan:
    values = {
        "model_name": "sentiment",
        "snapshot": ZEROS,
        "candidates": {},
        "min_training_rows": 2,
        "folds": 3,
        "keep_share": 0.5,
        "seed": 1,
        "code": ZEROS,
        "environment": ZEROS,
    }
    return Plan(**(values | changes))


def test_canonical_json_is_sorted_tight_and_ends_in_one_newline():
    value = {"b": [1, 2.5, None], "a": {"z": True, "é": "“x”"}}

    assert canonical_json(value) == '{"a":{"z":true,"é":"“x”"},"b":[1,2.5,null]}\n'.encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_cannot_say_is_refused(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": number})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_never_becomes_a_record(number):
    with pytest.raises(ValidationError, match="finite"):
        Metrics(
            rows=1, accuracy=number, f1=0, roc_auc=0, log_loss=0, recall_positive=0,
            recall_negative=0,
        )  # fmt: skip


def test_the_hash_is_the_well_known_one():
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert sha256_of(b"abc") == expected


def test_the_order_in_which_a_record_was_filled_does_not_matter():
    forwards = an_arrival()
    backwards = Arrival(**dict(reversed(forwards.model_dump().items())))

    assert backwards.to_bytes() == forwards.to_bytes()
    assert backwards.digest() == forwards.digest() == sha256_of(forwards.to_bytes())


@settings(deadline=None, max_examples=50)
@given(landing_key=texts, version_tag=texts, why=texts, rows=st.integers(0, 2**60))
def test_a_record_comes_back_as_it_was_with_the_same_bytes(landing_key, version_tag, why, rows):
    receipt = a_receipt(
        landing_key=landing_key, version_tag=version_tag, why=why, accepted_rows=rows
    )

    again = Receipt.from_bytes(receipt.to_bytes(), uri="s3://reviews/x")

    assert again == receipt
    assert again.to_bytes() == receipt.to_bytes()


def test_a_record_cut_anywhere_is_refused_with_its_uri():
    whole = an_arrival().to_bytes()

    for kept_bytes in range(len(whole) - 1):
        with pytest.raises(TrustError, match="s3://reviews/arrivals/a is not a readable Arrival"):
            Arrival.from_bytes(whole[:kept_bytes], uri="s3://reviews/arrivals/a")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        pytest.param({"schema_version": 2}, "schema_version", id="another-schema"),
        pytest.param({"colour": "red"}, "colour", id="unknown-field"),
        pytest.param({"night": "yesterday"}, "night", id="no-night"),
        pytest.param({"delivery": "abc"}, "delivery", id="no-hash"),
        pytest.param({"landing_key": None}, "landing_key", id="null"),
    ],
)
def test_a_foreign_record_is_refused_with_the_field_at_fault(changes, where):
    foreign = json.dumps(an_arrival().model_dump() | changes).encode()

    with pytest.raises(TrustError, match=rf"\({where}: "):
        Arrival.from_bytes(foreign, uri="s3://reviews/arrivals/a")


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b'{"a":', b"{}" * 2])
def test_what_is_no_record_at_all_is_refused(data):
    with pytest.raises(TrustError, match="not a readable Arrival record"):
        Arrival.from_bytes(data, uri="s3://reviews/arrivals/a")


def test_a_record_of_another_kind_is_refused():
    with pytest.raises(TrustError, match="not a readable Receipt record"):
        Receipt.from_bytes(an_arrival().to_bytes(), uri="s3://reviews/arrivals/a")


def test_a_record_cannot_be_changed():
    arrival = an_arrival()

    with pytest.raises(ValidationError, match="frozen"):
        arrival.night = "2026-01-06"


def test_the_version_is_the_first_twenty_digits_of_the_plans_digest():
    plan = a_plan()

    assert plan.version == plan.digest()[:20]
    assert len(plan.version) == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 2},
        {"code": "1" * 64},
        {"environment": "1" * 64},
        {"snapshot": "1" * 64},
        {"candidates": {"one": {"alpha": 1}}},
    ],
)
def test_whatever_decides_the_model_changes_the_version(changes):
    assert a_plan(**changes).version != a_plan().version
