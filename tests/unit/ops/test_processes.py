"""Child processes get ports that stay free, and leave nothing behind."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from ops.services.processes import LOOPBACK, Processes, free_port, processes_of

# It starts another process in a session of its own, and both are deaf to a polite stop.
DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "inner"], start_new_session=True)
open("up-" + str(len(sys.argv)), "w").close()
time.sleep(1200)
"""


def test_a_free_port_is_none_that_an_outgoing_connection_may_be_given():
    settings = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    first_for_connections = int(settings.split()[0])

    ports = [free_port() for _ in range(20)]

    assert max(ports) < max(first_for_connections, 32_768)


def test_a_preferred_port_that_is_taken_is_not_given():
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]

        assert free_port(port) != port

    assert free_port(port) == port


def test_after_a_stop_nothing_is_left_of_children_that_do_not_want_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr("ops.services.processes._POLITE_SECONDS", 0.1)
    (tmp_path / "deaf.py").write_text(DEAF)
    processes = Processes(tmp_path)
    environment = {"PATH": os.environ["PATH"]}
    processes.spawn("deaf", [sys.executable, str(tmp_path / "deaf.py")], environment=environment)
    processes.wait_for("both", lambda: len([*tmp_path.glob("up-*")]) == 2, timeout_seconds=1200)
    assert len(list(processes_of(processes.marker))) == 2

    processes.stop()

    assert list(processes_of(processes.marker)) == []
