"""The few calls of Airflow's REST API that the demo and the end-to-end tests need."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Any

import httpx

from ops.services.processes import StackError

FINISHED = frozenset({"success", "failed"})
NIGHTLY_RUN = clock(2, 0, tzinfo=UTC)
_ANSWER_SECONDS = 300.0


def last_complete_night(now: datetime) -> date:
    """The night that the scheduler runs by itself as soon as the DAG is unpaused."""
    return (now - timedelta(days=1, hours=NIGHTLY_RUN.hour)).date()


class AirflowApi:
    """A logged-in client of one Airflow.

    A machine that has other work, or an api-server that is just started again, may leave a call
    unanswered. What can be repeated without harm is then asked again, for ten minutes. Such a
    call raises `StackError`, which names it and says what to do, if no answer came in that time.
    """

    def __init__(
        self, url: str, *, username: str, password: str, patience_seconds: float = 600.0
    ) -> None:
        self._client = httpx.Client(base_url=url, timeout=_ANSWER_SECONDS)
        self._patience_seconds = patience_seconds
        login = {"username": username, "password": password}
        reply = self._repeat("POST", "/auth/token", json=login)
        reply.raise_for_status()
        self._client.headers["Authorization"] = f"Bearer {reply.json()['access_token']}"

    def _repeat(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The first answer to a call that does no harm if it is made several times."""
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                reply = self._client.request(method, path, **options)
                trouble = f"{reply.status_code} {reply.text[:300]}"
                if not reply.is_server_error:
                    return reply
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
            if time.monotonic() > deadline:
                raise StackError(
                    f"Airflow did not answer {method} {path} in {self._patience_seconds:.0f} s "
                    f"({trouble}). Other programs may keep this machine busy: stop them, or wait, "
                    "and start again. If it is idle, the end of api-server.log says what is wrong."
                )
            time.sleep(1)

    def get(self, path: str, **query: Any) -> Any:
        reply = self._repeat("GET", f"/api/v2{path}", params=query)
        reply.raise_for_status()
        return reply.json()

    def has_dag(self, dag_id: str) -> bool:
        return self._repeat("GET", f"/api/v2/dags/{dag_id}").is_success

    def wait_for_dags(
        self,
        dag_ids: list[str],
        *,
        timeout_seconds: float,
        on_poll: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until the dag-processor has read the given DAGs.

        Raises
        ------
        TimeoutError
            If it has not in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while not all(self.has_dag(dag_id) for dag_id in dag_ids):
            on_poll()
            if time.monotonic() > deadline:
                errors = self.get("/importErrors")["import_errors"]
                raise TimeoutError(f"{dag_ids} were not read; import errors: {errors}")
            time.sleep(0.3)

    def unpause(self, dag_id: str) -> None:
        awake = {"is_paused": False}
        self._repeat("PATCH", f"/api/v2/dags/{dag_id}", json=awake).raise_for_status()

    def read_again(self, dag_id: str) -> None:
        """Have the dag-processor read a DAG's file next, whenever it read it last."""
        token = self.get(f"/dags/{dag_id}")["file_token"]
        self._repeat("PUT", f"/api/v2/parseDagFile/{token}")  # asked for twice: 409, as good

    def started_by(self, asset: str) -> set[str]:
        """The DAGs that an event of an asset starts."""
        assets = self.get("/assets", name_pattern=asset)["assets"]
        return {dag["dag_id"] for each in assets for dag in each["scheduled_dags"]}

    def trigger(self, dag_id: str, **body: Any) -> str:
        """Start a run; returns its id. It is ours to choose, so asking twice starts one run."""
        run_id = f"manual__{uuid.uuid4().hex}"
        # On SQLite Airflow compares it with a clock of whole seconds: now would wait for the next.
        run_after = datetime.now(UTC) - timedelta(seconds=1)
        named = {"dag_run_id": run_id, "run_after": run_after.isoformat(), **body}
        reply = self._repeat("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=named)
        if reply.status_code == httpx.codes.CONFLICT and self._has_run(dag_id, run_id):
            return run_id  # the answer to the first try was lost
        if reply.is_error:
            raise RuntimeError(f"triggering {dag_id} answered {reply.status_code}: {reply.text}")
        return str(reply.json()["dag_run_id"])

    def _has_run(self, dag_id: str, run_id: str) -> bool:
        return self._repeat("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").is_success

    def trigger_night(self, dag_id: str, night: date) -> str:
        """Start the run that the schedule would start for a night: at 02:00 of the next day."""
        start = datetime.combine(night, NIGHTLY_RUN)
        end = start + timedelta(days=1)
        return self.trigger(
            dag_id,
            logical_date=start.isoformat(),
            data_interval_start=start.isoformat(),
            data_interval_end=end.isoformat(),
        )

    def backfill(self, dag_id: str, *, first: date, last: date) -> None:
        """Have the scheduler run the nights from ``first`` to ``last``."""
        body = {
            "dag_id": dag_id,
            "from_date": datetime.combine(first, NIGHTLY_RUN).isoformat(),
            "to_date": datetime.combine(last, NIGHTLY_RUN).isoformat(),
            "reprocess_behavior": "none",
            "max_active_runs": 1,
        }
        reply = self._client.post("/api/v2/backfills", json=body)
        if reply.is_error:
            raise RuntimeError(f"backfill answered {reply.status_code}: {reply.text}")

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]
        return found

    def state(self, dag_id: str, run_id: str) -> str:
        return str(self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(
            f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=200
        )["task_instances"]
        return found

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """A task's return value; None if it has none (it was skipped, or failed)."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        reply = self._repeat("GET", f"/api/v2{path}", params={"deserialize": "true"})
        return reply.json()["value"] if reply.is_success else None

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Have a task and all that follow it run again."""
        body = {
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
            "dry_run": False,
        }
        path = f"/api/v2/dags/{dag_id}/clearTaskInstances"
        self._client.post(path, json=body).raise_for_status()

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Give a task a state without running it."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._client.patch(path, json={"new_state": state}).raise_for_status()

    def questions(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """What people are asked in a run and have not answered."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/hitlDetails"
        found: list[dict[str, Any]] = self.get(path, response_received="false")["hitl_details"]
        return found

    def answer(
        self, dag_id: str, run_id: str, task_id: str, option: str, **form: str
    ) -> httpx.Response:
        """Answer what a task asks; the reply says whether Airflow took the answer."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
        body = {"chosen_options": [option], "params_input": form}
        return self._client.patch(f"/api/v2{path}", json=body)

    def run_caused_by(self, dag_id: str, source_run_id: str) -> str | None:
        """The asset-triggered run that an event of another run started."""
        for run in self.runs(dag_id):
            # Airflow 3.3.2 answers 500 for the events of a run that has not started yet.
            if run["run_type"] != "asset_triggered" or run["start_date"] is None:
                continue
            path = f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}/upstreamAssetEvents"
            events = self.get(path)["asset_events"]
            if any(event["source_run_id"] == source_run_id for event in events):
                return str(run["dag_run_id"])
        return None

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout_seconds: float,
        on_poll: Callable[[], None] = lambda: None,
        every_seconds: float = 0.5,
    ) -> str:
        """Wait until a run has ended; returns its state.

        Raises
        ------
        TimeoutError
            If it has not ended in time.
        """
        deadline = time.monotonic() + timeout_seconds
        while (state := self.state(dag_id, run_id)) not in FINISHED:
            on_poll()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{dag_id} {run_id} was {state} after {timeout_seconds:.0f} s")
            time.sleep(every_seconds)
        return state
