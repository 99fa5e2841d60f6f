"""Where processes listen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

LISTENING = "0A"  # a state of TCP, as Linux writes it


def addresses_of(pids: Iterable[int]) -> set[str]:
    """The addresses that processes listen at, as Linux writes them; gone ones have none."""
    sockets = set()
    for pid in pids:
        with contextlib.suppress(OSError):  # gone meanwhile
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):  # closed meanwhile
                    sockets.add(str(link.readlink()))
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        line[1].partition(":")[0]
        for line in lines
        if line[3] == LISTENING and f"socket:[{line[9]}]" in sockets
    }
