"""Every error ends in a page that says what happened and what to do, never in a stack trace."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from pipelines.core.errors import (
    BucketMissingError,
    ConfigError,
    LoopError,
    ObjectMissingError,
    StoreRefusedError,
    TransientError,
    TrustError,
)
from pipelines.pages.site import login_of, respond

logger = logging.getLogger(__name__)

LOG_SAYS_MORE = "See the log of the api-server for details."
FOLLOW_A_LINK = "Follow a link from Champion, Decisions or Incidents instead of typing an address."


class Unanswerable(Exception):  # noqa: N818 - not a fault: it becomes a page
    """A request that ends in a page saying why."""

    def __init__(self, status: int, title: str, what: str, todo: str) -> None:
        self.status, self.title, self.what, self.todo = status, title, what, todo
        super().__init__(what)


def no_such(what: str) -> Unanswerable:
    return Unanswerable(404, "Not found", what, FOLLOW_A_LINK)


def message_page(request: Request, status: int, title: str, what: str, todo: str) -> HTMLResponse:
    """A page that only shows what happened and what to do."""
    return respond(
        request, "message.html.jinja", title=title, status=status, what=what, todo=todo,
        login=login_of(request) if status == HTTPStatus.UNAUTHORIZED else None,
    )  # fmt: skip


_TODO: tuple[tuple[type[LoopError], int, str, str], ...] = (
    (
        BucketMissingError,
        503,
        "The bucket is missing",
        (
            "If it exists, compare [store] of LOOP_CONFIG with the environment of the api-server. "
            "For a new loop, create it: python -m pipelines init"
        ),
    ),
    (
        ObjectMissingError,
        404,
        "Not found",
        (
            "An object that a record names does not exist. To list everything that is missing, "
            "run: python -m pipelines champion fsck"
        ),
    ),
    (
        StoreRefusedError,
        502,
        "The store refuses to answer",
        "The api-server needs the same AWS_* variables as the workers, with the right to read.",
    ),
    (
        TransientError,
        503,
        "The store cannot be reached",
        (
            "Nothing is lost: reload this page in a moment. If the error remains, check the store "
            "and AWS_ENDPOINT_URL_S3 of the api-server."
        ),
    ),
    (
        TrustError,
        409,
        "A record cannot be trusted",
        (
            "It is not shown. To list every broken record, run: python -m pipelines champion fsck. "
            "What to do then: docs/runbooks/retrain-failed.md"
        ),
    ),
    (
        ConfigError,
        500,
        "The configuration cannot be used",
        "Correct the file that LOOP_CONFIG names in the environment of the api-server.",
    ),
    (LoopError, 409, "This page cannot be made", LOG_SAYS_MORE),
)

_REFUSALS = {
    401: (
        "Not logged in",
        "Airflow does not know who you are.",
        "Log in to Airflow, which then opens this page.",
    ),
    403: (
        "Not allowed",
        "Your role may not do this.",
        (
            "Reading needs the right to read the runs of the DAG, pressing a button the right to "
            "start one. The roles User, Op and Admin have both: ask an administrator of Airflow."
        ),
    ),
}
_UNWELL = (
    "Airflow does not answer",
    "Airflow did not answer a request that this page needs. The loop is not affected.",
    "Reload this page in a moment. If the error remains, check whether Airflow's own pages work.",
)
_NO_PAGE = ("Not found", "This page does not exist.", FOLLOW_A_LINK)


def answer_faults(app: FastAPI) -> None:
    app.add_exception_handler(LoopError, _fault)
    app.add_exception_handler(Unanswerable, _unanswerable)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(Exception, _broken)


async def _fault(request: Request, error: Exception) -> HTMLResponse:
    status, title, todo = next(line[1:] for line in _TODO if isinstance(error, line[0]))
    logger.warning("page=%s status=%d error=%s", request.url.path, status, error)
    names_the_store = isinstance(error, StoreRefusedError | TransientError)
    is_shown = isinstance(error, ObjectMissingError) or not names_the_store
    # Not everybody who may read a page may know the store's address.
    return message_page(request, status, title, str(error) if is_shown else LOG_SAYS_MORE, todo)


async def _unanswerable(request: Request, error: Exception) -> HTMLResponse:
    if not isinstance(error, Unanswerable):
        raise error
    return message_page(request, error.status, error.title, error.what, error.todo)


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    texts = _NO_PAGE if status in {404, 405} else _REFUSALS.get(status, _UNWELL)
    return message_page(request, status, *texts)


async def _malformed(request: Request, error: Exception) -> HTMLResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    if any(fault["loc"][0] == "path" for fault in faults):
        return message_page(request, 404, *_NO_PAGE)
    what = "A value in the address has the wrong form."
    return message_page(request, 400, "Not understood", what, FOLLOW_A_LINK)


async def _broken(request: Request, error: Exception) -> HTMLResponse:
    logger.error("page=%s failed", request.url.path, exc_info=error)
    what = "Something in the page itself went wrong. The loop is not affected."
    return message_page(request, 500, "This page failed", what, LOG_SAYS_MORE)
