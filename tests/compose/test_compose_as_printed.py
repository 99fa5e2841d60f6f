"""docs/compose.md, followed literally on an engine: to a champion, and on, whatever is killed.

`make test-compose` starts the engine. The tests are one story, in this order.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from ops import make_env
from ops.compose.__main__ import VARIABLE
from ops.compose.images import OWN
from ops.services.airflow_api import AirflowApi
from tests.support.printed import ROOT, block_with, blocks
from tests.support.timing import HANG_SECONDS, wait_for

pytestmark = pytest.mark.timeout(6 * HANG_SECONDS)

INGEST, RETRAIN = "reviews_ingest", "sentiment_retrain"
PAGE = "docs/compose.md"
TEXT = "A wonderful film, moving and superbly acted."
ONE_OFFS = {"init", "store-users"}
LASTING = ("postgres", "minio", "api-server", "scheduler", "dag-processor", "triggerer",
           "log-cleaner", "scoring")  # fmt: skip
# Who runs as root: MinIO's image does, and PostgreSQL's until it has started the server.
ROOTS = {"minio", "postgres"}


class Compose:
    """A copy of the project, in which commands are typed as they are printed."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.project = Path(facts["project"])
        self.environment = {**os.environ, **facts["environment"], "USER": "ada"}

    def typed(self, *lines: str) -> str:
        """What a shell in the project's folder prints for these lines, which all have to work."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=self.project,
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=3 * HANG_SECONDS, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-5000:]
        return ended.stdout

    def asked(self, *command: str) -> str:
        """What docker says, without what it says beside."""
        return subprocess.run(
            ["docker", *command], cwd=self.project, env=self.environment, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=HANG_SECONDS,
        ).stdout.strip()  # fmt: skip

    def write(self, line: str) -> None:
        """Write a variable into .env, as the page says."""
        path, name = self.project / ".env", line.partition("=")[0]
        others = [one for one in path.read_text().splitlines() if not one.startswith(f"{name}=")]
        path.write_text("\n".join([*others, line, ""]))

    @property
    def env(self) -> dict[str, str]:
        lines = (self.project / ".env").read_text().splitlines()
        written = dict(line.split("=", 1) for line in lines if line and line[0] != "#")
        given = written.keys() & self.environment.keys()
        return written | {name: self.environment[name] for name in given}

    def address(self, port: str) -> str:
        return f"http://localhost:{self.env[port]}"

    def inspected(self, service: str) -> dict[str, Any]:
        container = self.asked("compose", "ps", "--all", "--quiet", service)
        (facts,) = json.loads(self.asked("inspect", container))
        found: dict[str, Any] = facts
        return found

    def health(self, service: str) -> str:
        state = self.inspected(service)["State"]
        return str(state.get("Health", state)["Status"])

    def kill(self, service: str) -> None:
        """`kill -9` of the first process, as the machine's root; docker is not asked to do it."""
        pid = self.inspected(service)["State"]["Pid"]
        self.asked(
            "run", "--rm", "--pid", "host", "--user", "0", "--network", "none",
            "--entrypoint", "/bin/sh", OWN, "-c", f"kill -9 {pid}",
        )  # fmt: skip

    def airflow(self) -> AirflowApi:
        user, password = self.env["AIRFLOW_ADMIN_USER"], self.env["AIRFLOW_ADMIN_PASSWORD"]
        return AirflowApi(self.address("AIRFLOW_PORT"), username=user, password=password)

    def answer(self) -> dict[str, Any]:
        """What the scoring service says to one review."""
        address = f"{self.address('SCORING_PORT')}/v1/score"
        reply = httpx.post(address, json={"texts": [TEXT]}, timeout=HANG_SECONDS)
        found: dict[str, Any] = reply.json()
        return found

    def champion(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.loop("champion", "show", "--json"))
        return found

    def loop(self, *words: str) -> str:
        """What a command of the loop prints."""
        return self.asked("compose", "exec", "scheduler", "python", "-m", "pipelines", *words)

    def deliver(self, night: date) -> None:
        self.typed(
            "docker compose run --rm upstream simulate made-up "
            f"--nights 1 --first-night {night} --rows-per-night 1000 --seed {night.day}"
        )


@pytest.fixture(scope="module")
def compose() -> Compose:
    if VARIABLE not in os.environ:
        pytest.fail("there is no engine beside these tests: run them with `make test-compose`")
    return Compose(json.loads(Path(os.environ[VARIABLE]).read_text()))


def commands(block: list[str]) -> list[str]:
    return [line.partition("  #")[0].rstrip() for line in block]


UP, DOWN = commands(block_with(PAGE, "make up"))


def test_the_first_start_writes_secrets_and_ends_when_everything_is_healthy(
    compose: Compose,
) -> None:
    said = compose.typed(UP)

    assert f"wrote {compose.project / '.env'}" in said
    assert stat.S_IMODE((compose.project / ".env").stat().st_mode) == 0o600
    assert f"Airflow: http://127.0.0.1:{compose.env['AIRFLOW_PORT']} " in said
    assert {name: compose.health(name) for name in LASTING} == dict.fromkeys(LASTING, "healthy")
    for name in ONE_OFFS:
        state = compose.inspected(name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", 0)


def test_the_first_user_logs_in_and_the_dags_are_paused_until_they_are_switched_on(
    compose: Compose,
) -> None:
    airflow = compose.airflow()
    airflow.wait_for_dags([INGEST, RETRAIN], timeout_seconds=HANG_SECONDS)
    before = {dag: airflow.get(f"/dags/{dag}")["is_paused"] for dag in (INGEST, RETRAIN)}

    compose.typed(*block_with(PAGE, "dags unpause"))

    assert before == {INGEST: True, RETRAIN: True}
    assert not any(airflow.get(f"/dags/{dag}")["is_paused"] for dag in (INGEST, RETRAIN))


def test_the_try_out_leads_to_a_champion_and_an_answer(compose: Compose) -> None:
    (line,) = re.findall(r"`(LOOP_CONFIG=\S+)`", (ROOT / PAGE).read_text())[:1]
    compose.write(line)
    compose.typed(UP)

    said = compose.typed(*block_with(PAGE, "pipelines retrain"))

    assert re.search(r"actor +shell ada\n", said)
    assert re.search(r"reason +a first try\n", said)
    version = compose.champion()["version"]
    wait_for(lambda: compose.answer().get("version") == version, "the service has no champion")


def test_the_public_half_of_the_key_is_shown_and_alerts_are_off(compose: Compose) -> None:
    keys = "docker compose exec scheduler python -m pipelines keys show"
    (alerts,) = block_with(PAGE, "alerts check")

    assert f"`{keys}`" in (ROOT / PAGE).read_text()
    assert re.search(r" [0-9a-f]{64}\n", compose.typed(keys))
    assert "alerts are off" in compose.typed(f"{alerts} || true")


def test_no_service_is_root_but_the_two_that_the_page_names_and_each_is_limited(
    compose: Compose,
) -> None:
    for name in LASTING:
        facts = compose.inspected(name)
        host = facts["HostConfig"]
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert host["RestartPolicy"]["Name"] == "unless-stopped", name
        user = compose.asked("compose", "exec", name, "id", "-u")
        assert (user == "0") == (name in ROOTS), name
    server = compose.asked("compose", "exec", "postgres", "stat", "-c", "%U", "/proc/1")
    assert server == "postgres"


def test_what_must_last_is_in_named_volumes(compose: Compose) -> None:
    kept = {
        mount["Name"]
        for name in LASTING
        for mount in compose.inspected(name)["Mounts"]
        if mount["Type"] == "volume"
    }

    names = ("postgres-data", "minio-data", "airflow-logs", "trusted-keys")
    assert kept == {f"{OWN}_{name}" for name in names}


def store_as(compose: Compose, role: str) -> Any:
    user, secret = f"loop-{role}", f"S3_{role.upper()}_SECRET"
    if role == "root":
        user, secret = compose.env["S3_ACCESS_KEY"], "S3_SECRET_KEY"
    return boto3.client(
        "s3", endpoint_url=compose.address("S3_PORT"), region_name="us-east-1",
        aws_access_key_id=user, aws_secret_access_key=compose.env[secret],
    )  # fmt: skip


def is_refused(call: Any, **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 403)
    return False


def test_each_user_of_the_store_may_do_its_part_and_no_more(compose: Compose) -> None:
    upstream, scoring, pages = (store_as(compose, one) for one in ("upstream", "scoring", "pages"))
    champion = {"Bucket": "models", "Key": "sentiment/champion.json"}
    landing = {"Bucket": "reviews", "Key": "landing/web/2026-01-01/a.csv"}

    assert upstream.put_object(**landing, Body=b"no,columns\n")
    assert is_refused(upstream.put_object, Bucket="reviews", Key="accepted/a", Body=b"")
    assert is_refused(upstream.list_objects_v2, Bucket="reviews")
    assert is_refused(upstream.get_object, **champion)
    assert scoring.get_object(**champion)
    assert is_refused(scoring.put_object, **champion, Body=b"")
    assert is_refused(scoring.get_object, **landing)
    assert pages.list_objects_v2(Bucket="reviews")["KeyCount"]
    assert is_refused(pages.put_object, **landing, Body=b"")
    store_as(compose, "root").delete_object(**landing)  # or the next night would take it


# Roles of Airflow's users

READ = ("GET", "/dags/sentiment_retrain", None)
ANSWER = ("PATCH", "/dags/sentiment_retrain/dagRuns/none/taskInstances/ask/-1/hitlDetails",
          {"chosen_options": ["Reject"]})  # fmt: skip
RETRY = ("POST", "/dags/sentiment_retrain/dagRuns/none/clear", {"dry_run": True})
# Without its reason it is refused as a request, so that no run is started.
REPLAY = ("POST", "/dags/reviews_replay/dagRuns", {"logical_date": None})
START = ("POST", "/dags/sentiment_retrain/dagRuns", {"logical_date": None, "conf": {"seed": "no"}})
PAUSE = ("PATCH", "/dags/sentiment_monitor", {"is_paused": True})
CONNECTIONS = ("GET", "/connections", None)
USERS = ("GET", "/auth/fab/v1/users", None)
ON_CALL = [READ, ANSWER, RETRY, REPLAY]
MAY = {
    "Viewer": [READ],
    "OnCall": ON_CALL,
    "Op": [*ON_CALL, START, PAUSE, CONNECTIONS],
    "Admin": [*ON_CALL, START, PAUSE, CONNECTIONS, USERS],
}


def not_refused(address: str, name: str, password: str) -> list[tuple[str, str, Any]]:
    """Which of the requests above the api-server does not refuse to a user."""
    with httpx.Client(base_url=address, timeout=HANG_SECONDS) as client:
        login = client.post("/auth/token", json={"username": name, "password": password})
        client.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        allowed = []
        for method, path, body in MAY["Admin"]:
            place = path if path.startswith("/auth") else f"/api/v2{path}"
            if client.request(method, place, json=body).status_code != httpx.codes.FORBIDDEN:
                allowed.append((method, path, body))
        return allowed


def test_users_of_each_role_may_do_what_their_role_says(compose: Compose) -> None:
    (line,) = block_with(PAGE, "airflow users create")
    address = compose.address("AIRFLOW_PORT")
    may = {}
    for role in ("Viewer", "OnCall", "Op"):
        name = role.lower()
        compose.typed(line.replace("OnCall", role).replace("ada", name))
        may[role] = not_refused(address, name, "a-long-password")
    own = (compose.env["AIRFLOW_ADMIN_USER"], compose.env["AIRFLOW_ADMIN_PASSWORD"])
    may["Admin"] = not_refused(address, *own)

    assert may == MAY


# A night, and kills in the middle of it


def start_night(compose: Compose, night: date) -> tuple[AirflowApi, str]:
    compose.deliver(night)
    airflow = compose.airflow()
    return airflow, airflow.trigger_night(INGEST, night)


def wait_for_task(airflow: AirflowApi, dag: str, run: str, task: str) -> str:
    """Wait until a task runs; where it does."""

    def where() -> str | None:
        running = (one for one in airflow.tasks(dag, run) if one["state"] == "running")
        return next((str(one["hostname"]) for one in running if one["task_id"] == task), None)

    return str(wait_for(where, f"{task} of {dag} did not begin"))


def end_night(airflow: AirflowApi, ingest: str, *kill: Any) -> list[dict[str, Any]]:
    """Wait until ingest and the retraining that it causes have succeeded; their tasks."""
    assert airflow.wait(INGEST, ingest, timeout_seconds=3 * HANG_SECONDS) == "success"
    retrain = wait_for(lambda: airflow.run_caused_by(RETRAIN, ingest), "no retraining was caused")
    for step in kill:
        step(retrain)
    assert airflow.wait(RETRAIN, retrain, timeout_seconds=3 * HANG_SECONDS) == "success"
    return airflow.tasks(INGEST, ingest) + airflow.tasks(RETRAIN, retrain)


def kill_and_see_it_return(compose: Compose, service: str) -> None:
    before = compose.inspected(service)["RestartCount"]
    compose.kill(service)
    wait_for(lambda: compose.inspected(service)["RestartCount"] > before, f"{service} stays dead")


def test_a_night_ends_well_though_each_container_is_killed_in_the_middle_of_it(
    compose: Compose,
) -> None:
    airflow, ingest = start_night(compose, date(2026, 3, 5))
    wait_for_task(airflow, INGEST, ingest, "delivery.validate")
    for name in ("minio", "log-cleaner", "dag-processor", "triggerer", "api-server"):
        kill_and_see_it_return(compose, name)

    def kill_the_rest(retrain: str) -> None:
        wait_for_task(airflow, RETRAIN, retrain, "train")
        for name in ("scoring", "postgres", "scheduler"):
            kill_and_see_it_return(compose, name)

    end_night(airflow, ingest, kill_the_rest)

    for name in LASTING:
        wait_for(lambda name=name: compose.health(name) == "healthy", f"{name} is not healthy")
    version = compose.champion()["version"]
    wait_for(lambda: compose.answer().get("version") == version, "the service lost the champion")


# Logs of tasks


def log_key(task: dict[str, Any]) -> str:
    """Where the log of a task's last try lies in the bucket."""
    return (
        f"dag_id={task['dag_id']}/run_id={task['dag_run_id']}/task_id={task['task_id']}/"
        f"attempt={task['try_number']}.log"
    )


def events_of(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines() if line.startswith("{")]


def test_the_log_of_a_task_is_in_the_store_and_shown_from_there_when_the_volume_has_lost_it(
    compose: Compose,
) -> None:
    airflow, bucket = compose.airflow(), compose.env["S3_LOGS_BUCKET"]
    store, pages = store_as(compose, "logs"), store_as(compose, "pages")
    run = airflow.runs(RETRAIN)[-1]["dag_run_id"]
    task = next(one for one in airflow.tasks(RETRAIN, run) if one["task_id"] == "alert")
    key = log_key(task)

    def keys() -> list[str]:
        listed = store.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        return [one["Key"] for one in listed]

    wait_for(keys, f"{key} is not in the store")
    kept = events_of(store.get_object(Bucket=bucket, Key=key)["Body"].read().decode())
    compose.asked("compose", "exec", "scheduler", "rm", "-r", f"/opt/airflow/logs/dag_id={RETRAIN}")
    path = f"/dags/{RETRAIN}/dagRuns/{run}/taskInstances/alert/logs/{task['try_number']}"
    shown = [line["event"] for line in airflow.get(path, full_content=True)["content"]]

    assert kept
    assert set(kept) <= set(shown)
    assert f"s3://{bucket}/{key}" in shown
    assert is_refused(store.delete_object, Bucket=bucket, Key=key)
    assert is_refused(store.list_objects_v2, Bucket="reviews")
    assert is_refused(pages.get_object, Bucket=bucket, Key=key)
    root = store_as(compose, "root")
    (rule,) = root.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (rule["Expiration"], rule["Status"]) == ({"Days": 14}, "Enabled")


UPLOAD = """
import pathlib
from airflow.sdk.log import load_remote_log_handler
file = pathlib.Path("/opt/airflow/logs/a-store-that-is-down/attempt=1.log")
file.parent.mkdir(exist_ok=True)
file.write_text("kept")
load_remote_log_handler().upload(file)
print(file.read_text())
"""


def test_a_store_that_is_down_when_a_task_ends_makes_no_error_and_the_volume_keeps_its_log(
    compose: Compose,
) -> None:
    said = compose.asked(
        "compose", "exec", "--env", "AWS_ENDPOINT_URL_S3=http://127.0.0.1:9", "scheduler",
        "python", "-c", UPLOAD,
    )  # fmt: skip

    assert said.splitlines()[-1] == "kept"


def test_no_secret_is_in_a_log(compose: Compose) -> None:
    bucket, store = compose.env["S3_LOGS_BUCKET"], store_as(compose, "logs")
    pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    texts = [store.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys]
    texts.append(compose.asked("compose", "logs", "--no-color"))

    secrets = {name: compose.env[name] for name in make_env.SECRETS}
    found = {name for name, secret in secrets.items() if any(secret in text for text in texts)}
    assert len(keys) > 5
    assert found == set()


def test_down_and_up_lose_nothing(compose: Compose) -> None:
    champion, runs = compose.champion(), len(compose.airflow().runs(INGEST))
    delivered = compose.loop("delivery", "list", "--json")

    compose.typed(DOWN)
    gone = compose.asked("compose", "ps", "--all", "--quiet")
    compose.typed(UP)

    assert gone == ""
    assert compose.champion() == champion
    assert len(compose.airflow().runs(INGEST)) >= runs
    assert delivered == compose.loop("delivery", "list", "--json")
    wait_for(lambda: compose.answer().get("version") == champion["version"], "no answer")


# What is started if asked for


def test_prometheus_watches_the_loop_and_the_service(compose: Compose) -> None:
    compose.typed(*block_with(PAGE, "--profile watch"))

    def states() -> dict[str, str]:
        address = f"{compose.address('PROMETHEUS_PORT')}/api/v1/targets"
        found = httpx.get(address, timeout=HANG_SECONDS).json()["data"]["activeTargets"]
        return {one["labels"]["job"]: one["health"] for one in found}

    up = {"retraining": "up", "scoring": "up"}
    wait_for(lambda: states() == up, "Prometheus does not get the figures")
    compose.typed("docker compose --profile watch stop metrics prometheus")


def test_workers_run_a_night_though_one_of_them_and_the_broker_are_killed(
    compose: Compose,
) -> None:
    for line in block_with(PAGE, "COMPOSE_PROFILES=celery"):
        compose.write(line)
    compose.typed(UP)
    airflow, ingest = start_night(compose, date(2026, 3, 6))
    worker = wait_for_task(airflow, INGEST, ingest, "delivery.validate")
    kill_and_see_it_return(compose, worker)  # its tasks begin again after five minutes
    kill_and_see_it_return(compose, "redis")

    tasks = end_night(airflow, ingest)

    workers = {str(one["hostname"]) for one in tasks if one["state"] == "success"} - {""}
    assert workers == {"worker-1", "worker-2"}
    assert compose.asked("compose", "exec", "redis", "id", "-u") == "999"


def test_every_command_of_the_page_was_typed() -> None:
    typed = {UP, DOWN}
    for part in ("dags unpause", "pipelines retrain", "alerts check", "--profile watch",
                 "airflow users create", "COMPOSE_PROFILES=celery"):  # fmt: skip
        typed |= set(block_with(PAGE, part))

    assert [one for block in blocks(PAGE) for one in commands(block) if one not in typed] == []
