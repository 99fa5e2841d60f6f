"""Run a command beside an engine on which docker-compose.yaml can run, and leave nothing behind.

    python -m ops.compose [--install] [--or-skip] [--folder PATH] -- COMMAND...

The engine that answers is used. Without one, Debian's is started in namespaces of its own, which
needs root. Images whose registry cannot be reached are built from Debian's packages. The command
finds in ``LOOP_TEST_COMPOSE`` a file that says where a copy of the project is and with which
environment its commands reach the engine. The last lines say what stood in for what.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ops.compose import engine, images, namespaces
from ops.display import stop_like_ctrl_c
from ops.services.processes import Processes, StackError, free_port
from ops.services.real import NotHereError, install_packages

NOT_HERE = 3  # the exit code where there is no engine
VARIABLE = "LOOP_TEST_COMPOSE"
PORTS = ("AIRFLOW_PORT", "S3_PORT", "S3_CONSOLE_PORT", "SCORING_PORT", "PROMETHEUS_PORT",
         "GRAFANA_PORT")  # fmt: skip
_PROFILES = ("celery", "watch", "upstream")


def run(command: Sequence[str], folder: Path, *, is_installing: bool) -> int:
    """Run it beside an engine; returns its exit code.

    Raises
    ------
    NotHereError
        If there is none, and none can be started.
    StackError
        If it does not start, or an image cannot be built.
    """
    if is_installing and not engine.is_given():
        install_packages(engine.missing_packages())
    if engine.is_given():  # the package may have started one
        return _beside(engine.Docker({}), command, folder, is_given=True)
    if missing := engine.missing_packages():
        raise NotHereError(f"no engine answers; install Debian's packages {' '.join(missing)}")
    if os.geteuid() != 0:
        raise NotHereError("no engine answers, and only root can start one")
    own = [sys.executable, "-m", "ops.compose", "--inside", "--folder", str(folder)]
    return namespaces.run([*own, "--", *command], cgroup=engine.cgroup_of(folder))


def run_inside(command: Sequence[str], folder: Path) -> int:
    """Start a daemon and run the command; as the first process of the namespaces."""
    engine.wait_for_network(namespaces.NETWORK)
    processes = Processes(folder)
    try:
        docker = engine.start_daemon(folder, processes)
        return _beside(docker, command, folder, is_given=False)
    finally:
        processes.stop()


def _beside(docker: engine.Docker, command: Sequence[str], folder: Path, *, is_given: bool) -> int:
    began = time.monotonic()
    plugin = engine.add_plugin(folder, docker)
    version = docker("version", "--format", "{{.Server.Version}}").strip()
    _say(f"Docker Engine {version}{' (given)' if is_given else ''}, Compose {plugin}")
    found = images.prepare(docker, folder, _say)
    project = folder / "project"
    images.copy_project(project)
    variables = {
        **docker.environment,
        "COMPOSE_FILE": f"docker-compose.yaml:{found.override}",
        "COMPOSE_PROJECT_NAME": images.OWN,
        **({name: str(free_port()) for name in PORTS} if is_given else {}),
    }
    facts = folder / "facts.json"
    facts.write_text(json.dumps({"project": str(project), "environment": variables}))
    _say(f"images are ready after {_minutes(began)}")
    try:
        code = subprocess.run(  # noqa: S603
            command, env={**os.environ, VARIABLE: str(facts)}, check=False
        ).returncode
    finally:
        _take_down(engine.Docker(variables), project, is_given=is_given)
    _say(f"{'passed' if code == 0 else f'FAILED with exit code {code}'} in {_minutes(began)}")
    for image, stand_in in found.standing_in.items():
        _say(f"STOOD IN for {image.partition('@')[0]}: {stand_in.holds}")
    if not found.standing_in:
        _say("every image was the one that docker-compose.yaml names")
    return code


def _take_down(docker: engine.Docker, project: Path, *, is_given: bool) -> None:
    """Remove containers, volumes and networks; from an engine of others also what was built."""
    profiles = [f"--profile={profile}" for profile in _PROFILES]
    if (project / ".env").exists():
        docker.run(
            "compose", *profiles, "down", "--volumes", "--remove-orphans", "--timeout", "5",
            cwd=project, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    if is_given:
        built = docker("image", "ls", "--quiet", "--filter", f"reference={images.OWN}*").split()
        if built:
            docker.run("image", "rm", "--force", *built, stderr=subprocess.DEVNULL)


def _minutes(began: float) -> str:
    return f"{(time.monotonic() - began) / 60:.1f} min"


def _say(text: str) -> None:
    sys.stderr.write(f"compose: {text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ops.compose", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--install", action="store_true", help="install what is missing, as root")
    parser.add_argument("--or-skip", action="store_true", help="without an engine: say so, pass")
    parser.add_argument("--folder", type=Path, help="keep images here, for the next time")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="+")
    chosen = parser.parse_args(arguments)
    stop_like_ctrl_c(signal.SIGTERM, signal.SIGHUP)
    folder = (chosen.folder or Path(tempfile.mkdtemp(prefix="loop-compose-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if chosen.inside:
            return run_inside(chosen.command, folder)
        return run(chosen.command, folder, is_installing=chosen.install)
    except NotHereError as error:
        _say(f"SKIPPED: {error}" if chosen.or_skip else str(error))
        return 0 if chosen.or_skip else NOT_HERE
    except StackError as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("stopped")
        return 130
    finally:
        if chosen.folder is None and not chosen.inside:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
