"""S3 clients with bad luck: answers get lost, or the process dies beside a call."""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Any

from botocore.exceptions import ReadTimeoutError


class LosesAnswers:
    """A client whose ``put_object`` is carried out and then, by chance, seems to time out."""

    def __init__(self, client: Any, *, share: float, seed: int) -> None:
        self._client, self._share = client, share
        self._chance = random.Random(seed)
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **request: Any) -> Any:
        answer = self._client.put_object(**request)
        if self._chance.random() < self._share:
            self.lost += 1
            raise ReadTimeoutError(endpoint_url=self._client.meta.endpoint_url)
        return answer


class CallCounter:
    """Counts a client's calls from 1, and can kill the process beside one of them.

    ``when`` is "before" the call is sent or "after" it was answered; with a ``fatal`` of 0 it only
    counts.
    """

    def __init__(self, client: Any, *, fatal: int = 0, when: str = "before") -> None:
        self.calls = 0
        self._fatal, self._when = fatal, when
        self._lock = threading.Lock()
        client.meta.events.register("before-call.s3", self._before)
        client.meta.events.register("after-call.s3", self._after)

    def _before(self, context: dict[str, Any], **_: Any) -> None:
        with self._lock:
            self.calls += 1
            context["number"] = self.calls
        self._die_if(context["number"], "before")

    def _after(self, context: dict[str, Any], **_: Any) -> None:
        self._die_if(context["number"], "after")

    def _die_if(self, number: int, when: str) -> None:
        if (number, when) == (self._fatal, self._when):
            os.kill(os.getpid(), signal.SIGKILL)
