"""*Run report*, and the validation reports that it leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Path, Request, Response
from fastapi.responses import HTMLResponse

from pipelines import links, reports
from pipelines.errors import ObjectMissingError
from pipelines.judgement import Decision
from pipelines.keys import MISSING, RECEIPTS, outcome_key, validation_key
from pipelines.pages import read, runs
from pipelines.pages.champion import clock
from pipelines.pages.faults import no_such
from pipelines.pages.page import inert_headers
from pipelines.pages.site import Reply, Site, respond
from pipelines.records import (
    LogEntry,
    MissingDelivery,
    Outcome,
    Receipt,
    Replay,
    ReplayPlan,
)
from pipelines.registry import Registry
from pipelines.store import Bucket

# Not of dots alone: "." and ".." would lead to another path of Airflow's API.
DagId = Annotated[str, Path(pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=250)]
RunId = Annotated[str, Path(pattern=r"^\.*[A-Za-z0-9_~:+@-][A-Za-z0-9_.~:+@-]*$", max_length=250)]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{16,64}$")]

_DECISION_KEY = re.compile(r"versions/([0-9a-f]{20})/gates/(\d{8})-([0-9a-f]{16})/decision\.json")


@dataclass(frozen=True)
class Told:
    """What Airflow knows of a run: its state, and what its tasks returned."""

    run: dict[str, Any]
    results: dict[str, Any]


def router(site: Site) -> APIRouter:
    found = APIRouter()
    _add_run(found, site)
    _add_report(found, site)
    return found


def _asks_airflow(site: Site) -> Any:
    """A dependency that gives what Airflow knows of the run in the path."""

    async def told(request: Request, dag_id: DagId, run_id: RunId) -> Told:
        where = f"/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"
        run = checked(await site.ask(request, "GET", where, None))
        if run is None:
            raise no_such(f"DAG {dag_id} has no run {run_id}.")
        results = {}
        for task in runs.TELLING.get(dag_id, ()):
            entry = f"{where}/taskInstances/{task}/xcomEntries/return_value"
            result = checked(await site.ask(request, "GET", entry, None))
            if result is not None:
                results[task] = result.get("value")
        return Told(run=run, results=results)

    return Depends(told)


def _add_run(found: APIRouter, site: Site) -> None:
    told = _asks_airflow(site)

    @found.get("/runs/{dag_id}/{run_id}", dependencies=[site.may_read()])
    def run_report(
        request: Request, dag_id: DagId, run_id: RunId, known: Told = told
    ) -> HTMLResponse:
        parts = _REPORTS.get(dag_id, _foreign)(site, known.results)
        started = str(known.run.get("start_date") or "")
        report = runs.Report(
            dag_id=dag_id,
            run_id=run_id,
            state=str(known.run.get("state")),
            started=clock(started) if started else "",
            **parts,
        )
        return respond(
            request, "run.html.jinja", title="Run report", section="run", report=report,
            run=links.run_link(dag_id, run_id),
        )  # fmt: skip


def checked(reply: Reply) -> Any:
    """What Airflow answered; None when it says that there is no such thing."""
    if reply.status == 404:
        return None
    if reply.status >= 400:
        raise HTTPException(reply.status)
    return reply.body


def _foreign(_site: Site, _results: dict[str, Any]) -> dict[str, Any]:
    return {"sentence": "This DAG is not part of the retraining loop: nothing is known of it here."}


def _ingest(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    summary = results.get("summarize_night")
    night = summary.get("night") if isinstance(summary, dict) else None
    if not isinstance(night, str):
        return {"sentence": "The night is not summed up yet: its tasks say how far they are."}
    reviews = site.stores().reviews
    receipts, torn = read.of_night(reviews, RECEIPTS, night, Receipt)
    receipts.sort(key=lambda one: one.landing_key)
    keys = sorted({outcome_key(one.delivery) for one in receipts})
    outcomes, no_outcomes = read.readable(reviews, keys, Outcome)
    missing, not_missing = read.of_night(reviews, MISSING, night, MissingDelivery)
    reports = {one.delivery: one for one in outcomes}
    lines = tuple(runs.delivered(one, reports.get(one.delivery)) for one in receipts)
    return {
        "sentence": f"Night {night}: {runs.night_sentence(receipts, len(torn))}",
        "deliveries": lines,
        "totals": runs.totals(lines) if lines and not torn else None,
        "nothing_affected": None if torn else runs.not_affected(receipts),
        "notes": (*runs.unreadable([*torn, *no_outcomes, *not_missing]), *runs.overdue(missing)),
    }


def _retrain(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    key, decision = _decision(site.registry(), results.get("decide"))
    entry = _entry(site, results.get("promote"))
    sentence, facts = runs.retrain_facts(key, decision, entry, results.get("has_work"))
    snapshot = results.get("take_snapshot")
    pinned = (runs.Fact(name="snapshot", value=snapshot),) if isinstance(snapshot, str) else ()
    return {"sentence": sentence, "facts": (*pinned, *facts)}


def _rollback(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    sentence, facts = runs.rollback_facts(_entry(site, results.get("apply_rollback")))
    return {"sentence": sentence, "facts": facts}


def _replay(site: Site, results: dict[str, Any]) -> dict[str, Any]:
    reviews = site.stores().reviews
    plan = _record(reviews, runs.uri_key(results.get("plan_replay"), reviews.name), ReplayPlan)
    done = _record(reviews, runs.uri_key(results.get("apply_replay"), reviews.name), Replay)
    sentence, facts = runs.replay_facts(plan, done)
    return {"sentence": sentence, "facts": facts}


_REPORTS = {
    links.INGEST: _ingest,
    links.RETRAIN: _retrain,
    links.ROLLBACK: _rollback,
    links.REPLAY: _replay,
}


def _record(bucket: Bucket, key: str | None, kind: Any) -> Any:
    return bucket.find_record(key, kind) if key else None


def _decision(registry: Registry, uri: Any) -> tuple[str | None, Decision | None]:
    """The decision behind the URI that a task returned, its signature checked, and its key."""
    key = runs.uri_key(uri, registry.models.name) or ""
    named = _DECISION_KEY.fullmatch(key.removeprefix(f"{registry.name}/"))
    if named is None:
        return None, None
    version, generation, policy = named.groups()
    return key, registry.find_decision(version, int(generation), policy)


def _entry(site: Site, uri: Any) -> LogEntry | None:
    """The log entry behind the URI that a task returned, its signature checked."""
    registry = site.registry()
    key = runs.uri_key(uri, registry.models.name) or ""
    number = key.rpartition("/")[2].removesuffix(".json")
    if not number.isdecimal() or key != registry.log_key(int(number)):
        return None
    return registry.find_entry(int(number))


def _add_report(found: APIRouter, site: Site) -> None:
    @found.get("/reports/{delivery}/{basis}", dependencies=[site.may_read(links.INGEST)])
    def validation_report(delivery: Digest, basis: Digest) -> Response:
        try:
            page = reports.read(site.stores().reviews, validation_key(delivery, basis))
        except ObjectMissingError as error:
            raise no_such("There is no such validation report.") from error
        return HTMLResponse(page, headers=inert_headers())
