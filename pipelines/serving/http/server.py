"""Run the service: one process, which stops without losing a request."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType

import uvicorn
from threadpoolctl import threadpool_limits

from pipelines.serving.http.app import make_app
from pipelines.serving.http.service import Service

logger = logging.getLogger(__name__)

# Threads that score or load a model hold Python's lock; the event loop gets it back after this
# many seconds (5 ms unless set), so a swap does not show in the latency of requests.
_SWITCH_SECONDS = 0.001
_KEEP_ALIVE_SECONDS = 75


class Server(uvicorn.Server):
    """A server that SIGTERM makes unready at once and stops some seconds later.

    Meanwhile it goes on answering, because who sends requests learns of it only with the next
    look at ``/v2/health/ready``. A second signal stops it without waiting.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

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


def run(service: Service, *, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Port 0 takes a free one; the log says which."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    threadpool_limits(1)  # each scoring thread computes alone
    config = uvicorn.Config(
        make_app(service), host=host, port=port, log_config=None, access_log=False,
        server_header=False, timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(service.settings.stop_seconds)),
    )  # fmt: skip
    socket = config.bind_socket()
    socket.listen(config.backlog)  # whoever reads the next line may connect
    logger.info("serving=http://%s:%d", *socket.getsockname()[:2])
    Server(config, service).run(sockets=[socket])
