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
from pipelines.pages.frame import Button, inert_headers
from pipelines.pages.site import Reply, Site, Viewer, base_of, respond
from pipelines.pages.views import failures, runs
from pipelines.pages.views.champion import clock
from pipelines.pages.views.failures import End, Fact, Failure
from pipelines.pages.ways import is_ours, way_to
from pipelines.records.decisions import Decision
from pipelines.records.deliveries import MissingDelivery, Outcome, Receipt, Replay, ReplayPlan
from pipelines.records.monitoring import TriggerDecision, Window
from pipelines.records.succession import LogEntry, RollbackPlan
from pipelines.validation import report as validation_report

# Not of dots alone: "." and ".." would lead to another path of Airflow's API.
DagId = Annotated[str, Path(pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=250)]
RunId = Annotated[str, Path(pattern=r"^\.*[A-Za-z0-9_~:+@-][A-Za-z0-9_.~:+@-]*$", max_length=250)]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{16,64}$")]

_VERSION = re.compile(r"[0-9a-f]{20}")
REFRESH_SECONDS = 10  # while a run goes on
_MODEL, _DAY = "[a-z][a-z0-9_-]{0,62}", r"[0-9]{4}-[0-9]{2}/[0-9]{4}-[0-9]{2}-[0-9]{2}"
_WINDOW_KEY = re.compile(
    rf"monitoring/{_MODEL}/windows/{_DAY}-[0-9]{{3}}-[0-9]{{9}}-[0-9a-f]{{16}}\.json"
)
_TRIGGER_KEY = re.compile(rf"monitoring/{_MODEL}/triggers/{_DAY}-[0-9a-f]{{16}}\.json")
_MOST_WINDOWS = 31
_REPLAY_KEY = re.compile(r"deliveries/[0-9a-f]{64}/replays/[0-9]{6}\.json")


@dataclass(frozen=True)
class RunInAirflow:
    """What Airflow knows about a run: its state, and what its tasks returned."""

    run: dict[str, Any]
    results: dict[str, Any]
    failures: tuple[Failure, ...] = ()
    is_paused: bool = False  # the DAG; only asked where the run waits

    @property
    def conf(self) -> dict[str, Any]:
        conf = self.run.get("conf")
        return conf if isinstance(conf, dict) else {}

    @property
    def end(self) -> End:
        return End(str(self.run.get("state")), self.conf, self.failures)


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
        for task in runs.RESULT_TASKS.get(links.of_first(dag_id), ()):
            entry = f"{where}/taskInstances/{task}/xcomEntries/return_value"
            result = checked(await site.ask(request, "GET", entry, None))
            if isinstance(result, dict):
                results[task] = result.get("value")
        run = run if isinstance(run, dict) else {}
        failed = run.get("state") == "failed" and is_ours(dag_id)
        return RunInAirflow(
            run=run,
            results=results,
            failures=await _failures(site, request, where, (dag_id, run_id)) if failed else (),
            is_paused=run.get("state") == "queued" and await _is_paused(site, request, dag_id),
        )

    return Depends(run_in_airflow)


async def _failures(
    site: Site, request: Request, where: str, of: tuple[str, str]
) -> tuple[Failure, ...]:
    """What failed, as far as this reader may see it."""
    listed = await site.ask(request, "GET", f"{where}/taskInstances?state=failed&limit=50", None)
    tasks = failures.failed_tasks(where, listed.body if listed.status == 200 else None)
    found = []
    for task in tasks:
        log = await site.ask(request, "GET", task.log_path, None)
        found.append(failures.failure(*of, task, log.body if log.status == 200 else None))
    return tuple(found)


async def _is_paused(site: Site, request: Request, dag_id: str) -> bool:
    details = await site.ask(request, "GET", f"/dags/{quote(dag_id, safe='')}", None)
    return isinstance(details.body, dict) and details.body.get("is_paused") is True


def _add_run(routes: APIRouter, site: Site) -> None:
    run = _asks_airflow(site)

    @routes.get("/runs/{dag_id}/{run_id}", dependencies=[site.may_read()])
    def run_report(
        request: Request,
        dag_id: DagId,
        run_id: RunId,
        viewer: Viewer = site.viewer,
        airflow: RunInAirflow = run,
    ) -> HTMLResponse:
        chosen = site.about_dag(dag_id)
        report_of = _REPORTS[links.of_first(dag_id)] if is_ours(dag_id) else _foreign
        parts = report_of(chosen, airflow.results, airflow.end)
        started = str(airflow.run.get("start_date") or "")
        report = runs.Report(
            dag_id=dag_id,
            run_id=run_id,
            state=str(airflow.run.get("state")),
            started=clock(started) if started else "",
            failures=airflow.failures,
            buttons=again(viewer, dag_id, airflow),
            **parts,
        )
        return respond(
            request, "run.html.jinja", title="Run report", section="run", report=report,
            run=links.run_link(dag_id, run_id), dag=f"/dags/{quote(dag_id, safe='')}",
            is_paused=airflow.is_paused, way=way_to(dag_id), model=chosen.model or "",
            refresh_seconds=REFRESH_SECONDS if airflow.end.is_going_on else 0,
        )  # fmt: skip


def again(viewer: Viewer, dag_id: str, airflow: RunInAirflow) -> tuple[Button, ...]:
    """After a dry run the same form, as it was filled in; after an incomplete night, that night."""
    if dag_id == links.INGEST and airflow.end.is_incomplete and (night := _night(airflow.results)):
        return (viewer.button("Ingest this night again", dag_id, {"night": night}),)
    repeated = {links.REPLAY, links.ROLLBACK, links.RELEASE}
    if links.of_first(dag_id) not in repeated or not airflow.end.is_dry_run:
        return ()
    if airflow.end.state != "success":
        return ()
    kept = {
        name: value
        for name, value in airflow.conf.items()
        if name not in {"reason", "dry_run"} and isinstance(value, str | int | list)
    }
    return (viewer.button("Open the form again, to do it", dag_id, kept, "plain"),)


def checked(reply: Reply) -> Any:
    """Airflow's answer; None when the resource does not exist."""
    if reply.status == 404:
        return None
    if reply.status >= 400:
        raise HTTPException(reply.status)
    return reply.body


def _foreign(_site: Site, _results: dict[str, Any], _end: End) -> dict[str, Any]:
    return {"sentence": "This DAG is not part of the retraining loop, so it has no report here."}


def _ingest(site: Site, results: dict[str, Any], end: End) -> dict[str, Any]:
    summary, night = results.get("summarize_night"), _night(results)
    if not isinstance(summary, dict) or not night:
        if end.state == "failed":
            return {"sentence": end.before("a sum of the night")}
        return {"sentence": "The night is not finished yet: its tasks show the progress."}
    reviews = site.stores().reviews
    receipts, torn = read.of_night(reviews, RECEIPTS, night, Receipt)
    receipts.sort(key=lambda receipt: receipt.landing_key)
    keys = sorted({outcome_key(receipt.delivery) for receipt in receipts})
    outcomes, no_outcomes = read.readable(reviews, keys, Outcome)
    missing, not_missing = read.of_night(reviews, MISSING, night, MissingDelivery)
    reports = {outcome.delivery: outcome for outcome in outcomes}
    settled = read.settled(reviews, [one.delivery for one in receipts if one.verdict == "HELD"])
    lines = tuple(runs.delivered(one, reports, settled) for one in receipts)
    return {
        "sentence": f"Night {night}: {runs.night_sentence(receipts, end, len(torn), settled)}",
        "deliveries": lines,
        "totals": runs.totals(lines) if lines and not torn else None,
        "nothing_affected": None if torn else runs.not_affected(receipts, settled, end.failures),
        "notes": (
            *runs.unreadable([*torn, *no_outcomes, *not_missing]),
            *runs.overdue(missing),
            *runs.left_alone(summary.get("set_aside")),
        ),
    }


def _night(results: dict[str, Any]) -> str:
    """The night that a run of the ingest summed up; empty before it did."""
    summary = results.get("summarize_night")
    night = summary.get("night") if isinstance(summary, dict) else None
    return night if isinstance(night, str) and is_night(night) else ""


def _retrain(site: Site, results: dict[str, Any], end: End) -> dict[str, Any]:
    read_one = Reading(site)
    key = _decision_key(site, results.get("decide"))
    decision = read_one(lambda: _decision(site, key)) if key else None
    entry = read_one(lambda: _entry(site, results.get("promote")))
    sentence, facts = runs.retrain_facts(key, decision, entry, results.get("has_work"), end)
    snapshot = results.get("take_snapshot")
    pinned = (Fact(name="snapshot", value=snapshot),) if isinstance(snapshot, str) else ()
    asked = read_one(lambda: _trigger(site, results.get("note_start")))
    cause = (Fact(name="asked for by", value=f"{asked.trigger}: {asked.why}",
                       link=links.monitoring_link()),) if asked else ()  # fmt: skip
    return read_one.report(sentence, (*cause, *pinned, *facts))


def _monitor(site: Site, results: dict[str, Any], end: End) -> dict[str, Any]:
    read_one = Reading(site)
    uris = results.get("watch")
    named = uris[:_MOST_WINDOWS] if isinstance(uris, list) else ()
    found = [read_one(partial(_record, site, uri, _WINDOW_KEY.fullmatch, Window)) for uri in named]
    decision = read_one(lambda: _trigger(site, results.get("decide_trigger")))
    windows = [window for window in found if window is not None]
    return read_one.report(*runs.monitor_facts(windows, decision, end))


def _trigger(site: Site, uri: Any) -> TriggerDecision | None:
    return _record(site, uri, _TRIGGER_KEY.fullmatch, TriggerDecision)


def _rollback(site: Site, results: dict[str, Any], end: End) -> dict[str, Any]:
    read_one = Reading(site)
    plan = read_one(lambda: _rollback_plan(site, results.get("plan_rollback")))
    entry = read_one(lambda: _entry(site, results.get("apply_rollback")))
    return read_one.report(*runs.rollback_facts(plan, entry, end))


def _release(site: Site, results: dict[str, Any], end: End) -> dict[str, Any]:
    read_one = Reading(site)
    planned = results.get("plan_release")
    version = planned if isinstance(planned, str) and _VERSION.fullmatch(planned) else None
    entry = read_one(lambda: _entry(site, results.get("apply_release")))
    return read_one.report(*runs.release_facts(version, entry, end))


def _replay(site: Site, results: dict[str, Any], end: End) -> dict[str, Any]:
    read_one = Reading(site)
    planned, applied = results.get("plan_replay"), results.get("apply_replay")
    plan = read_one(lambda: _record(site, planned, keys.is_replay_plan, ReplayPlan))
    done = read_one(lambda: _record(site, applied, _REPLAY_KEY.fullmatch, Replay))
    return read_one.report(*runs.replay_facts(plan, done, end))


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

    def report(self, sentence: str, facts: Sequence[Fact]) -> dict[str, Any]:
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
    links.RELEASE: _release,
    links.REPLAY: _replay,
    links.MONITOR: _monitor,
}


def _record(
    site: Site, uri: Any, is_one: Callable[[str], object], kind: type[AnyRecord]
) -> AnyRecord | None:
    """The record behind the URI that a task returned, if it is where such records are."""
    reviews = site.stores().reviews
    key = runs.uri_key(uri, reviews.name)
    return reviews.find_record(key, kind) if key and is_one(key) else None


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


def _rollback_plan(site: Site, uri: Any) -> RollbackPlan | None:
    registry = site.registry()
    key = runs.uri_key(uri, registry.models.name) or ""
    is_ours = key.startswith(keys.rollbacks_folder(registry.name)) and keys.is_rollback_plan(key)
    return registry.models.find_record(key, RollbackPlan) if is_ours else None


def _entry(site: Site, uri: Any) -> LogEntry | None:
    """The log entry behind the URI that a task returned, its signature checked."""
    registry = site.registry()
    key = runs.uri_key(uri, registry.models.name) or ""
    generation = keys.generation_of(key, registry.name)
    return registry.log.find_entry(generation) if generation else None


def _add_report(routes: APIRouter, site: Site) -> None:
    @routes.get("/reports/{delivery}/{basis}", dependencies=[site.may_read(links.INGEST)])
    def report_of_validation(request: Request, delivery: Digest, basis: Digest) -> Response:
        key = validation_key(delivery, basis)
        try:
            page = validation_report.page(site.stores().reviews, key, base=base_of(request))
        except ObjectMissingError as error:
            raise no_such("This validation report does not exist.") from error
        return HTMLResponse(page, headers=inert_headers())
