"""Load a model file and answer with it, in a process that has nothing else.

Runs as a child of `pipelines.verification`: a fresh interpreter that ignores the environment, in an
empty folder, without network, credentials or the right to write files, within limits of memory,
processor time and open files. Reads one JSON object from standard input, writes one to standard
output.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import resource
import sys
import time
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
WARM_UP_REVIEWS = 3

_NETWORK_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request"}
)


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    leave_the_network()
    limit(request["max_address_bytes"], request["max_cpu_seconds"])
    sys.stdout.write(json.dumps(answer(request["model_file"], request["texts"])))


def leave_the_network() -> None:
    """Enter a network namespace of our own, where the system allows it; and refuse sockets."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        if libc.unshare(CLONE_NEWNET) != 0:
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    sys.addaudithook(_refuse_network)


def _refuse_network(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in _NETWORK_EVENTS:
        raise PermissionError(f"a model file may not use the network ({event})")


def limit(address_bytes: int, cpu_seconds: int) -> None:
    """Bound what this process may use from here on; it may write no file at all."""
    for what, most in (
        (resource.RLIMIT_AS, address_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def answer(model_file: str, texts: list[str]) -> dict[str, Any]:
    """Load the model with the allow-list and score each text on its own, as a service does.

    Returns
    -------
    answer : dict
        ``probabilities`` in [0, 1] per text; ``latencies`` per text in milliseconds, the first
        few left out; ``load_seconds``; ``peak_bytes`` of resident memory.
    """
    from pathlib import Path

    from pipelines.artefacts import load_model
    from pipelines.prediction import positive_probability

    blob = Path(model_file).read_bytes()
    started = time.perf_counter()
    model = load_model(blob)
    load_seconds = time.perf_counter() - started
    probabilities, latencies = [], []
    for text in texts:
        started = time.perf_counter()
        probabilities.append(float(positive_probability(model, [text])[0]))
        latencies.append(1000.0 * (time.perf_counter() - started))
    return {
        "probabilities": probabilities,
        "latencies": latencies[WARM_UP_REVIEWS:],
        "load_seconds": load_seconds,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Most resident memory that this program ever used.

    Not ``ru_maxrss``: that one begins with what the parent used when it started this process.
    """
    from pathlib import Path

    status = Path("/proc/self/status").read_text(encoding="ascii")
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) * 1024


if __name__ == "__main__":
    main()
