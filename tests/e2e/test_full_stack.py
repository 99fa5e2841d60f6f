"""`make stack`: nights on PostgreSQL, Redis, a real S3 server and two workers, whatever is killed.

Where the packages cannot be had, the test is skipped, and the last lines of the run say so.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ops.services.airflow_api import AirflowApi
from ops.services.kept import missing_packages
from ops.services.processes import PART, processes_of
from ops.services.stack import PROJECT, LocalStack, environment
from ops.stack.night import FIRST_NIGHT, INGEST, RETRAIN, deliveries
from ops.stack.supervisor import WORKERS
from pipelines.core import config
from pipelines.core.store.stores import open_stores
from pipelines.registry.registry import Registry
from tests.support.leftovers import processes_with
from tests.support.listening import addresses_of
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(6 * HANG_SECONDS)]

TRY_OUT = PROJECT / "config" / "try-out.toml"
# What is killed in one night, and what runs then. A task's worker is known once it runs.
KILLS = [
    ("redis", INGEST, "delivery.validate"),
    ("postgres", RETRAIN, "train"),
    ("scheduler", RETRAIN, "evaluate"),
    ("worker", RETRAIN, "verify"),
]


class Stack:
    """What the targets of the Makefile start, in a folder."""

    def __init__(self, folder):
        self.folder = folder / "stack"
        self.summary, self.night = folder / "night.json", None
        kept_out = ("LOOP_", "AWS_")  # these tests may run on services of their own
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(kept_out)
        } | {"FOLDER": str(self.folder)}

    def make(self, *targets):
        return subprocess.run(
            ["make", "--no-print-directory", *targets], cwd=PROJECT, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def start_night(self):
        command = [PROJECT / ".local" / "celery" / "bin" / "python", "-m", "ops.stack", "night"]
        self.night = subprocess.Popen(
            [*command, "--summary", self.summary], cwd=PROJECT, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def end_night(self):
        """What it showed, and its summary; it must have ended well."""
        shown, _ = self.night.communicate(timeout=3 * HANG_SECONDS)
        assert self.night.returncode == 0, shown
        return shown, json.loads(self.summary.read_text())

    @property
    def identity(self):
        return json.loads((self.folder / "identity.json").read_text())

    @property
    def said(self):
        return (self.folder / "supervisor.log").read_text()

    def api(self):
        url = json.loads((self.folder / "up.json").read_text())["airflow"]
        return AirflowApi(url, username="admin", password=self.identity["password"])

    def markers(self):
        return self.identity["marker"], f"{self.identity['marker']}-services"

    def kill(self, part):
        pids = [pid for one in self.markers() for pid in processes_of(f"{one}/{part}", PART)]
        assert pids, part
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # gone with the one before
                os.kill(pid, signal.SIGKILL)

    def running(self, dag_id, task_id, known):
        """A task of a run that has just begun, as soon as a worker has it."""
        api = self.api()

        def find():
            for run in api.runs(dag_id):
                if run["dag_run_id"] in known:
                    continue
                for task in api.tasks(dag_id, run["dag_run_id"]):
                    if task["task_id"] == task_id and task["start_date"]:
                        return task
            return None

        return wait_for(find, f"{task_id} does not run")

    def known_runs(self):
        return {
            run["dag_run_id"] for dag_id in (INGEST, RETRAIN) for run in self.api().runs(dag_id)
        }


@pytest.fixture
def full_stack():
    """Up, from the packages; nothing of it is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="loop-stack-"))
    folder.chmod(0o711)  # PostgreSQL's own user must get to its folder in it
    made = Stack(folder)
    installed = made.make(".local/celery/.installed")
    if installed.returncode != 0:
        pytest.skip(f"the full stack's libraries cannot be had: {installed.stderr[-300:]}")
    up = made.make("stack")
    if up.returncode != 0 and (missing := missing_packages()):
        pytest.skip(f"the full stack's packages cannot be had: {' '.join(missing)}")
    assert up.returncode == 0, up.stdout + up.stderr
    yield made
    if made.night is not None:
        made.night.kill()
    down = made.make("stack-down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert processes_with(str(made.folder)) == []
    shutil.rmtree(folder)


@pytest.fixture
def undisturbed(tmp_path):
    """The champion's version after such a night, by the commands of a shell on another store."""
    settings = tmp_path / "undisturbed.toml"
    settings.write_text(
        f"extends = {json.dumps(str(TRY_OUT))}\n[gate]\nask_for_first_model = false\n"
    )

    def run(*words):
        command = [sys.executable, "-m", "pipelines", *words]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    with (
        LocalStack(tmp_path / "store", settings, has_airflow=False) as store,
        environment(store.s3_environment),
    ):
        run("init")
        stores = open_stores(config.load(settings))
        for key, body in deliveries(FIRST_NIGHT):
            stores.reviews.put(key, body)
        run("ingest", "--night", FIRST_NIGHT.isoformat())
        run("retrain")
        return Registry(stores.models, "sentiment").log.champion().version


def secrets_of(stack):
    named = ("password", "secret", "key")
    return [value for name, value in stack.identity.items() if name.endswith(named)]


def printed_in(folder):
    return "".join(path.read_text(errors="replace") for path in folder.rglob("*.log*"))


def test_a_night_loses_nothing_whatever_is_killed_and_ends_with_the_champion_of_an_undisturbed_one(
    full_stack, undisturbed
):
    first_identity, known, killed = full_stack.identity, full_stack.known_runs(), []
    full_stack.start_night()
    for part, dag_id, task_id in KILLS:
        task = full_stack.running(dag_id, task_id, known)
        killed.append(task["hostname"] if part == "worker" else part)
        full_stack.kill(killed[-1])
    shown, summary = full_stack.end_night()

    sys.stdout.write(shown)
    for part in killed:
        assert f"{part} (exit code -9) had ended and was started again" in full_stack.said
    assert set(summary["states"].values()) == {"success"}
    assert {done["state"] for done in summary["tasks"]} <= {"success", "skipped"}
    assert {done["worker"] for done in summary["tasks"]} == {*WORKERS}
    assert max(done["tries"] for done in summary["tasks"]) > 1  # the killed worker's task
    assert summary["champion"]["version"] == summary["answer"]["version"] == undisturbed

    assert "is up" in full_stack.make("stack").stdout  # what runs is left as it is
    assert addresses_of(pid for one in full_stack.markers() for pid in processes_of(one)) == {
        "0100007F"
    }  # 127.0.0.1
    for name in ("identity.json", "environment.sh", "signing-key.pem", "up.json"):
        assert stat.S_IMODE((full_stack.folder / name).stat().st_mode) == 0o600
    printed = printed_in(full_stack.folder)
    assert [secret for secret in secrets_of(full_stack) if secret in printed] == []

    # The supervisor is killed, too: the next start ends what it left, and goes on.
    os.kill(int((full_stack.folder / "supervisor.pid").read_text()), signal.SIGKILL)
    up = full_stack.make("stack")
    assert up.returncode == 0, up.stdout
    check = full_stack.make("stack-night")
    assert check.returncode == 0, check.stdout
    assert re.search(r"worker-1 ran \d+ tasks.*\nworker-2 ran \d+ tasks", check.stdout)
    assert f"champion {undisturbed}" in check.stdout or "generation 2" in check.stdout
    assert full_stack.identity["marker"] == first_identity["marker"]
    assert [full_stack.make("stack-down").returncode for _ in range(2)] == [0, 0]
    assert full_stack.make("stack-night").returncode != 0
