"""The commands of README, tutorial and compose.md, as printed, lead to what these pages say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.test_local import Loop
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
            is_variable = re.fullmatch(r"[A-Z_]+=\w+", line)  # of .env
            assert is_variable or line.startswith(("make up", "make down", "docker compose ")), line


class Tutorial:
    """A shell in which the blocks of the tutorial are typed, one after the other."""

    FOLDER = ".local/tutorial"

    def __init__(self, folder: Path) -> None:
        self.folder, self.blocks = folder, iter(blocks("docs/tutorial.md"))
        self.shell = subprocess.Popen(
            ["bash"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "USER": "ada", "COLUMNS": "300"},
        )  # fmt: skip

    def next_block(self, *, delivery: str = "DELIVERY") -> tuple[str, int]:
        """What the next block prints, and the exit code of its last line."""
        lines = [
            line.replace(self.FOLDER, str(self.folder)).replace("DELIVERY", delivery)
            for line in next(self.blocks)
        ]
        return self.typed(*lines)

    def typed(self, *lines: str) -> tuple[str, int]:
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write("\n".join([*lines, 'echo "=== $?"', ""]))
        self.shell.stdin.flush()
        said = []
        for line in self.shell.stdout:
            if line.startswith("=== "):
                return "".join(said), int(line.removeprefix("=== "))
            said.append(line)
        raise AssertionError(f"the shell ended: {said}")


@pytest.fixture
def tutorial(tmp_path: Path) -> Iterator[Tutorial]:
    """Its loop is up: `make local` as the tutorial starts it, without what `make` installs."""
    loop = Loop(tmp_path, "")
    loop.config = ROOT / "config" / "try-out.toml"
    loop.start()
    shell = Tutorial(loop.folder)
    yield shell
    shell.shell.kill()
    shell.shell.communicate()
    loop.stop()


@pytest.mark.long
@pytest.mark.timeout(4 * HANG_SECONDS)
def test_the_tutorial_leads_to_each_result_that_it_states(tutorial: Tutorial) -> None:
    assert next(tutorial.blocks)[1:] == ["cd retraining-loop", "make install"]
    assert next(tutorial.blocks) == [
        f"make local FOLDER={Tutorial.FOLDER} LOOP_CONFIG=config/try-out.toml"
    ]

    assert tutorial.next_block() == ("", 0)  # the variables
    said, code = tutorial.next_block()  # deliver
    assert (code, len(re.findall(r"landing/web/\S+", said))) == (0, 5)
    said, code = tutorial.next_block()  # ingest
    assert (code, len(re.findall("ACCEPTED", said))) == (0, 5)
    said, code = tutorial.next_block()  # train
    assert (code, "PROMOTE: This is the first model" in said) == (0, True)
    said, code = tutorial.next_block()  # approve
    assert code == 0
    assert re.search(r"generation +1\n", said)
    assert re.search(r"reason +my first model\n", said)
    said, code = tutorial.next_block()  # ask
    assert (code, [json.loads(line)["row"] for line in said.splitlines()]) == (0, [0, 1])

    assert tutorial.next_block()[1] == 0  # break a file
    said, code = tutorial.next_block()
    assert (code, "HELD" in said) == (3, True)
    said, code = tutorial.next_block()  # what happened
    (held,) = re.findall(r"([0-9a-f]{8})[0-9a-f]{56} \S+ \S+/reviews-1.csv +\S+ HELD ", said)
    said, code = tutorial.next_block(delivery=held)
    assert (code, "missing columns ['written_on']" in said) == (0, True)

    said, code = tutorial.next_block(delivery=held)  # solve it
    assert code == 0
    assert re.search(r"reviews-1-corrected.csv +\S+ ACCEPTED +\S+ 1,000 ", said)
    assert re.search(r"verdict +DISCARDED\n", said)
    said, code = tutorial.next_block()  # train again
    assert (code, bool(re.search(r"^(HOLD|PROMOTE|REFRESH): ", said, re.MULTILINE))) == (0, True)
    assert next(tutorial.blocks, None) is None
