"""Somebody who can write to both buckets, and has no key: the attacks that once worked, end to end.

Nothing of the attacker's choice is run, learned, decided, shown or promoted, and the error says
what is wrong, and where.
"""

from __future__ import annotations

import json
import sys
from datetime import date

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from pipelines.alerts.alert import Run
from pipelines.cli.app import app
from pipelines.core import config, keys, provenance
from pipelines.core.errors import PromotionError, StalePlanError, TrustError
from pipelines.core.record import canonical_json, sha256_of
from pipelines.evaluation import verify
from pipelines.gate.card import card
from pipelines.intake import standings
from pipelines.intake.partitions import ACCEPTED_SCHEMA, read_partition, write_partition
from pipelines.records.data import Snapshot
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import Outcome, Receipt, ReplayPlan
from pipelines.records.evaluations import ArtefactCheck, Evaluation
from pipelines.records.succession import LogEntry, RollbackPlan
from pipelines.records.versions import Manifest, Plan
from pipelines.registry import promotion
from pipelines.registry import rollback as registry_rollback
from pipelines.registry.fsck import check
from pipelines.serving import champion
from pipelines.steps import context, incidents, ingest, promote, replay, retrain, rollback
from pipelines.steps.context import open_loop
from pipelines.validation import report
from tests.support import sealing
from tests.support.hostile import whole_world as whole
from tests.support.hostile.forgeries import sealed_by_a_stranger
from tests.support.made.builders import as_csv, deliver, landing_key, listing, some_rows

pytestmark = [pytest.mark.attack, pytest.mark.quick_every(1000)]

FORGED = pytest.mark.parametrize("how", ["unsigned", "old seal", "stranger"])
SHOWN = "PLANTED FOR A PERSON TO READ"


def forged(how, bucket, record, key):
    """A record of the attacker's choice, as well signed as it can be without our key."""
    place = f"{record.BUCKET}/{key}"
    if how == "unsigned":
        return record.to_bytes()
    if how == "stranger":
        return sealed_by_a_stranger(record.to_bytes(), kind=type(record).__name__, place=place)
    return bucket.get(key).split(b"\n", 1)[0] + b"\n" + record.to_bytes()


def plant(bucket, key, data):
    """As the attacker would: over whatever is there."""
    bucket.delete(key)
    bucket.put(key, data)


def key_like(bucket, *parts):
    return next(key for key in listing(bucket) if all(part in key for part in parts))


def refused(key, read, *more):
    """Each of these refuses what lies under the key, and names it."""
    for one in (read, *more):
        with pytest.raises(TrustError) as error:
            one()
        assert key in str(error.value)


def failing_cli(*arguments):
    reply = CliRunner().invoke(app, list(arguments))
    assert reply.exit_code == 1, reply.output
    assert SHOWN not in reply.output
    return "".join(reply.stderr.split())


@pytest.fixture
def undecided(whole_world, stores):
    """Both versions as they were trained, before anything was decided; the first one's URI."""
    for key in listing(stores.models):
        if any(part in key for part in ("/gates/", "/log/", "/rollbacks/", "champion.json")):
            stores.models.delete(key)
    first = next(key for key in whole_world.models if "/gates/00000000-" in key).split("/")[2]
    return stores.models.uri(keys.manifest_key("sentiment", first))


@pytest.fixture
def newest_plan(whole_world, stores):
    """The plan of two nights, not carried out; its key."""
    manifest = key_like(stores.models, "manifest.json", version_of(whole_world, "00000001"))
    plan = stores.models.get_record(manifest, Manifest).plan
    stores.models.delete(manifest)
    return plan.object_key


def version_of(world, generation):
    return next(key for key in world.models if f"/gates/{generation}-" in key).split("/")[2]


# ── What runs, and what is learned ───────────────────────────────────────────────────────────


@pytest.fixture
def planted_module(tmp_path, monkeypatch):
    """A module that tells when it is imported or its factory called, as nothing should do."""
    mark = tmp_path / "it ran"
    text = f"from pathlib import Path\nMARK = Path({str(mark)!r})\nMARK.touch()\n"
    (tmp_path / "planted.py").write_text(f"{text}def factory(**_):\n    MARK.touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    return mark


def evil(plan):
    candidates = {"fingerprint_sgd": {"factory": "planted:factory", "parameters": {}}}
    return plan.model_copy(update={"candidates": candidates})


@FORGED
@pytest.mark.parametrize("is_harmless", [False, True])
def test_a_plan_that_was_replaced_is_not_carried_out(
    newest_plan, stores, planted_module, counted, how, is_harmless
):
    honest = stores.models.get_record(newest_plan, Plan)
    other = honest.model_copy(update={"seed": 7}) if is_harmless else evil(honest)
    plant(stores.models, newest_plan, forged(how, stores.models, other, newest_plan))
    before, uri = listing(stores.models), stores.models.uri(newest_plan)

    refused(
        newest_plan, lambda: retrain.has_work(uri), lambda: retrain.featurize(uri),
        lambda: retrain.train(uri), lambda: retrain.plan(retrain.take_snapshot()),
    )  # fmt: skip

    assert not planted_module.exists()
    assert "planted" not in sys.modules
    assert listing(stores.models) == before
    counted("attacks", 1)


def test_another_plan_of_ours_under_that_name_is_not_carried_out(newest_plan, stores, counted):
    other = next(key for key in listing(stores.models) if "/plans/" in key and key != newest_plan)
    plant(stores.models, newest_plan, stores.models.get(other))
    uri = stores.models.uri(newest_plan)

    refused(newest_plan, lambda: retrain.has_work(uri), lambda: retrain.train(uri))

    counted("attacks", 1)


def test_code_that_the_configuration_does_not_name_is_not_run_whoever_signed_the_plan(
    newest_plan, stores, registry, planted_module, counted
):
    """A plan of ours, from before the configuration was changed."""
    uri = stores.models.uri(
        registry.versions.add_plan(evil(stores.models.get_record(newest_plan, Plan)))
    )

    for step in (retrain.featurize, retrain.train):
        with pytest.raises(StalePlanError, match="is not trained"):
            step(uri)

    assert not planted_module.exists()
    counted("attacks", 1)


def rows_of_the_attackers_choice():
    row = {
        "text_id": "0" * 64, "review_id": "x", "movie_id": "tt1", "text": "good", "label": 0,
        "rating": 1, "written_on": date(2026, 1, 5), "source": "web",
    }  # fmt: skip
    return pa.Table.from_pylist([row] * 300, schema=ACCEPTED_SCHEMA)


@FORGED
def test_rows_that_nobody_validated_are_not_learned(whole_world, stores, counted, how):
    key = key_like(stores.reviews, "deliveries/", "outcome.json")
    part = write_partition(
        stores.reviews, "accepted/date=2026-01-05", rows_of_the_attackers_choice()
    )
    outcome = stores.reviews.get_record(key, Outcome)
    counts = {"accepted": part, "accepted_rows": 300, "delivered_rows": 300}
    other = outcome.model_copy(update=counts)
    plant(stores.reviews, key, forged(how, stores.reviews, other, key))
    snapshots = [name for name in listing(stores.reviews) if name.startswith("snapshots/")]

    refused(key, retrain.take_snapshot)

    assert key in failing_cli("retrain")
    assert [name for name in listing(stores.reviews) if name.startswith("snapshots/")] == snapshots
    counted("attacks", 1)


def test_an_outcome_of_ours_is_no_outcome_of_another_delivery(whole_world, stores, counted):
    one, other = [key for key in listing(stores.reviews) if key.endswith("outcome.json")][:2]
    plant(stores.reviews, one, stores.reviews.get(other))

    refused(one, retrain.take_snapshot)

    counted("attacks", 1)


def test_a_snapshot_that_was_replaced_before_training_is_not_trained_on(
    newest_plan, stores, counted
):
    """By a smaller one of ours: the attacker would have some rows forgotten."""
    plan = stores.models.get_record(newest_plan, Plan)
    key = keys.snapshot_key(plan.snapshot)
    other = next(name for name in listing(stores.reviews)
                 if name.startswith("snapshots/") and name != key)  # fmt: skip
    for data in (
        stores.reviews.get(other),
        stores.reviews.get_record(other, Snapshot).to_bytes(),
    ):
        plant(stores.reviews, key, data)
        uri = stores.models.uri(newest_plan)
        refused(key, lambda uri=uri: retrain.featurize(uri), lambda uri=uri: retrain.train(uri))

    assert not [name for name in listing(stores.models) if name.endswith("manifest.json")][1:]
    counted("attacks", 2)


def test_an_outcome_that_was_deleted_is_missed_before_anything_is_learned_or_judged(
    whole_world, stores, registry, counted
):
    plan = registry.versions.champion_manifest(registry.log.champion()).plan
    pinned = stores.reviews.get_record(keys.snapshot_key(plan.snapshot), Snapshot)
    largest = max(pinned.partitions, key=lambda part: part.rows)
    outcomes = [key for key in listing(stores.reviews) if key.endswith("outcome.json")]
    key = next(
        key for key in outcomes
        if stores.reviews.get_record(key, Outcome).accepted == largest
    )  # fmt: skip
    stores.reviews.delete(key)

    refused(largest.key, retrain.take_snapshot)
    due = deliver(stores, landing_key("new.csv"), as_csv(some_rows(40, first=900)))
    arrival = ingest.land(due, whole.NIGHTS[1])
    refused("the ledger has lost entries", lambda: ingest.validate(arrival))

    faulty = {one.key for one in check.check(stores.reviews, registry) if one.kind == "error"}
    assert {key, largest.key} <= faulty
    counted("attacks", 1)


def test_features_of_the_attackers_choice_are_made_again(
    newest_plan, whole_world, stores, registry, counted
):
    """Each is a good cache entry of another partition, or the honest one with other numbers."""
    version = newest_plan.rpartition("/")[2].removesuffix(".json")
    honest = whole_world.models[registry.versions.key(version)]
    cached = [key for key in listing(stores.reviews) if key.startswith("features/")]
    for before, key in zip(cached[-1:] + cached[:-1], cached, strict=True):
        data = whole_world.reviews[before]
        stores.reviews.put(key, data.split(b"\n", 1)[1])

    retrain.featurize(stores.models.uri(newest_plan))
    retrain.train(stores.models.uri(newest_plan))

    assert stores.models.get(registry.versions.key(version)) == honest
    counted("attacks", len(cached))


# ── What is decided ──────────────────────────────────────────────────────────────────────────


@FORGED
def test_an_evaluation_of_the_attackers_choice_decides_nothing(
    undecided, stores, registry, configure, counted, how
):
    configure(gate={"min_accuracy": 0.999})
    evaluation_uri = retrain.verify(retrain.evaluate(undecided))
    key = stores.resolve(evaluation_uri)[1]
    decision_key = stores.resolve(retrain.decide(evaluation_uri))[1]
    assert registry.decisions.decision(decision_key).verdict == "REJECT"

    honest = stores.models.get_record(key, Evaluation)
    perfect = honest.holdout.challenger.model_copy(update={"accuracy": 1.0})
    scores = honest.holdout.model_copy(update={"challenger": perfect})
    planted = honest.model_copy(update={"holdout": scores})
    plant(stores.models, key, forged(how, stores.models, planted, key))
    stores.models.delete(decision_key)

    refused(
        key, lambda: retrain.evaluate(undecided), lambda: retrain.verify(evaluation_uri),
        lambda: retrain.decide(evaluation_uri),
    )  # fmt: skip
    assert decision_key not in listing(stores.models)
    assert registry.log.champion() is None
    counted("attacks", 1)


@pytest.mark.parametrize("how", ["unsigned", "stranger", "another evaluation's"])
def test_a_check_of_the_attackers_choice_decides_nothing(
    undecided, whole_world, stores, registry, monkeypatch, configure, counted, how
):
    """The clean process fails the model, and a planted record says that all is well."""
    configure(gate={"ask_for_first_model": False})

    def fails(*_):
        raise verify.CleanRoomError("the model hangs")

    monkeypatch.setattr(verify, "ask_clean_room", fails)
    evaluation_uri = retrain.evaluate(undecided)
    key = keys.sibling(stores.resolve(evaluation_uri)[1], "artefact_check.json")
    old = next(name for name in whole_world.models if name.endswith("artefact_check.json"))
    evaluation = registry.decisions.evaluation(stores.resolve(evaluation_uri)[1])
    good = ArtefactCheck(
        model_name="sentiment", version=evaluation.version, policy=evaluation.policy,
        champion_generation=0, evaluation_sha256=evaluation.digest(),
        model_sha256=registry.versions.manifest(evaluation.version).model_sha256,
        answers_alike=True,
        why="", rows=64, largest_difference=0.0, scoring_cpu_milliseconds=1.0, load_seconds=0.1,
        peak_bytes=1,
    )  # fmt: skip
    data = whole_world.models[old] if how == "another evaluation's" else forged(
        how, stores.models, good, key
    )  # fmt: skip
    plant(stores.models, key, data)

    refused(key, lambda: retrain.verify(evaluation_uri), lambda: retrain.decide(evaluation_uri))

    stores.models.delete(key)
    honest = registry.decisions.decision(
        stores.resolve(retrain.decide(retrain.verify(evaluation_uri)))[1]
    )
    assert honest.verdict not in {"PROMOTE", "REFRESH"}
    counted("attacks", 1)


def test_a_decision_under_old_rules_is_none_under_stricter_ones(
    undecided, stores, registry, configure, counted
):
    """A dry run said PROMOTE; the rules were tightened; its records are copied to the new place."""
    configure(gate={"ask_for_first_model": False})
    old_uri = retrain.decide(retrain.verify(retrain.evaluate(undecided)))
    decision = context.read_decision(old_uri)
    assert decision.verdict == "PROMOTE"
    configure(gate={"min_accuracy": 0.999})
    policy = provenance.gate_policy(config.load())
    folder = keys.gate_key("sentiment", decision.version, 0, policy, "")
    for name in ("evaluation.json", "artefact_check.json", "decision.json"):
        old = keys.sibling(stores.resolve(old_uri)[1], name)
        stores.models.put(f"{folder}{name}", stores.models.get(old))
    copied = f"{folder}decision.json"
    copied_uri = stores.models.uri(copied)

    refused(
        copied, lambda: promote.promote(copied_uri, "x"),
        lambda: promote.next_step(copied_uri, is_dry_run=False),
        lambda: registry.decisions.find_decision(decision.version, 0, policy),
    )  # fmt: skip
    refused(f"{folder}evaluation.json", lambda: retrain.evaluate(undecided))
    with pytest.raises(StalePlanError, match="decided under other rules"):
        promote.promote(old_uri, "x")
    assert registry.log.champion() is None
    counted("attacks", 1)


# ── What a person reads, and says ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", card.FILES)
def test_nobody_reads_a_card_or_a_plot_that_was_changed(
    whole_world, stores, registry, counted, name
):
    key = key_like(stores.models, "/gates/00000000-", name)
    decision = stores.models.get_record(keys.sibling(key, "decision.json"), Decision)
    plant(stores.models, key, stores.models.get(key) + SHOWN.encode())

    refused(key, lambda: card.read(stores.reviews, registry, decision))

    assert key in failing_cli("decision", "card", decision.version)
    counted("attacks", 1)


def test_a_card_whose_list_of_files_is_forged_too_is_not_read(
    whole_world, stores, registry, counted
):
    key = key_like(stores.models, "/gates/00000000-", "card.json")
    decision = stores.models.get_record(keys.sibling(key, "decision.json"), Decision)
    files = registry.decisions.find_card(decision)
    text = SHOWN.encode()
    planted = files.model_copy(update={"files": files.files | {card.CARD: sha256_of(text)}})
    plant(stores.models, keys.sibling(key, card.CARD), text)
    for how in ("unsigned", "stranger"):
        plant(stores.models, key, forged(how, stores.models, planted, key))
        refused(key, lambda: card.read(stores.reviews, registry, decision))
        assert key in failing_cli("decision", "card", decision.version)

    counted("attacks", 2)


def test_a_report_that_was_changed_is_not_shown_and_fsck_names_it(
    whole_world, stores, registry, counted
):
    stored = key_like(stores.reviews, "reports/", "report.html")
    plant(stores.reviews, stored, stores.reviews.get(stored) + SHOWN.encode())

    page = report.page(stores.reviews, stored.replace("report.html", "validation.json"))

    assert SHOWN not in page
    (faults,) = check.check(stores.reviews, registry)
    assert (faults.kind, faults.key) == ("error", stored)
    counted("attacks", 1)


def test_a_yes_to_one_decision_is_none_to_another(
    undecided, whole_world, stores, registry, counted
):
    second = stores.models.uri(registry.versions.key(version_of(whole_world, "00000001")))
    asked = [retrain.decide(retrain.verify(retrain.evaluate(uri))) for uri in (undecided, second)]
    assert [context.read_decision(uri).approval for uri in asked] == ["needed", "needed"]
    promote.record_answer(asked[0], "approve", "ops", "this one is good")
    yes, there = (keys.sibling(stores.resolve(uri)[1], "approval.json") for uri in asked)
    planted = json.loads(stores.models.get(yes).split(b"\n", 1)[1]) | {
        "version": context.read_decision(asked[1]).version,
        "decision_sha256": context.read_decision(asked[1]).digest(),
    }
    seal = stores.models.get(yes).split(b"\n", 1)[0] + b"\n"

    for data in (stores.models.get(yes), canonical_json(planted), seal + canonical_json(planted)):
        plant(stores.models, there, data)
        refused(
            there, lambda: promote.promote(asked[1], "x"),
            lambda: promote.next_step(asked[1], is_dry_run=False),
            lambda: promote.record_answer(asked[1], "reject", "ops", "no"),
        )  # fmt: skip

    assert registry.log.champion() is None
    counted("attacks", 3)


def test_a_no_that_was_deleted_is_asked_for_again_and_never_taken_for_a_yes(
    undecided, stores, registry, counted
):
    uri = retrain.decide(retrain.verify(retrain.evaluate(undecided)))
    promote.record_answer(uri, "reject", "ops", "wrong on sequels")
    stores.models.delete(keys.sibling(stores.resolve(uri)[1], "approval.json"))

    assert promote.next_step(uri, is_dry_run=False) == "ask"
    assert promote.promote(uri, "x") is None
    decision = context.read_decision(uri)
    with pytest.raises(PromotionError, match="needs a person's approval"):
        promotion.promote(registry, decision, policy=decision.policy, actor="x", reason="")
    counted("attacks", 1)


# ── Who is champion ──────────────────────────────────────────────────────────────────────────


def cut_log(stores, keep, *, with_hint):
    for generation in range(keep + 1, 6):
        stores.models.delete(keys.log_key("sentiment", generation))
    if with_hint:
        stores.models.delete(keys.hint_key("sentiment"))


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_a_log_that_was_cut_back_has_no_champion(
    whole_world, stores, registry, tmp_path, counted, keep
):
    cut_log(stores, keep, with_hint=False)
    plan = stores.models.uri(key_like(stores.models, "/plans/"))
    folder = tmp_path / "consumer"

    refused(
        "cut back", registry.log.champion, retrain.take_snapshot, lambda: retrain.has_work(plan),
        lambda: champion.find_champion(registry), lambda: champion.pull(registry, folder),
        registry.check_nothing_cut,
    )  # fmt: skip

    assert "cutback" in failing_cli("champion", "show")
    assert "cutback" in failing_cli("retrain")
    assert not folder.exists()
    counted("attacks", 1)


def test_nothing_is_added_to_a_log_that_decisions_are_ahead_of(
    whole_world, stores, registry, counted
):
    """The hint is gone, too. A reader sees the older champion; a writer looks closer."""
    first = registry.log.entry(1)
    later = registry.decisions.decision_of(first).model_copy(update={"champion_generation": 2})
    registry.decisions.add_decision(later)
    cut_log(stores, 1, with_hint=True)
    for name in listing(stores.models):
        if "/rollbacks/" in name:
            stores.models.delete(name)
    second = first.model_copy(
        update={"generation": 2, "previous_entry_sha256": first.digest(), "token": "0" * 64}
    )

    refused("was made against generation 2", lambda: registry.append(second))

    assert [name for name in listing(stores.models) if "/log/" in name] == [registry.log.key(1)]
    counted("attacks", 1)


def test_a_log_that_is_gone_with_its_hint_is_not_one_that_never_began(
    whole_world, stores, registry, counted
):
    """Else labels would be believed, and losses overlooked, as before the first champion."""
    cut_log(stores, 0, with_hint=True)

    refused(
        "cut back", registry.log.champion, retrain.take_snapshot, registry.check_nothing_cut,
        lambda: champion.find_champion(registry),
    )  # fmt: skip

    assert "cutback" in failing_cli("retrain")
    counted("attacks", 1)


@pytest.mark.parametrize("keeps_an_older_champion", [True, False])
def test_a_rollback_plan_proves_the_champion_that_it_was_made_against(
    whole_world, stores, registry, counted, keeps_an_older_champion
):
    newest = registry.log.champion()
    key, plan = registry_rollback.make_plan(registry, "previous", reason="a test")
    assert (plan.champion_generation, plan.champion_version) == (5, newest.version)
    other = min({entry.version for entry in registry.log.history()} - {newest.version})
    cut_log(stores, 4, with_hint=True)
    for name in listing(stores.models):
        if "/gates/00000005-" in name:
            stores.models.delete(name)
    if not keeps_an_older_champion:  # somebody with the key went on from there
        registry.log.append(
            registry.log.entry(4).model_copy(
                update={
                    "generation": 5,
                    "previous_entry_sha256": registry.log.entry(4).digest(),
                    "version": other,
                    "token": "0" * 64,
                }
            )
        )

    refused(f"{key} names version {newest.version} as generation 5", registry.check_nothing_cut)
    counted("attacks", 1)


@pytest.mark.parametrize("keep", [0, 1])
def test_fsck_names_what_is_ahead_of_the_log_without_the_hint(
    whole_world, stores, registry, counted, keep
):
    cut_log(stores, keep, with_hint=True)

    ahead = [one for one in check.check(stores.reviews, registry) if "cut back" in one.what]

    assert ahead
    assert {one.kind for one in ahead} == {"error"}
    counted("attacks", 1)


def test_a_consumer_takes_no_step_back(whole_world, stores, registry, tmp_path, counted):
    champion.pull(registry, tmp_path)
    cut_log(stores, 1, with_hint=True)
    kept = {file: file.read_bytes() for file in tmp_path.rglob("*.json")}

    refused("cut back", lambda: champion.pull(registry, tmp_path))

    assert kept == {file: file.read_bytes() for file in tmp_path.rglob("*.json")}
    assert champion.load_pulled(tmp_path, sealing.keyring()).entry.generation == 5
    counted("attacks", 1)


def test_an_older_entry_of_ours_in_the_place_of_a_newer_one_is_none(
    whole_world, stores, registry, tmp_path, counted
):
    newest = registry.log.key(5)
    for older in range(1, 5):
        plant(stores.models, newest, stores.models.get(registry.log.key(older)))
        refused(
            newest, registry.log.champion, registry.log.history, retrain.take_snapshot,
            lambda: champion.pull(registry, tmp_path),
        )  # fmt: skip

    (alert,) = incidents.run_alerts(open_loop(), Run(dag_id="sentiment_retrain", run_id="x"))
    assert alert.kind == "champion_log_broken"
    counted("attacks", 4)


@FORGED
def test_an_entry_of_the_attackers_choice_makes_no_champion(
    whole_world, stores, registry, tmp_path, counted, how
):
    key = registry.log.key(5 if how == "old seal" else 6)
    newest = registry.log.entry(5)
    first = registry.log.entry(1)
    planted = LogEntry.model_validate(
        newest.model_dump()
        | {"version": first.version, "manifest_sha256": first.manifest_sha256}
        | {"generation": int(key[-13:-5]), "previous_entry_sha256": newest.digest()}
    )
    plant(stores.models, key, forged(how, stores.models, planted, key))

    refused(
        key, registry.log.champion, registry.log.history, lambda: champion.pull(registry, tmp_path)
    )

    counted("attacks", 1)


@FORGED
def test_a_rollback_that_nobody_planned_is_not_carried_out(
    whole_world, stores, registry, counted, how
):
    key = key_like(stores.models, "/rollbacks/")
    plan = stores.models.get_record(key, RollbackPlan)
    now = registry.log.champion()
    planted = plan.model_copy(
        update={"champion_generation": now.generation, "champion_version": now.version}
    )
    plant(stores.models, key, forged(how, stores.models, planted, key))

    refused(key, lambda: rollback.apply_rollback(stores.models.uri(key), "x"))

    assert registry.log.champion() == now
    counted("attacks", 1)


# ── What counts ──────────────────────────────────────────────────────────────────────────────


def test_no_planted_receipt_keeps_a_file_from_being_due(whole_world, stores, counted):
    landing = landing_key("new.csv", night=whole.NIGHTS[1])
    due = deliver(stores, landing, as_csv(some_rows(40, first=900, night=whole.NIGHTS[1])))
    tag = listing(stores.reviews)[landing]
    theirs = key_like(stores.reviews, "receipts/")
    receipt = stores.reviews.get_record(theirs, Receipt)
    planted = receipt.model_copy(
        update={"landing_key": landing, "version_tag": tag, "night": "2025-12-31"}
    )
    assert due in ingest.find_deliveries(whole.NIGHTS[1])

    for data in (
        planted.to_bytes(), stores.reviews.get(theirs),
        stores.reviews.get(theirs).split(b"\n", 1)[0] + b"\n" + planted.to_bytes(),
        sealed_by_a_stranger(
            planted.to_bytes(), kind="Receipt", place=f"reviews/{planted.object_key}"
        ),
    ):  # fmt: skip
        plant(stores.reviews, planted.object_key, data)
        assert due in ingest.find_deliveries(whole.NIGHTS[1])

    counted("attacks", 4)


@FORGED
def test_held_rows_that_nobody_released_stay_held(whole_world, stores, counted, how):
    plans = [key for key in listing(stores.reviews) if "/replay-plans/" in key]
    key = next(
        key for key in plans if stores.reviews.get_record(key, ReplayPlan).action == "discard"
        and stores.reviews.get_record(key, ReplayPlan).number == 3
    )  # fmt: skip
    plan = stores.reviews.get_record(key, ReplayPlan)
    before = standings.find(stores.reviews, plan.delivery)
    everything = tuple(row for row, _ in plan.quarantine)
    planted = plan.model_copy(
        update={"action": "release", "accept": everything, "quarantine": (), "discarded_rows": 0}
    )
    plant(stores.reviews, key, forged(how, stores.reviews, planted, key))

    refused(key, lambda: replay.apply_replay(stores.reviews.uri(key), "x"))

    assert standings.find(stores.reviews, plan.delivery) == before
    counted("attacks", 1)


def test_a_partition_of_other_rows_is_not_learned(whole_world, stores, registry, counted):
    plan = registry.versions.champion_manifest(registry.log.champion()).plan
    pinned = stores.reviews.get_record(keys.snapshot_key(plan.snapshot), Snapshot)
    part = pinned.partitions[0]
    planted = write_partition(stores.reviews, "accepted/date=2026-01-05",
                              rows_of_the_attackers_choice())  # fmt: skip
    plant(stores.reviews, part.key, stores.reviews.get(planted.key))

    refused(part.key, lambda: read_partition(stores.reviews, part, ["label"]))

    (found,) = [one for one in check.check(stores.reviews, registry, is_deep=True)
                if one.kind == "error"]  # fmt: skip
    assert found.key == part.key
    counted("attacks", 1)
