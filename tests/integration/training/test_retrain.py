"""Retraining from a shell on made-up reviews: succession, idempotence, lost objects."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import (
    ConfigError,
    ConfirmationError,
    DigestMismatchError,
    ModelFormatError,
    NoReviewsError,
    SignatureError,
    StalePlanError,
    TrustError,
)
from pipelines.core.record import sha256_of
from pipelines.records.data import Snapshot
from pipelines.records.evaluations import Evaluation
from pipelines.records.versions import Manifest, Plan
from pipelines.serving import champion as serving_champion
from pipelines.steps import promote, retrain
from tests.support import sealing
from tests.support.made.builders import listing

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")


def cli(*arguments):
    reply = CliRunner().invoke(app, list(arguments))
    assert reply.exit_code == 0, reply.output
    return json.loads(reply.stdout) if "--json" in arguments else reply.stdout


def failing_cli(*arguments):
    reply = CliRunner().invoke(app, list(arguments))
    assert reply.exit_code == 1, reply.output
    return " ".join(reply.stderr.split())


def test_the_second_retrain_says_that_nothing_changed_and_trains_nothing(ingest_night, stores):
    ingest_night(1)
    first = cli("retrain", "--json")
    before = listing(stores.models)

    second = cli("retrain", "--json")

    assert (first["verdict"], first["is_trained"], first["is_promoted"]) == ("PROMOTE", True, True)
    assert (second["verdict"], second["is_trained"]) == ("NOTHING_CHANGED", False)
    assert second["version"] == first["version"]
    assert listing(stores.models) == before


@pytest.mark.long
def test_the_succession_shows_both_champions_in_order(ingest_night):
    ingest_night(1)
    first = cli("retrain", "--json", "--reason", "a start")
    ingest_night(2)
    second = cli("retrain", "--json", "--reason", "more reviews")

    history = cli("champion", "history", "--json")
    shown = cli("champion", "show", "--json")

    assert second["verdict"] == "PROMOTE"
    assert [entry["version"] for entry in history] == [first["version"], second["version"]]
    assert [entry["reason"] for entry in history] == ["a start", "more reviews"]
    assert shown["version"] == second["version"]


@pytest.mark.long
def test_champion_and_challenger_are_scored_on_the_same_rows(
    champions, ingest_night, stores, registry
):
    champions(1)
    ingest_night(2)
    version = cli("retrain", "--json")["version"]

    keys = [key for key in listing(stores.models) if key.endswith("evaluation.json")]
    evaluation = next(
        evaluation
        for evaluation in (stores.models.get_record(key, Evaluation) for key in keys)
        if evaluation.version == version
    )

    assert evaluation.champion_generation == 1
    for scores in (evaluation.holdout, evaluation.newest, evaluation.golden):
        assert scores.champion.rows == scores.challenger.rows == scores.reference.rows
        assert scores.against_champion.rows == scores.against_reference.rows == scores.rows
    assert {part.name.partition("=")[0] for part in evaluation.slices} == set(
        config.load().gate.slices
    )
    assert evaluation.newest.rows < evaluation.holdout.rows


def test_no_film_is_on_both_sides_and_no_text_counts_twice(ingest_night, stores):
    from pipelines.intake.partitions import read_partition
    from pipelines.training.dataset import load_dataset

    ingest_night(1)
    reviews, key = stores.resolve(retrain.take_snapshot())
    snapshot = reviews.get_record(key, Snapshot)

    dataset = load_dataset(reviews, snapshot)

    films = np.array(
        [
            film
            for part in snapshot.partitions
            for film in read_partition(reviews, part, ["movie_id"]).column("movie_id").to_pylist()
        ]
    )[dataset.position]
    assert not set(films[dataset.is_holdout]) & set(films[~dataset.is_holdout])
    assert not (dataset.is_selection & dataset.is_holdout).any()
    assert len(set(dataset.text_id.tolist())) == len(dataset.text_id)
    assert 0.1 < dataset.is_holdout.mean() < 0.3


def test_many_packs_are_shared_out_and_each_is_featurized_once(
    ingest_night, stores, configure, monkeypatch
):
    monkeypatch.setattr("pipelines.features.packs.LARGEST_BYTES", 0)  # each is a pack of its own
    configure(training={"packs_per_task": 1})
    for night in (1, 2):
        ingest_night(night)
    plan_uri = retrain.plan(retrain.take_snapshot())

    shares = retrain.has_work(plan_uri)
    uses = [retrain.featurize(plan_uri, share=share) for share in shares]

    packs = len(stores.reviews.get_record(snapshot_key(stores), Snapshot).partitions)
    assert packs > 1
    assert shares == [(number, packs) for number in range(packs)]
    assert uses == [{"cached": 0, "computed": 1}] * packs
    assert retrain.has_work(plan_uri) == [(0, 1)]  # nothing is new, and there is still work


def snapshot_key(stores) -> str:
    (key,) = (key for key in listing(stores.reviews) if key.startswith("snapshots/"))
    return key


@pytest.mark.long
@pytest.mark.parametrize("lost", ["features/", "champion.json", "both"])
def test_deleting_the_cache_or_the_hint_changes_no_outcome(
    champions, ingest_night, stores, registry, lost
):
    champions(1)
    ingest_night(2)
    retrain.featurize(retrain.plan(retrain.take_snapshot()))
    for bucket in (stores.reviews, stores.models):
        for key in listing(bucket):
            if lost in key or (lost == "both" and ("features/" in key or "champion.json" in key)):
                bucket.delete(key)

    second = cli("retrain", "--json")

    assert second["verdict"] == "PROMOTE"
    assert [entry.generation for entry in registry.log.history()] == [1, 2]
    assert registry.log.champion().version == second["version"]


@pytest.mark.long
def test_the_same_reviews_give_the_same_bytes_without_any_cache(ingest_night, stores, registry):
    ingest_night(1)
    version = cli("retrain", "--json", "--dry-run")["version"]
    first = registry.versions.manifest(version)
    for key in listing(stores.models):
        stores.models.delete(key)
    for key in listing(stores.reviews):
        if key.startswith("features/"):
            stores.reviews.delete(key)

    again = cli("retrain", "--json", "--dry-run")["version"]

    assert registry.versions.manifest(again) == first


@pytest.mark.long
def test_each_single_object_of_the_features_cache_can_be_corrupt(ingest_night, stores):
    ingest_night(1)
    ingest_night(2)
    plan_uri = retrain.plan(retrain.take_snapshot())
    retrain.featurize(plan_uri)
    cached = [key for key in listing(stores.reviews) if key.startswith("features/")]
    whole = {key: stores.reviews.get(key) for key in cached}
    stores.reviews.put(cached[0], whole[cached[1]])  # another partition's, and whole
    stores.reviews.put(cached[1], whole[cached[1]][:-100])

    manifest_uri = retrain.train(plan_uri)

    models, key = stores.resolve(manifest_uri)
    assert len(cached) == 2
    assert {key: stores.reviews.get(key) for key in cached} == whole
    assert models.get_record(key, Manifest).training_rows > 1000


@pytest.mark.long
def test_a_dry_run_leaves_the_champion_alone_and_can_be_followed_by_a_real_one(
    ingest_night, registry
):
    ingest_night(1)
    dry = cli("retrain", "--json", "--dry-run")
    nobody = registry.log.champion()

    real = cli("retrain", "--json")

    assert (dry["verdict"], dry["is_promoted"], nobody) == ("PROMOTE", False, None)
    assert real["is_promoted"]
    assert registry.log.champion().version == dry["version"]


@pytest.mark.long
def test_a_promotion_that_lost_its_race_is_decided_on_again_against_the_winner(
    ingest_night, stores, registry
):
    """Two nights' versions were each compared with nobody; the second comes too late."""
    versions, decisions = [], []
    for night in (1, 2):
        ingest_night(night)
        versions.append(cli("retrain", "--json", "--dry-run")["version"])
        decisions.append(stores.models.uri(registry.decisions.decision_keys(versions[-1])[-1]))

    for decision in decisions:
        promote.promote(decision, actor="test")

    acted_on = [registry.decisions.decision(entry.decision_key) for entry in registry.log.history()]
    assert [entry.version for entry in registry.log.history()] == versions
    assert [each.champion_version for each in acted_on] == [None, versions[0]]
    assert len(registry.decisions.decision_keys(versions[1])) == 2


@pytest.mark.long
def test_several_candidates_are_compared_and_the_better_one_is_kept(ingest_night, registry):
    ingest_night(1)

    facts = cli(
        "retrain", "--json", "--candidate", "fingerprint_sgd", "--candidate", "tfidf_logistic"
    )

    manifest = registry.versions.manifest(facts["version"])
    best = min(manifest.selection, key=lambda score: score.log_loss)
    assert {score.name for score in manifest.selection} == {"fingerprint_sgd", "tfidf_logistic"}
    assert manifest.candidate == best.name


@pytest.mark.long
def test_the_plain_tfidf_candidate_can_become_champion_and_be_challenged(ingest_night, registry):
    ingest_night(1)
    first = cli("retrain", "--json", "--candidate", "tfidf_logistic")
    ingest_night(2)

    second = cli("retrain", "--json")

    assert registry.versions.manifest(first["version"]).featurizer is None
    assert first["is_promoted"]
    assert second["champion_generation_before"] == 1


@pytest.mark.long
def test_another_seed_is_another_version(ingest_night):
    ingest_night(1)

    first, second = (
        cli("retrain", "--json", "--dry-run", "--seed", str(seed))["version"] for seed in (1, 2)
    )

    assert first != second


@pytest.mark.long
def test_another_gate_policy_decides_anew_without_training_again(ingest_night, configure, stores):
    configure(gate={"min_accuracy": 0.999})
    ingest_night(1)
    rejected = cli("retrain", "--json")
    before = {key: tag for key, tag in listing(stores.models).items() if "model-" in key}

    configure(gate={"min_accuracy": 0.5})
    accepted = cli("retrain", "--json")

    assert (rejected["verdict"], accepted["verdict"]) == ("REJECT", "PROMOTE")
    assert rejected["version"] == accepted["version"]
    assert {k: t for k, t in listing(stores.models).items() if "model-" in k} == before


@pytest.mark.long
def test_rows_that_the_champion_was_trained_on_do_not_judge_it(champions, configure, stores):
    """With another salt most held out films were the champion's training films."""
    champions(1)
    configure(split={"salt": "another"})

    facts = cli("retrain", "--json")

    keys = [key for key in listing(stores.models) if facts["version"] in key]
    key = next(key for key in keys if key.endswith("evaluation.json"))
    evaluation = stores.models.get_record(key, Evaluation)
    assert evaluation.seen_rows > 2 * evaluation.holdout.rows
    assert facts["verdict"] == "INCONCLUSIVE"


@pytest.mark.long
def test_a_plan_made_by_other_code_is_not_carried_out(ingest_night, stores):
    ingest_night(1)
    models, key = stores.resolve(retrain.plan(retrain.take_snapshot()))
    stale = models.get_record(key, Plan).model_copy(update={"code": "0" * 64})
    models.put_record(stale)

    with pytest.raises(StalePlanError, match="Start a new run"):
        retrain.train(models.uri(stale.object_key))


@pytest.mark.long
def test_a_factory_of_ones_own_is_part_of_the_version(
    ingest_night, configure, tmp_path, monkeypatch
):
    ingest_night(1)
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "own_candidate.py"
    configure(
        candidates={"own": {"factory": "own_candidate:build", "parameters": {}}},
        training={"candidates": ["own"]},
    )
    versions = []
    for comment in ("first", "second"):
        module.write_text(
            "from benchmarks.compared.lecture_notebook import lecture_notebook as build"
            f"  # {comment}"
        )
        versions.append(cli("retrain", "--json", "--dry-run")["version"])

    assert versions[0] != versions[1]


def test_nothing_accepted_is_said_plainly(stores):
    with pytest.raises(NoReviewsError, match="python -m pipelines ingest"):
        retrain.take_snapshot()

    assert "no accepted reviews" in failing_cli("retrain", "--json")


def test_too_few_reviews_are_not_trained_on(ingest_night, configure):
    ingest_night(1)
    configure(training={"min_training_rows": 5000})

    with pytest.raises(NoReviewsError, match="asks for 5,000"):
        retrain.train(retrain.plan(retrain.take_snapshot()))


def test_an_unknown_candidate_is_refused_with_the_known_ones_named(ingest_night):
    ingest_night(1)

    with pytest.raises(ConfigError, match=r"fingerprint_sgd.*tfidf_logistic"):
        retrain.plan(retrain.take_snapshot(), ["deep_thought"])


def test_a_changed_partition_is_never_trained_on(ingest_night, stores):
    ingest_night(1)
    plan_uri = retrain.plan(retrain.take_snapshot())
    key = next(key for key in listing(stores.reviews) if key.startswith("accepted/"))
    data = bytearray(stores.reviews.get(key))
    data[len(data) // 2] ^= 1
    stores.reviews.put(key, bytes(data))

    with pytest.raises(DigestMismatchError, match="was changed after it was recorded"):
        retrain.train(plan_uri)


# ── The champion, as a consumer gets it ──────────────────────────────────────────────────────


def test_a_pulled_champion_scores_like_the_one_in_the_store(champions, tmp_path, registry):
    champions(1)
    pulled = cli("champion", "pull", "--to", str(tmp_path / "champion"), "--json")
    file = tmp_path / "reviews.jsonl"
    texts = ["A superb film, never dull.", "Dreadful, not one good scene.", "", "<script>\u202e"]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    from_store = cli("score", str(file))
    cli("score", str(file), "--model", pulled["folder"], "--output", str(tmp_path / "out.jsonl"))

    lines = [json.loads(line) for line in from_store.splitlines()]
    assert (tmp_path / "out.jsonl").read_text() == from_store
    assert [line["row"] for line in lines] == [0, 1, 2, 3]
    assert {line["version"] for line in lines} == {registry.log.champion().version}


@pytest.mark.parametrize("name", ["model.skops", "manifest.json", "champion.json"])
def test_a_pulled_file_that_was_changed_is_refused(champions, tmp_path, name):
    champions(1)
    cli("champion", "pull", "--to", str(tmp_path), "--json")
    (path,) = tmp_path.rglob(name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))

    with pytest.raises(TrustError):
        serving_champion.load_pulled(tmp_path, sealing.keyring())


@pytest.mark.long
def test_a_pull_that_is_stopped_half_way_leaves_the_old_champion(champions, tmp_path, monkeypatch):
    (first,) = champions(1)
    cli("champion", "pull", "--to", str(tmp_path), "--json")
    champions(2)
    real = serving_champion._replace

    def stopped(path, data):
        if path.name == "champion.json":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(serving_champion, "_replace", stopped)
    stopped_pull = CliRunner().invoke(app, ["champion", "pull", "--to", str(tmp_path)])

    assert stopped_pull.exit_code == 130
    assert serving_champion.load_pulled(tmp_path, sealing.keyring()).entry.version == first.version


def test_a_model_of_other_features_is_refused(champions, registry):
    (champion,) = champions(1)
    manifest = registry.versions.champion_manifest(champion)

    with pytest.raises(ModelFormatError, match="trained on features 'fp0'"):
        registry.versions.load(manifest.model_copy(update={"featurizer": "fp0"}))


@pytest.mark.long
def test_a_version_whose_split_was_changed_since_is_not_evaluated(ingest_night, monkeypatch):
    from pipelines.training import dataset

    ingest_night(1)
    manifest_uri = retrain.train(retrain.plan(retrain.take_snapshot()))
    monkeypatch.setattr(
        dataset, "is_holdout", lambda keys, **_split: {key: key[-1] == "1" for key in keys}
    )

    with pytest.raises(StalePlanError, match="the split was changed"):
        retrain.evaluate(manifest_uri)


@pytest.mark.long
def test_a_manifest_that_nobody_signed_is_not_evaluated(ingest_night, stores, registry):
    ingest_night(1)
    models, key = stores.resolve(retrain.train(retrain.plan(retrain.take_snapshot())))
    manifest = models.get_record(key, Manifest)
    models.put(key, manifest.to_bytes())

    with pytest.raises(SignatureError):
        retrain.evaluate(models.uri(key))


@pytest.mark.long
def test_rules_that_changed_after_the_evaluation_do_not_decide_on_it(ingest_night, configure):
    ingest_night(1)
    evaluation_uri = retrain.evaluate(retrain.train(retrain.plan(retrain.take_snapshot())))
    configure(gate={"min_accuracy": 0.999})

    with pytest.raises(StalePlanError, match="rules that are no longer in force"):
        retrain.decide(retrain.verify(evaluation_uri))


@pytest.mark.long
def test_a_run_that_was_stopped_before_confirming_is_confirmed_by_the_next_one(
    ingest_night, monkeypatch
):
    ingest_night(1)
    with monkeypatch.context() as stopped:
        stopped.setattr(promote, "confirm", lambda _entry, _model: 0)
        cli("retrain", "--json")
    confirmed = []
    monkeypatch.setattr(promote, "confirm", lambda entry, _model: confirmed.append(entry))

    cli("retrain", "--json")

    assert len(confirmed) == 1
    assert confirmed[0].endswith("/sentiment/log/00000001.json")


def test_a_pickle_in_the_champions_place_is_refused_even_with_the_right_digest(
    champions, stores, registry
):
    (champion,) = champions(1)
    pickled = b"\x80\x04\x95canary."
    forged = registry.versions.champion_manifest(champion).model_copy(
        update={"model_sha256": sha256_of(pickled), "model_size_bytes": len(pickled)}
    )
    stores.models.put(forged.model_key, pickled)

    with pytest.raises(ModelFormatError, match="not a readable model file"):
        registry.versions.load(forged)


def test_confirm_notices_a_consumer_that_answers_otherwise(champions, stores, monkeypatch):
    from pipelines.models import prediction

    champions(1)
    honest = prediction.probabilities
    monkeypatch.setattr(
        prediction, "probabilities", lambda model, texts: honest(model, texts) + 1e-6
    )

    with pytest.raises(ConfirmationError, match=r"at the gate.*NOTHING WAS PUT BACK"):
        promote.confirm(stores.models.uri("sentiment/log/00000001.json"))


def test_a_champion_that_is_not_as_approved_is_rolled_back_by_itself_once(
    champions, stores, registry, monkeypatch
):
    from pipelines.models import prediction

    first, second = champions(2)
    honest = prediction.probabilities
    monkeypatch.setattr(
        prediction, "probabilities", lambda model, texts: honest(model, texts) + 1e-6
    )

    for _ in range(2):
        with pytest.raises(ConfirmationError, match=f"{first.version} was put back"):
            promote.confirm(stores.models.uri("sentiment/log/00000002.json"))

    newest = registry.log.champion()
    assert [entry.kind for entry in registry.log.history()] == [
        "promotion",
        "promotion",
        "rollback",
    ]
    assert (newest.version, newest.subject) == (first.version, second.version)
    assert newest.reason.startswith("confirm: ")


def test_a_rolled_back_version_is_not_retrained_into_office(champions, registry):
    _, second = champions(2)
    cli("champion", "rollback", "--reason", "it felt wrong", "--yes", "--json")

    again = cli("retrain", "--json")

    assert (again["verdict"], again["version"]) == ("NOTHING_CHANGED", second.version)
    assert registry.log.champion().kind == "rollback"


def test_a_decision_can_be_shown_and_verified(champions):
    (champion,) = champions(1)

    shown = cli("decision", "show", champion.version, "--json")
    table = cli("decision", "show")
    verified = cli("decision", "verify", "--json")

    assert (shown["version"], shown["verdict"]) == (champion.version, "PROMOTE")
    assert all(rule["sentence"][:20] in " ".join(table.split()) for rule in shown["rules"])
    assert verified["decided_again"] == "PROMOTE"


def test_asking_for_a_champion_before_there_is_one_says_what_to_do(stores):
    assert "python -m pipelines retrain" in failing_cli("champion", "show")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "review\nhello\n", "missing columns ['text']"),
        ("a.jsonl", '{"text": "x"}\n[1]\n', "line 2"),
        ("a.parquet", "PAR1", "cannot read"),
        ("a.xlsx", "", "must end in"),
        ("b.jsonl", '{"text": ["x"]}\n', "a value of type list"),
    ],
)
def test_a_file_that_cannot_be_scored_says_why(champions, tmp_path, name, content, message):
    champions(1)
    (tmp_path / name).write_text(content)

    error = failing_cli("score", str(tmp_path / name), "--output", str(tmp_path / "out"))

    assert message in error
    assert not (tmp_path / "out").exists()
