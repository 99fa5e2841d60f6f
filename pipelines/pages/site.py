"""What all routes share: who may read, the stores, Airflow's own API, and answers for people.

`Site` is filled in by the plugin, which knows Airflow, and by tests, which do not need it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse

from pipelines.core import config, links
from pipelines.core.errors import ConfigError
from pipelines.core.settings.settings import FIRST, Settings
from pipelines.core.store.stores import Stores
from pipelines.pages.frame import Button, Section, headers, render
from pipelines.registry.registry import Registry


@dataclass(frozen=True)
class Viewer:
    """The person who reads, as Airflow knows them."""

    name: str
    may_start: Callable[[str], bool]  # a run of this DAG
    may_read: Callable[[str], bool]  # the runs of this DAG
    dags: str = FIRST  # what the ids of the DAGs begin with that the buttons of a page start

    def button(
        self, label: str, dag_id: str, params: Mapping[str, links.FormValue], tone: str = ""
    ) -> Button:
        dag_id = links.of_model(dag_id, self.dags)
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
        Makes a dependency that refuses everybody who may not read the runs of a DAG; it is given
        what finds the DAG of a request.
    view_as : callable
        Dependency that gives the `Viewer`, and refuses those who are not logged in.
    ask : callable
        Asks Airflow's public API as this reader, with their rights and nobody else's.
    stores : callable
        Opens the buckets.
    secret : callable
        What all processes of the api-server share and nobody else knows.
    model : str or None
        Which model the page is about; None is the first.
    """

    reads: Callable[[Callable[[Request], str]], Callable[..., Any]]
    view_as: Callable[..., Any]
    ask: Ask
    stores: Callable[[], Stores]
    secret: Callable[[], str]
    model: str | None = None

    def may_read(self, dag_id: str | None = None) -> Any:
        """For ``dependencies`` of a route; a test checks that every route has it.

        The DAG is that of the model that the request asks for; None is the DAG in the path.
        """

        def dag_of(request: Request) -> str:
            if dag_id is None:
                return str(request.path_params["dag_id"])
            return links.of_model(dag_id, _settings_of(request).dags)

        return Depends(self.reads(dag_of))

    def about(self, request: Request) -> Site:
        """The site as it is about the model that the request asks for."""
        return replace(self, model=_settings_of(request).model.name)

    def about_dag(self, dag_id: str) -> Site:
        """The site as it is about the model of a DAG."""
        return replace(self, model=config.load().model_of(dag_id))

    @property
    def settings(self) -> Settings:
        """The settings of the model."""
        settings = config.load()
        return settings if self.model is None else settings.of(self.model)

    @property
    def viewer(self) -> Any:
        """Default of a route's parameter of type `Viewer`."""
        return Depends(self.view_as)

    def registry(self) -> Registry:
        return Registry(self.stores().models, self.settings.model.name)


def _settings_of(request: Request) -> Settings:
    """The settings of the model that a request asks for, by its parameter ``model``."""
    settings, asked = config.load(), request.query_params.get("model", "")
    if asked and asked not in settings.model_names:
        raise HTTPException(404)
    return settings.of(asked) if asked else settings


def _models() -> tuple[str, ...]:
    """All models; none where the configuration cannot be used, which a page must be able to say."""
    try:
        return config.load().model_names
    except ConfigError:
        return ()


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
    model: str = "", **parts: Any,
) -> HTMLResponse:  # fmt: skip
    """A page with the headers that every page has; ``model`` is whom it is about, if anybody."""
    several = _models()
    html = render(
        template, title=title, section=section, base=base_of(request), model=model,
        models=several if len(several) > 1 else (), **parts,
    )  # fmt: skip
    return HTMLResponse(html, status_code=status, headers=headers())
