"""Wait for the services to take a new champion, without holding a worker.

The task defers at once. The triggerer asks the services until there is a verdict; all it needs lies
in the trigger's own arguments, so it goes on after a restart. A worker then acts on the verdict.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from pipelines.alerts.alert import Run
from pipelines.steps import bake


class BakeTrigger(BaseTrigger):
    """Looks at the services until there is a final verdict."""

    def __init__(self, question: str, model: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.question, self.model = question, model

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "baking.BakeTrigger", {"question": self.question, "model": self.model}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        async for ruling in bake.rulings(self.question, self.model):
            if ruling["is_final"]:
                yield TriggerEvent(ruling)  # type: ignore[no-untyped-call]
                return
            self.log.info("%s: %s", ruling["verdict"], "; ".join(ruling["reasons"]))


class Bake(BaseOperator):
    """Ask the configured services about a promotion; put the former champion back if it failed."""

    template_fields = ("entry_uri",)

    def __init__(self, *, entry_uri: Any, model: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.entry_uri, self.model = entry_uri, model

    def execute(self, context: Any) -> None:  # noqa: ARG002
        question = bake.begin(self.entry_uri, self.model)
        if question is not None:
            self.defer(trigger=BakeTrigger(question, self.model), method_name="end")

    def end(self, context: Any, event: bake.Ruling) -> None:
        """Act on the verdict, in a worker."""
        bake.end(event, Run(dag_id=self.dag_id, run_id=context["run_id"]), self.model)
