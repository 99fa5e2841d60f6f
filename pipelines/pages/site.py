"""What all routes share: who may read, the stores, Airflow's own API, and answers for people.

`Site` is filled in by the plugin, which knows Airflow, and by tests, which do not need it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from pipelines.core import config, links
from pipelines.core.store.stores import Stores
from pipelines.pages.frame import Button, Section, headers, render
from pipelines.registry.registry import Registry


@dataclass(frozen=True)
class Viewer:
    """The person who reads, as Airflow knows them."""

    name: str
    may_start: Callable[[str], bool]  # a run of this DAG

    def button(
        self, label: str, dag_id: str, params: Mapping[str, links.FormValue], tone: str = ""
    ) -> Button:
        return Button(
            label=label,
            link=links.form_link(dag_id, params),
            is_allowed=self.may_start(dag_id),
            dag_id=dag_id,
            tone=tone,
        )


@dataclass(frozen=True)
class Reply:
    """What Airflow's own API answered to this reader."""

    status: int
    body: Any


Ask = Callable[[Request, str, str, Any], Awaitable[Reply]]  # request, method, path, JSON body


@dataclass(frozen=True)
class Site:
    """What the routes need from outside.

    Attributes
    ----------
    reads : callable
        Makes a dependency that refuses everybody who may not read the runs of a DAG; None is the
        DAG in the route's path.
    view_as : callable
        Dependency that gives the `Viewer`, and refuses those who are not logged in.
    ask : callable
        Asks Airflow's public API as this reader, with their rights and nobody else's.
    stores : callable
        Opens the buckets.
    secret : callable
        What all processes of the api-server share and nobody else knows.
    """

    reads: Callable[[str | None], Callable[..., Any]]
    view_as: Callable[..., Any]
    ask: Ask
    stores: Callable[[], Stores]
    secret: Callable[[], str]

    def may_read(self, dag_id: str | None = None) -> Any:
        """For ``dependencies`` of a route; a test checks that every route has it."""
        return Depends(self.reads(dag_id))

    @property
    def viewer(self) -> Any:
        """Default of a route's parameter of type `Viewer`."""
        return Depends(self.view_as)

    def registry(self) -> Registry:
        return Registry(self.stores().models, config.load().model.name)


def base_of(request: Request) -> str:
    """What Airflow's root is called from outside: usually nothing."""
    return str(request.scope.get("root_path", "")).removesuffix(links.ROOT)


def login_of(request: Request) -> str:
    """Airflow's login, which then opens the page that was asked for."""
    own = str(request.scope["path"]).removeprefix(request.scope.get("root_path", ""))
    page = f"{base_of(request)}{links.ROOT}{own}"
    return links.login_link(page, request.scope["query_string"])


def respond(
    request: Request, template: str, *, title: str, section: Section = "", status: int = 200,
    **parts: Any,
) -> HTMLResponse:  # fmt: skip
    """A page with the headers that every page has."""
    html = render(template, title=title, section=section, base=base_of(request), **parts)
    return HTMLResponse(html, status_code=status, headers=headers())
