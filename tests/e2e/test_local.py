"""`make local`: whatever part is killed, the loop goes on where it was, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from datetime import date, timedelta

import pytest

from ops.services.airflow_api import AirflowApi
from ops.services.processes import PART, processes_of
from ops.services.stack import PROJECT, environment
from pipelines.core import config
from pipelines.core.store.stores import open_stores
from pipelines.registry.registry import Registry
from pipelines.simulation import film_site
from pipelines.simulation import plans as simulation_plans
from pipelines.simulation.made_up import make_reviews
from tests.support.leftovers import processes_with
from tests.support.listening import addresses_of
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(4 * HANG_SECONDS)]

INGEST, RETRAIN = "reviews_ingest", "sentiment_retrain"
NIGHT = date(2026, 3, 2)


def _take_ctrl_c():
    """A shell that started the tests in its background had them ignore it; a terminal does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Loop:
    """What `make local` runs, as a process of its own on a folder."""

    def __init__(self, folder, database_url):
        self.database_url = database_url
        self.folder = folder / "loop"
        self.shown = folder / "shown.txt"
        # Made-up reviews are alike.
        self.config = write_settings(folder / "own.toml", {"gate": {"max_overlap_share": 0.1}})

    def start(self):
        command = [sys.executable, "-m", "ops.local", "--folder", str(self.folder)]
        with self.shown.open("wb") as shown:
            self.process = subprocess.Popen(
                [*command, "--config", str(self.config)],
                cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=shown, stderr=subprocess.STDOUT,
                env=os.environ | {"DATABASE": self.database_url},
                start_new_session=True, preexec_fn=_take_ctrl_c,  # noqa: PLW1509
            )  # fmt: skip
        self.url = wait_for(self._url, "Airflow is not up")
        self.api = AirflowApi(self.url, username="admin", password=self.identity["password"])

    def _url(self):
        text = self.shown.read_text()
        assert self.process.poll() is None, text
        found = re.search(r"Airflow is up: (http\S+)", text)
        return found and found[1]

    @property
    def identity(self):
        return json.loads((self.folder / "identity.json").read_text())

    @property
    def variables(self):
        """As a shell reads them in."""
        words = shlex.split((self.folder / "environment.sh").read_text())
        return dict(word.split("=", 1) for word in words if word != "export")

    def stores(self):
        return open_stores(config.load(self.config))

    def pids(self, part):
        return [*processes_of(f"{self.identity['marker']}/{part}", PART)]

    def kill(self, part):
        for pid in self.pids(part):
            os.kill(pid, signal.SIGKILL)

    def kill_everything(self):
        self.process.kill()
        for part in ("scheduler", "api-server", "s3", "dag-processor", "triggerer"):
            self.kill(part)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=HANG_SECONDS)


@pytest.fixture
def loop(tmp_path, own_database_url):
    made = Loop(tmp_path, own_database_url)
    made.start()
    with environment(made.variables):
        yield made
    if made.process.poll() is None:
        made.stop()
    assert processes_with(str(made.folder)) == []


def deliver_night(stores, night):
    nights = [
        simulation_plans.NightPlan(night, (simulation_plans.DeliveryPlan("web", 800, "csv"),))
    ]
    table = make_reviews(800, seed=night.toordinal())
    for delivery in film_site.simulate(table, nights, seed=1):
        stores.reviews.put(delivery.key, delivery.body)


def wait_until_begun(api, dag_id, run_id, task_id):
    def has_begun():
        tasks = {task["task_id"]: task["start_date"] for task in api.tasks(dag_id, run_id)}
        return tasks.get(task_id) is not None

    wait_for(has_begun, f"{task_id} does not run")


def finish(loop, dag_id, run_id):
    return loop.api.wait(dag_id, run_id, timeout_seconds=HANG_SECONDS)


def retraining_after(loop, run_id):
    return wait_for(lambda: loop.api.run_caused_by(RETRAIN, run_id), "no retraining")


def test_the_loop_goes_on_whatever_is_killed_and_champion_and_ledger_stay_whole(loop):
    first_identity = loop.identity
    own_run = wait_for(lambda: loop.api.runs(INGEST), "the schedule is off")[0]
    assert finish(loop, INGEST, own_run["dag_run_id"]) == "success"

    # The S3 server dies under a night, the scheduler with all its tasks under the retraining.
    deliver_night(loop.stores(), NIGHT)
    night = loop.api.trigger_night(INGEST, NIGHT)
    wait_for(lambda: loop.api.state(INGEST, night) == "running", "the night does not run")
    loop.kill("s3")
    assert finish(loop, INGEST, night) == "success"
    retraining = retraining_after(loop, night)
    wait_until_begun(loop.api, RETRAIN, retraining, "train")
    loop.kill("scheduler")
    assert finish(loop, RETRAIN, retraining) == "success"
    champion = Registry(loop.stores().models, "sentiment").log.champion()
    assert champion.generation == 1
    assert "s3 (exit code -9) had ended and was started again" in loop.shown.read_text()
    assert "scheduler (exit code -9) had ended" in loop.shown.read_text()

    # Everything dies at once under the next night; the next start goes on with it.
    second_night = NIGHT + timedelta(days=1)
    deliver_night(loop.stores(), second_night)
    night = loop.api.trigger_night(INGEST, second_night)
    wait_until_begun(loop.api, INGEST, night, "find_deliveries")
    url = loop.url
    loop.kill_everything()
    loop.start()
    assert finish(loop, INGEST, night) == "success"
    assert loop.api.xcom(INGEST, night, "summarize_night")["accepted_rows"] > 700
    assert finish(loop, RETRAIN, retraining_after(loop, night)) == "success"

    log = Registry(loop.stores().models, "sentiment").log
    assert log.history()[0] == champion
    assert (loop.url, loop.identity) == (url, first_identity)
    check = [sys.executable, "-m", "pipelines", "champion", "fsck", "--deep"]
    assert subprocess.run(check, cwd=PROJECT, check=False).returncode == 0

    assert loop.stop() == 0
    assert processes_with(str(loop.folder)) == []


def test_nobody_else_can_read_its_folder_and_a_second_one_does_not_start(loop):
    command = [sys.executable, "-m", "ops.local", "--folder", str(loop.folder)]
    second = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert stat.S_IMODE(loop.folder.stat().st_mode) == 0o700
    for name in ("identity.json", "environment.sh", "signing-key.pem"):
        assert stat.S_IMODE((loop.folder / name).stat().st_mode) == 0o600
    assert addresses_of(processes_of(loop.identity["marker"])) == {"0100007F"}  # 127.0.0.1
    assert second.returncode == 1
    assert "runs already" in second.stdout
    assert loop.process.poll() is None
    assert loop.identity["password"] not in loop.shown.read_text()
