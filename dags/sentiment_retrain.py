"""### Retrain the sentiment classifier, and promote it if it is better

#### When it runs

When `reviews_ingest` or `reviews_replay` let new reviews count, unless `triggers.on_new_reviews` is
false; when `sentiment_monitor` asks for it, and then `note_start` logs why; at the times of
`model.schedule`, if it has any; also by REST and by hand.

#### What it does

Pin the accepted reviews (`take_snapshot`), fix everything that decides the model's bytes (`plan`),
compute the missing features, train, score challenger and champion on the same held out
reviews (`score` shares that out if there are many, and is skipped otherwise; `evaluate` puts it
together), try the model file in a clean process (`verify`), decide, and `choose` what follows:
`promote`, `confirm` that consumers get exactly the approved model and `bake` it in the services,
`ask` a person, or `keep_champion`.

**`bake`** asks the services in `serving.addresses`, if there are any: do all answer with the new
champion, and as the gate recorded? It waits without a worker. If a service shows that they do not,
the former champion is put back. If a service cannot show it within `serving.bake.max_seconds`, the
champion stays, the task is red, and a person decides: `docs/runbooks/bake-inconclusive.md`.

**`ask` waits for a person** when the model is the first one, or when the numbers do not decide
(INCONCLUSIVE). Answer under *Browse, Required Actions*: Approve or Reject, with a reason. The task
waits without a worker for `approval.timeout_hours` (20 unless configured). **Without an answer the
champion stays**: the run is green, and `record_answer` says so. If another version became champion
in the meantime, the answer is void: `promote` has the gate decide again. If that needs a person,
too, nothing is promoted and its log says so. How to decide: `docs/runbooks/approval.md`.

**Skipped after `has_work`** means: nothing changed since the last decision. Nothing is trained.

**Green `keep_champion`** means: the verdict does not allow a promotion, a person rejected the
version before, or this was a dry run. The log of `decide` lists every rule with its numbers. This
is a result, not a failure.

#### When it is red

A task failed. The champion is unchanged, or `confirm` or `bake` put the former one back. A model
that is not good enough does not make the run red.

**`alert`** reports once a failure or a champion that was put back, if `[alerts]` is configured;
`ask` reports that the run waits for a person. Neither makes the run red. A run that takes longer
than `alerts.retrain_late_minutes` and does not wait for a person is also reported.

#### How to rerun

Any task at any time: the same inputs give the same version, decision and log entry.

#### Runbook

`docs/runbooks/retrain-failed.md`; when a model waits for a person: `docs/runbooks/approval.md`;
when it is late: `docs/runbooks/night-late.md`.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, TriggerRule, task
from alerting import alert_task, late_after
from approval import AskPerson
from baking import Bake
from loop_defaults import (
    ACTOR,
    SHARE,
    SHARE_TO_SCORE,
    asked_by,
    export_task,
    for_real,
    loop_dag,
    models_to_parse,
    named,
    starts,
    wanted_of,
)
from succession import champion_of, check_and_remember, confirm

from pipelines.core import config
from pipelines.steps import alerts, exports, monitor, retrain
from pipelines.steps import promote as steps_promote
from pipelines.steps.context import one_of_several

logger = logging.getLogger(__name__)


def retraining(model: str) -> None:
    """The retraining of one model."""
    settings, champion, wanted = config.load().of(model), champion_of(model), wanted_of(model)

    @loop_dag(
        settings.dags,
        dag_id=f"{settings.dags}_retrain",
        schedule=starts(settings, wanted),
        # More than one: an asset event that arrives during a run must start a run of its own.
        # Promotion is serialized by the champion log, training by max_active_tis_per_dag.
        max_active_runs=4,
        deadline=late_after(settings.alerts.retrain_late_minutes),
        doc_md=__doc__,
        user_defined_macros={
            "describe_decision": partial(steps_promote.describe_decision, model=model)
        },
        description="Train a challenger, compare it with the champion, promote it if it is better.",
        params={
            "candidates": Param(
                None,
                type=["null", "array"],
                items={"type": "string"},
                examples=sorted(settings.candidates),
                title="Candidates",
                description="Which candidates to compare. Empty: those of the configuration.",
            ),
            "seed": Param(
                None,
                type=["null", "integer"],
                minimum=0,
                maximum=2**32 - 1,
                title="Seed",
                description="Empty: the configured seed. Another seed is another version.",
            ),
            "dry_run": Param(
                False,
                type="boolean",
                title="Dry run",
                description="Train and decide, but do not change the champion.",
            ),
            "reason": Param(
                None,
                type=["null", "string"],
                maxLength=500,
                title="Reason",
                description="Kept in the champion log, for people who read it later.",
            ),
        },
    )
    def sentiment_retrain() -> None:
        @named("Plan the version")
        def plan(snapshot_uri: str, params: dict[str, Any] | None = None) -> str:
            chosen = params or {}
            return retrain.plan(snapshot_uri, chosen["candidates"] or (), chosen["seed"], model)

        @task.branch(task_display_name="Choose what follows")
        def choose(decision_uri: str, params: dict[str, Any] | None = None) -> str:
            is_dry_run = (params or {})["dry_run"]
            return steps_promote.next_step(decision_uri, is_dry_run=is_dry_run, model=model)

        @named("Promote it to champion", trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
        @for_real
        def promote(
            decision_uri: str, actor: str, asked: str | None, params: dict[str, Any] | None = None
        ) -> str | None:
            reason = (params or {})["reason"] or (monitor.reason_of(asked, model) if asked else "")
            return steps_promote.promote(decision_uri, actor, reason, model)

        @named("Note what started it")
        def note_start(triggering_asset_events: Any = None) -> str | None:
            asked = asked_by(triggering_asset_events, wanted)
            logger.info(monitor.reason_of(asked, model) if asked else "new reviews, or a person")
            return asked

        @named("Take a snapshot of what counts", inlets=[champion])
        def take_snapshot(asset_state_store: Any = None) -> str:
            check_and_remember(asset_state_store, model)
            return retrain.take_snapshot(model)

        noted, snapshot = note_start(), take_snapshot()
        noted >> snapshot
        planned = plan(snapshot)
        training = named(
            "Train the challenger", task_id="train", max_active_tis_per_dag=1, is_large=True
        )
        trained = training(retrain.train_and_share)(planned, model)
        scoring = named("Score what is held out", map_index_template=SHARE_TO_SCORE, is_large=True)
        scored = scoring(retrain.score).partial(plan_uri=planned, model=model).expand(share=trained)
        evaluating = named(
            "Evaluate it against the champion",
            task_id="evaluate",
            trigger_rule=TriggerRule.NONE_FAILED,  # with few packs `score` is skipped
            is_large=True,
        )
        evaluated = evaluating(retrain.evaluate_trained)(planned, model)
        [trained, scored] >> evaluated
        verifying = named("Verify it in a clean process", is_large=True)
        verified = verifying(retrain.verify)(evaluated, model)
        decided = named("Decide by the rules of the gate")(retrain.decide)(verified, model)
        ask = AskPerson(
            task_id="ask",
            task_display_name="Ask a person",
            subject=f"May this model become champion{one_of_several(model)}?",
            body="{{ describe_decision(ti.xcom_pull(task_ids='decide')) }}",
            decision_uri=decided,
            settings=settings.approval,
            model=model,
        )
        record_answer = task.short_circuit(
            task_id="record_answer", task_display_name="Record the person's answer"
        )
        answered = record_answer(steps_promote.record_reply)(decided, ask.output, model)
        promoted = promote(decided, ACTOR, noted)

        has_work = task.short_circuit(task_display_name="Has work, or was it decided before?")
        shares = has_work(retrain.has_work)(planned, model)
        featurizing = named("Featurize what is new", map_index_template=SHARE, is_large=True)
        (
            featurizing(retrain.featurize)
            .partial(plan_uri=planned, model=model)
            .expand(share=shares)
            >> trained
        )
        keep_champion = EmptyOperator(
            task_id="keep_champion", task_display_name="Keep the champion"
        )
        chosen = choose(decided)
        chosen >> [promoted, ask, keep_champion]
        answered >> promoted
        card = named("Write the model card")(retrain.write_card)(decided, model)
        bake = Bake(
            task_id="bake",
            task_display_name="Bake it in the services",
            entry_uri=promoted,
            model=model,
        )
        named("Confirm what consumers get", inlets=[champion])(confirm)(promoted, model) >> bake
        ends = [keep_champion, card, bake]
        alerted = alert_task(alerts.alert_retrain)
        ends >> alerted
        if settings.exports.takes_champions:
            alerted >> export_task(exports.export_champion, promoted, model)

    sentiment_retrain()


for each in models_to_parse():
    retraining(each)
