"""`make stack` says what is missing, stops what is left, and keeps what it is told; that it runs is
tested end to end.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.local import own_folder
from ops.services import kept, real_broker
from ops.services.identity import Identity
from ops.services.kept import KeptServices
from ops.services.processes import PART, Processes, StackError, part_name, processes_of
from ops.services.real import NotHereError
from ops.services.real_database import Postgres
from ops.services.real_s3 import CephGateway, Minio
from ops.stack import night as nights
from ops.stack import supervisor
from ops.stack.__main__ import NOT_HERE, app
from pipelines.core import config

ROOT = Path(__file__).resolve().parents[4]
WELL = nights.Night(
    date(2026, 3, 2),
    {nights.INGEST: "success", nights.RETRAIN: "success"},
    (nights.Done("sentiment_retrain.train", "worker-2", "success", 1, 3.9),),
    {"version": "a1", "generation": 1, "holdout_accuracy": 0.94},
    {"version": "a1"},
)


@pytest.fixture
def nothing_is_here(monkeypatch):
    monkeypatch.setattr(kept, "own_kind", lambda: None)
    monkeypatch.setattr(real_broker.Redis, "program", staticmethod(lambda: None))


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def test_without_the_packages_it_names_them_and_starts_nothing(tmp_path, nothing_is_here):
    ended = run("up", "--folder", tmp_path / "stack")

    assert ended.exit_code == NOT_HERE
    assert "ceph-mon ceph-osd radosgw" in ended.output
    assert "redis-server" in ended.output
    assert not (tmp_path / "stack").exists()
    with pytest.raises(NotHereError, match="redis-server"):
        KeptServices(tmp_path, Identity())


def test_a_night_on_nothing_says_how_to_start_it(tmp_path):
    ended = run("night", "--folder", tmp_path / "stack")

    assert ended.exit_code == 1
    assert "make stack" in ended.output


def test_stopping_what_does_not_run_is_no_error(tmp_path):
    assert [run("down", "--folder", tmp_path).exit_code for _ in range(2)] == [0, 0]


def test_stopping_ends_what_a_killed_supervisor_left_and_nobody_elses(tmp_path):
    identity = supervisor.kept_identity(tmp_path / "identity.json")
    mine, other = (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                         env=os.environ | {"RETRAINING_LOOP_STACK": marker})
        for marker in (f"{identity.marker}-services", "another")
    )  # fmt: skip

    assert supervisor.stop(tmp_path)

    assert mine.wait(timeout=60) == -9
    assert other.poll() is None
    other.communicate(b"\n")


def test_a_folder_is_in_use_exactly_as_long_as_a_process_holds_it(tmp_path):
    folder = tmp_path / "stack"

    assert not supervisor.is_running(folder)
    with own_folder(folder):
        assert supervisor.is_running(folder)
        assert supervisor.facts_of(folder) is None  # not up yet
    assert not supervisor.is_running(folder)


def test_what_up_json_says_counts_only_while_it_runs(tmp_path):
    with own_folder(tmp_path / "stack"):
        (tmp_path / "stack" / "up.json").write_text('{"airflow": "http://127.0.0.1:1"}')
        assert supervisor.facts_of(tmp_path / "stack") == {"airflow": "http://127.0.0.1:1"}

    assert supervisor.facts_of(tmp_path / "stack") is None


@pytest.mark.parametrize(("here", "there"), [(Minio, CephGateway), (CephGateway, Minio)])
def test_buckets_of_a_server_that_is_gone_are_not_taken_for_empty_ones(
    tmp_path, monkeypatch, here, there
):
    monkeypatch.setattr(kept, "own_kind", lambda: here)
    monkeypatch.setattr(kept, "missing_packages", list)
    KeptServices(tmp_path, Identity())
    (tmp_path / there.__name__.lower()).mkdir()

    with pytest.raises(StackError, match=f"are {there.name}'s"):
        KeptServices(tmp_path, Identity())


def test_a_part_is_called_by_its_name(monkeypatch):
    monkeypatch.setenv(PART, "abc/worker-2")
    assert part_name() == "worker-2"

    monkeypatch.delenv(PART)
    assert part_name() == os.uname().nodename


def test_a_log_with_secrets_is_gone_after_the_command(tmp_path):
    processes = Processes(tmp_path)
    show = [sys.executable, "-c", "print('hunter2')"]
    processes.run("user", show, environment={}, timeout_seconds=60)
    assert "hunter2" in (tmp_path / "logs" / "user.log").read_text()

    processes.forget_log("user")

    assert not (tmp_path / "logs" / "user.log").exists()
    assert [*processes_of(processes.marker)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"states": {nights.INGEST: "failed", nights.RETRAIN: "success"}},
        {"states": {nights.INGEST: "success"}},
        {"champion": None},
        {"answer": {"version": "b2"}},
        {"answer": {"error": "refused"}},
    ],
)
def test_a_night_ended_well_only_if_both_runs_did_and_the_champion_answers(change):
    assert WELL.is_well
    assert not nights.Night(**(vars(WELL) | change)).is_well


def test_a_night_says_which_worker_did_what():
    shown = "\n".join(nights.sentences(WELL))

    assert "worker-1 ran 0 tasks, 0.0 s\nworker-2 ran 1 tasks, 3.9 s" in shown
    assert "champion a1, generation 1, accuracy on the holdout 0.9400" in shown


def test_each_night_has_files_of_its_own_and_always_the_same():
    first, again, second = (
        [*nights.deliveries(nights.FIRST_NIGHT + timedelta(days=days))] for days in (0, 0, 1)
    )

    assert first == again
    assert len(first) == 2
    assert not {body for _, body in first} & {body for _, body in second}


def test_its_settings_are_those_given_with_the_address_of_its_service(tmp_path):
    stack = supervisor.LocalStack(tmp_path, tmp_path / "config.toml", has_airflow=False)

    supervisor.write_config(stack, ROOT / "config" / "try-out.toml")

    settings = config.load(stack.config)
    assert settings.serving.addresses == (stack.service_url,)
    assert settings.gate.min_holdout_rows == 500  # as in the try-out


def test_a_workers_task_may_not_outlast_its_message(monkeypatch, tmp_path):
    """Redis hands out again what is not confirmed in that time."""
    stack = supervisor.LocalStack(
        tmp_path, tmp_path / "config.toml", broker_url="redis://", workers=supervisor.WORKERS
    )
    seconds = int(stack.environment["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"])
    defaults = (ROOT / "plugins" / "loop_defaults.py").read_text(encoding="utf-8")
    (hours,) = re.findall(r'"execution_timeout": timedelta\(hours=(\d+)\)', defaults)

    assert seconds > int(hours) * 3600
    compose = (ROOT / "docker-compose.yaml").read_text(encoding="utf-8")
    assert f'VISIBILITY_TIMEOUT: "{seconds}"' in compose


def test_without_a_broker_the_scheduler_runs_the_tasks(tmp_path):
    stack = supervisor.LocalStack(tmp_path, tmp_path / "config.toml")

    assert stack.environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not [name for name in stack.environment if "CELERY" in name]


def test_the_broker_keeps_its_password_off_every_command_line(tmp_path):
    asked = []

    class Recorder:
        def spawn(self, _name, command, *, environment):
            asked.append((command, environment))

        def wait_for(self, _name, _is_up, *, timeout_seconds):
            pass

    broker = real_broker.Redis(tmp_path / "redis", port=1, password="hunter2")
    broker.start(Recorder())

    assert "hunter2" not in json.dumps(asked)
    assert (tmp_path / "redis" / "redis.conf").stat().st_mode & 0o077 == 0
    assert "requirepass hunter2" in (tmp_path / "redis" / "redis.conf").read_text()


def test_a_folder_that_is_closed_to_postgresqls_user_is_named_with_what_to_do(tmp_path):
    if os.geteuid() != 0:
        return  # then it runs as the caller, who made the folder
    nobody, folder = 65534, tmp_path / "closed" / "postgres"
    folder.mkdir(parents=True)
    os.chown(folder, nobody, -1)
    (tmp_path / "closed").chmod(0o700)

    with pytest.raises(StackError, match=r"closed to others\. Choose another FOLDER="):
        Postgres(folder).check_way(nobody)
