"""A steady load of requests on a scoring service, and what became of each.

    python -m ops.load http://127.0.0.1:8090/v1/score --connections 8 --seconds 10

Each connection sends its next request when it has the answer to the last one, or when ``--rate``
says that it is time. It ends when the time is up or Ctrl-C comes, and prints one JSON object. It is
light, because it shares the machine with what it measures: no HTTP library, prepared requests, and
answers that are counted and not decoded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

DEFAULT_TEXTS = ("A warm and funny film, with a great cast.", "Two dull hours, and a weak plot.")


@dataclass
class Outcome:
    """What became of the requests so far.

    Attributes
    ----------
    statuses : Counter
        HTTP status to number of answers; 0 counts requests that got no answer.
    generations : Counter
        Generation in the answer's header to number of good answers.
    seconds : list of float
        Of each good answer, from sending to its last byte.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    generations: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != 200)

    def facts(self, duration: float) -> dict[str, Any]:
        milliseconds = np.array(self.seconds or [np.nan]) * 1000
        p50, p99 = np.percentile(milliseconds, [50, 99]).round(3).tolist()
        return {
            "requests": sum(self.statuses.values()),
            "failed": self.failed,
            "statuses": dict(sorted(self.statuses.items())),
            "generations": dict(sorted(self.generations.items())),
            "requests_per_second": round(len(self.seconds) / duration, 1),
            "p50_milliseconds": p50,
            "p99_milliseconds": p99,
            "max_milliseconds": float(milliseconds.max().round(3)),
        }


def prepared(url: str, body: bytes) -> bytes:
    """A whole HTTP request that posts JSON."""
    address = urlsplit(url)
    head = (
        f"POST {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection: it sends a request, and hands over status, headers and time of the answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP always is
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((0, b""))

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._buffer, self._answer = b"", asyncio.get_running_loop().create_future()
        assert self._transport is not None  # noqa: S101 - the caller saw that it is open
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        headers = head.lower()
        length = int(headers.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(body) >= length and self._answer is not None and not self._answer.done():
            if b"connection: close" in headers and self._transport is not None:
                self._transport.close()
            self._answer.set_result((int(head[9:12]), headers))


class Load:
    """Sends requests until `stop` is called or the time is up."""

    def __init__(self, url: str, requests: Sequence[bytes], *, rate: float | None = None) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._requests, self._rate = requests, rate
        self.outcome = Outcome()
        self._is_stopped = False

    def stop(self) -> None:
        self._is_stopped = True

    async def run(self, connections: int, seconds: float) -> None:
        ends = time.perf_counter() + seconds
        await asyncio.gather(*(self._send(number, ends) for number in range(connections)))

    async def _send(self, number: int, ends: float) -> None:
        connection: _Connection | None = None
        while not self._is_stopped and time.perf_counter() < ends:
            if connection is None or not connection.is_open:
                connection = await self._connected()
            if connection is None:
                self.outcome.statuses[0] += 1
                await asyncio.sleep(0.02)
                continue
            number += 1
            await self._ask(connection, self._requests[number % len(self._requests)])
        if connection is not None and connection.is_open:
            connection._transport.close()  # type: ignore[union-attr]

    async def _ask(self, connection: _Connection, request: bytes) -> None:
        began = time.perf_counter()
        status, headers = await connection.ask(request)
        took = time.perf_counter() - began
        self.outcome.statuses[status] += 1
        if status == 200:
            self.outcome.seconds.append(took)
            generation = headers.partition(b"x-model-generation:")[2].partition(b"\r\n")[0]
            self.outcome.generations[int(generation or 0)] += 1
        if self._rate:
            await asyncio.sleep(max(0.0, 1 / self._rate - took))

    async def _connected(self) -> _Connection | None:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        except OSError:
            return None
        return connection


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.load", description=__doc__)
    parser.add_argument("url", help="where to post, e.g. http://127.0.0.1:8090/v1/score")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, help="requests per second and connection")
    parser.add_argument("--bodies", type=Path, help="file with one JSON body per line")
    chosen = parser.parse_args()
    bodies = (
        chosen.bodies.read_bytes().splitlines()
        if chosen.bodies
        else [json.dumps({"text": text}).encode() for text in DEFAULT_TEXTS]
    )
    load = Load(chosen.url, [prepared(chosen.url, body) for body in bodies], rate=chosen.rate)
    signal.signal(signal.SIGINT, lambda *_: load.stop())
    began = time.perf_counter()
    asyncio.run(load.run(chosen.connections, chosen.seconds))
    sys.stdout.write(json.dumps(load.outcome.facts(time.perf_counter() - began)) + "\n")


if __name__ == "__main__":
    main()
