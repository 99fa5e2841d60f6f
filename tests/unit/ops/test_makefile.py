"""`make test` and `make test-long` leave no test out, and what runs on real services exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def commands_of(target):
    """What make would run for a target and all that it requires."""
    reply = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return reply.stdout


def folders_run_by(target, mark):
    return sorted(
        re.findall(rf'-m pytest -q -m "{mark}" .*?tests/(\S+)$', commands_of(target), re.MULTILINE)
    )


def folders_of(paths):
    return {path.relative_to(ROOT / "tests").parts[0] for path in paths}


def test_make_test_runs_every_folder_of_tests_but_what_is_long():
    folders = folders_of((ROOT / "tests").rglob("test_*.py"))

    assert folders == {"unit", "integration", "faults", "dags", "e2e", "browser", "compose"}
    assert folders_run_by("test", "not long") == sorted(folders - {"compose"})


def test_what_needs_an_engine_is_run_by_a_target_of_its_own():
    recipe = re.search(r"^test-compose:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert recipe is not None
    assert recipe[1].endswith("-m ops.compose $(COMPOSE) -- $(PYTEST) -x tests/compose")


def test_what_is_long_is_run_by_a_target_of_its_own_and_by_ci_every_night():
    are_long = [
        path
        for path in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.(long|quick_every)\b", path.read_text(encoding="utf-8"))
    ]

    assert folders_run_by("test-long", "long") == sorted(folders_of(are_long))
    assert "make test ${LONG:+test-long " in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "schedule:" in workflow
    assert "LONG: ${{ github.event_name == 'schedule' && '1' || '' }}" in workflow


def test_whatever_talks_to_a_store_or_a_database_runs_on_real_ones_too():
    recipe = re.search(r"^test-real:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert recipe is not None
    assert recipe[1].endswith("-- $(MAKE) --no-print-directory integration faults e2e")


def test_installing_real_services_needs_nothing_but_python():
    """CI does it before there is a virtual environment."""
    reply = subprocess.run(
        [sys.executable, "-S", "-m", "ops.services.real", "--help"],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert reply.returncode == 0, reply.stderr
    assert "--install" in reply.stdout


def test_make_up_prints_the_port_that_is_in_force(tmp_path):
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        '#!/bin/sh\n[ "$*" != "compose port api-server 8080" ] || echo 127.0.0.1:9090\n'
    )
    docker.chmod(0o755)
    (tmp_path / ".env").write_text("AIRFLOW_PORT=9090\n")

    reply = subprocess.run(
        ["make", "--file", ROOT / "Makefile", "up"], cwd=tmp_path, capture_output=True, text=True,
        check=True, env=os.environ | {"PATH": f"{docker.parent}:{os.environ['PATH']}"},
    )  # fmt: skip

    assert "Airflow: http://127.0.0.1:9090 " in reply.stdout
