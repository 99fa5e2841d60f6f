"""### Retrain the sentiment classifier, and promote it if it is better

**Starts** when `reviews_ingest` accepted new reviews; also by REST and by hand.

**Does**: pin the accepted reviews (`take_snapshot`), fix everything that decides the model's bytes
(`plan`), compute what is missing of the features, train, score challenger and champion on the same
held out reviews, try the model file in a clean process (`verify`), decide, and `choose` what
follows: `promote` and `confirm` that consumers get exactly the approved model, `ask` a person, or
`keep_champion`.

**`ask` waits for a person** when the model is the first one, or when the numbers cannot tell
(INCONCLUSIVE). Answer under *Browse, Required Actions*: Approve or Reject, with a reason. The task
waits without a worker for `approval.timeout_hours` (20 unless configured). **No answer is a no**:
the champion stays, the run is green, and `record_answer` says so. If another version became
champion meanwhile, the answer is void: `promote` has the gate decide again, and where that needs a
person too, nothing is promoted and its log says so. How to decide: `docs/runbooks/approval.md`.

**Skipped after `has_work`** means: nothing changed since the last decision. Nothing is trained.

**Green `keep_champion`** means: the verdict allows no promotion, a person said no before, or this
was a dry run. The log of `decide` says every rule with its numbers. This is a result, not a
failure.

**`alert`** tells people of a failure and of a champion that was put back, once, if `[alerts]` is
configured; `ask` tells that somebody is waited for. Neither makes the run red. A run that takes
longer than `alerts.retrain_late_minutes` and waits for nobody is told, too:
`docs/runbooks/night-late.md`.

**Rerun** any task at any time: the same inputs give the same version, decision and log entry.
What to do when it is red: `docs/runbooks/retrain-failed.md`.
"""

from __future__ import annotations

from typing import Any

import pendulum
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Param, TriggerRule, dag, task
from alerting import alert_failed_run, alert_task, late_after
from approval import AskPerson
from loop_defaults import ACCEPTED, DEFAULT_ARGS

from pipelines import alert_steps, config, steps

ACTOR = "airflow {{ dag.dag_id }} {{ run_id }}"


@dag(
    schedule=[ACCEPTED],
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    # More than one: an asset event that arrives during a run must start a run of its own.
    # Promotion is serialized by the champion log, training by max_active_tis_per_dag.
    max_active_runs=4,
    default_args=DEFAULT_ARGS,
    on_failure_callback=alert_failed_run,
    deadline=late_after(config.load().alerts.retrain_late_minutes),
    doc_md=__doc__,
    user_defined_macros={"describe_decision": steps.describe_decision},
    tags=["sentiment", "owner:ml-platform", "tier:1"],
    params={
        "candidates": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            examples=sorted(config.load().candidates),
            title="Candidates",
            description="Which configured models to compare. Empty: those of the configuration.",
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
            description="Train and decide, but leave the champion as it is.",
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Reason",
            description="Kept with the champion's succession, for whoever asks later.",
        ),
    },
)
def sentiment_retrain() -> None:
    @task
    def plan(snapshot_uri: str, params: dict[str, Any] | None = None) -> str:
        chosen = params or {}
        return steps.plan(snapshot_uri, chosen["candidates"] or (), chosen["seed"])

    @task.branch
    def choose(decision_uri: str, params: dict[str, Any] | None = None) -> str:
        return steps.next_step(decision_uri, is_dry_run=(params or {})["dry_run"])

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
    def promote(decision_uri: str, actor: str, params: dict[str, Any] | None = None) -> str | None:
        return steps.promote(decision_uri, actor, (params or {})["reason"] or "")

    planned = plan(task(steps.take_snapshot)())
    featurized = task(steps.featurize)(planned)
    trained = task(max_active_tis_per_dag=1)(steps.train)(planned)
    verified = task(steps.verify)(task(steps.evaluate)(trained))
    decided = task(steps.decide)(verified)
    ask = AskPerson(
        task_id="ask",
        subject="May this model become champion?",
        body="{{ describe_decision(ti.xcom_pull(task_ids='decide')) }}",
        decision_uri=decided,
        settings=config.load().approval,
    )
    answered = task.short_circuit(task_id="record_answer")(steps.record_reply)(decided, ask.output)
    promoted = promote(decided, ACTOR)

    task.short_circuit(steps.has_work)(planned) >> featurized >> trained
    chosen = choose(decided)
    keep_champion = EmptyOperator(task_id="keep_champion")
    chosen >> [promoted, ask, keep_champion]
    answered >> promoted
    ends = [keep_champion, task(steps.write_card)(decided), task(steps.confirm)(promoted)]
    ends >> alert_task(alert_steps.alert_retrain)


sentiment_retrain()
