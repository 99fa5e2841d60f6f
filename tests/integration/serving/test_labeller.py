"""The champion as a judge of labels: from the log to the verdict on a delivery."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.years import counted_requests
from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import DigestMismatchError, StoreUnavailableError, TrustError
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.stores import Stores
from pipelines.intake import ledger, nights, snapshot
from pipelines.intake.partitions import read_partition
from pipelines.records.validations import Validation
from pipelines.registry.registry import Registry
from pipelines.serving import labeller
from pipelines.steps import ingest
from pipelines.validation.validate import MOST_DISPUTED
from tests.support.made.builders import Row, as_csv, deliver, landing_key, listing
from tests.support.made.nights import reviews_of_a_night

NIGHT = "2026-01-06"

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")


def ingested(stores: Stores, rows: list[Row]) -> Validation:
    deliver(stores, landing_key("r.csv", night=NIGHT), as_csv(rows))
    CliRunner().invoke(app, ["ingest", "--night", NIGHT, "--json"])
    (receipt,) = nights.summarize(stores.reviews, NIGHT).receipts
    outcome = ledger.find_outcome(stores.reviews, receipt.delivery)
    assert outcome is not None
    return stores.reviews.get_record(outcome.validation_key, Validation)


def failed(validation: Validation) -> set[str]:
    return {
        rule.rule for rule in validation.rules if rule.severity == "critical" and not rule.is_passed
    }


@pytest.mark.long
def test_labels_turned_round_are_held_once_there_is_a_champion(stores, champions):
    champions(1)

    validation = ingested(stores, reviews_of_a_night(is_turned=True))

    assert (validation.verdict, failed(validation)) == ("HELD", {"label_agreement"})
    (rule,) = [rule for rule in validation.failed_rules if rule.rule == "label_agreement"]
    said = r"The champion agrees with [\d.]+% of these labels( of source '\w+')?; [\d.]+% is .*\. "
    assert re.match(said + r"The drop of [\d.]+ points exceeds the limit of [\d.]+ points",
                    rule.sentence)  # fmt: skip


@pytest.mark.long
def test_rows_whose_labels_are_disputed_are_kept_whole_and_listed_by_the_shell(stores, champions):
    champions(1)
    rows = reviews_of_a_night(is_turned=True)

    validation = ingested(stores, rows)
    asked = ["delivery", "rows", validation.delivery[:8]]
    listed = CliRunner().invoke(app, [*asked, "--json", "--with-text", "--first", "3"])
    of_a_rule = CliRunner().invoke(app, [*asked, "--json", "--reason", "text_html"])
    shown = CliRunner().invoke(app, asked).stdout

    disputed = validation.disputed
    assert len(disputed) == MOST_DISPUTED
    assert [(row.label, row.text) for row in disputed] == [
        (rows[row.row]["label"], rows[row.row]["text"]) for row in disputed
    ]
    assert json.loads(listed.stdout)["disputed"] == [row.model_dump() for row in disputed[:3]]
    assert json.loads(of_a_rule.stdout)["disputed"] == []
    assert "Rows whose label the champion disputes, the surest first" in " ".join(shown.split())
    assert all(row.review_id in shown for row in disputed)


@pytest.mark.long
def test_a_good_night_keeps_no_row_in_doubt(stores, champions):
    champions(1)

    assert ingested(stores, reviews_of_a_night()).disputed == ()


@pytest.mark.long
def test_poison_of_one_source_is_held_by_name_and_the_other_source_counts(stores, champions):
    champions(1)
    parts = reviews_of_a_night(is_turned=True)[:250], reviews_of_a_night()[250:]
    for source, rows in zip(("app", "web"), parts, strict=True):
        deliver(stores, landing_key("r.csv", source=source, night=NIGHT), as_csv(rows))

    result = CliRunner().invoke(app, ["ingest", "--night", NIGHT, "--json"])
    poisoned, good = nights.summarize(stores.reviews, NIGHT).receipts

    assert result.exit_code == 3
    assert (poisoned.verdict, poisoned.held_rows) == ("HELD", 250)
    assert "source 'app'" in poisoned.why
    assert (good.verdict, good.accepted_rows) == ("ACCEPTED", 150)
    assert trained_on(stores) == {"web": 1_050}


def trained_on(stores: Stores) -> dict[str, int]:
    """How many reviews of each source the next retraining would see."""
    pinned = snapshot.take(stores.reviews, config.load().split)
    tables = [read_partition(stores.reviews, part) for part in pinned.partitions]
    return dict(Counter(source for table in tables for source in table["source"].to_pylist()))


@pytest.mark.long
def test_a_good_night_agrees_with_the_champion_and_names_it(stores, champions, registry):
    champions(1)

    validation = ingested(stores, reviews_of_a_night())

    assert failed(validation) == set()
    assert (
        validation.agreement.champion
        == validation.basis.champion
        == registry.log.champion().version
    )
    assert validation.agreement.expected_rows > 0


def test_without_a_champion_labels_are_not_judged_and_it_is_said(stores):
    validation = ingested(stores, reviews_of_a_night(is_turned=True))

    assert validation.verdict == "ACCEPTED"
    (note,) = [rule for rule in validation.rules if rule.rule == "label_agreement"]
    assert note.severity == "note"
    assert "there is no champion" in note.sentence


def test_a_champion_that_cannot_be_reached_is_not_taken_for_none(stores, registry, monkeypatch):
    usual = Bucket.list

    def unreachable(bucket: Bucket, prefix: str) -> Any:
        if bucket.name == stores.models.name:
            raise StoreUnavailableError("the store did not answer")
        return usual(bucket, prefix)

    uri = deliver(stores, landing_key("r.csv", night=NIGHT), as_csv(reviews_of_a_night()))
    arrival = ingest.land(uri, NIGHT)
    monkeypatch.setattr(Bucket, "list", unreachable)

    with pytest.raises(StoreUnavailableError):
        ingest.validate(arrival)

    monkeypatch.undo()
    assert not [key for key in listing(stores.reviews) if key.endswith("outcome.json")]


def test_a_validation_reads_the_champion_log_once(stores, champions):
    champions(1)
    uri = deliver(stores, landing_key("r.csv", night=NIGHT), as_csv(reviews_of_a_night()))
    arrival = ingest.land(uri, NIGHT)

    with counted_requests() as requests:
        ingest.validate(arrival)

    assert requests.counted["LIST sentiment"] == 1


def test_a_champion_that_was_changed_judges_nothing(stores, champions, registry: Registry):
    champions(1)
    manifest = registry.versions.champion_manifest(registry.log.champion())
    model = stores.models.get(manifest.model_key)
    stores.models.put(manifest.model_key, model[:-1] + bytes([model[-1] ^ 1]))

    with pytest.raises(TrustError) as raised:
        labeller.find(registry, registry.log.champion())

    assert isinstance(raised.value, DigestMismatchError)
