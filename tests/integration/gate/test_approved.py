"""A person's answer to a decision: what it lets through, what makes it void, and that it stays."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import provenance
from pipelines.core.errors import PromotionError, SignatureError, TrustError
from pipelines.core.keys import sibling
from pipelines.gate import question
from pipelines.registry import approvals, promotion
from pipelines.registry.fsck import check
from pipelines.steps import promote as steps_promote
from pipelines.steps import retrain
from tests.support.hostile.forging import resealed, tampered
from tests.support.made.registry_builders import a_version, decided, promoted

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")

ASKED = pytest.mark.parametrize("verdict", ["PROMOTE", "INCONCLUSIVE"])
# Made-up reviews are alike, so many of those held out resemble one that was trained on.
ASK_FOR_FIRST = {"ask_for_first_model": True, "max_overlap_share": 1.0}


def asked(registry, name="a", **changes):
    """The key of a decision that needs a person, and the decision."""
    return decided(registry, a_version(registry, name), approval="needed", **changes)


def answer(registry, key, says, *, reason="I read its errors", actor="ops"):
    return approvals.answer(registry, key, says, actor=actor, reason=reason)


def promote(registry, decision, *, reason=""):
    return promotion.promote(
        registry, decision, policy=decision.policy, actor="a run", reason=reason
    )


def a_reply(decision_uri, says):
    return steps_promote.Reply(
        decision_uri=decision_uri, answer=says, actor="ops on airflow", reason="I read its errors"
    )


def cli(*arguments):
    reply = CliRunner().invoke(app, [*arguments, "--json"])
    assert reply.exit_code == 0, reply.output
    return json.loads(reply.stdout)


def failing_cli(*arguments):
    reply = CliRunner().invoke(app, list(arguments))
    assert reply.exit_code == 1, reply.output
    return " ".join(reply.stderr.split())


# ── What an answer does ──────────────────────────────────────────────────────────────────────


@ASKED
def test_what_needs_a_person_is_not_promoted_without_one(registry, verdict):
    _key, decision = asked(registry, verdict=verdict)

    with pytest.raises(PromotionError, match="needs a person's approval, and has none"):
        promote(registry, decision)

    assert not approvals.is_allowed(registry, decision)
    assert approvals.is_open(registry, decision)
    assert registry.log.champion() is None


@ASKED
def test_an_approved_version_is_promoted_and_the_log_says_who_said_yes_and_why(registry, verdict):
    key, decision = asked(registry, verdict=verdict)
    approval = answer(registry, key, "approve")

    entry = promote(registry, decision)

    assert approvals.is_allowed(registry, decision)
    assert (entry.actor, entry.reason) == ("ops", "I read its errors")
    assert entry.approval_key == sibling(key, "approval.json")
    assert entry.approval_sha256 == approval.digest()
    assert registry.log.champion() == entry


def test_the_reason_of_the_run_is_kept_beside_that_of_the_person(registry):
    key, decision = asked(registry)
    answer(registry, key, "approve", reason="it reads well")

    assert promote(registry, decision, reason="a new source").reason == (
        "it reads well; a new source"
    )


@ASKED
def test_a_rejected_version_is_never_promoted(registry, verdict):
    key, decision = asked(registry, verdict=verdict)
    answer(registry, key, "reject", reason="wrong on sequels")

    with pytest.raises(PromotionError, match=r"ops rejected it \(wrong on sequels\)"):
        promote(registry, decision)

    assert not approvals.is_allowed(registry, decision)
    assert not approvals.is_open(registry, decision)
    assert registry.log.champion() is None


@pytest.mark.parametrize(("first", "second"), [("reject", "approve"), ("approve", "reject")])
def test_the_first_answer_stands(registry, first, second):
    key, decision = asked(registry)
    kept = answer(registry, key, first)

    assert answer(registry, key, second, actor="somebody else") == kept
    assert approvals.find_approval(registry, decision) == kept
    assert kept.answer == first


def test_repeating_an_approved_promotion_is_one_promotion(registry):
    key, decision = asked(registry)
    answer(registry, key, "approve")
    first = promote(registry, decision)

    assert promote(registry, decision) == first
    assert registry.log.history() == [first]


@pytest.mark.parametrize(
    ("verdict", "approval"),
    [("PROMOTE", "not_needed"), ("REJECT", "impossible"), ("HOLD", "impossible")],
)
def test_nobody_is_asked_where_a_person_can_decide_nothing(registry, verdict, approval):
    key, _ = decided(registry, a_version(registry, "a"), verdict=verdict, approval=approval)

    with pytest.raises(PromotionError, match="does not ask for approval"):
        answer(registry, key, "approve")

    assert registry.decisions.find_approval(registry.decisions.decision(key)) is None


@pytest.mark.parametrize("verdict", ["REJECT", "HOLD"])
def test_a_person_cannot_let_through_what_the_gate_holds_back(registry, verdict):
    """Not even if the decision, against the gate's own rules, said that a person may."""
    key, decision = asked(registry, verdict=verdict)
    answer(registry, key, "approve")

    with pytest.raises(PromotionError, match=f"the decision on it is {verdict}"):
        promote(registry, decision)


def test_an_answer_without_a_reason_is_none(registry):
    key, _ = asked(registry)

    with pytest.raises(PromotionError, match="needs a reason"):
        answer(registry, key, "approve", reason="  ")

    assert registry.decisions.find_approval(registry.decisions.decision(key)) is None


# ── What makes it void ───────────────────────────────────────────────────────────────────────


def test_an_approval_put_beside_another_decision_is_void(registry, stores):
    key, _ = asked(registry, "a")
    other_key, other = asked(registry, "b")
    answer(registry, key, "approve")
    stores.models.put(
        sibling(other_key, "approval.json"), stores.models.get(sibling(key, "approval.json"))
    )

    for refuse in (
        lambda: promote(registry, other),
        lambda: approvals.is_allowed(registry, other),
        lambda: approvals.is_open(registry, other),
        lambda: answer(registry, other_key, "reject"),
    ):
        with pytest.raises(SignatureError, match="was signed as ApprovalRecord for"):
            refuse()


def test_an_approval_that_nobody_signed_is_refused(registry, stores):
    key, decision = asked(registry)
    approval = answer(registry, key, "approve")
    stores.models.put(approval.object_key, approval.to_bytes())

    with pytest.raises(SignatureError):
        promote(registry, decision)


def test_a_no_that_was_turned_into_a_yes_is_refused(registry, stores):
    key, decision = asked(registry)
    no = answer(registry, key, "reject").object_key
    stores.models.put(no, tampered(stores.models.get(no), answer="approve"))

    with pytest.raises(SignatureError, match="was changed after"):
        approvals.is_allowed(registry, decision)


def test_a_flipped_byte_in_an_approval_is_refused_and_found(registry, stores):
    key, decision = asked(registry)
    answer(registry, key, "approve")
    promote(registry, decision)
    approval_key = sibling(key, "approval.json")
    whole = stores.models.get(approval_key)

    for place in range(0, len(whole), len(whole) // 6):
        changed = bytearray(whole)
        changed[place] ^= 1
        stores.models.put(approval_key, bytes(changed))
        with pytest.raises(TrustError):
            registry.decisions.find_approval(registry.decisions.decision(key))
        errors = {found.key for found in check.check(stores.reviews, registry)
                  if found.kind == "error"}  # fmt: skip
        assert approval_key in errors, place


def test_an_approval_that_was_replaced_by_another_signed_one_is_found(registry, stores):
    key, decision = asked(registry)
    approval = answer(registry, key, "approve")
    promote(registry, decision)
    stores.models.put(approval.object_key, resealed(approval, reason="another one"))

    errors = {found.key: found.what for found in check.check(stores.reviews, registry)
              if found.kind == "error"}  # fmt: skip

    assert "was replaced" in errors[sibling(key, "approval.json")]


def test_an_approval_is_void_when_the_champion_moved_meanwhile(registry, stores, monkeypatch):
    """The gate decides again; where that needs a person as well, nobody is promoted."""
    key, decision = asked(registry, "b", verdict="INCONCLUSIVE")
    answer(registry, key, "approve")
    moved = promoted(registry, "a")
    again_key, again = asked(
        registry, "b", verdict="INCONCLUSIVE", against=moved, policy=decision.policy
    )
    monkeypatch.setattr(provenance, "gate_policy", lambda _settings: decision.policy)
    monkeypatch.setattr(retrain, "evaluate", lambda manifest_uri, _model: manifest_uri)
    monkeypatch.setattr(retrain, "verify", lambda evaluation_uri, _model: evaluation_uri)
    monkeypatch.setattr(
        retrain, "decide", lambda _evaluation_uri, _model: stores.models.uri(again_key)
    )

    assert steps_promote.promote(stores.models.uri(key), "a run") is None

    assert registry.log.history() == [moved]
    assert approvals.is_open(registry, again)


# ── The steps ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("approval", "said", "is_dry_run", "follows"),
    [
        ("not_needed", None, False, "promote"),
        ("not_needed", None, True, "keep_champion"),
        ("needed", None, False, "ask"),
        ("needed", None, True, "keep_champion"),
        ("needed", "approve", False, "promote"),
        ("needed", "reject", False, "keep_champion"),
        ("impossible", None, False, "keep_champion"),
    ],
)
def test_what_follows_a_decision(registry, stores, approval, said, is_dry_run, follows):
    key, _ = decided(registry, a_version(registry, "a"), approval=approval)
    if said:
        answer(registry, key, said)

    assert steps_promote.next_step(stores.models.uri(key), is_dry_run=is_dry_run) == follows


@pytest.mark.parametrize(("says", "is_approved"), [("approve", True), ("reject", False)])
def test_a_reply_is_kept_and_says_whether_to_go_on(registry, stores, says, is_approved):
    key, _ = asked(registry)
    uri = stores.models.uri(key)

    assert steps_promote.record_reply(uri, a_reply(uri, says)) is is_approved

    kept = registry.decisions.find_approval(registry.decisions.decision(key))
    assert (kept.answer, kept.actor, kept.reason) == (says, "ops on airflow", "I read its errors")


def test_no_reply_in_time_is_no_yes_and_is_not_kept_as_a_persons_no(registry, stores):
    key, decision = asked(registry)

    assert steps_promote.record_reply(stores.models.uri(key), None) is False

    assert registry.decisions.find_approval(registry.decisions.decision(key)) is None
    assert approvals.is_open(registry, decision)


@pytest.mark.parametrize(("says", "is_approved"), [("approve", True), ("reject", False)])
def test_without_a_reply_an_answer_given_elsewhere_counts(registry, stores, says, is_approved):
    key, _ = asked(registry)
    answer(registry, key, says)

    assert steps_promote.record_reply(stores.models.uri(key), None) is is_approved


def test_a_yes_after_somebody_elses_no_does_not_go_on(registry, stores):
    key, _ = asked(registry)
    answer(registry, key, "reject")
    uri = stores.models.uri(key)

    assert steps_promote.record_reply(uri, a_reply(uri, "approve")) is False


def test_a_reply_about_another_decision_is_void(registry, stores):
    key, _ = asked(registry, "a")
    other_key, _ = asked(registry, "b")
    reply = a_reply(stores.models.uri(other_key), "approve")

    with pytest.raises(PromotionError, match="the answer is void"):
        steps_promote.record_reply(stores.models.uri(key), reply)

    assert registry.decisions.find_approval(registry.decisions.decision(key)) is None
    assert registry.decisions.find_approval(registry.decisions.decision(other_key)) is None


def test_the_question_of_a_step_is_that_of_its_decision_and_names_the_time(
    registry, stores, configure
):
    configure(approval={"timeout_hours": 1.5})
    key, decision = asked(registry)

    text = steps_promote.describe_decision(stores.models.uri(key))

    assert text == question.describe(decision, timeout_hours=1.5)
    assert "within 1.5 hours" in text
    assert decision.version in text


# ── From a shell ─────────────────────────────────────────────────────────────────────────────


def test_a_first_model_waits_for_a_person_until_one_approves(ingest_night, configure, registry):
    configure(gate=ASK_FOR_FIRST)
    ingest_night(1)
    facts = cli("retrain")
    waiting = CliRunner().invoke(app, ["retrain"])
    shown = CliRunner().invoke(app, ["decision", "show", facts["version"]])
    champion_before = registry.log.champion()

    approved = cli("decision", "approve", facts["version"], "--reason", "I read its errors")
    repeated = cli("decision", "approve", facts["version"], "--reason", "once more")

    assert (facts["verdict"], facts["is_promoted"], facts["needs_approval"]) == (
        "PROMOTE", False, True,
    )  # fmt: skip
    for said in (waiting, shown):
        assert said.exit_code == 0
        assert f"decision approve {facts['version']}" in " ".join(said.stderr.split())
    assert champion_before is None
    assert approved == {"version": facts["version"], "answer": "approve", "is_promoted": True}
    assert repeated == approved
    (entry,) = registry.log.history()
    assert (entry.generation, entry.version) == (1, facts["version"])
    assert entry.actor.startswith("shell ")
    assert entry.reason == "I read its errors"


@pytest.mark.long
def test_a_rejected_first_model_is_not_asked_about_again(ingest_night, configure, registry):
    configure(gate=ASK_FOR_FIRST)
    ingest_night(1)
    version = cli("retrain")["version"]

    rejected = cli("decision", "reject", version, "--reason", "wrong on sequels")

    assert rejected == {"version": version, "answer": "reject"}
    assert cli("retrain")["verdict"] == "NOTHING_CHANGED"
    assert "was rejected before" in failing_cli("decision", "approve", version, "--reason", "but")
    assert "wrong on sequels" in CliRunner().invoke(app, ["decision", "show", version]).stdout
    assert registry.log.champion() is None


def test_a_decision_against_a_former_champion_cannot_be_approved_any_more(registry, monkeypatch):
    _, decision = asked(registry, "b")
    monkeypatch.setattr(provenance, "gate_policy", lambda _settings: decision.policy)
    moved = promoted(registry, "a")

    said = failing_cli("decision", "approve", decision.version, "--reason", "too late")

    assert "generation 0; the champion is generation 1 now" in said
    assert registry.log.history() == [moved]


def test_a_decision_by_rules_that_are_not_in_force_cannot_be_approved(registry):
    key, decision = asked(registry, "b")

    said = failing_cli("decision", "approve", decision.version, "--reason", "too late")

    assert "no decision on version" in said
    assert approvals.find_approval(registry, registry.decisions.decision(key)) is None


def test_a_decision_that_asks_nobody_cannot_be_approved(registry, monkeypatch):
    _, decision = decided(registry, a_version(registry, "a"), verdict="REJECT")
    monkeypatch.setattr(provenance, "gate_policy", lambda _settings: decision.policy)

    assert "does not ask for approval" in failing_cli(
        "decision", "approve", decision.version, "--reason", "I like it"
    )
