"""Ask a person through Airflow's own human-in-the-loop, and fail closed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import ParamValidationError

from pipelines.config import ApprovalSettings
from pipelines.steps import Answer, Reply

APPROVE, REJECT = "Approve", "Reject"
ANSWERS: dict[str, Answer] = {APPROVE: "approve", REJECT: "reject"}

MIN_REASON_CHARS, MAX_REASON_CHARS = 5, 500

# The form demands it because it is empty. It must not be called like a field of the DAG's own form:
# Airflow would lay the value that the run was started with over it.
REASON = "why"


class AskPerson(HITLOperator):
    """Ask to approve or reject; returns the reply, or None when nobody replied in time.

    An answer without a reason fails the task, and its retry asks again. So does the answer that
    Airflow 3.3.2 loses when it comes within about a second of the question.
    """

    def __init__(self, *, settings: ApprovalSettings, **kwargs: Any) -> None:
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
                    description="Kept with your answer for good. At least 5 characters.",
                )
            },
            **kwargs,
        )

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Reply | None:
        said = super().execute_complete(context, event)
        user = said["responded_by_user"]
        if user is None:
            self.log.warning("Nobody answered within %s.", self.response_timeout)
            return None
        reason = (said["params_input"].get(REASON) or "").strip()
        if len(reason) < MIN_REASON_CHARS:
            raise ParamValidationError(
                f"{user['name']} answered with the reason {reason!r}; it must have at least "
                f"{MIN_REASON_CHARS} characters. The question is asked again."
            )
        return Reply(
            answer=ANSWERS[said["chosen_options"][0]],
            actor=f"{_shown(user)} on airflow {self.dag_id} {context['run_id']}",
            reason=reason,
        )


def _shown(user: dict[str, str]) -> str:
    """A user by name; with the id where that says something else."""
    return user["name"] if user["name"] == user["id"] else f"{user['name']} (id {user['id']})"
