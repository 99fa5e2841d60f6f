"""One night on a stack that is up: delivery, ingest, retraining, an answer of the service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table

from ops.local import IDENTITY
from ops.services.airflow_api import FINISHED, AirflowApi
from ops.services.identity import kept_identity
from ops.services.processes import StackError
from ops.services.stack import environment
from ops.stack.supervisor import CONFIG, WORKERS, facts_of

INGEST, RETRAIN = "reviews_ingest", "sentiment_retrain"
LAST_NIGHT = "last-night"
NIGHT_SECONDS = 7200.0  # whatever takes so long hangs
FIRST_NIGHT = date(2026, 3, 2)  # the scheduler's own nights are later
_SOURCES = (("app", "jsonl.gz"), ("web", "csv.gz"))  # a file each
_ROWS = 1_000  # in each file
_TEXT = "A wonderful film, moving and superbly acted."
# Airflow 3.3.2 can lose an answer that comes sooner; the task then asks again.
_BEFORE_ANSWER_SECONDS = 3.0


@dataclass(frozen=True)
class Done:
    """What a worker did: one task, or one of its mapped parts."""

    task: str
    worker: str
    state: str
    tries: int
    seconds: float


@dataclass(frozen=True)
class Night:
    """What came of a night. ``answer`` is that of the scoring service to one review."""

    night: date
    states: dict[str, str]
    tasks: tuple[Done, ...]
    champion: dict[str, Any] | None
    answer: dict[str, Any]

    @property
    def is_well(self) -> bool:
        """Both runs succeeded, and the service answers with the champion."""
        is_green = set(self.states.values()) == {"success"} and len(self.states) == 2
        if not is_green or self.champion is None:
            return False
        return bool(self.answer.get("version") == self.champion["version"])


class Player:
    """Plays nights on the stack in a folder, which must be up.

    Raises
    ------
    StackError
        If it is not.
    """

    def __init__(self, folder: Path, on_step: Any) -> None:
        facts = facts_of(folder)
        if facts is None:
            raise StackError(f"nothing is up in {folder}; start it with: make stack")
        self._folder, self._on_step = folder, on_step
        self._variables, self._scoring = facts["variables"], facts["scoring"]
        password = kept_identity(folder / IDENTITY).password
        self.api = AirflowApi(facts["airflow"], username="admin", password=password)
        self._asked_at: float | None = None

    def play(self) -> Night:
        """Deliver, ingest, retrain, ask."""
        self._wait_for_quiet()
        night = self._next_night()
        self._on_step(f"{night}: upstream delivers {len(_SOURCES)} files of {_ROWS:,} reviews")
        with environment(self._variables):
            self._deliver(night)
            ingest = self.api.trigger_night(INGEST, night)
            self._on_step(f"{night}: ingest")
            states = {INGEST: self.api.wait(INGEST, ingest, timeout_seconds=NIGHT_SECONDS)}
            runs = [(INGEST, ingest)]
            counts = self.api.xcom(INGEST, ingest, "summarize_night") or {}
            if counts.get("accepted_rows"):
                retrain = self._run_caused_by(ingest)
                self._on_step(f"{night}: retraining")
                states[RETRAIN] = self.api.wait(
                    RETRAIN, retrain, timeout_seconds=NIGHT_SECONDS,
                    on_poll=lambda: self._approve(retrain),
                )  # fmt: skip
                runs.append((RETRAIN, retrain))
            champion = self._champion()
        return Night(night, states, tuple(self._done(runs)), champion, self._answer(champion))

    def _wait_for_quiet(self) -> None:
        """The scheduler's own run, which comes at the first start, would take the files."""
        self._on_step("waiting for Airflow to read the DAGs, and to end what runs")
        self.api.wait_for_dags([INGEST, RETRAIN], timeout_seconds=NIGHT_SECONDS)
        deadline = time.monotonic() + NIGHT_SECONDS
        while not (runs := self.api.runs(INGEST)) or not FINISHED.issuperset(
            run["state"] for run in runs
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{INGEST} is still busy")
            time.sleep(0.5)

    def _next_night(self) -> date:
        """Each night is played once, also if the last one was not played to its end."""
        path = self._folder / LAST_NIGHT
        if path.exists():
            night = date.fromisoformat(path.read_text()) + timedelta(days=1)
        else:
            night = FIRST_NIGHT
        path.write_text(night.isoformat())
        return night

    def _deliver(self, night: date) -> None:
        stores = _stores(self._folder)
        for key, body in deliveries(night):
            stores.reviews.put(key, body)

    def _run_caused_by(self, ingest: str) -> str:
        deadline = time.monotonic() + NIGHT_SECONDS
        while (run := self.api.run_caused_by(RETRAIN, ingest)) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ingest} started no retraining")
            time.sleep(0.5)
        return run

    def _approve(self, run: str) -> None:
        """The first model asks a person; here that is this command."""
        if not self.api.questions(RETRAIN, run):
            self._asked_at = None
        elif self._asked_at is None:
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > _BEFORE_ANSWER_SECONDS:
            self._on_step("a person is asked about this model: approved, for the try-out")
            self.api.answer(RETRAIN, run, "ask", "Approve", why="a night of make stack-night")
            self._asked_at = None

    def _champion(self) -> dict[str, Any] | None:
        from pipelines.core import config
        from pipelines.registry.registry import Registry

        name = config.load(self._folder / CONFIG).model.name
        entry = Registry(_stores(self._folder).models, name).log.champion()
        if entry is None:
            return None
        return {
            "version": entry.version,
            "generation": entry.generation,
            "holdout_accuracy": entry.holdout_accuracy,
        }

    def _done(self, runs: list[tuple[str, str]]) -> Iterator[Done]:
        for dag_id, run_id in runs:
            ran = [task for task in self.api.tasks(dag_id, run_id) if task["hostname"]]
            for task in sorted(ran, key=lambda task: task["start_date"]):
                part = f"[{task['map_index']}]" if task["map_index"] >= 0 else ""
                yield Done(
                    f"{dag_id}.{task['task_id']}{part}",
                    task["hostname"],
                    task["state"],
                    task["try_number"],
                    round(task["duration"] or 0.0, 1),
                )

    def _answer(self, champion: dict[str, Any] | None) -> dict[str, Any]:
        """The service's answer, as soon as it is the champion's; else what it said last."""
        self._on_step("asking the scoring service")
        deadline = time.monotonic() + 120.0
        answer: dict[str, Any] = {}
        while time.monotonic() < deadline:
            try:
                reply = httpx.post(f"{self._scoring}/v1/score", json={"text": _TEXT}, timeout=30)
                answer = reply.json()
            except (httpx.HTTPError, ValueError) as error:
                answer = {"error": str(error)}
            if champion is None or answer.get("version") == champion["version"]:
                return answer
            time.sleep(0.5)
        return answer


def deliveries(night: date) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of each file that upstream drops in a night: made up, and always the same."""
    from pipelines.simulation import film_site
    from pipelines.simulation import plans as simulation_plans
    from pipelines.simulation.made_up import make_reviews

    plans = tuple(
        simulation_plans.DeliveryPlan(source, _ROWS, form)  # type: ignore[arg-type]
        for source, form in _SOURCES
    )
    table = make_reviews(_ROWS * len(plans), seed=night.toordinal())
    planned = [simulation_plans.NightPlan(night, plans)]
    for file in film_site.simulate(table, planned, seed=1):
        yield file.key, file.body


def _stores(folder: Path) -> Any:
    from pipelines.core import config
    from pipelines.core.store.stores import open_stores

    return open_stores(config.load(folder / CONFIG))


def table_of(night: Night) -> Table:
    """Who did what."""
    table = Table(title=f"Night {night.night}", title_justify="left")
    for name, justify in (("task", "left"), ("worker", "left"), ("state", "left"),
                          ("tries", "right"), ("seconds", "right")):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for done in night.tasks:
        table.add_row(done.task, done.worker, done.state, str(done.tries), f"{done.seconds:.1f}")
    return table


def sentences(night: Night) -> Iterator[str]:
    """What the workers did, who is champion, what the service answered."""
    for worker in WORKERS:
        own = [done.seconds for done in night.tasks if done.worker == worker]
        yield f"{worker} ran {len(own)} tasks, {sum(own):.1f} s"
    yield "  ".join(f"{dag_id}: {state}" for dag_id, state in night.states.items())
    if night.champion is None:
        yield "no champion"
    else:
        yield (
            f"champion {night.champion['version']}, generation {night.champion['generation']}, "
            f"accuracy on the holdout {night.champion['holdout_accuracy']:.4f}"
        )
    yield f"scoring answered {json.dumps(night.answer)} to {_TEXT!r}"
