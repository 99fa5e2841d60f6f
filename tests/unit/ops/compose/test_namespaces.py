"""What runs in namespaces of its own leaves nothing behind. Only root may make them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from ops.compose import namespaces
from tests.support.timing import wait_for

ROOT = Path(__file__).resolve().parents[4]
MAY_UNSHARE = subprocess.run(
    ["unshare", "--net", "--mount", "--pid", "--fork", "true"], check=False, capture_output=True
)
pytestmark = pytest.mark.skipif(MAY_UNSHARE.returncode != 0, reason="only root may make namespaces")
NO_GROUP = "loop-compose-of-nobody"


@pytest.fixture(autouse=True)
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for slirp4netns: a file with what it was asked."""
    program, asked = tmp_path / "bin" / "slirp4netns", tmp_path / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >{asked}\nexec sleep 1000\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return asked


def processes_with(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in text and path.parent.name != str(os.getpid()):
            found.append(text)
    return found


def test_the_exit_code_is_that_of_the_command_which_gets_the_network(network: Path) -> None:
    code = namespaces.run(
        ["sh", "-c", f"while ! [ -s {network} ]; do sleep 0.05; done; exit 7"], cgroup=NO_GROUP
    )

    assert code == 7
    assert network.read_text().split()[-1] == namespaces.NETWORK
    assert processes_with(str(network)) == []


def test_a_process_that_goes_its_own_way_and_a_mount_end_with_it(tmp_path: Path) -> None:
    mark, folder = f"loop-{uuid.uuid4().hex}", tmp_path / "mounted"
    folder.mkdir()

    code = namespaces.run(
        ["sh", "-c", f"setsid sh -c 'sleep 1000; : {mark}' & mount -t tmpfs none {folder}"],
        cgroup=NO_GROUP,
    )

    assert code == 0
    assert processes_with(mark) == []
    assert not folder.is_mount()


def test_nothing_outlives_the_one_that_started_it(tmp_path: Path) -> None:
    mark = f"loop-{uuid.uuid4().hex}"
    command = ["sh", "-c", f"sleep 1000; : {mark}"]
    code = f"from ops.compose.namespaces import run; run({command!r}, cgroup={NO_GROUP!r})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) as parent:
        inner = " ".join(command)
        wait_for(lambda: any(one.startswith(inner) for one in processes_with(mark)), "not begun")

        parent.send_signal(signal.SIGKILL)

    wait_for(
        lambda: not any(one.startswith(inner) for one in processes_with(mark)), "it still runs"
    )


def test_groups_of_processes_that_the_kernel_keeps_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = tmp_path / "groups"
    for controller in ("memory", "pids"):
        (groups / controller / "mine" / "container").mkdir(parents=True)
        (groups / controller / "others").mkdir()
    monkeypatch.setattr(namespaces, "_GROUPS", groups)

    namespaces.run(["true"], cgroup="mine")

    assert sorted(path.name for path in groups.glob("*/*")) == ["others", "others"]
