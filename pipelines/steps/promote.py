"""The steps of `sentiment_retrain` from the verdict on: ask, promote, confirm."""

from __future__ import annotations

import contextlib
import logging
from typing import Literal, TypedDict

from pipelines.core import keys
from pipelines.core.errors import (
    ChampionMovedError,
    ConfirmationError,
    PromotionError,
    concerns_one_record,
    sentence,
)
from pipelines.core.settings.settings import command
from pipelines.steps import retrain
from pipelines.steps.context import open_loop, settings_of

logger = logging.getLogger(__name__)

MAX_REDECISIONS = 5

NextStep = Literal["promote", "ask", "keep_champion"]
Answer = Literal["approve", "reject"]


class Reply(TypedDict):
    """A person's answer to the question about one decision."""

    decision_uri: str
    answer: Answer
    actor: str
    reason: str


def next_step(decision_uri: str, *, is_dry_run: bool, model: str | None = None) -> NextStep:
    """What follows a decision: promote, ask a person, or keep the champion."""
    from pipelines.registry import approvals

    loop = open_loop(model=model)
    registry = loop.registry
    decision = registry.decisions.decision(loop.key(decision_uri))
    if is_dry_run or not approvals.is_open(registry, decision):
        logger.info("The champion stays: %s. %s", decision.verdict, decision.why)
        return "keep_champion"
    return "promote" if approvals.is_allowed(registry, decision) else "ask"


def describe_decision(decision_uri: str, model: str | None = None) -> str:
    """The question to a person about a decision, as Markdown."""
    from pipelines.gate import question

    loop = open_loop(model=model)
    decision = loop.registry.decisions.decision(loop.key(decision_uri))
    return question.describe(
        decision,
        timeout_hours=loop.settings.approval.timeout_hours,
        airflow_url=loop.settings.alerts.airflow_url,
    )


def record_reply(decision_uri: str, reply: Reply | None, model: str | None = None) -> bool:
    """Keep what a person replied in Airflow; returns whether the version may be promoted.

    Parameters
    ----------
    decision_uri : str
        The decision that somebody was asked about.
    reply : Reply, optional
        None when nobody replied in time. Then nothing is kept.
    model : str, optional
        Which the decision is about.

    Raises
    ------
    PromotionError
        If the reply is about another decision, or `record_answer` refuses it.
    """
    from pipelines.registry import approvals

    if reply is not None:
        if reply["decision_uri"] != decision_uri:
            raise PromotionError(
                f"{reply['actor']} was asked about {reply['decision_uri']}, and the decision now "
                f"is {decision_uri}: the answer is void. Start a new run of "
                f"{settings_of(model).dags}_retrain"
            )
        return record_answer(**reply, model=model) == "approve"
    loop = open_loop(model=model)
    registry = loop.registry
    decision = registry.decisions.decision(loop.key(decision_uri))
    if approvals.is_allowed(registry, decision):
        logger.info("Version %s was approved elsewhere in the meantime.", decision.version)
        return True
    logger.warning(
        "Nobody approved version %s in time: the champion stays. Run %s_retrain again to "
        "ask again, or: %s",
        decision.version, loop.settings.dags,
        command(f"decision approve {decision.version} --reason ...", decision.model_name),
    )  # fmt: skip
    return False


def record_answer(
    decision_uri: str, answer: Answer, actor: str, reason: str, model: str | None = None
) -> Answer:
    """Keep a person's answer on a version that needs approval; returns the answer that stands.

    Raises
    ------
    PromotionError
        If the decision asks for no approval, or there is no reason.
    """
    from pipelines.registry import approvals

    loop = open_loop(model=model)
    key = loop.key(decision_uri)
    approval = approvals.answer(loop.registry, key, answer, actor=actor, reason=reason)
    logger.info("version=%s answer=%s actor=%s", approval.version, approval.answer, approval.actor)
    if approval.answer != answer:
        logger.warning(
            "The first answer stands: %s answered %s (%s). Ignored: the later answer %s by %s.",
            approval.actor, approval.answer, approval.reason, answer, actor,
        )  # fmt: skip
    return approval.answer


def promote(
    decision_uri: str, actor: str, reason: str = "", model: str | None = None
) -> str | None:
    """Make the decided version champion; returns the log entry's URI.

    If another version was promoted in the meantime, this one is evaluated and decided on again,
    against the new champion; None when it is no longer good enough. An approval covers only one
    decision, so a person must then be asked again.

    Raises
    ------
    ChampionMovedError
        If the champion changes `MAX_REDECISIONS` times in a row.
    """
    from pipelines.core import provenance
    from pipelines.registry import promotion

    loop = open_loop(model=model)
    registry, policy = loop.registry, provenance.gate_policy(loop.settings)
    for _ in range(MAX_REDECISIONS):
        decision = registry.decisions.decision(loop.key(decision_uri))
        try:
            entry = promotion.promote_if_allowed(
                registry, decision, policy=policy, actor=actor, reason=reason
            )
        except ChampionMovedError as error:
            lost = error
            manifest_uri = loop.models.uri(registry.versions.key(decision.version))
            decision_uri = _decide_again(manifest_uri, model)
        else:
            return loop.models.uri(entry.object_key) if entry else None
    raise lost


def _decide_again(manifest_uri: str, model: str | None) -> str:
    evaluation_uri = retrain.verify(retrain.evaluate(manifest_uri, model), model)
    decision_uri = retrain.decide(evaluation_uri, model)
    with contextlib.suppress(Exception):  # a card must not stop a promotion
        retrain.write_card(decision_uri, model)
    return decision_uri


def confirm(entry_uri: str | None, model: str | None = None) -> int:
    """Check that consumers get the approved model; returns the number of compared answers.

    If they do not, the previous champion is put back at once.

    Raises
    ------
    ConfirmationError
        If a consumer would get another model than the approved one; it says what was put back.
    """
    if entry_uri is None:
        logger.info("Nothing was promoted, so there is nothing to confirm.")
        return 0
    from pipelines.registry import rollback
    from pipelines.serving import confirm as serving_confirm

    loop = open_loop(model=model)
    registry = loop.registry
    generation = keys.generation_of(loop.key(entry_uri), registry.name)
    if generation is None:
        raise PromotionError(f"{entry_uri} is not an entry of this model's champion log")
    try:
        return serving_confirm.confirm(loop.reviews, registry, generation, loop.settings)
    except Exception as error:
        # A fault of this machine or of the whole store is not a fault of the champion.
        if isinstance(error, OSError | MemoryError) or not concerns_one_record(error):
            raise
        why = sentence(error)
        back = rollback.undo(registry, generation, reason=f"confirm: {why}"[:500])
        raise ConfirmationError(generation=generation, why=why, put_back=back) from error
