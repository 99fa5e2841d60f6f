"""A running service: swapped, starved, killed and stopped while clients ask it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from ops.services.processes import free_port
from pipelines.core.config import PROJECT
from pipelines.core.store.stores import open_stores
from pipelines.models.prediction import positive_probability
from pipelines.registry.registry import Registry
from tests.support.made.served_builders import (
    corrupt,
    model_of,
    nothing,
    served_champion,
    spoilt_champion,
    truncate,
    unsigned_entry,
)
from tests.support.services.s3_under_test import S3_FOLDER
from tests.support.services.scoring_service import running_service, wait_until
from tests.support.timing import HANG_SECONDS

TEXT = "a great film with a dreadful cast"
QUICK = {"poll_seconds": 0.05, "refused_retry_seconds": 0.1, "drain_seconds": 0.5}


@pytest.fixture
def quick(stores, configure):
    """Services of this test look often."""
    configure(serving=QUICK)


class Clients:
    """Threads that ask a service without a pause, and what they were answered."""

    def __init__(self, url, threads=4):
        self.url, self.failures, self.answers = url, [], Counter()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def _ask(self):
        with httpx.Client(base_url=self.url, timeout=HANG_SECONDS) as client:
            while not self._stopped.is_set():
                try:
                    reply = client.post("/v1/score", json={"text": TEXT})
                    self._note(reply)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def _note(self, reply):
        if reply.status_code != 200:
            self.failures.append((reply.status_code, reply.text))
            return
        facts = reply.json()
        said = (facts["version"], facts["generation"])
        headers = (reply.headers["X-Model-Version"], int(reply.headers["X-Model-Generation"]))
        if said != headers:
            self.failures.append((said, headers))
        self.answers[*said, facts["predictions"][0]["probability"]] += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join(HANG_SECONDS)


def expected(entry, number):
    """What a champion that was made from this model number answers."""
    return (entry.version, entry.generation, positive_probability(model_of(number), [TEXT])[0])


def test_no_swap_loses_a_request_or_mixes_two_champions(registry, quick, tmp_path):
    entry = served_champion(registry, 1)
    good = {expected(entry, 1)}
    spoilt = {
        4: {"spoil": corrupt}, 7: {"spoil": truncate},
        10: {"spoil": nothing, "answers": (0.5,) * 172},
    }  # fmt: skip
    with running_service(tmp_path / "log") as service, Clients(service.url) as clients:
        service.wait_for(lambda facts: facts["champion"])
        clients.failures.clear()  # before it was ready
        for number in range(2, 16):
            if number in spoilt:
                entry = spoilt_champion(registry, number, against=entry, **spoilt[number])
                service.wait_for(lambda facts: facts["refused"])
                assert service.status()["refused"]["generation"] == entry.generation
                assert service.generation() == entry.generation - 1
                continue
            if number == 13:
                key = unsigned_entry(registry, entry)
                service.wait_for(lambda facts: facts["refused"])
                registry.models.delete(key)
            entry = served_champion(registry, number, against=entry)
            good.add(expected(entry, number))
            newest = entry.generation
            service.wait_for(lambda facts, newest=newest: _answers(facts) == newest)

    assert clients.failures == []
    assert set(clients.answers) <= good
    assert len(clients.answers) > 5


def _answers(facts):
    return facts["champion"] and facts["champion"]["generation"]


@pytest.mark.long
def test_memory_is_flat_over_two_hundred_swaps(registry, quick, tmp_path):
    entry = served_champion(registry, 1)
    sizes = []
    with running_service(tmp_path / "log") as service, Clients(service.url, threads=1) as clients:
        service.wait_for(_answers)
        clients.failures.clear()
        for number in range(2, 202):
            entry = served_champion(registry, number % 20 + 1000 * number, against=entry)
            newest = entry.generation
            service.wait_for(lambda facts, newest=newest: _answers(facts) == newest)
            sizes.append(service.memory_bytes())

    assert clients.failures == []
    assert max(sizes[-50:]) < 1.1 * max(sizes[10:60])


def test_a_service_that_is_stopped_is_unready_at_once_and_loses_no_request(
    registry, quick, tmp_path
):
    served_champion(registry, 1)
    with running_service(tmp_path / "log") as service:
        service.wait_for(_answers)
        with httpx.Client(base_url=service.url, timeout=HANG_SECONDS) as client:
            os.kill(service.process.pid, signal.SIGTERM)
            seen = []
            wait_until(lambda: seen.append(client.get("/v2/health/ready").status_code)
                       or seen[-1] == 503)  # fmt: skip
            answered = client.post("/v1/score", json={"text": TEXT}).status_code
        code = service.process.wait(HANG_SECONDS)

    assert (answered, code) == (200, 0)


def test_a_request_in_progress_is_answered_before_the_service_ends(registry, quick, tmp_path):
    served_champion(registry, 1)
    with running_service(tmp_path / "log") as service:
        service.wait_for(_answers)
        head, body = raw_request(service.url, {"text": TEXT})
        with connected(service.url) as client:
            client.sendall(head + body[:5])
            os.kill(service.process.pid, signal.SIGTERM)
            wait_until(lambda: httpx.get(f"{service.url}/v2/health/ready").status_code == 503)
            client.sendall(body[5:])
            reply = client.recv(65_536)
        code = service.process.wait(HANG_SECONDS)

    assert reply.startswith(b"HTTP/1.1 200")
    assert code == 0


# ── Bad clients ──────────────────────────────────────────────────────────────────────────────


def connected(url):
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=HANG_SECONDS)


def raw_request(url, message):
    body = json.dumps(message).encode()
    head = f"POST /v1/score HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body


def test_bodies_that_are_too_large_or_too_slow_are_refused_and_others_are_answered(
    registry, stores, configure, tmp_path
):
    configure(serving={**QUICK, "max_body_seconds": 1.0})
    served_champion(registry, 1)
    with running_service(tmp_path / "log") as service:
        service.wait_for(_answers)

        def chunks():
            yield b'{"text": "'
            yield from itertools.repeat(b"a" * 65_536, 160)
            yield b'"}'

        with connected(service.url) as slow:
            head, body = raw_request(service.url, {"text": TEXT})
            slow.sendall(head + body[:5])
            try:
                large = httpx.post(f"{service.url}/v1/score", content=chunks(), timeout=60)
                status = large.status_code
            except httpx.WriteError:  # it closed the connection after its answer
                status = 413
            others = [service.score(TEXT).status_code for _ in range(5)]
            late = slow.recv(65_536)

    assert status == 413
    assert others == [200] * 5
    assert late.startswith(b"HTTP/1.1 408")


def test_a_client_that_leaves_in_the_middle_harms_nobody(registry, quick, tmp_path):
    served_champion(registry, 1)
    with running_service(tmp_path / "log") as service:
        service.wait_for(_answers)
        head, body = raw_request(service.url, {"text": TEXT})
        for sent in (head[:20], head, head + body[:5], head + body):
            with connected(service.url) as client:
                client.sendall(sent)

        assert service.score(TEXT).status_code == 200
        service.wait_for(lambda facts: facts["traffic"]["errors"] == 0)


def test_health_is_answered_while_all_that_can_be_scored_is_being_scored(
    registry, stores, configure, tmp_path
):
    configure(serving={**QUICK, "max_requests": 8})
    served_champion(registry, 1)
    heavy = {"texts": [f"{TEXT} {number} " * 200 for number in range(500)]}
    with running_service(tmp_path / "log") as service, ThreadPoolExecutor(16) as clients:
        service.wait_for(_answers)
        asked = [
            clients.submit(httpx.post, f"{service.url}/v1/score", json=heavy, timeout=HANG_SECONDS)
            for _ in range(16)
        ]
        healthy, busy = 0, 0
        while not all(one.done() for one in asked):
            healthy += httpx.get(f"{service.url}/v2/health/ready", timeout=60).status_code == 200
            busy += not all(one.done() for one in asked)
        statuses = Counter(one.result().status_code for one in asked)

    assert healthy >= busy > 0
    assert statuses[200] >= 8
    assert set(statuses) <= {200, 503}


# ── Kills ────────────────────────────────────────────────────────────────────────────────────


class OwnStore:
    """An S3 server that a test may kill; it comes back with what it held."""

    def __init__(self, environment, folder):
        self._folder, self._port = folder, free_port()
        environment.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{self._port}")
        self.start()
        stores = open_stores()
        for bucket in (stores.reviews, stores.models):
            bucket.create_if_missing()

    def start(self):
        self._process = subprocess.Popen(
            [*S3_FOLDER, str(self._folder), "--port", str(self._port)],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_until(self._is_up)

    def _is_up(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def kill(self):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(HANG_SECONDS)


@pytest.fixture
def own_store(s3_environment, configure, tmp_path):
    configure(
        serving=QUICK,
        store={"max_attempts": 1, "connect_timeout_seconds": 0.5, "read_timeout_seconds": 2.0},
    )
    store = OwnStore(s3_environment, tmp_path / "s3")
    yield store
    store.kill()


@pytest.fixture
def own_registry(own_store):
    return Registry(open_stores().models, "sentiment")


def test_a_store_that_is_killed_stops_no_answer_and_is_used_again_when_it_is_back(
    own_store, own_registry, tmp_path
):
    first = served_champion(own_registry, 1)
    with running_service(tmp_path / "log") as service, Clients(service.url) as clients:
        service.wait_for(_answers)
        clients.failures.clear()
        own_store.kill()
        facts = service.wait_for(lambda facts: facts["log"]["trouble"])
        own_store.start()
        second = served_champion(own_registry, 2, against=first)
        service.wait_for(lambda facts: _answers(facts) == second.generation)

    assert (facts["state"], facts["champion"]["generation"]) == ("ready", 1)
    assert clients.failures == []
    assert set(clients.answers) <= {expected(first, 1), expected(second, 2)}


@pytest.mark.quick_every(1000)
@pytest.mark.parametrize("pause_seconds", [0.05, 0.0, 0.1], ids="killed after {} s".format)
@pytest.mark.parametrize("store_dies", [False, True], ids=["service", "service-and-store"])
def test_a_service_that_is_killed_at_any_moment_of_a_swap_comes_back_with_a_verified_champion(
    own_store, own_registry, tmp_path, store_dies, pause_seconds
):
    first = served_champion(own_registry, 1)
    with running_service(tmp_path / "log") as service:
        service.wait_for(_answers)
        second = served_champion(own_registry, 2, against=first)
        threading.Event().wait(pause_seconds)
        if store_dies:
            own_store.kill()
        service.kill()
    with running_service(tmp_path / "log-again") as service:
        if store_dies:
            facts = service.wait_for(lambda facts: "127.0.0.1" in facts["log"]["trouble"])
            assert facts["state"] == "loading"
            assert service.score(TEXT).status_code == 503
            own_store.start()
        service.wait_for(_answers)
        reply = service.score(TEXT).json()

    answer = reply["predictions"][0]["probability"]
    assert (reply["version"], reply["generation"], answer) == expected(second, 2)
