"""Child processes get ports that stay free, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from ops.services.processes import LOOPBACK, PART, Processes, StackError, free_port, processes_of

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


# It counts its starts, and starts another process in a session of its own.
COUNTING = """
import subprocess, sys, time
import setproctitle
setproctitle.setproctitle("a title as long as Airflow's: " + "worker " * 20)
print("up", flush=True)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "inner"], start_new_session=True)
time.sleep(1200)
"""


@pytest.fixture
def processes(tmp_path):
    (tmp_path / "counting.py").write_text(COUNTING)
    made = Processes(tmp_path)
    yield made
    made.stop()


def start_counting(processes, *arguments):
    program = str(processes.folder / "counting.py")
    environment = {"PATH": os.environ["PATH"]}
    processes.spawn("one", [sys.executable, program, *arguments], environment=environment)


def wait_for_starts(processes, number):
    log = processes.folder / "logs" / "one.log"
    processes.wait_for("it", lambda: log.read_text().count("up") == number, timeout_seconds=1200)


def kill_its_leader(processes):
    child = processes._children["one"]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def test_a_part_that_was_killed_is_started_again_once_nothing_of_it_is_left(processes):
    start_counting(processes)
    wait_for_starts(processes, 2)
    part = f"{processes.marker}/one"
    before = set(processes_of(part, PART))
    assert processes.revive() == []

    kill_its_leader(processes)
    dead = processes.revive()
    wait_for_starts(processes, 4)

    after = set(processes_of(part, PART))
    assert dead == ["one (exit code -9)"]
    assert (len(before), len(after), before & after) == (2, 2, set())


def test_a_part_that_dies_again_and_again_is_an_error_with_the_end_of_its_log(processes):
    start_counting(processes, "inner")

    for _ in range(5):
        kill_its_leader(processes)
        assert processes.revive() == ["one (exit code -9)"]
    wait_for_starts(processes, 1)
    kill_its_leader(processes)

    with pytest.raises(StackError, match=r"one ended with exit code -9. Its log ends:\nup"):
        processes.revive()


def test_a_start_keeps_the_log_of_the_one_before(processes):
    start_counting(processes, "inner")
    wait_for_starts(processes, 1)
    processes.stop()

    start_counting(processes, "inner")
    wait_for_starts(processes, 1)

    logs = sorted(path.name for path in (processes.folder / "logs").iterdir())
    assert logs == ["one.log", "one.log.1"]


def test_a_log_that_has_become_long_begins_again(processes, monkeypatch):
    start_counting(processes, "inner")
    wait_for_starts(processes, 1)
    monkeypatch.setattr("ops.services.processes._MOST_LOG_BYTES", 2)

    processes.revive()

    logs = {path.name: path.read_text() for path in (processes.folder / "logs").iterdir()}
    assert logs == {"one.log": "", "one.log.1": "up\n"}


def test_what_a_killed_stack_left_is_ended_by_the_next_one_with_its_marker(processes):
    start_counting(processes)
    wait_for_starts(processes, 2)

    Processes(processes.folder, processes.marker).end_leftovers()

    assert list(processes_of(processes.marker)) == []
