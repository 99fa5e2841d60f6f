"""What a request may cost: bytes as received, seconds, texts, and its place among the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from starlette.requests import ClientDisconnect, Request

from pipelines.core.settings.operation import ServingSettings


class RefusedError(Exception):
    """A request that is not answered: the status, and one sentence that says why."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.why, self.headers = status, why, dict(headers or {})
        super().__init__(why)


CLOSE = {"Connection": "close"}  # the rest of the body is not read
LATER = {"Retry-After": "1"}


class Bounds:
    """Limits of one request, and of all that are in progress. Used by the event loop alone."""

    def __init__(self, settings: ServingSettings) -> None:
        self._limits = settings
        self.requests = 0  # being answered
        self._received = 0  # bytes of requests in progress

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests that are answered at once.

        Raises
        ------
        RefusedError
            503 if none is free: waiting would only make every request late.
        """
        if self.requests >= self._limits.max_requests:
            raise RefusedError(
                503, f"{self.requests} requests are being answered; try again in a second", LATER
            )
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, counted as it is received, whatever its headers say.

        Raises
        ------
        RefusedError
            413 if it is too large, 408 if it takes too long, 503 if too much is being received.
        """
        chunks: list[bytes] = []
        size = 0
        try:
            try:
                async with asyncio.timeout(self._limits.max_body_seconds):
                    async for chunk in request.stream():
                        chunks.append(chunk)
                        size += len(chunk)
                        self._received += len(chunk)
                        self._check_size(size)
            except TimeoutError:
                why = f"the body did not come within {self._limits.max_body_seconds:g} s"
                raise RefusedError(408, why, CLOSE) from None
            except ClientDisconnect:
                raise RefusedError(400, "the client left before its request had come") from None
            yield b"".join(chunks)
        finally:
            self._received -= size

    def _check_size(self, size: int) -> None:
        limits = self._limits
        if size > limits.max_body_bytes:
            raise RefusedError(
                413, f"the body is larger than {limits.max_body_bytes:,} bytes", CLOSE
            )
        if self._received > limits.max_received_bytes:
            raise RefusedError(503, "too much is being received; try again in a second",
                               CLOSE | LATER)  # fmt: skip


def check_texts(texts: Sequence[str], limits: ServingSettings) -> None:
    """Refuse texts that cannot be scored, or that are too many or too long.

    Raises
    ------
    RefusedError
        413 for too many or too long ones, 422 for empty ones and those with a NUL.
    """
    if not texts:
        raise RefusedError(422, "there is no text to score")
    if len(texts) > limits.max_texts:
        raise RefusedError(413, f"{len(texts):,} texts; at most {limits.max_texts:,} are scored")
    for number, text in enumerate(texts, start=1):
        if len(text) > limits.max_text_chars:
            raise RefusedError(
                413,
                f"text {number} has {len(text):,} characters; at most {limits.max_text_chars:,} "
                "are scored",
            )
        if not text or text.isspace():
            raise RefusedError(422, f"text {number} is empty")
        if "\0" in text:
            raise RefusedError(422, f"text {number} holds a NUL character")
