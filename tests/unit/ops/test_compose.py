"""docker-compose.yaml, the image it builds and the .env it needs belong together."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ops import make_env
from ops.services import real_broker
from pipelines.alerts import channels
from pipelines.core import config
from pipelines.core.grants import ROLES, TASK_LOGS
from pipelines.core.store.stores import TASK_LOGS_DAYS

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = ROOT / "docker-compose.yaml"
WORKERS = ("worker-1", "worker-2")
AIRFLOW_SERVICES = ("init", "api-server", "scheduler", "dag-processor", "triggerer", *WORKERS)
SHARED_SECRETS = (
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CELERY__BROKER_URL",
)
# What puts logs of tasks into the store, or shows them.
LOG_SERVICES = ("api-server", "scheduler", "triggerer", *WORKERS)
USERS = (*ROLES, TASK_LOGS)
ONE_OFFS = ("init", "store-users", "upstream")
ROOT_SECRET = "${S3_SECRET_KEY:"
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")


@pytest.fixture(scope="module")
def text() -> str:
    return COMPOSE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def names_in(env: str) -> dict[str, str]:
    lines = [line for line in env.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def lines_of(path: str) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def locked(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)", "\n".join(lines_of("requirements.txt")), re.MULTILINE)
    return found[1] if found else "not locked"


def has_compose() -> bool:
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "compose", "version"], check=False, capture_output=True)
    return asked.returncode == 0


@pytest.mark.skipif(not has_compose(), reason="docker has no compose plugin here")
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    make_env.main(env)

    checked = subprocess.run(
        ["docker", "compose", "--env-file", str(env), "--file", str(COMPOSE), "config", "--quiet"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr


def test_each_service_has_only_keys_that_compose_knows(services: dict[str, Any]) -> None:
    known = {
        "build", "command", "configs", "depends_on", "entrypoint", "environment", "healthcheck",
        "hostname", "image", "logging", "mem_limit", "pids_limit", "ports", "profiles",
        "pull_policy", "restart", "security_opt", "stop_grace_period", "user", "volumes",
    }  # fmt: skip

    for name, service in services.items():
        assert set(service) <= known, name


def test_each_named_volume_is_declared(text: str, services: dict[str, Any]) -> None:
    lists = [service.get("volumes", ()) for service in services.values()]
    used = {volume.split(":")[0] for volumes in lists for volume in volumes}
    folders = {name for name in used if name.startswith("./")}

    assert all((ROOT / folder).is_dir() for folder in folders)
    assert used - folders == set(yaml.safe_load(text)["volumes"])


def test_every_image_is_pinned_and_none_is_the_latest(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image, _, digest = service["image"].partition("@")
        tag = image.rpartition("/")[2].partition(":")[2]

        assert re.match(r"v?\d|RELEASE\.\d", tag), name
        assert not digest or re.fullmatch(r"sha256:[0-9a-f]{64}", digest), name


def test_minio_is_the_digest_whose_conditional_writes_can_be_trusted(
    services: dict[str, Any],
) -> None:
    assert services["minio"]["image"] == (
        "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z"
        "@sha256:14cea493d9a34af32f524e538b8346cf79f3321eff8e708c1e2960462bd8936e"
    )


def test_image_and_lock_hold_the_same_airflow(services: dict[str, Any]) -> None:
    version = locked("apache-airflow")

    assert f"ARG BASE=apache/airflow:slim-{version}-python3.11" in lines_of("ops/Dockerfile")
    assert [one for one in lines_of("ops/Dockerfile") if one.startswith("FROM")] == ["FROM ${BASE}"]
    assert {services[name]["image"] for name in AIRFLOW_SERVICES} == {f"retraining-loop:{version}"}


def test_an_image_whose_libraries_contradict_each_other_is_not_built() -> None:
    (install,) = [line for line in lines_of("ops/Dockerfile") if line.startswith("RUN pip install")]

    assert "--require-hashes" in install
    assert install.endswith(" && pip check")


def test_the_image_holds_what_compose_relies_on() -> None:
    assert locked("apache-airflow-providers-fab") != "not locked"
    assert locked("psycopg2-binary") != "not locked"
    assert locked("asyncpg") != "not locked"


def test_the_builder_gets_everything_the_image_copies() -> None:
    copied = {line.split()[2] for line in lines_of("ops/Dockerfile") if line.startswith("COPY")}
    sent = {line.removeprefix("!") for line in lines_of(".dockerignore") if line.startswith("!")}

    assert copied == sent
    assert all((ROOT / path).exists() for path in copied)


def test_every_variable_is_in_the_example_and_none_is_there_in_vain(text: str) -> None:
    used = {found["name"] for found in VARIABLE.finditer(text.replace("$$", ""))}

    assert used == set(names_in(make_env.EXAMPLE.read_text(encoding="utf-8")))


def test_a_missing_variable_is_refused_with_what_to_do_or_has_a_default(text: str) -> None:
    for found in VARIABLE.finditer(text):
        assert found["rest"] == ":?run make up, which writes .env" or re.fullmatch(
            r":-(\d*g?|LocalExecutor|task-logs|/opt/airflow/config/compose.toml)", found["rest"]
        ), found[0]


def test_no_secret_is_written_into_the_file(services: dict[str, Any]) -> None:
    secret = re.compile(
        r"SECRET|PASSWORD|FERNET|SIGNING_KEY$|SQL_ALCHEMY_CONN|BROKER_URL|ROOT_USER|MC_HOST|AUTH$|"
        "AIRFLOW_CONN_"
    )

    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if secret.search(name):
                assert VARIABLE.search(value), name


def test_all_airflow_services_can_send_alerts_and_none_has_to(services: dict[str, Any]) -> None:
    for name in channels.VARIABLES:
        for service in AIRFLOW_SERVICES:
            assert services[service]["environment"][name] == f"${{{name}:-}}"
        assert names_in(make_env.EXAMPLE.read_text(encoding="utf-8"))[name] == '""'


def test_no_secret_is_written_into_the_example() -> None:
    values = names_in(make_env.EXAMPLE.read_text(encoding="utf-8"))

    assert {name for name, value in values.items() if not value} == set(make_env.SECRETS)
    assert not [name for name in values if "PASSWORD" in name and values[name]]


def test_all_ports_are_on_loopback(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]

    assert len(ports) == 6
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_all_airflow_services_share_their_secrets(services: dict[str, Any]) -> None:
    for secret in SHARED_SECRETS:
        assert len({services[name]["environment"][secret] for name in AIRFLOW_SERVICES}) == 1


def test_every_lasting_service_is_checked_and_comes_back(services: dict[str, Any]) -> None:
    for name in services.keys() - set(ONE_OFFS):
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["restart"] == "unless-stopped", name


def test_one_service_builds_the_image_and_the_others_neither_build_nor_pull_it(
    services: dict[str, Any],
) -> None:
    own = {name: one for name, one in services.items() if one["image"].startswith("retraining")}

    assert [name for name, one in own.items() if "build" in one] == ["init"]
    assert {one["pull_policy"] for one in own.values()} == {"never"}


def test_the_image_holds_nothing_that_only_tests() -> None:
    runs, tests = (
        set(re.findall(r"^([a-z][\w.-]*)==", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-celery.txt", "requirements-dev.txt")
    )

    testing = {"localbucket", "playwright", "pytest", "hypothesis", "mypy", "ruff", "import-linter"}
    assert not testing & runs
    assert testing <= tests


def test_nothing_that_the_requirements_for_tests_alone_name_is_in_the_image() -> None:
    named = set(re.findall(r"^([a-z][\w.-]*)", "\n".join(lines_of("requirements-dev.in")), re.M))
    needed_by_airflow = {"pyyaml", "setuptools"}  # or by its provider
    image = "\n".join(lines_of("ops/Dockerfile"))
    (copied,) = re.findall(r"^COPY .*?(requirements\S+) ", image, re.M)

    assert len(named) >= 10
    assert re.findall(r"pip install ([^&]+?) &&", image) == [
        "--no-cache-dir --require-hashes --requirement /tmp/requirements.txt"
    ]
    for name in ("requirements-celery.txt", copied):
        held = set(re.findall(r"^([a-z][\w.-]*)==", "\n".join(lines_of(name)), re.M))
        assert held & named <= needed_by_airflow, name


def test_what_runs_has_the_same_versions_in_the_image_and_where_it_is_tested() -> None:
    runs, tests, image = (
        dict(re.findall(r"^([a-z][\w.-]*)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.txt", "requirements-dev.txt", "requirements-celery.txt")
    )

    assert {name: tests[name] for name in runs} == runs
    assert {name: image[name] for name in runs} == runs
    assert {"apache-airflow-providers-celery", "celery", "redis"} <= set(image)
    assert "apache-airflow-providers-amazon" in image  # keeps the logs of tasks in the store


# The profile celery


def test_two_workers_run_tasks_only_if_asked_for(services: dict[str, Any]) -> None:
    executors = {
        services[name]["environment"]["AIRFLOW__CORE__EXECUTOR"] for name in AIRFLOW_SERVICES
    }

    assert executors == {"${AIRFLOW_EXECUTOR:-LocalExecutor}"}
    for name in ("redis", *WORKERS):
        assert services[name]["profiles"] == ["celery"], name
    for name in WORKERS:  # so the page of a task says who ran it, and the check asks its own
        assert services[name]["hostname"] == name
        assert services[name]["command"] == ["celery", "worker"]
        assert "celery@{socket.gethostname()}" in services[name]["healthcheck"]["test"][-1]


def test_a_worker_has_what_the_scheduler_has_when_it_runs_tasks(services: dict[str, Any]) -> None:
    scheduler = services["scheduler"]
    for name in WORKERS:
        own = services[name]["environment"]
        assert own == scheduler["environment"] | {"DUMB_INIT_SETSID": "0"}
        assert services[name]["configs"] == scheduler["configs"]
        assert services[name]["volumes"] == scheduler["volumes"]


def test_a_worker_gets_time_to_end_its_tasks(services: dict[str, Any]) -> None:
    for name in WORKERS:
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert grace > int(services["scoring"]["stop_grace_period"].removesuffix("s"))


@pytest.mark.attack
def test_the_broker_is_no_root_asks_for_a_password_and_confirms_what_is_on_the_disk(
    text: str, services: dict[str, Any], env: dict[str, str]
) -> None:
    redis, configs = services["redis"], yaml.safe_load(text)["configs"]
    (mounted,) = redis["configs"]
    settings = filled(configs[mounted["source"]]["content"], env).splitlines()
    natively = real_broker.settings_of(Path("/data"), port=6379, password=env["REDIS_PASSWORD"])

    assert redis["user"] == "999:999"
    assert "ports" not in redis
    assert redis["command"] == ["redis-server", mounted["target"]]
    assert env["REDIS_PASSWORD"].isalnum()  # part of an URL
    assert {line.replace('"/data"', "/data") for line in natively.splitlines()} - set(settings) == {
        "bind 127.0.0.1", "daemonize no", "set-proc-title no"
    }  # fmt: skip


def test_no_service_can_fill_the_disk_with_its_output(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name


def test_no_service_can_take_all_memory_or_processes_or_more_rights_than_it_began_with(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        assert service["mem_limit"], name
        assert service["pids_limit"] <= 1024, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in ("scheduler", *WORKERS):
        assert services[name]["mem_limit"] == "${TASKS_MEMORY:-6g}"


def test_an_engine_that_makes_its_first_check_after_an_interval_is_waited_for_a_minute_at_most(
    services: dict[str, Any],
) -> None:
    for name in services.keys() - set(ONE_OFFS):
        seconds = re.fullmatch(r"(\d+)s", services[name]["healthcheck"]["interval"])
        assert seconds is not None, name
        assert int(seconds[1]) <= 60, name


def test_one_variable_sets_the_configuration_of_every_service(services: dict[str, Any]) -> None:
    usual = "${LOOP_CONFIG:-/opt/airflow/config/compose.toml}"
    for name in (*AIRFLOW_SERVICES, "upstream", "scoring", "metrics"):
        assert services[name]["environment"]["LOOP_CONFIG"] == usual, name


def test_the_page_approves_in_the_name_of_a_person_and_not_of_the_user_of_the_image() -> None:
    lines = [line for line in lines_of("docs/compose.md") if "pipelines decision approve" in line]

    assert lines
    assert all(' --actor "$USER"' in line for line in lines)


def test_the_try_out_configuration_is_in_the_image() -> None:
    example = make_env.EXAMPLE.read_text(encoding="utf-8")
    (path,) = re.findall(r"/opt/airflow/(config/[\w-]+\.toml)", example)

    assert (ROOT / path).is_file()
    assert "COPY --chown=airflow:0 config/ /opt/airflow/config/" in lines_of("ops/Dockerfile")


@pytest.fixture
def health() -> Iterator[tuple[str, dict[str, Any]]]:
    """A stand-in for the api-server: its address, and what it answers."""
    answer = {name: {"status": "healthy"} for name in ("dag_processor", "triggerer")}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/api/v2/monitor/health"
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}", answer
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("service", ["dag-processor", "triggerer"])
@pytest.mark.parametrize("status", ["healthy", "unhealthy", None])
def test_a_check_asks_the_api_server_about_its_own_service_alone(
    services: dict[str, Any], health: tuple[str, dict[str, Any]], service: str, status: str | None
) -> None:
    address, answer = health
    own = service.replace("-", "_")
    answer.update({name: {"status": "unhealthy"} for name in answer if name != own})
    answer[own]["status"] = status
    _, *command = services[service]["healthcheck"]["test"]
    command = [word.replace("api-server:8080", address) for word in command]

    code = subprocess.run([sys.executable, *command[1:]], check=False).returncode

    assert code == (0 if status == "healthy" else 1)


def test_a_check_fails_when_the_api_server_does_not_answer(services: dict[str, Any]) -> None:
    _, *command = services["triggerer"]["healthcheck"]["test"]
    command = [word.replace("api-server:8080", "127.0.0.1:9") for word in command]

    ended = subprocess.run([sys.executable, *command[1:]], check=False, capture_output=True)

    assert ended.returncode == 1


def test_no_check_starts_an_airflow_and_a_slow_start_is_waited_for(
    services: dict[str, Any],
) -> None:
    for name in set(AIRFLOW_SERVICES) - {"init"}:
        check = services[name]["healthcheck"]
        assert "airflow" not in str(check["test"]), name
        assert check["start_period"] == "300s", name
        assert "start_interval" not in check, name


def test_postgres_counts_as_healthy_only_where_others_reach_it(services: dict[str, Any]) -> None:
    assert {"--host", "127.0.0.1"} <= set(services["postgres"]["healthcheck"]["test"])


def test_old_logs_are_deleted_and_new_ones_kept(services: dict[str, Any], tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    old, new = logs / "dag_id=a" / "run" / "1.log", logs / "dag_id=b" / "1.log"
    for file in (old, new):
        file.parent.mkdir(parents=True)
        file.touch()
    for path in (old, old.parent, old.parent.parent):
        os.utime(path, (0, 0))
    service = services["log-cleaner"]
    script = service["command"][0].replace("$$", "$").replace("sleep 1d", "exit 0; sleep 0")
    script = script.replace("/opt/airflow/logs", str(logs))
    script = script.replace("touch /tmp", f"touch {tmp_path}")

    subprocess.run([*service["entrypoint"], script], check=True)

    assert new.exists()
    assert not old.exists()
    assert (tmp_path / "cleaned").exists()


def test_services_wait_for_what_they_need(services: dict[str, Any]) -> None:
    def needs(name: str) -> dict[str, str]:
        wanted = services[name].get("depends_on", {})
        return {other: how["condition"] for other, how in wanted.items()}

    done, healthy = "service_completed_successfully", "service_healthy"
    assert needs("init") == {"postgres": healthy, "minio": healthy}
    assert needs("store-users") == {"init": done, "minio": healthy}
    for name in WORKERS:
        assert needs(name) == needs("scheduler") | {"store-users": done, "redis": healthy}
    assert needs("api-server") == needs("scoring") == {"init": done, "store-users": done}
    for name in ("scheduler", "dag-processor", "triggerer"):
        assert needs(name) == {"init": done, "api-server": healthy}


def test_init_makes_the_tables_the_user_and_the_buckets(services: dict[str, Any]) -> None:
    script = services["init"]["command"][0]

    steps = ["airflow db migrate", "python -m plugins.on_call", "airflow users create",
             'python -m pipelines init --task-logs "$$LOGS_BUCKET"\n',
             "--policies /opt/airflow/policies"]  # fmt: skip
    places = [script.index(step) for step in steps]
    assert places == sorted(places)


def test_prometheus_scrapes_the_loop_and_the_service_by_the_same_jobs_as_without_docker(
    text: str, services: dict[str, Any]
) -> None:
    configs = yaml.safe_load(text)["configs"]
    made = yaml.safe_load(configs["prometheus"]["content"])
    usual = (ROOT / "ops" / "prometheus" / "prometheus.yml").read_text()
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in made["scrape_configs"]
    }

    assert targets == {
        name: [f"{service}:{services[service]['command'][-1]}"]
        for name, service in (("retraining", "metrics"), ("scoring", "scoring"))
    }
    assert made["global"] == yaml.safe_load(usual)["global"]
    assert (ROOT / configs["prometheus-rules"]["file"]).is_file()
    assert all(f"job_name: {name}" in usual for name in targets)


def test_grafana_has_the_datasource_of_the_dashboards_at_compose_s_address(text: str) -> None:
    configs = yaml.safe_load(text)["configs"]
    (made,) = yaml.safe_load(configs["grafana-datasource"]["content"])["datasources"]
    folder = ROOT / "ops" / "grafana" / "provisioning"
    (usual,) = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]

    assert made == usual | {"url": "http://prometheus:9090"}
    assert (ROOT / configs["grafana-provider"]["file"]).samefile(
        folder / "dashboards" / "retraining.yml"
    )


def test_what_watches_is_started_only_if_asked_for(services: dict[str, Any]) -> None:
    for name in ("metrics", "prometheus", "grafana"):
        assert services[name]["profiles"] == ["watch"]


# Who may do what in the store


@pytest.fixture
def env() -> dict[str, str]:
    """A fresh .env."""
    return names_in(make_env.fill(make_env.EXAMPLE.read_text(encoding="utf-8")))


def filled(text: str, env: dict[str, str]) -> str:
    """What compose makes of a value."""
    return VARIABLE.sub(lambda found: env[found["name"]], text).replace("$$", "$")


@pytest.mark.attack
def test_only_the_store_and_what_runs_once_at_the_start_hold_the_root_users_secret(
    text: str, services: dict[str, Any]
) -> None:
    holders = {name for name, service in services.items() if ROOT_SECRET in str(service)}
    rest = {name: part for name, part in yaml.safe_load(text).items() if name == "configs"}

    assert holders == {"minio", "init", "store-users"}
    assert ROOT_SECRET not in str(rest)


def test_the_loop_asks_the_scoring_service_about_new_champions(services: dict[str, Any]) -> None:
    for name in ("compose", "compose-try-out"):
        (address,) = config.load(ROOT / "config" / f"{name}.toml").serving.addresses

        assert address == f"http://scoring:{services['scoring']['command'][-1]}"


def test_the_scoring_service_gets_the_time_that_it_takes_to_stop(services: dict[str, Any]) -> None:
    serving = config.load(ROOT / "config" / "compose.toml").serving
    seconds = int(services["scoring"]["stop_grace_period"].removesuffix("s"))

    assert seconds > serving.drain_seconds + serving.stop_seconds


@pytest.mark.attack
def test_only_what_writes_signed_records_holds_the_signing_key(services: dict[str, Any]) -> None:
    holders = {name for name, one in services.items() if "LOOP_SIGNING_KEY" in str(one)}

    assert holders == {"init", "scheduler", "dag-processor", "triggerer", *WORKERS}


@pytest.mark.attack
@pytest.mark.parametrize(
    ("service", "role"),
    [
        ("api-server", "pages"),
        ("dag-processor", "alerts"),
        ("triggerer", "alerts"),
        ("upstream", "upstream"),
        ("scoring", "scoring"),
        ("metrics", "pages"),
    ],
)
def test_a_service_with_one_part_has_the_credentials_of_its_role_alone(
    services: dict[str, Any], service: str, role: str
) -> None:
    secrets = set(re.findall(r"\$\{(S3_\w+_SECRET)", str(services[service])))

    assert services[service]["environment"]["AWS_ACCESS_KEY_ID"] == f"loop-{role}"
    assert secrets - {"S3_LOGS_SECRET"} == {f"S3_{role.upper()}_SECRET"}
    assert "configs" not in services[service]


@pytest.mark.attack
def test_the_scheduler_has_a_profile_for_each_role_of_its_tasks_and_may_else_only_read(
    text: str,
    services: dict[str, Any],
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import botocore.session

    scheduler, configs = services["scheduler"], yaml.safe_load(text)["configs"]
    (mounted,) = scheduler["configs"]
    file = tmp_path / "credentials"
    file.write_text(filled(configs[mounted["source"]]["content"], env))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    profiles = botocore.session.Session().full_config["profiles"]

    assert scheduler["environment"]["AWS_SHARED_CREDENTIALS_FILE"] == mounted["target"]
    assert not {"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} & set(scheduler["environment"])
    assert profiles == {
        name: {
            "aws_access_key_id": f"loop-{role}",
            "aws_secret_access_key": env[f"S3_{role.upper()}_SECRET"],
        }
        for name, role in [
            ("default", "pages"),
            ("loop-ingest", "ingest"),
            ("loop-retrain", "retrain"),
            ("loop-housekeeping", "housekeeping"),
            ("loop-monitor", "monitor"),
            ("loop-alerts", "alerts"),
        ]
    }
    assert botocore.session.Session().get_credentials().access_key == "loop-pages"


@pytest.mark.attack
def test_only_what_keeps_or_shows_logs_of_tasks_holds_their_users_secret(
    text: str, services: dict[str, Any]
) -> None:
    holders = {name for name, service in services.items() if "S3_LOGS_SECRET" in str(service)}

    assert holders == {"store-users", *LOG_SERVICES}
    assert "S3_LOGS_SECRET" not in str(yaml.safe_load(text)["configs"])


def test_task_logs_go_to_the_bucket_that_init_makes_as_the_user_that_may_write_there(
    services: dict[str, Any], env: dict[str, str]
) -> None:
    for name in LOG_SERVICES:
        own = {key: filled(text, env) for key, text in services[name]["environment"].items()}
        login = json.loads(own["AIRFLOW_CONN_TASK_LOGS"])

        assert own["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "True"
        assert own["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == "task_logs"
        assert own["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"] == f"s3://{env['S3_LOGS_BUCKET']}"
        assert (login["login"], login["password"]) == ("loop-logs", env["S3_LOGS_SECRET"])
    init = services["init"]
    script = filled(init["command"][0], env)
    assert filled(init["environment"]["LOGS_BUCKET"], env) == env["S3_LOGS_BUCKET"]
    assert script.count('python -m pipelines init --task-logs "$LOGS_BUCKET"') == 2


def test_a_store_that_does_not_answer_holds_the_end_of_a_task_up_for_a_minute_at_most(
    services: dict[str, Any], env: dict[str, str]
) -> None:
    login = json.loads(filled(services["scheduler"]["environment"]["AIRFLOW_CONN_TASK_LOGS"], env))
    limits = login["extra"]["config_kwargs"]

    requests = 3  # the provider looks for an older part, and uploads twice
    tries = requests * limits["retries"]["total_max_attempts"]
    assert tries * max(limits["connect_timeout"], limits["read_timeout"]) <= 60


def test_logs_are_kept_as_long_in_the_volume_as_in_the_store(services: dict[str, Any]) -> None:
    assert f"-type f -mtime +{TASK_LOGS_DAYS} -delete" in services["log-cleaner"]["command"][0]


# Does what MinIO's client does as far as the script can see, and notes what it was asked.
MC = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
assert os.environ["MC_HOST_store"].startswith("http://"), os.environ
asked, given = sys.argv[1:], sys.stdin.read() if "add" in sys.argv else ""
with (folder / "asked").open("a") as file:
    file.write(json.dumps([asked, given]) + "\\n")
if "create" in asked:
    pathlib.Path(asked[-1]).read_bytes()
if "attach" in asked:
    done = folder / asked[-1]
    if done.exists() or {broken!r}:
        sys.exit("mc: <ERROR> Unable to make user/group policy association. "
                 + ({broken!r} or "The specified policy change is already in effect."))
    done.touch()
"""


@pytest.fixture
def make_users(
    services: dict[str, Any], env: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script of `store-users`, with a stand-in for MinIO's client."""
    policies = tmp_path / "policies"
    policies.mkdir()
    for role in USERS:
        (policies / f"{role}.json").write_text("{}")

    def make(broken: str = "") -> subprocess.CompletedProcess[str]:
        client = tmp_path / "bin" / "mc"
        client.parent.mkdir(exist_ok=True)
        client.write_text(MC.format(python=sys.executable, folder=str(tmp_path), broken=broken))
        client.chmod(0o755)
        service = services["store-users"]
        variables = {name: filled(value, env) for name, value in service["environment"].items()}
        script = filled(service["command"][0], env).replace("/policies/", f"{policies}/")
        return subprocess.run(
            [*service["entrypoint"], script], check=False, capture_output=True, text=True,
            env=variables | {"PATH": f"{client.parent}:{os.environ['PATH']}"},
        )  # fmt: skip

    return make


def test_each_role_gets_a_user_with_its_policy_and_a_second_start_changes_nothing(
    make_users: Callable[..., subprocess.CompletedProcess[str]],
    env: dict[str, str],
    tmp_path: Path,
) -> None:
    codes = [make_users().returncode for _ in range(2)]

    asked = [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    once = [
        line
        for role in USERS
        for line in (
            [["admin", "user", "add", "store"],
             f"loop-{role}\n{env[f'S3_{role.upper()}_SECRET']}\n"],
            [["admin", "policy", "create", "store", f"loop-{role}",
              f"{tmp_path}/policies/{role}.json"], ""],
            [["admin", "policy", "attach", "store", f"loop-{role}", "--user", f"loop-{role}"], ""],
        )
    ]  # fmt: skip
    assert codes == [0, 0]
    assert asked == once * 2


def test_a_user_who_gets_no_policy_stops_the_start(
    make_users: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    ended = make_users(broken="The canned policy does not exist.")

    assert ended.returncode == 1
    assert "The canned policy does not exist." in ended.stderr


def test_a_new_env_fills_every_secret_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"

    code = make_env.main(path)

    values = names_in(path.read_text(encoding="utf-8"))
    assert code == 0
    assert all(values.values())
    assert len(values["AIRFLOW_JWT_SECRET"]) >= 64
    assert values["POSTGRES_PASSWORD"].isalnum()  # part of an URL
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_envs_share_no_secret(tmp_path: Path) -> None:
    one, other = (names_in(make_env.fill("".join(f"{name}=\n" for name in make_env.SECRETS)))
                  for _ in range(2))  # fmt: skip

    assert not set(one.values()) & set(other.values())


def test_an_env_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".env"
    path.write_text("KEPT=1\n")

    code = make_env.main(path)

    assert code == 1
    assert path.read_text() == "KEPT=1\n"
    assert "is left as it is" in capsys.readouterr().err


def test_the_env_is_kept_out_of_git_and_out_of_the_image() -> None:
    assert {"/.env", "/docker-compose.override.yaml"} <= set(lines_of(".gitignore"))
    assert lines_of(".dockerignore")[1] == "*"
