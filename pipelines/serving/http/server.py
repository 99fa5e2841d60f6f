"""Run the service: one process, which stops without losing a request."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn
from threadpoolctl import threadpool_limits

from pipelines.core.errors import ConfigError
from pipelines.serving.http.app import make_app
from pipelines.serving.http.service import Service

logger = logging.getLogger(__name__)

# Threads that score or load a model hold Python's lock; the event loop gets it back after this
# many seconds (5 ms unless set), so a swap does not show in the latency of requests.
_SWITCH_SECONDS = 0.001
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2_048  # connections that wait to be accepted


class Server(uvicorn.Server):
    """A server that SIGTERM makes unready at once and stops some seconds later.

    Meanwhile it goes on answering, because who sends requests learns of it only with the next
    look at ``/v2/health/ready``. A second signal stops it without waiting.
    """

    def __init__(self, config: uvicorn.Config, service: Service, *, is_quiet: bool) -> None:
        super().__init__(config)
        self._service, self._is_quiet = service, is_quiet

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        log_to_standard_error(is_quiet=self._is_quiet)
        await super().startup(sockets)
        for one in sockets or ():
            logger.info("serving=http://%s:%d", *one.getsockname()[:2])

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        if self._service.is_draining or sig == signal.SIGINT:
            self.should_exit = True
            return
        self._service.is_draining = True
        seconds = self._service.settings.drain_seconds
        logger.info("signal=%d drain_seconds=%g", sig, seconds)
        timer = threading.Timer(seconds, setattr, (self, "should_exit", True))
        timer.daemon = True
        timer.start()


def run(service: Service, *, host: str, port: int, is_quiet: bool = False) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; the log says which.

    Quiet means that requests are not logged.

    Raises
    ------
    ConfigError
        If nothing can listen there.
    """
    listening = _listen(host, port)
    sys.setswitchinterval(_SWITCH_SECONDS)
    threadpool_limits(1)  # each scoring thread computes alone
    config = uvicorn.Config(
        make_app(service), log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(service.settings.stop_seconds)),
    )  # fmt: skip
    Server(config, service, is_quiet=is_quiet).run(sockets=[listening])


def log_to_standard_error(*, is_quiet: bool) -> None:
    """Plain lines: a service's log is read by a collector, not on a terminal."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    for name in ("httpx", "botocore", "uvicorn"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if is_quiet:
        logging.getLogger("pipelines.serving.http.service").setLevel(logging.WARNING)


def _listen(host: str, port: int) -> socket.socket:
    try:
        # An empty address would mean every address.
        family = socket.getaddrinfo(host or ".", port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"cannot listen at {host!r}, port {port}: {error}. Choose another --host or --port"
        ) from error
