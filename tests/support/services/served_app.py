"""An application behind a real port, in a thread: for tests of those who ask it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from pipelines.serving.http.app import make_app
from pipelines.serving.http.service import Service
from tests.support.timing import HANG_SECONDS


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the test process keeps its own


@contextlib.contextmanager
def served(service: Service) -> Iterator[str]:
    """The address of a running service; it watches its source as in production."""
    with running(make_app(service)) as address:
        yield address


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of a running application."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False)
    socket = config.bind_socket()
    server = _Quiet(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + HANG_SECONDS
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join(HANG_SECONDS)
    socket.close()
