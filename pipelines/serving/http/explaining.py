"""Say why: the n-grams that moved one answer, for machines and on a page for people."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from pipelines.core.templating import markup
from pipelines.serving.http.bounds import RefusedError, check_texts
from pipelines.serving.http.contract import Answered, Message, described, parse, predictions_of
from pipelines.serving.http.service import Asked, Reply, Service
from pipelines.serving.http.v1 import FAILURES, HEADERS

MOST_NGRAMS = 50
_PAGE_NGRAMS = 12
_ONLY_OURS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_NOT_THIS_KIND = {**FAILURES[400], "description": "This kind of model cannot be taken apart."}

_pages = markup("pipelines.serving.http", trim_blocks=True)


class ExplainRequest(Message):
    """One text."""

    text: str = Field(examples=["A warm and funny film, but too long."])
    top: int = Field(10, ge=0, le=MOST_NGRAMS, description="How many n-grams to name at most.")


class Part(Message):
    ngram: str = Field(examples=["warm"])
    contribution: float = Field(
        description="to the log-odds of positive; with more classes to what speaks for the label",
        examples=[0.41],
    )


class Explained(Answered):
    """The log-odds of the probability are intercept, plus contributions, plus remainder.

    For more than two classes their sum is how far the logarithm of the label's probability is above
    the mean of all classes.
    """

    label: str = Field(examples=["positive"])
    probability: float = Field(examples=[0.87])
    probabilities: dict[str, float] | None = Field(
        None, description="of each class, if there are more than two"
    )
    intercept: float = Field(description="this sum for a text without known n-grams")
    ngrams: list[Part]
    remainder: float = Field(description="sum of all contributions that are not named")


def make_router(service: Service) -> APIRouter:
    router = APIRouter()

    async def explain_text(asked: Asked) -> Reply:
        asked_for = parse(asked.body, ExplainRequest)
        explained = await _explained(service, asked, asked_for.text, asked_for.top)
        if explained is None:
            raise RefusedError(404, "the answers of this kind of model cannot be taken apart")
        return Reply(explained.model_dump_json(exclude_none=True).encode(), 1)

    @router.post(
        "/v1/explain",
        tags=["scoring"],
        response_model=Explained,
        responses=FAILURES | {404: _NOT_THIS_KIND},
        openapi_extra={"requestBody": described(ExplainRequest), "parameters": HEADERS},
    )
    async def explain(request: Request) -> Response:
        """Score one text and name the n-grams that moved the answer most."""
        return await service.answered(request, "explain", explain_text)

    @router.get("/", include_in_schema=False)
    async def console() -> Response:
        return Response(_page(service), media_type="text/html", headers=_ONLY_OURS)

    async def show_answer(asked: Asked) -> Reply:
        text = _field(asked.body, "text")
        explained = await _explained(service, asked, text, _PAGE_NGRAMS)
        if explained is None:
            explained = _without_reasons(asked, await service.probabilities(asked, [text]))
        return Reply(_page(service, text=text, answer=explained), 1, "text/html", _ONLY_OURS)

    @router.post("/", include_in_schema=False)
    async def try_text(request: Request) -> Response:
        failed = partial(_failed_page, service)
        return await service.answered(request, "console", show_answer, failed)

    return router


async def _explained(service: Service, asked: Asked, text: str, top: int) -> Explained | None:
    """Why the champion of this request answers so; None if it is of a kind that cannot say."""
    from pipelines.models.explain import explain, is_explainable

    check_texts([text], service.settings)
    model = asked.served.champion.model
    if not is_explainable(model):
        return None
    why = await service.scorers.run(explain, model, text, top)
    return Explained(
        **_about(asked, np.array([why.probability])),
        intercept=why.intercept,
        ngrams=[Part(ngram=ngram, contribution=part) for ngram, part in why.ngrams],
        remainder=why.remainder,
    )


def _without_reasons(asked: Asked, probability: NDArray[np.float64]) -> Explained:
    return Explained(**_about(asked, probability), intercept=0.0, ngrams=[], remainder=0.0)


def _about(asked: Asked, probability: NDArray[np.float64]) -> dict[str, Any]:
    """Who answers, and what; ``probability`` is of one text."""
    (prediction,) = predictions_of(probability, asked.served.class_names)
    return {
        "model": asked.served.model_name,
        "version": asked.served.version,
        "generation": asked.served.generation,
        "request_id": asked.request_id,
        **prediction,
    }


def _field(body: bytes, name: str) -> str:
    """A field of a form that a browser sent.

    Raises
    ------
    RefusedError
        400 if the body is no form in UTF-8.
    """
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError:
        raise RefusedError(400, "the form cannot be read") from None
    return fields.get(name, [""])[0]


def _failed_page(service: Service, why: str) -> Reply:
    return Reply(_page(service, failure=why), 0, "text/html", _ONLY_OURS)


def _page(
    service: Service, *, text: str = "", answer: Explained | None = None, failure: str = ""
) -> bytes:
    parts, served = answer.ngrams if answer else [], service.champions.current
    page = _pages.get_template("console.html.jinja").render(
        status=service.status(), text=text, answer=answer, failure=failure,
        second_class=served.class_names[1] if served else "",
        largest=max((abs(part.contribution) for part in parts), default=1.0),
        max_text_chars=service.settings.max_text_chars,
    )  # fmt: skip
    return page.encode()
