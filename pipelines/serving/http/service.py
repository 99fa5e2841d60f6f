"""The service behind the routes: bounds, one champion per request, counts, and what it says."""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from pipelines.core.settings.operation import ServingSettings
from pipelines.serving.bake import BAKE_HEADER
from pipelines.serving.http.bounds import LATER, Bounds, RefusedError, check_texts
from pipelines.serving.http.contract import (
    GENERATION_HEADER,
    MIN_GENERATION_HEADER,
    REQUEST_ID_HEADER,
    VERSION_HEADER,
)
from pipelines.serving.http.metrics import ServiceMetrics
from pipelines.serving.http.scorers import Scorers
from pipelines.serving.prediction_log import PredictionLog
from pipelines.serving.shadow import Shadow
from pipelines.serving.swap import Champions, Served

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_THIS_PROCESS, _NUMBERS = uuid.uuid4().hex, itertools.count(1)  # ids of requests without one
_GENERATION = re.compile(r"[0-9]{1,8}")


@dataclass(frozen=True)
class Asked:
    """One request: its body, the champion that answers it, and its id."""

    request: Request
    body: bytes
    served: Served
    request_id: str


@dataclass(frozen=True)
class Reply:
    """A good answer."""

    content: bytes
    texts: int
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


Work = Callable[[Asked], Awaitable[Reply]]
Failed = Callable[[str], Reply]


def _as_json(why: str) -> Reply:
    """What went wrong, for a machine."""
    return Reply(json.dumps({"error": why}, ensure_ascii=False).encode("utf-8", "replace"), 0)


class Service:
    """What all routes share."""

    def __init__(
        self,
        champions: Champions,
        settings: ServingSettings,
        *,
        prediction_log: PredictionLog | None = None,
        shadow: Shadow | None = None,
        threads: int | None = None,
    ) -> None:
        self.champions, self.settings = champions, settings
        self.prediction_log, self.shadow = prediction_log, shadow
        self.bounds = Bounds(settings)
        self.metrics = ServiceMetrics(champions, self._gauges, self._counters)
        self.scorers = Scorers(
            threads or len(os.sched_getaffinity(0)), on_call=self.metrics.count_call
        )
        self.is_draining = False

    def start(self) -> None:
        """Begin what runs next to the requests."""
        for part in (self.prediction_log, self.shadow):
            if part is not None:
                part.start()

    def close(self) -> None:
        """End it, after the last request."""
        self.scorers.close()
        if self.shadow is not None:
            self.shadow.close()
        if self.prediction_log is not None:
            self.prediction_log.close(self.settings.stop_seconds)

    # ── One request ──────────────────────────────────────────────────────────────────────────

    async def answered(
        self, request: Request, route: str, work: Work, failed: Failed = _as_json
    ) -> Response:
        """Have a request answered by the champion, or say in one sentence why it is not.

        The champion is taken once, when the request has come in whole.
        """
        began = time.perf_counter()
        request_id = _request_id(request)
        served: Served | None = None
        headers: dict[str, str] = {}
        status = 200
        try:
            with self.bounds.place():
                async with self.bounds.body(request) as body:
                    served = self._served(request)
                    reply = await work(Asked(request, body, served, request_id))
        except RefusedError as error:
            status, headers, reply = error.status, error.headers, failed(error.why)
            served = served or self.champions.current
        except Exception as error:  # noqa: BLE001 - the next request is answered
            # Neither its message nor its traceback: they may quote the text.
            logger.error("request=%s failed=%s", request_id, type(error).__name__)  # noqa: TRY400
            status, reply = 500, failed("this request could not be answered")
        headers = headers | reply.headers | {REQUEST_ID_HEADER: request_id}
        seconds = time.perf_counter() - began
        if served is not None:
            headers |= _model_headers(served)
            if BAKE_HEADER not in request.headers:
                served.traffic.count(seconds, is_error=status == 500)
        self.metrics.count(route, status, seconds, reply.texts)
        logger.info(
            "route=%s status=%d texts=%d milliseconds=%.1f generation=%s request=%s",
            route, status, reply.texts, seconds * 1000, served and served.generation, request_id,
        )  # fmt: skip
        return Response(reply.content, status, headers, media_type=reply.media_type)

    async def probabilities(
        self, asked: Asked, texts: list[str], row_ids: list[str] | None = None
    ) -> NDArray[np.float64]:
        """What `models.prediction.probabilities` returns, by the champion of this request."""
        check_texts(texts, self.settings)
        probabilities, cpu_seconds = await self.scorers.score(asked.served, texts)
        if BAKE_HEADER not in asked.request.headers:
            asked.served.traffic.cpu_seconds.append(cpu_seconds)
            self._pass_on(asked, texts, probabilities, row_ids)
        return probabilities

    def _pass_on(
        self,
        asked: Asked,
        texts: list[str],
        probabilities: NDArray[np.float64],
        row_ids: list[str] | None,
    ) -> None:
        """Give an answer to those who keep or compare it; they take no time of the request."""
        served = asked.served
        if self.prediction_log is not None:
            self.prediction_log.add(
                asked.request_id, texts, probabilities, class_names=served.class_names,
                version=served.version, generation=served.generation, row_ids=row_ids,
            )  # fmt: skip
        if self.shadow is not None:
            self.shadow.offer(texts, probabilities, served.version)

    def _served(self, request: Request) -> Served:
        served = self.champions.current
        if served is None:
            raise RefusedError(503, f"no champion answers yet: {self.why_not_ready()}", LATER)
        wanted = request.headers.get(MIN_GENERATION_HEADER)
        if wanted is None:
            return served
        if not _GENERATION.fullmatch(wanted):
            raise RefusedError(400, f"{MIN_GENERATION_HEADER} must be a whole number")
        if int(wanted) > served.generation:
            raise RefusedError(
                412, f"generation {served.generation} answers, and {int(wanted)} is asked for"
            )
        return served

    # ── What it says of itself ───────────────────────────────────────────────────────────────

    @property
    def is_ready(self) -> bool:
        return self.champions.current is not None and not self.is_draining

    def why_not_ready(self) -> str:
        refused = self.champions.refused
        return refused.why if refused else self.champions.trouble

    def status(self) -> dict[str, Any]:
        """Facts for people and for the bake (`pipelines.serving.bake`)."""
        champions = self.champions
        served, refused = champions.current, champions.refused
        age = champions.seconds_since_look
        is_loading = served is None
        return {
            "state": "draining" if self.is_draining else "loading" if is_loading else "ready",
            "model": champions.source.model_name,
            "champion": served and _champion_facts(served),
            "traffic": served and {
                "requests": served.traffic.requests,
                "errors": served.traffic.errors,
                "p99_milliseconds": served.traffic.p99_milliseconds(),
                "cpu_p99_milliseconds": served.traffic.cpu_p99_milliseconds(),
            },
            "log": {
                "seconds_since_look": None if age is None else round(age, 1),
                "trouble": champions.trouble,
            },
            "refused": refused and {
                "generation": refused.generation,
                "why": refused.why,
                "at": refused.at.isoformat(timespec="seconds"),
            },
            "swaps": list(champions.swaps),
            "shadow": self.shadow and self.shadow.facts(),
            "prediction_log": self.prediction_log and {
                "written": self.prediction_log.written,
                "waiting": self.prediction_log.waiting,
                "lost": self.prediction_log.lost,
                "trouble": self.prediction_log.trouble,
            },
        }  # fmt: skip

    def _gauges(self) -> dict[str, float]:
        gauges: dict[str, float] = {
            "requests_in_progress": self.bounds.requests,
            "queue": self.scorers.waiting,
        }
        if self.prediction_log is not None:
            gauges["predictions_waiting"] = self.prediction_log.waiting
        return gauges

    def _counters(self) -> dict[str, float]:
        log = self.prediction_log
        return {} if log is None else {
            "predictions_written": log.written, "predictions_lost": log.lost,
        }  # fmt: skip


def _champion_facts(served: Served) -> dict[str, Any]:
    entry = served.champion.entry
    return {
        "version": served.version,
        "generation": served.generation,
        "kind": entry.kind,
        "since": entry.at,
        "answers_since": served.began.isoformat(timespec="seconds"),
        "golden_compared": served.golden_compared,
        "holdout_accuracy": entry.holdout_accuracy,
    }


def _model_headers(served: Served) -> dict[str, str]:
    return {VERSION_HEADER: served.version, GENERATION_HEADER: str(served.generation)}


def _request_id(request: Request) -> str:
    given = request.headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else f"{_THIS_PROCESS}-{next(_NUMBERS):x}"
