"""The service as an application: its routes, and what begins and ends with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.serving.http import explaining, open_inference, v1
from pipelines.serving.http.service import Service

DESCRIPTION = """Scores texts with the champion of the retraining loop.
Every answer says which version and generation gave it."""


def make_app(service: Service) -> FastAPI:
    """The routes of a service. While the application runs, the champion log is watched."""

    @contextlib.asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        stopped = threading.Event()
        watcher = threading.Thread(target=_watch, args=(service, stopped), daemon=True)
        watcher.start()
        service.start()
        yield
        stopped.set()
        service.close()

    app = FastAPI(
        title="Scoring service", description=DESCRIPTION, version="1", lifespan=running,
        docs_url=None, redoc_url=None,  # their pages load scripts from elsewhere
        exception_handlers={HTTPException: _say_why},
    )  # fmt: skip
    app.include_router(v1.make_router(service))
    app.include_router(explaining.make_router(service))
    app.include_router(open_inference.make_router(service))

    @app.get("/status", tags=["operation"])
    async def status() -> Response:
        """Say which champion answers, what it was asked, and what is wrong."""
        return JSONResponse(service.status())

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.page(), media_type="text/plain; version=0.0.4")

    app.add_middleware(_Direct, path="/v1/score", handler=v1.score_handler(service))
    return app


class _Direct:
    """Takes the requests that come most past the framework's routing, which costs a tenth of one.

    The route itself stays, for its description.
    """

    def __init__(self, app: ASGIApp, *, path: str, handler: v1.Handler) -> None:
        self._app, self._path, self._handler = app, path, handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != ("POST", self._path):
            await self._app(scope, receive, send)
            return
        response = await self._handler(Request(scope, receive))
        await response(scope, receive, send)


def _watch(service: Service, stopped: threading.Event) -> None:
    while True:
        service.champions.look()
        if stopped.wait(service.settings.poll_seconds):
            return


async def _say_why(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    why = {404: "there is nothing at this address", 405: "this address takes another method"}
    return JSONResponse({"error": why.get(status, "the request cannot be used")}, status, headers)
