"""What `make test-compose` runs beside an engine, and what stands in for images."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from ops.compose import __main__ as command
from ops.compose import client, engine, images

ROOT = Path(__file__).resolve().parents[4]
DOCKERFILES = ROOT / "ops" / "compose" / "dockerfiles"
SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
BASE = images.base_of((ROOT / "ops" / "Dockerfile").read_text())
OWN = "retraining-loop:"


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """It reads compose's own tag, too."""


Loader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def override(missing: dict[str, images.StandIn]) -> dict[str, Any]:
    text = images.override_for(SERVICES, BASE, missing)
    services: dict[str, Any] = yaml.load(text, Loader)["services"]  # noqa: S506 - a safe one
    return services


def every_stand_in() -> dict[str, images.StandIn]:
    named = {service["image"] for service in SERVICES.values()} | {BASE}
    found = {image: images.stand_in_for(image) for image in named}
    return {image: stand_in for image, stand_in in found.items() if stand_in is not None}


def test_there_is_a_stand_in_for_every_image_but_our_own() -> None:
    named = {service["image"] for service in SERVICES.values()} | {BASE}

    assert {image.partition(":")[0] for image in named - every_stand_in().keys()} == {
        "retraining-loop"
    }
    assert len(every_stand_in()) == len(images.STAND_INS)


def test_images_that_can_be_had_are_used_and_a_loop_in_use_keeps_its_own() -> None:
    written = override({})

    for name, service in SERVICES.items():
        image = service["image"]
        is_own = image.startswith(OWN)
        assert written[name] == {"image": images.OWN if is_own else image}


def test_what_stands_in_changes_names_of_images_and_nothing_else() -> None:
    written = override(every_stand_in())

    assert written.pop("grafana") == {"profiles": ["without-an-image"]}
    assert written["init"].pop("build") == {"args": {"BASE": f"{images.OWN}-airflow"}}
    for name, changed in written.items():
        assert list(changed) == ["image"], name
        assert changed["image"].startswith(images.OWN), name
    assert written["minio"] == written["store-users"] == {"image": f"{images.OWN}-minio"}


@pytest.mark.parametrize("stand_in", images.STAND_INS, ids=lambda one: one.image)
def test_a_stand_in_is_built_from_files_that_are_there(stand_in: images.StandIn) -> None:
    if stand_in.dockerfile is None:
        assert "left out" in stand_in.holds
        return
    text = (DOCKERFILES / f"{stand_in.dockerfile}.Dockerfile").read_text()

    assert "\nARG BASE\nFROM ${BASE}\n" in text
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for path in line.split()[:-1]:
            assert (ROOT / path).exists(), path


def test_no_dockerfile_of_a_stand_in_is_left_over() -> None:
    named = {one.dockerfile for one in images.STAND_INS} | {"base"}

    assert {path.name.partition(".")[0] for path in DOCKERFILES.glob("*.Dockerfile")} == named - {
        None
    }


def test_the_plugin_is_one_archive_with_one_hash() -> None:
    text = (ROOT / "ops" / "compose" / "requirements.txt").read_text()

    assert len(re.findall(r"^[\w-]+==", text, re.MULTILINE)) == 1
    assert len(re.findall(r"sha256:[0-9a-f]{64}\b", text)) == 1


def test_the_copy_of_the_project_holds_no_secrets_and_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    for name in (".env", ".git/config", ".venv/a", ".local/b", "ops/make_env.py", ".env.example"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    monkeypatch.setattr(images, "PROJECT", project)

    images.copy_project(tmp_path / "copy")

    copied = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*")}
    assert copied == {"ops", "ops/make_env.py", ".env.example"}


# Without an engine


@pytest.fixture
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "is_given", lambda: False)
    monkeypatch.setattr(engine, "missing_packages", lambda: list(engine.PACKAGES))


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_it_names_what_to_install_and_installs_nothing_unasked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[object] = []
    monkeypatch.setattr(command, "install_packages", installed.append)

    code = command.main(["--", "true"])

    assert code == command.NOT_HERE
    assert "docker.io" in capsys.readouterr().err
    assert installed == []


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_it_is_skipped_if_that_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["--or-skip", "--", "true"]) == 0
    assert "SKIPPED" in capsys.readouterr().err


def test_an_engine_that_its_package_starts_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed: list[str] = []
    used: list[bool] = []
    monkeypatch.setattr(engine, "is_given", lambda: bool(installed))
    monkeypatch.setattr(engine, "missing_packages", lambda: list(engine.PACKAGES))
    monkeypatch.setattr(command, "install_packages", installed.extend)
    monkeypatch.setattr(command, "_beside", lambda *_, is_given: used.append(is_given) or 0)

    assert command.main(["--install", "--folder", str(tmp_path), "--", "true"]) == 0
    assert installed == list(engine.PACKAGES)
    assert used == [True]


def test_only_root_may_start_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "is_given", lambda: False)
    monkeypatch.setattr(engine, "missing_packages", list)
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert command.main(["--", "true"]) == command.NOT_HERE
    assert "only root" in capsys.readouterr().err


# With an engine that is there


def test_an_engine_that_is_there_keeps_nothing_and_its_ports_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said, docker = tmp_path / "said", tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f'#!/bin/sh\necho "$COMPOSE_PROJECT_NAME: $*" >>{said}\n'
        '[ "$1 $2" != "image ls" ] || echo 0123456789ab\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    folder, facts = tmp_path / "folder", tmp_path / "facts.json"
    steps = f"cp ${command.VARIABLE} {facts}; touch {folder}/project/.env; exit 5"

    code = command.main(["--folder", str(folder), "--", "sh", "-c", steps])

    variables = json.loads(facts.read_text())["environment"]
    own = f"{images.OWN}: "
    removed = [line.removeprefix(own) for line in said.read_text().splitlines() if own in line]
    assert code == 5
    assert {"AIRFLOW_PORT", "SCORING_PORT"} <= set(variables)
    assert "DOCKER_HOST" not in variables
    assert removed[0].startswith(
        "compose --profile=celery --profile=watch --profile=upstream down "
    )
    assert removed[-1] == "image rm --force 0123456789ab"
    assert "every image was the one" in capsys.readouterr().err


# The stand-in for MinIO's client


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[tuple[str, str]], list[int]]]:
    """An address with root user, what was asked of it, and the answers that it will give."""
    asked: list[tuple[str, str]] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            asked.append((self.command, self.path))
            assert self.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=loop/")
            self.send_response(answers.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST = _answer  # noqa: N815 - names of the standard library

        def log_message(self, *_given: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://loop:secret@127.0.0.1:{server.server_port}", asked, answers
    server.shutdown()
    server.server_close()


def test_a_user_who_is_there_gets_the_secret_of_now(
    gateway: tuple[str, list[tuple[str, str]], list[int]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    address, asked, answers = gateway
    answers.extend([409, 200])
    monkeypatch.setenv("MC_HOST_store", address)
    monkeypatch.setenv("MC_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO("loop-ingest\nnew\n"))

    client.run(["admin", "user", "add", "store"])

    query = "/admin/user?uid=loop-ingest&access-key=loop-ingest&secret-key=new"
    assert asked == [("PUT", f"{query}&display-name=loop-ingest&max-buckets=-1"), ("POST", query)]


def test_a_command_that_the_stand_in_does_not_know_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MC_HOST_store", "http://loop:secret@127.0.0.1:9")
    monkeypatch.setenv("MC_CONFIG_DIR", str(tmp_path))

    with pytest.raises(SystemExit, match="does not know"):
        client.run(["admin", "user", "remove", "store", "loop-ingest"])
