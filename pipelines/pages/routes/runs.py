"""*Run report*, and the validation reports that it leads to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import HTMLResponse

from pipelines.core import keys, links
from pipelines.core.errors import ObjectMissingError, concerns_one_record, sentence
from pipelines.core.keys import MISSING, RECEIPTS, outcome_key, validation_key
from pipelines.core.store.sealed import AnyRecord
from pipelines.intake.landing import is_night
from pipelines.pages import read
from pipelines.pages.error_pages import no_such
from pipelines.pages.frame import inert_headers
from pipelines.pages.site import Reply, Site, respond
from pipelines.pages.views import runs
from pipelines.pages.views.champion import clock
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import MissingDelivery, Outcome, Receipt, Replay, ReplayPlan
from pipelines.records.monitoring import TriggerDecision, Window
from pipelines.records.succession import LogEntry
from pipelines.validation import report as validation_report

# Not of dots alone: "." and ".." would lead to another path of Airflow's API.
DagId = Annotated[str, Path(pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=250)]
RunId = Annotated[str, Path(pattern=r"^\.*[A-Za-z0-9_~:+@-][A-Za-z0-9_.~:+@-]*$", max_length=250)]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{16,64}$")]

_PLAN_KEY = re.compile(r"deliveries/[0-9a-f]{64}/replay-plans/[0-9a-f]{20}\.json")
_MODEL = "[a-z][a-z0-9_-]{0,62}"
_DATED = r"[0-9]{4}-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{16}\.json"
_WINDOW_KEY = re.compile(rf"monitoring/{_MODEL}/windows/{_DATED}")
_TRIGGER_KEY = re.compile(rf"monitoring/{_MODEL}/triggers/{_DATED}")
_MOST_WINDOWS = 31
_REPLAY_KEY = re.compile(r"deliveries/[0-9a-f]{64}/replays/[0-9]{6}\.json")


@dataclass(frozen=True)
class RunInAirflow:
    """What Airflow knows about a run: its state, and what its tasks returned."""

    run: dict[str, Any]
    results: dict[str, Any]


def router(site: Site) -> APIRouter:
    routes = APIRouter()
    _add_run(routes, site)
    _add_report(routes, site)
    return routes


def _asks_airflow(site: Site) -> Any:
    """A dependency that gives what Airflow knows of the run in the path."""

    async def run_in_airflow(request: Request, dag_id: DagId, run_id: RunId) -> RunInAirflow:
        where = f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
        run = checked(await site.ask(request, "GET", where, None))
        if run is None:
            raise no_such(f"Run {run_id} of DAG {dag_id} does not exist.")
        results = {}
        for task in runs.RESULT_TASKS.get(dag_id, ()):
            entry = f"{where}/taskInstances/{task}/xcomEntries/return_value"
            result = checked(await site.ask(request, "GET", entry, None))
            if isinstance(result, dict):
                results[task] = result.get("value")
        return RunInAirflow(run=run if isinstance(run, dict) else {}, results=results)

    return Depends(run_in_airflow)


def _add_run(routes: APIRouter, site: Site) -> None:
    run = _asks_airflow(site)

    @routes.get("/runs/{dag_id}/{run_id}", dependencies=[site.may_read()])
    def run_report(
        request: Request, dag_id: DagId, run_id: RunId, airflow: RunInAirflow = run
    ) -> HTMLResponse:
        parts = _REPORTS.get(dag_id, _foreign)(site, airflow.results)
        started = str(airflow.run.get("start_date") or "")
        report = runs.Report(
            dag_id=dag_id,
            run_id=run_id,
            state=str(airflow.run.get("state")),
            started=clock(started) if started else "",
            **parts,
        )
        return respond(
            request, "run.html.jinja", title="Run report", section="run", report=report,
            run=links.run_link(dag_id, run_id),
        )  # fmt: skip


def checked(reply: Reply) -> Any:
    """Airflow's answer; None when the resource does not exist."""
    if reply.status == 404:
        return None
    if reply.status >= 400:
        raise HTTPException(reply.status)
    return reply.body


def _foreign(_site: Site, _results: dict[str, Any]) -> dict[str, Any]:
    return {"sentence": "This DAG is not part of the retraining loop, so it has no report here."}


def _ingest(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    summary = results.get("summarize_night")
    night = summary.get("night") if isinstance(summary, dict) else None
    if summary is None or not isinstance(night, str) or not is_night(night):
        return {"sentence": "The night is not finished yet: its tasks show the progress."}
    reviews = site.stores().reviews
    receipts, torn = read.of_night(reviews, RECEIPTS, night, Receipt)
    receipts.sort(key=lambda receipt: receipt.landing_key)
    keys = sorted({outcome_key(receipt.delivery) for receipt in receipts})
    outcomes, no_outcomes = read.readable(reviews, keys, Outcome)
    missing, not_missing = read.of_night(reviews, MISSING, night, MissingDelivery)
    reports = {outcome.delivery: outcome for outcome in outcomes}
    lines = tuple(runs.delivered(receipt, reports.get(receipt.delivery)) for receipt in receipts)
    return {
        "sentence": f"Night {night}: {runs.night_sentence(receipts, len(torn))}",
        "deliveries": lines,
        "totals": runs.totals(lines) if lines and not torn else None,
        "nothing_affected": None if torn else runs.not_affected(receipts),
        "notes": (
            *runs.unreadable([*torn, *no_outcomes, *not_missing]),
            *runs.overdue(missing),
            *runs.left_alone(summary.get("set_aside")),
        ),
    }


def _retrain(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    read_one = Reading(site)
    key = _decision_key(site, results.get("decide"))
    decision = read_one(lambda: _decision(site, key)) if key else None
    entry = read_one(lambda: _entry(site, results.get("promote")))
    sentence, facts = runs.retrain_facts(key, decision, entry, results.get("has_work"))
    snapshot = results.get("take_snapshot")
    pinned = (runs.Fact(name="snapshot", value=snapshot),) if isinstance(snapshot, str) else ()
    asked = read_one(lambda: _trigger(site, results.get("note_start")))
    cause = (runs.Fact(name="asked for by", value=f"{asked.trigger}: {asked.why}",
                       link=links.monitoring_link()),) if asked else ()  # fmt: skip
    return read_one.report(sentence, (*cause, *pinned, *facts))


def _monitor(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    read_one = Reading(site)
    uris = results.get("watch")
    named = uris[:_MOST_WINDOWS] if isinstance(uris, list) else ()
    found = [read_one(partial(_record, site, uri, _WINDOW_KEY, Window)) for uri in named]
    decision = read_one(lambda: _trigger(site, results.get("decide_trigger")))
    windows = [window for window in found if window is not None]
    return read_one.report(*runs.monitor_facts(windows, decision))


def _trigger(site: Site, uri: Any) -> TriggerDecision | None:
    return _record(site, uri, _TRIGGER_KEY, TriggerDecision)


def _rollback(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    read_one = Reading(site)
    entry = read_one(lambda: _entry(site, results.get("apply_rollback")))
    return read_one.report(*runs.rollback_facts(entry))


def _replay(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    read_one = Reading(site)
    plan = read_one(lambda: _record(site, results.get("plan_replay"), _PLAN_KEY, ReplayPlan))
    done = read_one(lambda: _record(site, results.get("apply_replay"), _REPLAY_KEY, Replay))
    return read_one.report(*runs.replay_facts(plan, done))


@dataclass
class Reading:
    """Reads the records of a run; names those that cannot be read, so that the rest is shown."""

    site: Site
    problems: list[str] = field(default_factory=list)

    def __call__(self, read_it: Callable[[], read.Value]) -> read.Value | None:
        try:
            return read_it()
        except Exception as error:
            if not concerns_one_record(error):
                raise
            self.problems.append(sentence(error))
            return None

    def report(self, sentence: str, facts: Sequence[runs.Fact]) -> dict[str, Any]:
        """The parts of a report; its sentence is replaced if a record cannot be read."""
        if not self.problems:
            return {"sentence": sentence, "facts": facts}
        notes = [runs.Note(text=problem, tone="bad") for problem in self.problems]
        unread = "Some records of this run cannot be read:"
        return {"sentence": unread, "facts": facts, "notes": notes}


_REPORTS = {
    links.INGEST: _ingest,
    links.RETRAIN: _retrain,
    links.ROLLBACK: _rollback,
    links.REPLAY: _replay,
    links.MONITOR: _monitor,
}


def _record(
    site: Site, uri: Any, pattern: re.Pattern[str], kind: type[AnyRecord]
) -> AnyRecord | None:
    """The record behind the URI that a task returned, if it is where such records are."""
    reviews = site.stores().reviews
    key = runs.uri_key(uri, reviews.name)
    return reviews.find_record(key, kind) if key and pattern.fullmatch(key) else None


def _decision_key(site: Site, uri: Any) -> str | None:
    registry = site.registry()
    key = runs.uri_key(uri, registry.models.name) or ""
    is_ours = key.startswith(f"{registry.name}/") and links.decision_link(key)
    return key if is_ours else None


def _decision(site: Site, key: str) -> Decision | None:
    """The decision, its signature checked; None when it is gone."""
    registry = site.registry()
    gate = keys.gate_of(key, registry.name)
    return registry.decisions.find_decision(*gate) if gate else None


def _entry(site: Site, uri: Any) -> LogEntry | None:
    """The log entry behind the URI that a task returned, its signature checked."""
    registry = site.registry()
    key = runs.uri_key(uri, registry.models.name) or ""
    generation = keys.generation_of(key, registry.name)
    return registry.log.find_entry(generation) if generation else None


def _add_report(routes: APIRouter, site: Site) -> None:
    @routes.get("/reports/{delivery}/{basis}", dependencies=[site.may_read(links.INGEST)])
    def report_of_validation(delivery: Digest, basis: Digest) -> Response:
        try:
            page = validation_report.page(site.stores().reviews, validation_key(delivery, basis))
        except ObjectMissingError as error:
            raise no_such("This validation report does not exist.") from error
        return HTMLResponse(page, headers=inert_headers())
