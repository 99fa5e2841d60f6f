"""Run a command in namespaces of its own, so that nothing of an engine outlives it.

Processes, mounts, bridges and the rules of the packet filter go with the last process; the groups
of processes that the kernel keeps are removed. The network outside is reached through slirp4netns,
which needs no rule of the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

NETWORK = "tap0"
_GROUPS = Path("/sys/fs/cgroup")
_KILL_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


def run(command: Sequence[str], *, cgroup: str) -> int:
    """Run it as root, to its end; returns its exit code. All it started is gone then."""
    own = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    child = subprocess.Popen(["unshare", *own, *command], preexec_fn=_die_with_parent)  # noqa: S603, S607, PLW1509
    network = None
    try:
        network = _connect(child)
        return child.wait()
    except KeyboardInterrupt:
        _signal_inner(child, signal.SIGINT)
        return child.wait()
    finally:
        child.kill()
        child.wait()
        if network is not None:
            network.terminate()
            network.wait()
        _remove_groups(cgroup)


def _connect(child: subprocess.Popen[bytes]) -> subprocess.Popen[bytes] | None:
    while child.poll() is None:
        if inner := _inner(child.pid):
            options = ("--configure", "--mtu=65520", "--disable-host-loopback")
            return subprocess.Popen(  # noqa: S603
                ["slirp4netns", *options, inner, NETWORK],  # noqa: S607
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, preexec_fn=_die_with_parent,  # noqa: PLW1509
            )  # fmt: skip
        time.sleep(0.05)
    return None


def _die_with_parent() -> None:
    """In a child: be killed with the parent. `unshare` ignores politer signals while it waits."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _inner(pid: int) -> str:
    """The process id of the first process inside, once it is there."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()
    return ""


def _signal_inner(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ValueError, ProcessLookupError):
        os.kill(int(_inner(child.pid)), number)


def _remove_groups(name: str) -> None:
    """Remove what the kernel keeps of the groups of processes; they are empty soon."""
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline:
        tops = [*_GROUPS.glob(name), *_GROUPS.glob(f"*/{name}")]
        for top in tops:
            for folder in sorted((top, *top.rglob("*/")), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        if not tops:
            return
        time.sleep(0.1)
