"""An S3 for the tests: one server per run, two buckets of their own per test.

The server is that of the demo, on a folder of the run, unless ``LOOP_TEST_S3_ENDPOINT`` names
another one; its credentials are then ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``. What a
test needs of the server beyond the usual is marked ``@pytest.mark.needs("atomic_create")`` and
found out by trying, never by name.
``LOOP_TEST_REQUIRE="atomic_create,checks_credentials"`` makes a missing capability a failure.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import signal
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipelines.core.store.stores import Stores, open_stores
from tests.support.services import capabilities
from tests.support.services.s3_under_test import (
    CREDENTIALS,
    GIVEN_SERVER,
    REQUIRED,
    S3_FOLDER,
    THIS_RUN,
    delete_buckets_of_this_run,
    s3_client,
)
from tests.support.settings_file import write_settings
from tests.support.surroundings import SEED, forget_the_caller, settle_examples, shuffle
from tests.support.timing import HANG_SECONDS

ROOT = Path(__file__).resolve().parent.parent
COUNTED = "counted "  # begins the name of a test's property that holds a count

forget_the_caller(os.environ)
settle_examples()

Counted = Callable[[str, int], None]


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    """Count what a test tried, for the run's last lines: ``counted("files", 231)``."""

    def count(what: str, number: int) -> None:
        record_property(COUNTED + what, int(number))

    return count


@pytest.hookimpl(tryfirst=True)  # before the marks choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seen: Counter[str] = Counter()
    for item in items:
        name = item.nodeid.partition("[")[0]
        if (mark := item.get_closest_marker("quick_every")) and seen[name] % mark.args[0]:
            item.add_marker(pytest.mark.long)
        seen[name] += 1
    if SEED:
        shuffle(items, int(SEED))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much all tests of the run tried, in whichever process, and how to repeat the run."""
    if SEED:
        terminalreporter.write_line(f"order and examples of this run: make test-random SEED={SEED}")
    if hasattr(terminalreporter.config, "workerinput"):
        return  # one of several processes; what they know comes together in the first
    if "LOOP_TEST_SKIPS" in os.environ:
        _keep_skips(Path(os.environ["LOOP_TEST_SKIPS"]), terminalreporter.stats.get("skipped", ()))
    totals: Counter[str] = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        for name, number in getattr(report, "user_properties", ()):
            if report.when == "call" and name.startswith(COUNTED):
                totals[name.removeprefix(COUNTED)] += number
    if totals:
        amounts = [f"{number:,} {what}" for what, number in sorted(totals.items())]
        terminalreporter.write_line(f"attack: {', '.join(amounts)} tried")


def _keep_skips(path: Path, reports: Iterable[pytest.TestReport]) -> None:
    """Add what was skipped, and why, to what earlier runs of `make test` skipped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for report in reports:
            why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            file.write(f"{report.nodeid}: {str(why).removeprefix('Skipped: ')}\n")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the S3 server under test.

    This run's buckets are gone afterwards, unless ``LOOP_TEST_KEEP_BUCKETS`` says that the whole
    server will be.
    """
    if GIVEN_SERVER:
        yield GIVEN_SERVER
        if "LOOP_TEST_KEEP_BUCKETS" not in os.environ:
            delete_buckets_of_this_run()
    else:
        yield from _on_a_folder(tmp_path_factory.mktemp("s3"))


def _on_a_folder(folder: Path) -> Iterator[str]:
    """The S3 server of the demo as a child process, on a port that it chooses."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*S3_FOLDER, str(folder / "buckets")],
            cwd=ROOT,
            env=os.environ | {"AWS_ACCESS_KEY_ID": CREDENTIALS[0]},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield f"http://127.0.0.1:{_port(process, log)}"
    finally:
        _end(process)


def _port(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + HANG_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if said := re.search(r"^port (\d+)\n", log.read_text(errors="replace"), re.MULTILINE):
            return said[1]
        time.sleep(0.05)
    pytest.fail(f"the S3 server did not start:\n{log.read_text(errors='replace')}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=5)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


@pytest.fixture(scope="session")
def s3_capabilities(s3_server: str) -> frozenset[str]:
    """What the server under test can do beyond the usual: names from `capabilities`."""
    return capabilities.probe(functools.partial(s3_client, s3_server), bucket=f"probe-{THIS_RUN}")


@pytest.fixture(autouse=True)
def _needed_capabilities(request: pytest.FixtureRequest) -> None:
    """Skip a test that needs what the server cannot do; fail it when that is required."""
    for mark in request.node.iter_markers("needs"):
        for name in mark.args:
            if name in request.getfixturevalue("s3_capabilities"):
                continue
            why = capabilities.WHY_SKIPPED[name]
            (pytest.fail if name in REQUIRED else pytest.skip)(f"{name}: {why}")


@pytest.fixture
def s3_environment(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.MonkeyPatch:
    """Endpoint and credentials for boto3 as a worker would have them, and nobody's own.

    They are environment variables, so child processes of the test get them, too.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS[1])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))  # the development key
    return monkeypatch


Configure = Callable[..., Path]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Change settings for this test: ``configure(intake={"max_rows": 10})``.

    Each call writes a new file of ``config/test.toml``, two bucket names that only this test has,
    and all that was asked for so far; ``LOOP_CONFIG`` names it. Returns its path. Objects that
    already hold settings, such as `Stores`, keep the old ones.
    """
    name = THIS_RUN + uuid.uuid4().hex[:8]
    merged: dict[str, Mapping[str, Any]] = {
        "store": {"reviews_bucket": f"reviews-{name}", "models_bucket": f"models-{name}"}
    }
    calls = 0

    def change(**sections: Mapping[str, Any]) -> Path:
        nonlocal calls
        calls += 1
        for section, values in sections.items():
            merged[section] = {**merged.get(section, {}), **values}
        path = write_settings(tmp_path / f"loop-config-{calls}.toml", merged)
        monkeypatch.setenv("LOOP_CONFIG", str(path))
        return path

    return change


@pytest.fixture
def stores(s3_environment: pytest.MonkeyPatch, configure: Configure) -> Stores:
    """Two empty buckets that no other test uses.

    ``core.config.load()``, the steps and the command line use them, too, here and in child
    processes.
    """
    configure()
    opened = open_stores()
    opened.reviews.create_if_missing()
    opened.models.create_if_missing()
    return opened
