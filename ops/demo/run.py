"""The whole loop on this machine, through the real scheduler, in ten nights.

Starts an S3 server, Airflow and the scoring service on free ports, drops each night's deliveries,
starts the night's run, waits for the retraining it causes, and shows what came of it and who
answered visitors meanwhile. In the last three nights people write otherwise, and only the monitor
starts a retraining. On a terminal the demo then stays up until Ctrl-C, so that you can look around,
also where a night went wrong; otherwise it stops everything and ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.text import Text

from ops.demo import held, watched
from ops.demo.held import REPLAY, Alarm, ReplayResult
from ops.demo.night_results import NightResult, sentence, table_of
from ops.demo.sabotage import Sabotage
from ops.demo.visitors import Visitors, Visits
from ops.display import Display, stop_like_ctrl_c, watch
from ops.services.airflow_api import AirflowApi, last_complete_night
from ops.services.processes import StackError
from ops.services.stack import PROJECT, LocalStack, environment
from pipelines.core import links
from pipelines.core.errors import LoopError

INGEST, RETRAIN, ROLLBACK = "reviews_ingest", "sentiment_retrain", "sentiment_rollback"
FOLDER = PROJECT / ".local" / "demo"
MADE_UP_ROWS = 27_500
# The words that people replace; made-up reviews have fewer that matter.
DRIFTED_WORDS, MADE_UP_DRIFTED_WORDS = 400, 80
MARKER_FILE = ".retraining-loop-demo"
# Whatever takes so long hangs; twenty busy loops beside the demo make a night ten times as long.
NIGHT_SECONDS, START_SECONDS = 7200.0, 3600.0
SEED = 7
TROUBLE = (StackError, LoopError, TimeoutError, RuntimeError, httpx.HTTPError)

STORIES = (
    "a first load: the first champion",
    "more reviews: a better model, whose file is damaged after its promotion",
    "3 % dirty rows: those are quarantined",
    "a changed schema and a cut file beside a good one",
    "labels turned round in one source: poison",
    "night 4's file repaired, with old reviews in it: held, then released",
    "nothing new",
    "people write otherwise: the champion fades",
    "the same: the monitor asks for a retraining",
    "the same: the new champion knows these words",
)
DRIFTED = 8  # the first night on which people write otherwise
SABOTAGED = 2  # the night after whose promotion the champion's file is damaged
SERVICE_SECONDS = 120.0  # for the service to follow the champion log
# A run is looked at often, because the next step waits for its end; its tasks are only for display.
LOOK_SECONDS, SHOW_SECONDS = 0.2, 2.0
# Nobody changes a DAG meanwhile, and the demo asks for another reading itself where it needs one.
AIRFLOW = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600"}
RELEASE_REASON = "night 4's file repaired; what counts already stays out"

# Piped output has no width of its own; the table needs more than the usual guess.
console = Console(width=None if sys.stdout.isatty() else 150)


def main(
    reviews: Annotated[
        str,
        typer.Option(
            help="A .parquet, .csv or archive of reviews, 'imdb', or 'made-up'. "
            "Default: the official IMDB archive, or made-up reviews where it cannot be had.",
            envvar="REVIEWS",
        ),
    ] = "",
    is_once: Annotated[
        bool, typer.Option("--once", help="Stop everything at the end, also on a terminal.")
    ] = False,
    nights: Annotated[
        int,
        typer.Option(
            min=0, max=len(STORIES), help="Play only the first of the nights; 0 only starts all."
        ),
    ] = len(STORIES),
    folder: Annotated[Path, typer.Option(help="Where to put logs and the summary.")] = FOLDER,
) -> None:
    """Run the loop for ten nights and show what came of each."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    stop_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    is_once = is_once or bool(os.environ.get("ONCE")) or not sys.stdin.isatty()
    try:
        with Display(console) as display:
            _run(display, reviews or None, folder, nights=nights, is_once=is_once)
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        raise typer.Exit(130) from None
    except TROUBLE as error:
        _show_error(error, folder)
        raise typer.Exit(1) from error


def _show_error(error: BaseException, folder: Path) -> None:
    console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
    console.print(Text(f"logs: {folder / 'logs'}"), soft_wrap=True)


def _run(display: Display, spec: str | None, folder: Path, *, nights: int, is_once: bool) -> None:
    started = time.monotonic()
    source = _open_source(display, spec)
    with _own_folder(folder):
        _play(display, source, folder, nights=nights, is_once=is_once, started=started)


def _play(
    display: Display, source: Any, folder: Path, *, nights: int, is_once: bool, started: float
) -> None:
    stack = LocalStack(
        folder, folder / "config.toml", on_step=display.status, has_service=True,
        extra_environment=AIRFLOW,
    )  # fmt: skip
    _write_config(stack)
    with (
        stack,
        environment(stack.s3_environment),
        Visitors(stack.service_url) as visitors,
    ):
        display.line(f"Airflow is up: {stack.ui_url}  (login admin / {stack.password})", "bold")
        display.line(f"The scoring service is up: {stack.service_url}")
        try:
            results = Nights(stack, display, source, visitors).run(nights)
        except TROUBLE as error:
            if is_once:
                raise
            _show_error(error, folder)
            _stay_up(display, stack)
            raise typer.Exit(1) from error
        seconds = time.monotonic() - started
        _write_summary(folder, stack, source, results, seconds)
        _show_summary(display, folder, source, results, seconds)
        if not is_once:
            _stay_up(display, stack)


def _show_summary(
    display: Display, folder: Path, source: Any, results: list[NightResult], seconds: float
) -> None:
    display.line("")
    console.print(table_of(results, console))
    if source.is_made_up:
        display.line(
            "These figures are of MADE-UP reviews: they show the loop, not a model's quality.",
            "yellow",
        )
    display.line(f"Summary: {folder / 'summary.json'}   {seconds:.0f} s in all")


def _write_config(stack: LocalStack) -> None:
    """The demo's settings, with the address of its scoring service."""
    base = json.dumps(str(PROJECT / "config" / "demo.toml"))  # JSON's strings are TOML's, too
    settings = (
        f"extends = {base}\n\n[serving]\npoll_seconds = 0.2\n"
        f'addresses = ["{stack.service_url}"]\n'
        "\n[serving.bake]\nevery_seconds = 0.2\nmin_requests = 10\n"
    )
    stack.config.write_text(settings, encoding="utf-8")


def _open_source(display: Display, spec: str | None) -> Any:
    from pipelines.cli.ingest import cache_folder
    from pipelines.simulation import sources

    display.status("reading the reviews")
    source = sources.open_source(
        spec, cache_dir=cache_folder(), made_up_rows=MADE_UP_ROWS, seed=SEED
    )
    display.line(source.description, "yellow" if source.is_made_up else "")
    return source


@contextmanager
def _own_folder(folder: Path) -> Iterator[None]:
    """An empty folder that only this demo uses; what an earlier demo left in it is removed.

    Raises
    ------
    StackError
        If it holds anything else, or another demo is running in it.
    """
    try:
        lock = _locked(folder)
    except BlockingIOError:
        raise StackError(f"another demo is running in {folder}; choose another --folder") from None
    except OSError as error:
        raise StackError(
            f"cannot use {folder}: {error.strerror}; choose another --folder"
        ) from error
    with lock:
        yield


def _locked(folder: Path) -> IO[str]:
    """Take the folder, and remove what an earlier demo left; the open file holds the lock."""
    marker = folder / MARKER_FILE
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not marker.exists():
        raise StackError(f"{folder} is not empty and no demo made it; choose another --folder")
    lock = marker.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for child in folder.iterdir():
        if child.is_dir():
            shutil.rmtree(child)
        elif child != marker:
            child.unlink()
    return lock


class Nights:
    """Plays the nights, one after the other, against a running stack."""

    def __init__(
        self, stack: LocalStack, display: Display, source: Any, visitors: Visitors
    ) -> None:
        from pipelines.core import config
        from pipelines.core.store.stores import open_stores
        from pipelines.registry.registry import Registry

        settings = config.load(stack.config)
        self.stack, self.display, self.source = stack, display, source
        self.visitors = visitors
        self.stores = open_stores(settings)
        self.registry = Registry(self.stores.models, settings.model.name)
        self.api = AirflowApi(stack.ui_url, username="admin", password=stack.password)

    def run(self, nights: int) -> list[NightResult]:
        """Play the first nights; the last of all ten is before the scheduler's own."""
        from pipelines.simulation import film_site
        from pipelines.simulation import plans as simulation_plans

        first_night = last_complete_night(datetime.now(UTC)) - timedelta(days=len(STORIES))
        plans = simulation_plans.demo_nights(
            self.source.table.num_rows,
            first_night=first_night,
            drifted_words=MADE_UP_DRIFTED_WORDS if self.source.is_made_up else DRIFTED_WORDS,
        )
        played = list(zip(plans, STORIES, strict=True))[:nights]
        with ThreadPoolExecutor(1) as pool:  # while Airflow gets ready
            made = pool.submit(
                lambda: list(
                    film_site.simulate(self.source.table, [plan for plan, _ in played], seed=SEED)
                )
            )
            self._prepare()
            deliveries = made.result()
        results = []
        for number, (plan, story) in enumerate(played, start=1):
            if number == DRIFTED:
                self._only_when_asked()
            self.display.line(f"\nNight {number}, {plan.night}: {story}", "bold")
            for delivery in deliveries:
                if delivery.night == plan.night:
                    self.stores.reviews.put(delivery.key, delivery.body)
                    self.display.line(f"  delivered {delivery.key}  {delivery.rows:,} rows")
            is_released = any(one.again for one in plan.deliveries)
            with self._sabotage() if number == SABOTAGED else contextlib.nullcontext():
                results.append(self._play(plan.night, story, is_released=is_released,
                                          is_watched=number >= DRIFTED))  # fmt: skip
            self.display.line("  " + sentence(results[-1]))
        if len(results) >= DRIFTED:
            for line in _where_watched(self.stack):
                self.display.line(line)
        return results

    def _only_when_asked(self) -> None:
        self.display.line(
            "\nFrom now on a retraining is started only when the monitor asks for it "
            "(triggers.on_new_reviews = false)",
            "bold",
        )
        self.display.status("waiting for Airflow to read that")
        watched.only_when_asked(
            self.stack, self.api, timeout_seconds=START_SECONDS, on_poll=self.stack.check_alive
        )

    def _prepare(self) -> None:
        for bucket in (self.stores.reviews, self.stores.models):
            bucket.create_if_missing()
        self.display.status("waiting for Airflow to read the DAGs")
        dags = [RETRAIN, REPLAY, ROLLBACK, INGEST]
        self.api.wait_for_dags(dags, timeout_seconds=START_SECONDS, on_poll=self.stack.check_alive)
        for dag_id in dags:
            self.api.unpause(dag_id)
        # Unpaused, the scheduler at once runs the night that has just passed.
        while not (runs := self.api.runs(INGEST)):
            self.stack.check_alive()
            time.sleep(0.3)
        run_id = runs[0]["dag_run_id"]
        state = self._wait(INGEST, run_id)
        self.display.line(f"The scheduler's own run for last night found an empty landing: {state}")

    def _play(self, night: date, story: str, *, is_released: bool, is_watched: bool) -> NightResult:
        started, before = time.monotonic(), self.registry.log.newest_generation()
        cause = self.api.trigger_night(INGEST, night)
        ingest_state = self._wait(INGEST, cause)
        counts = self.api.xcom(INGEST, cause, "summarize_night") or {}
        alarms, replay = self._alarms(night), None
        if is_released and alarms:
            cause, replay = self._release(alarms[0])
            counts |= _after(replay)
        retrain_state, verdict, why = None, counts.get("status", "UNKNOWN"), ""
        watch = self._watch(cause) if is_watched and counts.get("accepted_rows") else None
        if watch is not None:
            cause, verdict, why = watch.run, "NOT_ASKED", watch.why_asked
        if counts.get("accepted_rows") and (watch is None or watch.asked_by):
            retrain_run = self._run_caused_by(RETRAIN, cause)
            retrain_state = self._wait(RETRAIN, retrain_run)
            verdict, why = self._verdict(retrain_run, retrain_state)
        champion = self.registry.log.champion()
        is_put_back = (
            champion is not None and champion.kind == "rollback" and champion.generation > before
        )
        visits = self._visits(champion.generation if champion else 0)
        return NightResult(
            night=night.isoformat(),
            story=story,
            **_rows(counts),
            alarms=alarms,
            replay=replay,
            watch=watch,
            ingest_state=ingest_state,
            retrain_state=retrain_state,
            verdict=verdict,
            why=why,
            champion=champion.version if champion else None,
            generation=champion.generation if champion else None,
            holdout_accuracy=champion.holdout_accuracy if champion else None,
            put_back=champion.reason if champion and is_put_back else "",
            requests=visits.requests,
            failed_requests=visits.failed,
            answered_by=visits.generations,
            seconds=round(time.monotonic() - started, 1),
        )

    def _visits(self, generation: int) -> Visits:
        """The visitors' requests of this night, once the service has followed the log."""
        if generation and not self.visitors.wait_for(generation, timeout_seconds=SERVICE_SECONDS):
            raise TimeoutError(
                f"the scoring service does not answer with generation {generation}; see "
                f"{self.stack.service_url}/status"
            )
        return self.visitors.since_last()

    @contextlib.contextmanager
    def _sabotage(self) -> Iterator[None]:
        with Sabotage(self.registry) as sabotage:
            yield
        if sabotage.damaged:
            self.display.line(f"  SABOTAGE one bit of {sabotage.damaged} was changed")

    def _alarms(self, night: date) -> tuple[Alarm, ...]:
        found = tuple(held.alarms(self.stores.reviews, night))
        for alarm in found:
            self.display.line(f"  ALARM source {alarm.source}, {alarm.landing_key}: {alarm.why}")
        return found

    def _release(self, alarm: Alarm) -> tuple[str, ReplayResult]:
        run_id, done = held.release(self.api, alarm, RELEASE_REASON, wait=self._wait)
        self.display.line(
            f"  released through {REPLAY}: {done.accepted_rows:,} rows count from now on, "
            f"{done.quarantined_rows:,} go to quarantine; recorded in {done.record}"
        )
        return run_id, done

    def _watch(self, ingest_run: str) -> watched.Watch:
        run = self._run_caused_by(watched.MONITOR, ingest_run)
        self._wait(watched.MONITOR, run)
        watch = watched.watch_of(self.api, run)
        self.display.line(f"  watched: {watch.verdict} {watch.why}")
        if watch.asked_by:
            self.display.line(f"  asked for a retraining ({watch.asked_by}): {watch.why_asked}")
        return watch

    def _run_caused_by(self, dag_id: str, source_run: str) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if run := self.api.run_caused_by(dag_id, source_run):
                return run
            self.stack.check_alive()
            time.sleep(0.3)
        raise TimeoutError(
            f"no run of {dag_id} was started by {source_run} within {START_SECONDS:.0f} s"
        )

    def _verdict(self, run_id: str, state: str) -> tuple[str, str]:
        from pipelines.steps import context

        decision_uri = self.api.xcom(RETRAIN, run_id, "decide")
        if decision_uri is None:
            return ("NOTHING_CHANGED" if state == "success" else "FAILED"), ""
        decision = context.read_decision(decision_uri)
        return decision.verdict, decision.why

    def _wait(self, dag_id: str, run_id: str) -> str:
        shown_at = -math.inf

        def show() -> None:
            nonlocal shown_at
            self.stack.check_alive()
            if time.monotonic() < shown_at + SHOW_SECONDS:
                return
            shown_at = time.monotonic()
            tasks = self.api.tasks(dag_id, run_id)
            done = sum(task["end_date"] is not None for task in tasks)
            running = sorted({_task_name(task) for task in tasks if task["state"] == "running"})
            if running:
                self.display.status(f"{dag_id} {done}/{len(tasks)}: {', '.join(running)}")

        return self.api.wait(
            dag_id, run_id, timeout_seconds=NIGHT_SECONDS, on_poll=show, every_seconds=LOOK_SECONDS
        )


def _after(replay: ReplayResult) -> dict[str, int]:
    """The counts of a night that brought one delivery, once that was replayed."""
    return {
        "accepted_rows": replay.accepted_rows,
        "quarantined_rows": replay.quarantined_rows,
        "held_rows": replay.held_rows,
        "held_deliveries": int(bool(replay.held_rows)),
    }


def _rows(counts: dict[str, int]) -> dict[str, int]:
    return {
        "delivered": counts.get("delivered_rows", 0),
        "accepted": counts.get("accepted_rows", 0),
        "quarantined": counts.get("quarantined_rows", 0),
        "held": counts.get("held_rows", 0),
        "held_deliveries": counts.get("held_deliveries", 0),
    }


def _task_name(task: dict[str, Any]) -> str:
    return str(task["task_id"]).rpartition(".")[2]


def _write_summary(
    folder: Path, stack: LocalStack, source: Any, results: list[NightResult], seconds: float
) -> None:
    summary = {
        "reviews": source.description,
        "is_made_up": source.is_made_up,
        "ui": stack.ui_url,
        "s3": stack.s3_environment["AWS_ENDPOINT_URL_S3"],
        "service": stack.service_url,
        "monitoring": stack.ui_url + links.monitoring_link(),
        "metrics": f"{stack.ui_url}{links.ROOT}/metrics",
        "seconds": round(seconds, 1),
        "nights": [asdict(result) for result in results],
    }
    text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")


def _where_watched(stack: LocalStack) -> tuple[str, str]:
    return (
        f"Nights against their limits: {stack.ui_url}{links.monitoring_link()}",
        f"Metrics for Prometheus: {stack.ui_url}{links.ROOT}/metrics",
    )


def _stay_up(display: Display, stack: LocalStack) -> None:
    display.line(f"\nLook around: {stack.ui_url}  (login admin / {stack.password})", "bold")
    display.line(f"Who answers, and why: {stack.service_url}")
    for line in _where_watched(stack):
        display.line(line)
    display.line("From another shell, with this environment:")
    for name, value in stack.s3_environment.items():
        display.line(f"  export {name}={value}")
    display.line("  .venv/bin/python -m pipelines champion history")
    display.status("Ctrl-C stops everything")
    watch(stack, display)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command(help=__doc__)(main)
