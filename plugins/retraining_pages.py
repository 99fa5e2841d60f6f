"""The pages Champion, Decisions, Incidents and Monitoring, and the tab *Run report* of each run.

Every component of Airflow imports this file, so it imports almost nothing: the api-server builds
the app on the first request.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from pipelines.core import links

_BASE = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
_AIRFLOW = "retraining.airflow"


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Serve the app, built on the first request. The scope names Airflow's app as its parent."""
    await app()({**scope, _AIRFLOW: scope.get("app")}, receive, send)


@functools.cache
def app() -> Any:
    from pipelines.pages.app import build

    return build(_site())


def _site() -> Any:
    from pipelines.pages.site import Site

    return Site(
        reads=_reads,
        view_as=_view_as(),
        ask=_ask,
        stores=_stores,
        secret=lambda: conf.get_mandatory_value("api", "secret_key"),
    )


@functools.cache
def _stores() -> Any:
    """Open the buckets when a page needs them, so that a wrong configuration shows as a page."""
    from pipelines.core import config
    from pipelines.core.store.stores import open_stores

    # A person waits for a page; a task can wait longer.
    hurried = {
        "connect_timeout_seconds": 2.0, "read_timeout_seconds": 10.0, "max_attempts": 2,
        "deadline_seconds": 15.0,
    }  # fmt: skip
    settings = config.load()
    return open_stores(
        settings.model_copy(update={"store": settings.store.model_copy(update=hurried)})
    )


def _reads(dag_of: Callable[[Any], str]) -> Callable[..., None]:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
    from fastapi import Depends, Request

    def check(request: Any, user: Any = Depends(get_user)) -> None:  # noqa: B008
        requires_access_dag("GET", DagAccessEntity.RUN, dag_of(request))(request, user)

    check.__annotations__["request"] = Request  # FastAPI finds no names that are local here
    return check


def _view_as() -> Callable[..., Any]:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import (
        DagAccessEntity,
        DagDetails,
    )
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends

    from pipelines.pages.site import Viewer

    def view_as(user: Any = Depends(get_user)) -> Viewer:  # noqa: B008 - FastAPI's own convention
        def may(method: Any, dag_id: str) -> bool:
            return get_auth_manager().is_authorized_dag(
                method=method, access_entity=DagAccessEntity.RUN,
                details=DagDetails(id=dag_id), user=user,
            )  # fmt: skip

        return Viewer(
            name=str(user.get_id()),
            may_start=functools.partial(may, "POST"),
            may_read=functools.partial(may, "GET"),
        )

    return view_as


async def _ask(request: Any, method: str, path: str, body: Any) -> Any:
    """Ask Airflow's public API, in this process, with the reader's own credentials."""
    import httpx

    from pipelines.pages.site import Reply

    carried = {
        name: request.headers[name] for name in ("cookie", "authorization")
        if name in request.headers
    }  # fmt: skip
    transport = httpx.ASGITransport(app=request.scope[_AIRFLOW], raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        reply = await client.request(method, f"/api/v2{path}", json=body, headers=carried)
    is_json = reply.headers.get("content-type", "").startswith("application/json")
    return Reply(status=reply.status_code, body=reply.json() if is_json else None)


def _view(name: str, link: str, **more: str) -> dict[str, str]:
    return {"name": name, "href": f"{_BASE}{link}", **more}


class RetrainingPages(AirflowPlugin):
    """Tells Airflow where the pages are."""

    name = "retraining_pages"
    fastapi_apps = [{"app": pages, "url_prefix": links.ROOT, "name": "Retraining"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012 - Airflow's own convention
        _view("Champion", links.champion_link(), url_route="champion", category="browse"),
        _view("Decisions", links.decisions_link(), url_route="decisions", category="browse"),
        _view("Incidents", links.incidents_link(), url_route="incidents", category="browse"),
        _view("Monitoring", links.monitoring_link(), url_route="monitoring", category="browse"),
        _view("Run report", f"{links.ROOT}/runs/{{DAG_ID}}/{{RUN_ID}}",
              url_route="run-report", destination="dag_run"),
    ]  # fmt: skip
