"""Visitors of the film site: a small, steady load on the scoring service, from a thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from dataclasses import dataclass

import httpx

from ops.load import DEFAULT_TEXTS, Load, prepared

RATE = 20.0  # requests per second
_FOREVER_SECONDS = 1e9


@dataclass(frozen=True)
class Visits:
    """What became of the requests of some time: how many, how many failed, who answered."""

    requests: int
    failed: int
    generations: tuple[int, ...]


class Visitors:
    """They come as soon as the service is ready, and go with the context manager."""

    def __init__(self, service_url: str) -> None:
        self._url = service_url
        bodies = (json.dumps({"text": text}).encode() for text in DEFAULT_TEXTS)
        requests = [prepared(f"{service_url}/v1/score", body) for body in bodies]
        self._load = Load(f"{service_url}/v1/score", requests, rate=RATE)
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._is_gone = False
        self._seen: Counter[int] = Counter()
        self._counted = (0, 0)

    def __enter__(self) -> Visitors:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_gone = True
        self._load.stop()
        self._thread.join(timeout=10)

    def _visit(self) -> None:
        while not self._is_gone and not self.is_ready():
            time.sleep(0.2)
        if not self._is_gone:
            asyncio.run(self._load.run(1, _FOREVER_SECONDS))

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self._url}/v2/health/ready", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_for(self, generation: int, *, timeout_seconds: float) -> bool:
        """Whether the service answers with this generation within the time."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                champion = httpx.get(f"{self._url}/status", timeout=10).json()["champion"]
            except (httpx.HTTPError, ValueError):
                champion = None
            if champion and champion["generation"] == generation:
                return True
            time.sleep(0.1)
        return False

    def since_last(self) -> Visits:
        """What became of the requests since the last call."""
        outcome = self._load.outcome
        counts, before = (sum(outcome.statuses.values()), outcome.failed), self._counted
        generations = Counter(outcome.generations)
        answered = sorted((generations - self._seen).keys())
        self._counted, self._seen = counts, generations
        return Visits(counts[0] - before[0], counts[1] - before[1], tuple(answered))
