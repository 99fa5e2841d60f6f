"""Other people's clients and testers use the service unchanged.

They live in an environment of their own, which is installed once per machine: the project needs
none of it.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.config import PROJECT
from pipelines.models.prediction import positive_probability
from tests.support.made.served_builders import MadeUpSource, a_service, model_of
from tests.support.services.served_app import served
from tests.support.timing import HANG_SECONDS

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * HANG_SECONDS)]

TEXTS = ["a great film with a dreadful cast", "größer, und besser"]
REQUIREMENTS = "tests/support/services/clients.txt"

TRITON = """
import json, sys
import numpy as np
import tritonclient.http as triton

address, texts = sys.argv[1], json.loads(sys.argv[2])
client = triton.InferenceServerClient(address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("sentiment")
assert client.get_model_metadata("sentiment")["inputs"][0]["datatype"] == "BYTES"
found = {}
for is_binary in (True, False):
    text = triton.InferInput("text", [len(texts)], "BYTES")
    text.set_data_from_numpy(np.array(texts, dtype=object), binary_data=is_binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=is_binary)
              for name in ("probability", "label")]
    for outputs in (wanted, None):
        answer = client.infer("sentiment", [text], outputs=outputs)
        labels = [one.decode() if isinstance(one, bytes) else one
                  for one in answer.as_numpy("label").tolist()]
        found[f"{is_binary} {outputs is None}"] = [answer.as_numpy("probability").tolist(), labels,
                                                   answer.get_response()["model_version"]]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def clients() -> Path:
    """The folder of programs of an environment that has the clients."""
    environment = PROJECT / ".local" / "clients"
    programs = environment / "bin"
    stamp, wanted = environment / "installed", (PROJECT / REQUIREMENTS).read_text()
    if not stamp.is_file() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        subprocess.run(
            [programs / "pip", "install", "--quiet", "--disable-pip-version-check",
             "-r", PROJECT / REQUIREMENTS],
            check=True,
        )  # fmt: skip
        stamp.write_text(wanted)
    return programs


def test_tritons_client_gets_the_models_answers_as_json_and_as_raw_bytes(clients):
    with served(a_service()) as url:
        reply = subprocess.run(
            [clients / "python", "-c", TRITON, url.removeprefix("http://"), json.dumps(TEXTS)],
            capture_output=True, text=True, check=False, timeout=HANG_SECONDS,
        )  # fmt: skip

    assert reply.returncode == 0, reply.stderr
    expected = positive_probability(model_of(1), TEXTS).tolist()
    labels = ["positive" if value >= 0.5 else "negative" for value in expected]
    found = json.loads(reply.stdout)
    assert len(found) == 4
    assert all(one == [expected, labels, f"{1:020x}"] for one in found.values())


def requests_from_the_description(clients, url, folder, *, seed):
    """Make requests of every route, good and bad ones; returns how many."""
    reply = subprocess.run(
        [clients / "schemathesis", "run", f"{url}/openapi.json", "--checks",
         "not_a_server_error", "--max-examples", "400", "--seed", str(seed), "--workers", "2",
         "--suppress-health-check", "all"],
        capture_output=True, text=True, check=False, timeout=HANG_SECONDS, cwd=folder,
    )  # fmt: skip
    assert reply.returncode == 0, reply.stdout[-4000:]
    return int(re.search(r"(\d+) generated, \1 passed", reply.stdout)[1])


@pytest.mark.attack
@pytest.mark.timeout(6 * HANG_SECONDS)
def test_thousands_of_requests_made_from_the_description_cause_no_server_error(
    clients, tmp_path, counted
):
    service, seeds, made = a_service(MadeUpSource(1)), itertools.count(7), 0
    with served(service) as url:
        while made < 5_000:
            made += requests_from_the_description(clients, url, tmp_path, seed=next(seeds))
        asked = service.champions.current.traffic

    counted("requests made from the description", made)
    assert asked.errors == 0
    assert asked.requests >= 1_000
