"""`metrics --port`: scrapes are answered until it is stopped, and one that fails harms no other."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops.services.processes import free_port
from pipelines.core.config import PROJECT
from pipelines.monitoring import metrics
from tests.support.timing import HANG_SECONDS


@pytest.fixture
def server(request):
    if "gone" not in request.fixturenames:
        request.getfixturevalue("stores")
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines", "metrics", "--port", "0"],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def test_scrapes_are_answered_until_it_is_stopped(server):
    address = re.search(r"http://\S+", server.stdout.readline())[0]

    with httpx.Client(timeout=HANG_SECONDS) as client:
        scraped, again = client.get(address), client.get(address)
        elsewhere = client.get(address.removesuffix("metrics") + "secrets")
    server.send_signal(signal.SIGTERM)

    assert server.wait(HANG_SECONDS) == 0
    names = {family.name for family in text_string_to_metric_families(scraped.text)}
    assert "loop_champion_generation" in names
    assert scraped.headers["content-type"] == metrics.CONTENT_TYPE
    assert (again.text, elsewhere.status_code) == (scraped.text, 404)


@pytest.fixture
def gone(s3_environment, configure):
    """A store that nobody reaches."""
    configure(store={"max_attempts": 1, "connect_timeout_seconds": 0.5})
    s3_environment.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")


def test_a_store_that_is_gone_is_an_answer_of_its_own_and_ends_nothing(gone, server):
    address = re.search(r"http://\S+", server.stdout.readline())[0]

    with httpx.Client(timeout=HANG_SECONDS) as client:
        answers = [client.get(address) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert "the log says why" in answers[0].text
    assert server.poll() is None
    server.kill()
    assert "127.0.0.1" in server.stderr.read()


def test_it_writes_to_a_file_or_serves_and_never_both(stores, tmp_path):
    both = [sys.executable, "-m", "pipelines", "metrics", "--port", "0", "--output", "x"]

    refused = subprocess.run(both, cwd=PROJECT, check=False, capture_output=True, text=True)

    assert refused.returncode == 2
    assert "metrics are written to" in refused.stderr
