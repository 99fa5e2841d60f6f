"""``/v2``: the Open Inference Protocol, which the clients of KServe, Triton and Seldon speak."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipelines.serving.http.bounds import RefusedError
from pipelines.serving.http.contract import GENERATION_HEADER, described
from pipelines.serving.http.service import Asked, Reply, Service
from pipelines.serving.http.tensors import InferRequest, message_of, reply_to, texts_of
from pipelines.serving.http.v1 import FAILURES, HEADERS

_UNKNOWN = FAILURES | {404: {"model": FAILURES[400]["model"], "description": "No such model."}}


def make_router(service: Service) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _add_inference(router, service)
    _add_health(router, service)
    _add_descriptions(router, service)
    return router


def _add_inference(router: APIRouter, service: Service) -> None:
    async def infer_texts(asked: Asked) -> Reply:
        _check_model(service, asked)
        message, tail = message_of(asked)
        texts = texts_of(message.inputs[0], tail)
        return reply_to(asked, message, await service.probabilities(asked, texts))

    names = {"type": "string", "enum": [service.champions.source.model_name]}
    path = {"name": "name", "in": "path", "required": True, "schema": names}

    @router.post(
        "/models/{name}/infer",
        responses=_UNKNOWN,
        openapi_extra={
            "requestBody": described(InferRequest), "parameters": [path, *HEADERS],
        },
    )  # fmt: skip
    async def infer(request: Request) -> Response:
        """Score the texts of one tensor."""
        return await service.answered(request, "infer", infer_texts)

    @router.post("/models/{name}/versions/{version}/infer", include_in_schema=False)
    async def infer_version(request: Request) -> Response:
        return await service.answered(request, "infer", infer_texts)


def _add_health(router: APIRouter, service: Service) -> None:
    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Answer as long as the process does; if this fails, a restart helps."""
        return {"live": True}

    @router.get("/health/ready", responses={503: FAILURES[503]})
    async def ready() -> Response:
        """200 when a verified champion answers, else 503."""
        return JSONResponse({"ready": service.is_ready}, 200 if service.is_ready else 503)


def _add_descriptions(router: APIRouter, service: Service) -> None:
    @router.get("")
    async def server() -> dict[str, Any]:
        """Name the server and what it can do."""
        return {"name": "retraining-loop", "version": "1", "extensions": ["binary_tensor_data"]}

    @router.get("/models/{name}", responses=_UNKNOWN)
    async def model(name: str) -> Response:
        """Describe the model's input and outputs."""
        return _description(service, name, None)

    @router.get("/models/{name}/versions/{version}", include_in_schema=False)
    async def model_version(name: str, version: str) -> Response:
        return _description(service, name, version)

    @router.get("/models/{name}/ready", responses=_UNKNOWN)
    async def model_ready(name: str) -> Response:
        """200 when a verified champion of this name answers."""
        return _readiness(service, name, None)

    @router.get("/models/{name}/versions/{version}/ready", include_in_schema=False)
    async def model_version_ready(name: str, version: str) -> Response:
        return _readiness(service, name, version)


def _readiness(service: Service, name: str, version: str | None) -> Response:
    if service.is_draining:
        return JSONResponse({"error": "the service is stopping"}, 503)
    return _description(service, name, version)


def _description(service: Service, name: str, version: str | None) -> Response:
    served = service.champions.current
    if name != service.champions.source.model_name:
        return JSONResponse({"error": "there is no model of this name"}, 404)
    if served is None:
        return JSONResponse({"error": service.why_not_ready()}, 503)
    if version not in {None, served.version}:
        return JSONResponse({"error": "another version answers"}, 404)
    return JSONResponse(
        {
            "name": name,
            "versions": [served.version],
            "platform": "retraining-loop",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [
                {"name": "probability", "datatype": "FP64", "shape": _shape(served.class_names)},
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
            ],
        },
        headers={GENERATION_HEADER: str(served.generation)},
    )


def _shape(class_names: tuple[str, ...]) -> list[int]:
    """Of a probability per text, or of one per class."""
    return [-1] if len(class_names) == 2 else [-1, len(class_names)]


def _check_model(service: Service, asked: Asked) -> None:
    parameters = asked.request.path_params
    if parameters["name"] != service.champions.source.model_name:
        raise RefusedError(404, "there is no model of this name")
    if parameters.get("version") not in {None, asked.served.version}:
        raise RefusedError(404, f"version {asked.served.version} answers, no other one")
