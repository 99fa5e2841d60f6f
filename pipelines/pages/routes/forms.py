"""The forms that the buttons open, and the start of a run."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse

from pipelines.core import config, links
from pipelines.pages import read
from pipelines.pages.error_pages import Unanswerable, no_such
from pipelines.pages.frame import headers
from pipelines.pages.routes.runs import DagId, checked
from pipelines.pages.site import Reply, Site, Viewer, base_of, respond
from pipelines.pages.views import forms
from pipelines.pages.ways import is_ours, way_to

SEAL = "_seal"  # no field is called so: Airflow's names begin with a letter


def router(site: Site) -> APIRouter:
    routes = APIRouter()
    details = _asks_airflow(site)
    _add_form(routes, site, details)
    _add_start(routes, site, details)
    return routes


def _asks_airflow(site: Site) -> Any:
    """A dependency that gives what Airflow knows of the DAG in the path."""

    async def dag_details(request: Request, dag_id: DagId) -> dict[str, Any]:
        details: Any = None
        if is_ours(dag_id):
            path = f"/dags/{quote(dag_id, safe='')}/details"
            details = checked(await site.ask(request, "GET", path, None))
        if not isinstance(details, dict):
            raise no_such(f"DAG {dag_id} is not part of the loop.")
        return details

    return Depends(dag_details)


def _add_form(routes: APIRouter, site: Site, details: Any) -> None:
    @routes.get("/forms/{dag_id}", dependencies=[site.may_read()])
    def form(
        request: Request, viewer: Viewer = site.viewer, about: dict[str, Any] = details
    ) -> HTMLResponse:
        asked = request.query_params
        several = {name: " ".join(asked.getlist(name)) for name in asked if name == forms.MANY}
        filled = forms.from_link(about, dict(asked) | several)
        return _page(request, site, viewer, forms.form(about, filled))


def _add_start(routes: APIRouter, site: Site, details: Any) -> None:
    @routes.post("/forms/{dag_id}", dependencies=[site.may_read()])
    async def start(
        request: Request,
        dag_id: DagId,
        viewer: Viewer = site.viewer,
        about: dict[str, Any] = details,
    ) -> Response:
        sent = await _sent(request)
        _refuse_foreign(request, site, viewer, dag_id, sent.pop(SEAL, ""))
        try:
            wanted = forms.confs(about, sent)
        except forms.FieldError as error:
            return await run_in_threadpool(_again, request, site, viewer, about, sent, str(error))
        replies = [await _run(site, request, dag_id, conf) for conf in wanted]
        if len(wanted) > 1:
            return _started(request, dag_id, wanted, replies)
        (reply,) = replies
        if reply.status != 200:
            return await run_in_threadpool(
                _again, request, site, viewer, about, sent, forms.refusal(reply.body)
            )
        run = links.report_of_run_link(dag_id, str(reply.body["dag_run_id"]))
        return RedirectResponse(f"{base_of(request)}{run}", status_code=303, headers=headers())


async def _run(site: Site, request: Request, dag_id: str, conf: dict[str, Any]) -> Reply:
    """Start a run as this reader; Airflow has the last word on whether they may."""
    path = f"/dags/{quote(dag_id, safe='')}/dagRuns"
    reply = await site.ask(request, "POST", path, {"conf": conf, "logical_date": None})
    if reply.status in {401, 403}:
        raise HTTPException(reply.status)
    return reply


def _started(
    request: Request, dag_id: str, wanted: list[dict[str, Any]], replies: list[Reply]
) -> HTMLResponse:
    """What became of several runs that one form started."""
    started, refused = [], []
    for conf, reply in zip(wanted, replies, strict=True):
        delivery = str(conf.get(forms.MANY))
        if reply.status == 200:
            run_id = str(reply.body["dag_run_id"])
            started.append((delivery, run_id, links.report_of_run_link(dag_id, run_id)))
        else:
            refused.append((delivery, forms.refusal(reply.body)))
    return respond(
        request, "started.html.jinja", title=f"Runs of {dag_id}", section="form", dag_id=dag_id,
        started=started, refused=refused, page_of=links.incidents_link, way=way_to(dag_id),
        model=config.load().model_of(dag_id) or "",
    )  # fmt: skip


async def _sent(request: Request) -> dict[str, str]:
    """The fields that a browser sent.

    Raises
    ------
    Unanswerable
        If that is not a form of a decent size.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > forms.MOST_BYTES:
            todo = f"A form may have {forms.MOST_BYTES:,} bytes. Give fewer rows at once."
            raise Unanswerable(413, "Too long", "The form is too long.", todo)
    try:
        return dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        todo = "Open the form again and send it with its own button."
        raise Unanswerable(400, "Not understood", "That is not a form.", todo) from error


def _refuse_foreign(request: Request, site: Site, viewer: Viewer, dag_id: str, sealed: str) -> None:
    """Refuse a request that another site made the reader's browser send."""
    came_from = request.headers.get("sec-fetch-site", "same-origin")
    is_ours = forms.is_sealed(sealed, site.secret(), viewer.name, dag_id, time.time())
    if not viewer.may_start(dag_id):
        raise HTTPException(403)
    if came_from != "same-origin" or not is_ours:
        todo = "Open the form again and send it with its own button."
        what = f"This was not sent from our own form within {forms.SEAL_HOURS} hours of opening it."
        raise Unanswerable(403, "Not sent", what, todo)


def _again(
    request: Request, site: Site, viewer: Viewer, about: dict[str, Any], sent: dict[str, str],
    problem: str,
) -> HTMLResponse:  # fmt: skip
    """The form again, as it was filled in, with what is wrong."""
    unticked = dict.fromkeys(about.get("params") or {}, "")
    filled = forms.form(about, unticked | sent, problem)
    return _page(request, site, viewer, filled, status=400)


def _page(
    request: Request, site: Site, viewer: Viewer, form: forms.Form, status: int = 200
) -> HTMLResponse:
    standings = read.standings_of(site.stores, forms.deliveries_of(form))
    until = int(time.time()) + forms.SEAL_HOURS * 3600
    return respond(
        request, "form.html.jinja", title=f"Start {form.dag_id}", section="form", status=status,
        form=form, may_start=viewer.may_start(form.dag_id), seal_name=SEAL,
        seal=forms.seal(site.secret(), viewer.name, form.dag_id, until),
        concerned=[forms.concerned(standing) for standing in standings],
        incident=links.incidents_link, page_link=links.form_link(form.dag_id),
        way=way_to(form.dag_id), model=config.load().model_of(form.dag_id) or "",
    )  # fmt: skip
