"""Ask a person through Airflow's own human-in-the-loop, and fail closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError, TaskAwaitingInput

from pipelines.alerts.alert import Run
from pipelines.core.settings.operation import ApprovalSettings
from pipelines.steps import alerts
from pipelines.steps.promote import Answer, Reply

APPROVE, REJECT = "Approve", "Reject"
ANSWERS: dict[str, Answer] = {APPROVE: "approve", REJECT: "reject"}

MIN_REASON_CHARS, MAX_REASON_CHARS = 5, 500

# The form requires it because it is empty. Its name must differ from every field of the DAG's own
# form: Airflow would replace it with the value that the run was started with.
REASON = "why"


class AskPerson(HITLOperator):
    """Ask to approve or reject; returns the reply, or None when nobody replied in time.

    An answer without a reason fails the task, and its retry asks again. So does the answer that
    Airflow 3.3.2 loses when it comes within about a second of the question.
    """

    template_fields = (*HITLOperator.template_fields, "decision_uri")

    def __init__(
        self,
        *,
        decision_uri: str,
        settings: ApprovalSettings,
        model: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("params", None)  # the DAG's own: Airflow gives them to every operator
        super().__init__(
            options=[APPROVE, REJECT],
            defaults=REJECT,
            response_timeout=timedelta(hours=settings.timeout_hours),
            assigned_users=[{"id": name, "name": name} for name in settings.approvers],
            params={
                REASON: Param(
                    "",
                    type="string",
                    pattern=f"^(|.{{{MIN_REASON_CHARS},{MAX_REASON_CHARS}}})$",
                    title="Reason",
                    description="Kept permanently with your answer. At least 5 characters.",
                )
            },
            **kwargs,
        )
        self.decision_uri, self.model = decision_uri, model

    def execute(self, context: Any) -> None:
        """Notify people, ask the question and wait, remembering which decision it is about.

        Raises
        ------
        AirflowFailException
            If the page shows an older question of this run, which Airflow never changes.
        """
        # Before the question: an answer that comes before the task waits would be lost.
        run = Run(dag_id=self.dag_id, run_id=context.get("run_id", ""))
        alerts.alert_waiting(run, self.decision_uri, self.model)
        if _first_line(shown_question(self, context)) != _first_line(self.body):
            raise AirflowFailException(
                "this run asked about another decision before, and Airflow still shows that "
                f"question. Nothing is promoted. Start a new run of {self.dag_id} to ask again."
            )
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            waiting.kwargs = {"decision_uri": self.decision_uri}
            raise

    def execute_complete(
        self, context: Any, event: dict[str, Any], decision_uri: str = ""
    ) -> Reply | None:
        answer = super().execute_complete(context, event)
        user = answer["responded_by_user"]
        if user is None:
            self.log.warning("Nobody answered within %s.", self.response_timeout)
            return None
        reason = (answer["params_input"].get(REASON) or "").strip()
        if len(reason) < MIN_REASON_CHARS:
            raise ParamValidationError(
                f"{user['name']} answered with the reason {reason!r}; it must have at least "
                f"{MIN_REASON_CHARS} characters. The question is asked again."
            )
        return Reply(
            decision_uri=decision_uri,
            answer=ANSWERS[answer["chosen_options"][0]],
            actor=f"{_shown(user)} on airflow {self.dag_id} {context['run_id']}",
            reason=reason,
        )


def shown_question(task: HITLOperator, context: Any) -> str | None:
    """Ask the task's question unless it was asked already; returns the text that people see."""
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    question = {
        "ti_id": context["task_instance"].id,
        "options": task.options,
        "subject": task.subject,
        "body": task.body,
        "defaults": task.defaults,
        "multiple": task.multiple,
        "params": task.serialized_params,
        "assigned_users": task.assigned_users or [],
    }
    # What `HITLOperator` sends itself, but it drops the response.
    stored: Any = SUPERVISOR_COMMS.send(CreateHITLDetailPayload.model_validate(question))
    shown: str | None = stored.body
    return shown


def _first_line(question: str | None) -> str:
    """The line that differs between questions about different decisions."""
    return (question or "").partition("\n")[0]


def _shown(user: dict[str, str]) -> str:
    """A user's name, with the id if it differs."""
    return user["name"] if user["name"] == user["id"] else f"{user['name']} (id {user['id']})"
