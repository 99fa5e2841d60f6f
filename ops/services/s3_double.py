"""Moto's S3 server on loopback: in memory, checks no credentials.

    python -m ops.services.s3_double [--port 9000] [--until-end-of-input]

Moto looks whether a key is there and then writes it, so by chance two of several writers at once
both create it. Real stores decide that in one step, and so does this server. It prints its port;
without ``--port`` it chooses a free one.
"""

from __future__ import annotations

import argparse
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ops.services.processes import LOOPBACK

P = ParamSpec("P")
R = TypeVar("R")


def one_at_a_time(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, which a second thread enters only after the first has left it."""
    lock = threading.Lock()

    @functools.wraps(function)
    def alone(*arguments: P.args, **options: P.kwargs) -> R:
        with lock:
            return function(*arguments, **options)

    return alone


def serve(port: int) -> Any:
    """Start moto's server in a thread; returns it."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    S3Response.put_object = one_at_a_time(S3Response.put_object)
    server = ThreadedMotoServer(LOOPBACK, port, verbose=False)
    server.start()
    return server


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ops.services.s3_double", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument(
        "--until-end-of-input", action="store_true", help="end with whoever started it"
    )
    chosen = parser.parse_args()
    _, port = serve(chosen.port).get_host_and_port()
    sys.stdout.write(f"port {port}\n")
    sys.stdout.flush()
    if chosen.until_end_of_input:
        sys.stdin.read()
    else:
        threading.Event().wait()


if __name__ == "__main__":
    main()
