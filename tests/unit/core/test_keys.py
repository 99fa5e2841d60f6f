"""Every key is built in one module, and what a key says can be read back from it."""

import re

import pytest

from pipelines.core import keys
from pipelines.core.config import PROJECT

SHA, VERSION, POLICY = "ab" * 32, "0123456789abcdef0123", "cd" * 32
MODEL = "sentiment"


@pytest.mark.parametrize("generation", [0, 1, 12, 99_999_999])
@pytest.mark.parametrize("name", ["decision.json", "evaluation.json", "card.json"])
def test_what_is_in_a_decisions_folder_says_version_generation_and_policy(generation, name):
    key = keys.gate_key(MODEL, VERSION, generation, POLICY, name)

    assert keys.gate_of(key, MODEL) == (VERSION, generation, POLICY[:16])
    assert keys.version_of(key) == VERSION
    assert keys.is_decision(key) == (name == "decision.json")
    assert key.startswith(keys.gates_folder(MODEL, VERSION))
    assert key.startswith(keys.versions_folder(MODEL))


@pytest.mark.parametrize("generation", [1, 7, 12_345])
def test_an_entry_of_the_log_says_its_generation(generation):
    key = keys.log_key(MODEL, generation)

    assert keys.generation_of(key, MODEL) == generation
    assert key.startswith(keys.log_folder(MODEL))


def test_a_key_of_another_model_says_nothing():
    assert keys.generation_of(keys.log_key("another", 2), MODEL) is None
    assert keys.gate_of(keys.decision_key("another", VERSION, 2, POLICY), MODEL) is None


def test_a_manifest_and_a_model_file_say_their_version():
    assert keys.version_of(keys.manifest_key(MODEL, VERSION)) == VERSION
    assert keys.version_of(keys.model_file_key(MODEL, VERSION, SHA)) == VERSION
    assert keys.name_of(keys.plan_key(MODEL, VERSION)) == VERSION


def test_what_is_kept_of_a_delivery_says_which():
    built = [keys.delivery_key, keys.raw_key, keys.outcome_key]

    assert {keys.folder_of(key(SHA)) for key in built} == {SHA}
    assert keys.folder_of(keys.replay_key(SHA, 3)) == SHA
    assert int(keys.name_of(keys.replay_key(SHA, 3))) == 3
    assert keys.folder_of(keys.validation_key(SHA, POLICY)) == SHA
    assert [keys.is_outcome(key(SHA)) for key in built] == [False, False, True]


def test_a_receipt_says_its_night_and_its_arrival():
    key = keys.receipt_key("2026-01-05", landing_key="landing/a.csv", version_tag="v1")

    assert keys.folder_of(key) == "2026-01-05"
    assert keys.name_of(key) == keys.arrival_id("landing/a.csv", "v1")
    assert keys.folder_of(keys.missing_key("2026-01-05", "web")) == "2026-01-05"
    assert keys.night_of_partition(f"accepted/date=2026-01-05/{SHA}.parquet") == "2026-01-05"


def test_each_kind_of_key_is_told_from_the_others_and_from_strays():
    built = {
        keys.is_receipt: [keys.receipt_key("2026-01-05", landing_key="a.csv", version_tag="v1")],
        keys.is_ledger_entry: [keys.outcome_key(SHA), keys.replay_key(SHA, 3)],
        keys.is_replay_plan: [keys.replay_plan_key(SHA, SHA)],
        keys.is_rollback_plan: [keys.rollback_key(MODEL, SHA)],
        keys.is_plan: [keys.plan_key(MODEL, VERSION)],
        keys.is_manifest: [keys.manifest_key(MODEL, VERSION)],
    }
    every = [key for own in built.values() for key in own]
    strays = [f"{key}.bak" for key in every] + [f"{keys.folder_in(key)}/.DS_Store" for key in every]

    for is_one, own in built.items():
        assert [key for key in [*every, *strays] if is_one(key)] == own


@pytest.mark.parametrize(
    "foreign",
    ["", "/", "sentiment/log/1.json", "sentiment/log/00000001.json.bak", "log/00000001.json",
     "a/sentiment/log/00000001.json", f"sentiment/versions/{VERSION}/gates/decision.json",
     f"sentiment/versions/{VERSION}/gates/00000001-{POLICY}/decision.json",
     f"sentiment/versions/x/gates/00000001-{POLICY[:16]}/decision.json"],
)  # fmt: skip
def test_a_foreign_key_says_nothing(foreign):
    assert keys.gate_of(foreign, MODEL) is None
    assert keys.generation_of(foreign, MODEL) is None


def test_no_other_module_takes_a_key_apart_or_puts_one_together():
    """`fsck.places` spells every place out on purpose: it is the list to compare with."""
    folders = "|".join(["deliveries", "receipts", "missing", "arrivals", "snapshots", "versions",
                        "plans", "rollbacks"])  # fmt: skip
    built = re.compile(rf"""f["'](?:\{{[^}}]+\}}/)?(?:{folders})/""")

    apart = {
        path.relative_to(PROJECT / "pipelines").as_posix()
        for path in (PROJECT / "pipelines").rglob("*.py")
        if built.search(path.read_text(encoding="utf-8"))
    }

    assert apart <= {
        "core/keys.py",
        "registry/fsck/places.py",
        "core/grants.py",
        "core/links.py",
    }  # links has addresses of pages
