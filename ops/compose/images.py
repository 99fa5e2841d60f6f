"""The images that docker-compose.yaml names, and stand-ins where no registry can be reached."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from ops.compose.engine import Docker, run_for
from ops.services.stack import PROJECT

OWN = "retraining-loop-test"
_DEBIAN, _RELEASE = "debian:bookworm-slim", "bookworm"
_DOCKERFILES = "ops/compose/dockerfiles"
_ASK_SECONDS = 20.0
_FROM = re.compile(r"^ARG BASE=(\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class StandIn:
    """A Dockerfile of ours, and what it holds; without one there is nothing to stand in."""

    image: str
    dockerfile: str | None
    holds: str


STAND_INS = (
    StandIn("apache/airflow", "airflow", "Debian with Python 3.11, its user and folders"),
    StandIn("postgres", "postgres", "PostgreSQL 15 from Debian"),
    StandIn("quay.io/minio/minio", "minio", "Ceph's gateway from Debian; a client of ours for mc"),
    StandIn("redis", "redis", "Redis 7.0 from Debian"),
    StandIn("prom/prometheus", "prometheus", "Prometheus 2.42 from Debian"),
    StandIn("grafana/grafana", None, "nothing: it is left out"),
)  # fmt: skip


@dataclass(frozen=True)
class Images:
    """What the services run.

    Attributes
    ----------
    override : Path
        A second file for ``COMPOSE_FILE``, with the names of what stands in.
    standing_in : dict of str to StandIn
        By the image that could not be had.
    """

    override: Path
    standing_in: dict[str, StandIn]


def prepare(docker: Docker, folder: Path, on_step: Callable[[str], None]) -> Images:
    """Find out which images can be had, build what stands in for the others, and name them.

    Raises
    ------
    StackError
        If one cannot be built.
    """
    services = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text(encoding="utf-8"))
    base = base_of((PROJECT / "ops" / "Dockerfile").read_text(encoding="utf-8"))
    named = {service["image"] for service in services["services"].values()} | {base}
    missing = {
        image: stand_in
        for image in sorted(named)
        if (stand_in := stand_in_for(image)) and not is_there(docker, image)
    }
    if missing:
        _build(docker, folder, missing, on_step)
    override = folder / "override.yaml"
    override.write_text(override_for(services["services"], base, missing), encoding="utf-8")
    return Images(override, missing)


def base_of(dockerfile: str) -> str:
    """The image that the project's own is made from."""
    (base,) = _FROM.findall(dockerfile)
    return str(base)


def stand_in_for(image: str) -> StandIn | None:
    """What stands in for an image; None for the project's own."""
    return next((one for one in STAND_INS if image.startswith(f"{one.image}:")), None)


def is_there(docker: Docker, image: str) -> bool:
    """Whether the engine has an image, or its registry does."""
    return docker.answers("image", "inspect", image) or docker.answers(
        "manifest", "inspect", image, seconds=_ASK_SECONDS
    )


def override_for(
    services: dict[str, dict[str, object]], base: str, missing: dict[str, StandIn]
) -> str:
    """What differs from docker-compose.yaml: the names of images, and nothing else.

    The project's own gets another name, too, so that the one of a loop in use stays as it is.
    """
    lines = ["services:"]
    for name, service in services.items():
        image = str(service["image"])
        lines.append(f"  {name}:")
        if image not in missing:
            is_own = stand_in_for(image) is None
            lines.append(f"    image: {OWN if is_own else image}")
        elif missing[image].dockerfile is None:
            lines.append('    profiles: !override ["without-an-image"]')
        else:
            lines.append(f"    image: {tag_of(missing[image])}")
        if "build" in service and base in missing:
            lines.append(f"    build: {{args: {{BASE: {tag_of(missing[base])}}}}}")
    return "\n".join([*lines, ""])


def tag_of(stand_in: StandIn) -> str:
    """What the image is called that stands in."""
    return f"{OWN}-{stand_in.dockerfile}"


def _build(
    docker: Docker, folder: Path, missing: dict[str, StandIn], on_step: Callable[[str], None]
) -> None:
    context = _context(folder / "context")
    debian = _DEBIAN
    if not is_there(docker, debian):
        debian = f"{OWN}-debian"
        if not docker.answers("image", "inspect", debian):
            on_step("Debian: made with debootstrap")
            _import_debian(docker, folder / "debian", debian)
    _build_one(docker, context, "base", f"DEBIAN={debian}")
    for stand_in in missing.values():
        if stand_in.dockerfile is not None:
            began = time.monotonic()
            _build_one(docker, context, stand_in.dockerfile, f"BASE={OWN}-base")
            on_step(f"{stand_in.dockerfile}: built in {time.monotonic() - began:.0f} s")


def _context(folder: Path) -> Path:
    """What the Dockerfiles copy: code of ours, and the certificates that this machine trusts."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("ops", "pipelines"):
        shutil.copytree(PROJECT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    trusted = ssl.get_default_verify_paths()
    shutil.copyfile(trusted.cafile or trusted.openssl_cafile, folder / "certificates.crt")
    return folder


def _build_one(docker: Docker, context: Path, name: str, argument: str) -> None:
    docker(
        "build", "--quiet", "--tag", f"{OWN}-{name}", "--build-arg", argument,
        "--file", str(context / _DOCKERFILES / f"{name}.Dockerfile"), str(context),
    )  # fmt: skip


def _import_debian(docker: Docker, folder: Path, tag: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    run_for("Debian", ["debootstrap", "--variant=minbase", _RELEASE, str(folder)])
    with subprocess.Popen(  # noqa: S603
        ["tar", "--directory", str(folder), "--create", "."],  # noqa: S607
        stdout=subprocess.PIPE,
    ) as tar:
        docker("import", "-", tag, stdin=tar.stdout)
    shutil.rmtree(folder)


def copy_project(target: Path) -> None:
    """The project as it is, without what is only on this machine."""
    local = shutil.ignore_patterns(
        ".git", ".venv", ".local", ".env", "__pycache__", ".*_cache", ".hypothesis"
    )
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(PROJECT, target, ignore=local)
