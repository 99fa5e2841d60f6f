"""The clean process: what it may not do, and what happens when it cannot answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.core import bare_process, config
from pipelines.core.errors import CleanRoomGoneError
from pipelines.core.settings.model import VerificationSettings
from pipelines.evaluation import clean_room, verify
from pipelines.evaluation.verify import CleanRoomError, ask_clean_room
from pipelines.models import prediction
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_sgd
from pipelines.models.prediction import positive_probability
from pipelines.records.evaluations import ArtefactCheck, Evaluation
from pipelines.registry.registry import Registry
from pipelines.steps import context, retrain
from tests.support.hostile.forging import fields_in, resealed
from tests.support.in_memory import InMemory
from tests.support.made.judgement_builders import a_first_model
from tests.support.made.registry_builders import DIGEST, a_version
from tests.support.timing import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[3]
TEXTS = ["a great film", "a great cast", "a dull film", "a dull cast"] * 5
LIMITS = VerificationSettings(
    max_wall_seconds=HANG_SECONDS, max_cpu_seconds=300, max_address_bytes=8 * 1024**3
)

IN_THE_CLEAN_ROOM = """
import sys; sys.path.insert(0, sys.argv[1])
from pipelines.core import bare_process
bare_process.give_up_everything(address_bytes=8 * 1024**3, cpu_seconds=30)
{program}
"""


def in_the_clean_room(program, folder):
    """Run a program where a model file is loaded; its exit code and last line of complaint."""
    reply = subprocess.run(
        [sys.executable, "-I", "-c", IN_THE_CLEAN_ROOM.format(program=program), str(ROOT)],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    return reply.returncode, (reply.stderr.strip().splitlines() or [""])[-1]


@pytest.fixture(scope="module")
def model():
    return fingerprint_sgd(seed=1, ngram_max=1).fit(TEXTS, [1, 1, 0, 0] * 5)


@pytest.mark.long
def test_a_clean_process_answers_as_this_one_does(model):
    answer = ask_clean_room(dump_model(model), TEXTS, LIMITS)

    expected = positive_probability(model, TEXTS).tolist()
    assert answer["probabilities"] == pytest.approx(expected, abs=1e-12)
    assert len(answer["cpu_milliseconds"]) == len(TEXTS)
    assert min(answer["cpu_milliseconds"]) > 0.0
    assert answer["peak_bytes"] > 10_000_000


@pytest.mark.long
def test_the_memory_of_the_asking_process_does_not_count(model):
    ballast = bytearray(b"x" * 900_000_000)

    answer = ask_clean_room(dump_model(model), TEXTS, LIMITS)

    assert answer["peak_bytes"] < len(ballast)


@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9), timeout=2)",
        "import socket; socket.socket().bind(('127.0.0.1', 0))",
        "import socket; socket.getaddrinfo('example.org', 80)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9', timeout=2)",
    ],
)
def test_the_network_is_out_of_reach(program, tmp_path):
    code, complaint = in_the_clean_room(program, tmp_path)

    assert code != 0
    assert "may not use the network" in complaint


def test_no_file_can_be_filled(tmp_path):
    code, _ = in_the_clean_room("file = open('loot', 'w'); file.write('x'); file.close()", tmp_path)

    assert code != 0
    assert not (tmp_path / "loot").exists() or (tmp_path / "loot").stat().st_size == 0


def test_it_knows_no_secret(tmp_path, monkeypatch, model):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    program = "import os; assert 'canary' not in str(os.environ), 'a secret is here'"

    assert in_the_clean_room(program, tmp_path) == (0, "")
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "canary"


def test_waiting_for_a_busy_machine_is_no_time_of_scoring(model, tmp_path, monkeypatch):
    file, waited_milliseconds = tmp_path / "model", 100.0
    honest = prediction.probabilities

    def late(model, texts):
        time.sleep(waited_milliseconds / 1000)
        return honest(model, texts)

    file.write_bytes(dump_model(model))
    monkeypatch.setattr(prediction, "probabilities", late)

    (scored,) = clean_room.answer(str(file), TEXTS[:1])["cpu_milliseconds"]

    assert 0.0 < scored < waited_milliseconds


def test_a_process_that_runs_into_a_limit_of_its_own_cannot_use_the_file(model):
    limits = LIMITS.model_copy(update={"max_address_bytes": 120_000_000})

    with pytest.raises(CleanRoomError, match="ended with exit code"):
        ask_clean_room(dump_model(model), TEXTS, limits)


def test_a_machine_too_busy_to_answer_in_time_says_nothing_about_the_file(model):
    limits = LIMITS.model_copy(update={"max_wall_seconds": 0.05})

    with pytest.raises(CleanRoomGoneError, match=r"no answer within .*max_wall_seconds"):
        ask_clean_room(dump_model(model), TEXTS, limits)


@pytest.mark.parametrize("from_outside", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_ended_from_outside_says_nothing_about_the_file(model, from_outside, monkeypatch):
    program = f"import os, sys; sys.stdin.read(); os.kill(os.getpid(), {from_outside:d})"
    monkeypatch.setattr(bare_process, "command", lambda _: [sys.executable, "-c", program])

    with pytest.raises(CleanRoomGoneError, match=f"ended by {from_outside.name}"):
        ask_clean_room(dump_model(model), TEXTS, LIMITS)


def test_a_clean_room_that_is_gone_leaves_no_record_of_a_check(monkeypatch):
    registry = Registry(InMemory(), "sentiment")
    manifest = a_version(registry, "one")
    evaluation = registry.decisions.add_evaluation(a_first_model(
        version=manifest.version, manifest_sha256=manifest.digest(), policy=DIGEST,
    ))  # fmt: skip
    before = dict(registry.models.objects)

    def gone(*_):
        raise CleanRoomGoneError("gave no answer")

    monkeypatch.setattr(verify, "questions", lambda *_: (["a great film"], [0.9]))
    monkeypatch.setattr(verify, "ask_clean_room", gone)
    with pytest.raises(CleanRoomGoneError, match="gave no answer"):
        verify.verify(InMemory(), registry, evaluation, config.load())

    assert registry.decisions.find_check(evaluation) is None
    assert registry.models.objects == before


@pytest.mark.long
def test_nothing_is_stored_of_a_check_that_the_machine_prevented(
    ingest_night, stores, registry, monkeypatch
):
    ingest_night(1)
    evaluation_uri = retrain.evaluate(retrain.train(retrain.plan(retrain.take_snapshot())))
    models, key = stores.resolve(evaluation_uri)
    evaluation = models.get_record(key, Evaluation)
    with monkeypatch.context() as busy:
        busy.setattr(bare_process, "command", lambda _: ["/bin/sh", "-c", "kill -9 $$"])
        with pytest.raises(CleanRoomGoneError):
            retrain.verify(evaluation_uri)
    assert registry.decisions.find_check(evaluation) is None

    retrain.verify(evaluation_uri)

    assert registry.decisions.find_check(evaluation).answers_alike


@pytest.mark.long
def test_a_pickle_is_refused_in_the_clean_process_too():
    with pytest.raises(CleanRoomError, match="not a readable model file"):
        ask_clean_room(b"\x80\x04\x95canary.", TEXTS, LIMITS)


def test_an_evaluated_version_is_checked_once_and_the_check_stands(ingest_night, stores, registry):
    ingest_night(1)
    evaluation_uri = retrain.evaluate(retrain.train(retrain.plan(retrain.take_snapshot())))

    again = retrain.verify(evaluation_uri)
    models, key = stores.resolve(evaluation_uri)
    check = registry.decisions.find_check(models.get_record(key, Evaluation))
    retrain.verify(evaluation_uri)

    assert again == evaluation_uri
    assert check.answers_alike, check.why
    evaluation = models.get_record(key, Evaluation)
    assert len(evaluation.check_rows) == 64
    assert check.rows == 64 + evaluation.golden.rows
    assert registry.decisions.find_check(models.get_record(key, Evaluation)) == check


@pytest.mark.long
def test_a_model_that_answers_otherwise_in_a_clean_process_is_rejected(
    ingest_night, stores, registry
):
    ingest_night(1)
    evaluation_uri = retrain.evaluate(retrain.train(retrain.plan(retrain.take_snapshot())))
    models, key = stores.resolve(evaluation_uri)
    evaluation = models.get_record(key, Evaluation)
    first = evaluation.check_rows[0]
    moved = first.model_copy(update={"probability": first.probability / 2})
    forged = evaluation.model_copy(update={"check_rows": (moved, *evaluation.check_rows[1:])})
    models.put(key, resealed(forged))

    decision = context.read_decision(retrain.decide(retrain.verify(evaluation_uri)))

    failed = [rule.rule for rule in decision.rules if not rule.is_passed]
    assert (decision.verdict, failed) == ("REJECT", ["clean_process"])


@pytest.mark.long
def test_a_decision_without_a_check_is_a_rejection(ingest_night):
    ingest_night(1)
    evaluation_uri = retrain.evaluate(retrain.train(retrain.plan(retrain.take_snapshot())))

    decision = context.read_decision(retrain.decide(evaluation_uri))

    assert decision.verdict == "REJECT"


@pytest.mark.long
def test_the_records_of_a_check_hold_measurements_and_the_decision_none(
    ingest_night, stores, registry
):
    ingest_night(1)
    evaluation_uri = retrain.evaluate(retrain.train(retrain.plan(retrain.take_snapshot())))
    decision_uri = retrain.decide(retrain.verify(evaluation_uri))

    models, key = stores.resolve(decision_uri)
    text = json.dumps(fields_in(models.get(key)))
    check_key = key.replace("decision.json", "artefact_check.json")
    check = models.get_record(check_key, ArtefactCheck)
    assert check.scoring_cpu_milliseconds is not None
    assert repr(check.scoring_cpu_milliseconds) not in text
    assert config.load().gate.max_scoring_cpu_milliseconds > check.scoring_cpu_milliseconds
