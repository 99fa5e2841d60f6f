"""The service takes a champion from a real store, or from a folder, only if all of it is proven."""

from __future__ import annotations

import json

import pytest

from pipelines.core import keys
from pipelines.core.store.keyring import Keyring
from pipelines.core.store.stores import open_stores
from pipelines.registry import rollback
from pipelines.registry.registry import Registry
from pipelines.serving.champion import pull
from pipelines.serving.sources import FolderSource, LogSource
from pipelines.serving.swap import Champions
from tests.support.made.served_builders import (
    corrupt,
    forge_evaluation,
    golden_set,
    model_of,
    remove,
    served_champion,
    spoilt_champion,
    truncate,
    unsigned_entry,
)


@pytest.fixture
def first(registry):
    return served_champion(registry, 1)


def looked(source):
    champions = Champions(source, golden_set(), retry_seconds=0)
    champions.look()
    return champions


def requests_of(bucket, work):
    """What the work asks of the store: names of S3's operations."""
    asked = []
    bucket._client.meta.events.register(
        "before-call.s3", lambda model, **_: asked.append(model.name)
    )
    work()
    return asked


def test_the_champion_of_the_log_answers(registry, first):
    champions = looked(LogSource(registry))

    assert champions.trouble == ""
    assert (champions.current.version, champions.current.golden_compared) == (first.version, 172)
    (probability,) = champions.current.probabilities(["a great film"])
    assert probability == model_of(1).predict_proba(["a great film"])[0, 1]


def test_a_look_that_finds_nothing_new_lists_once_and_reads_once(registry, first):
    models = open_stores().models
    champions = looked(LogSource(Registry(models, registry.name)))

    assert champions.current.generation == first.generation
    assert sorted(requests_of(models, champions.look)) == ["GetObject", "ListObjectsV2"]


@pytest.mark.parametrize("spoil", [corrupt, truncate, remove, forge_evaluation])
def test_a_champion_with_a_spoilt_record_or_file_is_refused_and_the_last_one_goes_on(
    registry, first, spoil
):
    champions = looked(LogSource(registry))
    spoilt_champion(registry, 2, against=first, spoil=spoil)

    champions.look()

    assert champions.current.generation == 1
    assert champions.refused.generation == 2
    assert champions.refused.why


def test_an_entry_that_nobody_signed_is_refused_until_it_is_repaired(registry, first):
    champions = looked(LogSource(registry))
    key = unsigned_entry(registry, first)

    champions.look()

    assert (champions.current.generation, champions.refused.generation) == (1, 2)
    registry.models.delete(key)
    served_champion(registry, 2, against=first)
    champions.look()
    assert (champions.current.generation, champions.refused) == (2, None)


def test_a_champion_whose_answers_differ_from_the_gates_is_refused(registry, first):
    champions = looked(LogSource(registry))
    served_champion(registry, 2, against=first, answers=(0.5,) * 172)

    champions.look()

    assert champions.current.generation == 1
    assert "does not answer as it did at the gate" in champions.refused.why


def test_a_rollback_is_followed_like_a_promotion(registry, first):
    second = served_champion(registry, 2, against=first)
    champions = looked(LogSource(registry))
    _, plan = rollback.make_plan(registry, "previous", reason="it was wrong")
    back = rollback.apply_plan(registry, plan, actor="test")

    champions.look()

    assert (champions.current.generation, champions.current.version) == (3, first.version)
    assert (back.subject, champions.swaps[-1]["kind"]) == (second.version, "rollback")


def test_a_log_that_was_cut_back_is_not_followed(registry, first):
    second = served_champion(registry, 2, against=first)
    champions = looked(LogSource(registry))
    registry.models.delete(second.object_key)

    champions.look()

    assert champions.current.generation == 2
    assert "was cut back" in champions.trouble


def test_a_missing_bucket_or_a_store_that_is_gone_changes_nothing(registry, first, s3_environment):
    champions = looked(LogSource(registry))
    s3_environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    gone = LogSource(Registry(open_stores().models, registry.name))

    champions.source = gone
    champions.look()

    assert champions.current.generation == 1
    assert champions.refused is None
    assert "127.0.0.1:9" in champions.trouble


# ── From a folder ────────────────────────────────────────────────────────────────────────────


def test_a_pulled_champion_answers_without_a_store_and_a_later_pull_is_taken(
    registry, first, tmp_path, s3_environment
):
    folder = tmp_path / "served"
    pull(registry, folder)
    champions = looked(FolderSource(folder, Keyring(), registry.name))
    second = served_champion(registry, 2, against=first)
    pull(registry, folder)
    s3_environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")

    before = champions.current
    champions.look()

    assert (before.version, before.golden_compared) == (first.version, 172)
    assert (champions.current.version, champions.current.golden_compared) == (second.version, 172)


@pytest.mark.parametrize(
    "name", ["model.skops", "manifest.json", "decision.json", "evaluation.json"]
)
@pytest.mark.parametrize("is_there", [True, False], ids=["changed", "missing"])
def test_a_pulled_file_that_was_changed_or_is_missing_is_refused(
    registry, first, tmp_path, name, is_there
):
    pull(registry, tmp_path)
    file = tmp_path / first.version / name
    if is_there:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(bytes(data))
    else:
        file.unlink()

    champions = looked(FolderSource(tmp_path, Keyring(), registry.name))

    assert champions.current is None
    assert name in champions.refused.why or "do not belong together" in champions.refused.why


def test_an_evaluation_of_another_champion_is_refused(registry, first, tmp_path):
    second = served_champion(registry, 2, against=first)
    pull(registry, tmp_path)
    other = registry.models.get(keys.sibling(first.decision_key, keys.EVALUATION))
    (tmp_path / second.version / "evaluation.json").write_bytes(other)

    champions = looked(FolderSource(tmp_path, Keyring(), registry.name))

    assert champions.current is None
    assert json.dumps(champions.refused.why)


def test_an_empty_folder_is_said_to_be_one(tmp_path, s3_environment):
    champions = looked(FolderSource(tmp_path, Keyring(), "sentiment"))

    assert champions.current is None
    assert "champion pull" in champions.trouble
