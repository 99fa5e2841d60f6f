"""Everything of the stack as child processes of one that starts again what dies.

Its folder holds all that must last. It is found by the folder's lock and ``supervisor.pid``; what a
night needs to know is in ``up.json`` from the moment everything is healthy.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ops.local import AIRFLOW, IDENTITY, LOCK, own_folder, prepare_store, write_variables
from ops.services.identity import Identity, keep, kept_identity
from ops.services.kept import KeptServices
from ops.services.processes import Processes
from ops.services.stack import LocalStack

WORKERS = ("worker-1", "worker-2")
UP, PID, CONFIG = "up.json", "supervisor.pid", "config.toml"
_DOWN_SECONDS, _LOOK_SECONDS = 180.0, 0.5
# Airflow's own values, in seconds: a task whose worker was killed is given up after the first, one
# that no worker has begun is handed out again after the second.
_LOST = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "600",
}


def run(folder: Path, config: Path) -> None:
    """Run everything in a folder until Ctrl-C or SIGTERM; what is started goes with this process.

    Raises
    ------
    StackError
        If something does not come up, or dies again and again.
    NotHereError
        If PostgreSQL, Redis or an S3 server is not on this machine.
    """
    with own_folder(folder, mode=0o711):
        os.umask(0o077)
        (folder / UP).unlink(missing_ok=True)
        (folder / PID).write_text(str(os.getpid()))
        identity = kept_identity(folder / IDENTITY).with_free_ports()
        keep(identity, folder / IDENTITY)  # the same addresses next time, if they are free then
        services = KeptServices(folder / "services", identity)
        stack = _stack(folder, identity, services)
        write_config(stack, config)
        write_variables(stack)
        _say(f"starting {services.names}")
        with services, stack:
            _note_up(stack)
            _say(f"all is healthy: {stack.ui_url}")
            while True:
                for dead in (*services.processes.revive(), *stack.revive()):
                    _say(f"{dead} had ended and was started again")
                time.sleep(_LOOK_SECONDS)


def _stack(folder: Path, identity: Identity, services: KeptServices) -> LocalStack:
    stack = LocalStack(
        folder,
        folder / CONFIG,
        on_step=_say,
        identity=identity,
        given_s3=services.s3.environment,
        database_url=services.database.url,
        broker_url=services.broker.url,
        workers=WORKERS,
        has_service=True,
        extra_environment=AIRFLOW | _LOST,
        on_store=lambda: prepare_store(stack),
    )
    return stack


def write_config(stack: LocalStack, config: Path) -> None:
    """The given settings, with the address of the scoring service, which few ask anything."""
    settings = (
        f"extends = {json.dumps(str(config))}\n\n"  # JSON's strings are TOML's, too
        f'[serving]\npoll_seconds = 1.0\naddresses = ["{stack.service_url}"]\n'
        "\n[serving.bake]\nmin_seconds = 10.0\nmin_requests = 20\n"
    )
    stack.config.write_text(settings, encoding="utf-8")


def _note_up(stack: LocalStack) -> None:
    facts = {
        "airflow": stack.ui_url,
        "scoring": stack.service_url,
        "variables": stack.s3_environment,
    }
    part = stack.folder / f"{UP}.part"
    part.write_text(json.dumps(facts), encoding="utf-8")
    part.replace(stack.folder / UP)


def is_running(folder: Path) -> bool:
    """Whether a process holds the folder."""
    if not (folder / LOCK).exists():
        return False
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def facts_of(folder: Path) -> dict[str, Any] | None:
    """What ``up.json`` says of a stack that is up; None of one that is not."""
    path = folder / UP
    if not is_running(folder) or not path.exists():
        return None
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def stop(folder: Path) -> bool:
    """Stop what runs in a folder, and what a killed supervisor left; whether nothing is left.

    Safe to repeat, and where nothing runs.
    """
    deadline = time.monotonic() + _DOWN_SECONDS
    if is_running(folder):
        pid = int((folder / PID).read_text())
        os.kill(pid, signal.SIGTERM)
        while (is_running(folder) or _is_alive(pid)) and time.monotonic() < deadline:
            time.sleep(0.2)
    if is_running(folder):
        return False
    (folder / UP).unlink(missing_ok=True)
    if not (folder / IDENTITY).exists():
        return True
    marker = kept_identity(folder / IDENTITY).marker
    for one in (marker, f"{marker}-services"):
        Processes(folder, one).end_leftovers()
    return True


def _is_alive(pid: int) -> bool:
    """Whether it is more than an entry that nobody has read."""
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
