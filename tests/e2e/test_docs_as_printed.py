"""The commands of README and compose.md, as printed, lead from an empty store to a champion."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.printed import ROOT, block_with, blocks
from tests.support.services.s3_under_test import S3_FOLDER
from tests.support.timing import HANG_SECONDS

KEY = "..."  # as README prints it
IN_A_CONTAINER = re.compile(r"docker compose (run --rm upstream|exec \w+ python -m pipelines)")


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a user with an empty store, and nothing else of ours."""
    with subprocess.Popen(
        [*S3_FOLDER, str(tmp_path / "s3")], cwd=ROOT, env=os.environ | {"AWS_ACCESS_KEY_ID": KEY},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as own:  # fmt: skip
        assert own.stdout is not None
        port = own.stdout.readline().split()[1].decode()
        yield {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "USER": "ada",
            "ENDPOINT": f"http://127.0.0.1:{port}",
        }
        own.kill()


def typed(lines: list[str], surroundings: Mapping[str, str]) -> str:
    """What a shell in the project's folder prints for these lines, which all have to work."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=ROOT, env=dict(surroundings),
        check=True, stdout=subprocess.PIPE, text=True, timeout=HANG_SECONDS,
    ).stdout  # fmt: skip


def test_the_readme_leads_to_a_champion_on_ones_own_s3(surroundings: dict[str, str]) -> None:
    lines = [
        line.replace("https://s3.example.org", surroundings["ENDPOINT"])
        for line in block_with("README.md", "-m pipelines init")
        if line != "make install"  # this test runs in what it made
        and " serve " not in line  # never ends: tests/faults/test_serving.py starts and stops it
    ]

    said = typed(lines, surroundings)

    assert len(lines) == 9
    assert re.search(r"generation +1\n", said)
    assert re.search(r"reason +a first try\n", said)


@pytest.mark.long
def test_the_page_on_compose_leads_to_a_champion(surroundings: dict[str, str]) -> None:
    (path,) = set(re.findall(r"`LOOP_CONFIG=/opt/airflow/(\S+compose-try-out.toml)`",
                             (ROOT / "docs" / "compose.md").read_text()))  # fmt: skip
    lines = block_with("docs/compose.md", "pipelines retrain")
    assert all(IN_A_CONTAINER.match(line) for line in lines)
    here = [IN_A_CONTAINER.sub(f"{sys.executable} -m pipelines", line) for line in lines]
    variables = surroundings | {
        "AWS_ENDPOINT_URL_S3": surroundings["ENDPOINT"], "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": "any", "LOOP_CONFIG": path,
    }  # fmt: skip

    said = typed([f"{sys.executable} -m pipelines init", *here], variables)

    assert re.search(r"actor +shell ada\n", said)
    assert re.search(r"reason +a first try\n", said)


def test_every_other_block_of_the_page_on_compose_is_about_docker_alone() -> None:
    for block in blocks("docs/compose.md"):
        for line in block:
            assert line.startswith(("make up", "make down", "docker compose ")), line
