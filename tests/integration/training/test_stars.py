"""A model of stars in three classes: from deliveries to a champion, an answer, a judged night."""

from __future__ import annotations

import html
import json
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.errors import ConfigError
from pipelines.core.store import clock
from pipelines.evaluation.golden import load_golden
from pipelines.monitoring import export
from pipelines.records.decisions import Decision
from pipelines.records.evaluations import ClassMetrics, Evaluation
from pipelines.records.monitoring import AnsweredDay, Window
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry
from pipelines.serving.http.app import make_app
from pipelines.serving.http.service import Service
from pipelines.serving.prediction_log import PredictionLog
from pipelines.serving.sources import LogSource
from pipelines.serving.swap import Champions
from pipelines.steps import monitor, promote, retrain
from tests.support.page_site import Pages, links_of

NAMES = ("poor", "middling", "great")
SECOND = "2026-01-06"
MODEL = {
    "name": "stars",
    "target": "rating",
    "classes": {"poor": [1, 2], "middling": [3, 8], "great": [9, 10]},
}
GATE = {
    "min_accuracy": 0.3, "min_recall": 0.05, "max_log_loss": 1.2, "max_recall_drop": 1.0,
    "max_accuracy_drop": 1.0, "max_log_loss_rise": 1.0, "max_slice_drop": 1.0,
}  # fmt: skip

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_clean_room_per_model")]


@pytest.fixture
def stars(stores, configure):
    """Settings of a loop whose one model is `stars`."""
    configure(
        model=MODEL, gate=GATE, evaluation={"golden_file": "golden_stars.jsonl"},
        serving={"prediction_log": {
            "is_enabled": True, "keeps_texts": False, "batch_rows": 1000, "batch_seconds": 60.0,
            "max_waiting_rows": 10_000,
        }},
    )  # fmt: skip
    return stores


def a_night(stores, ingest_night, number):
    """Deliver, train, decide and promote; returns what was decided, and on what."""
    ingest_night(number)
    manifest = retrain.train(retrain.plan(retrain.take_snapshot()))
    evaluation = retrain.evaluate(manifest)
    decision = retrain.decide(retrain.verify(evaluation))
    records = zip((manifest, evaluation, decision), (Manifest, Evaluation, Decision), strict=True)
    found = [stores.models.get_record(stores.resolve(uri)[1], kind) for uri, kind in records]
    return decision, *found


def test_deliveries_become_a_champion_of_stars_that_answers_and_is_watched(stars, ingest_night):
    uri, manifest, evaluation, decision = a_night(stars, ingest_night, 1)

    # Trained and judged
    assert manifest.plan.class_names == NAMES
    holdout = evaluation.holdout.challenger
    assert isinstance(holdout, ClassMetrics)
    assert len(evaluation.check_rows[0].probability) == 3
    assert decision.verdict == "PROMOTE", decision.why
    entry = promote.promote(uri, actor="test")
    promote.confirm(entry)
    card = stars.models.get(stars.resolve(retrain.write_card(uri))[1]).decode()
    assert "predicted poor | predicted middling | predicted great" in card

    # Answers
    registry = Registry(stars.models, "stars")
    settings = config.load()
    golden = load_golden(settings.evaluation.golden_file, NAMES)
    champions = Champions(LogSource(registry), golden, retry_seconds=60)
    champions.look()
    log = PredictionLog(stars.reviews, settings.serving.prediction_log)
    service = Service(champions, settings.serving, prediction_log=log)
    client = TestClient(make_app(service))
    texts = [f"{text} {number}" for number in range(2) for text in golden.texts]
    service.start()
    answer = client.post("/v1/score", json={"texts": texts}).json()
    service.close()
    assert champions.current.golden_compared == 60
    assert {one["label"] for one in answer["predictions"]} <= set(NAMES)
    assert sum(answer["predictions"][0]["probabilities"].values()) == pytest.approx(1)
    assert log.written == 120

    # Watched
    ingest_night(2)
    (watched,) = monitor.watch(SECOND)
    window = stars.reviews.get_record(stars.resolve(watched)[1], Window)
    assert window.verdict in {"QUIET", "DRIFT", "FADING"}
    assert window.measured.rows == window.rows
    assert {"scores", "class_scores", "class_labels"} <= {test.name for test in window.drift}
    current, _ = export.tables(stars.reviews, registry, window, settings)
    assert set(current.column("target").to_pylist()) == {0, 1, 2}
    tomorrow = clock.now(stars.reviews) + timedelta(days=1)
    (day,) = watch_answers_until(stars, registry, tomorrow.date().isoformat())
    assert (day.texts, day.left_out_files) == (120, 0)
    assert {test.name for test in day.drift} == {"scores", "class_scores"}

    # Challenged
    _, _, against, verdict = a_night(stars, lambda _number: None, 2)
    assert against.holdout.against_champion is not None
    rule = next(rule for rule in verdict.rules if rule.rule == "recall_drop")
    assert any(f"the {name} reviews" in rule.sentence for name in NAMES)


def watch_answers_until(stores, registry, until) -> list[AnsweredDay]:
    from pipelines.monitoring import answers

    return answers.judge_new(stores.reviews, registry, config.load(), until=until)


def test_a_champion_with_other_classes_is_not_compared(stars, configure, ingest_night):
    uri, *_ = a_night(stars, ingest_night, 1)
    promote.promote(uri, actor="test")
    configure(model=MODEL | {"classes": MODEL["classes"] | {"great": [10, 10]}})

    plan = retrain.plan(retrain.take_snapshot())
    with pytest.raises(ConfigError, match="needs another name"):
        retrain.train(plan)


def test_a_file_is_scored_with_the_probability_of_each_class(stars, ingest_night, tmp_path):
    uri, *_ = a_night(stars, ingest_night, 1)
    promote.promote(uri, actor="test")
    file = tmp_path / "reviews.jsonl"
    file.write_text(json.dumps({"text": "A superb film."}) + "\n", encoding="utf-8")

    reply = CliRunner().invoke(app, ["score", str(file)])

    assert reply.exit_code == 0, reply.output
    line = json.loads(reply.stdout.splitlines()[0])
    assert list(line["probabilities"]) == list(NAMES)
    assert line["label"] in NAMES


def test_it_is_a_table_beside_the_model_of_labels(stores, configure, ingest_night):
    """The same reviews, and a champion each; no page of either mixes them or breaks."""
    configure(models={"stars": {
        "target": "rating", "classes": MODEL["classes"], "gate": GATE,
        "evaluation": {"golden_file": "golden_stars.jsonl"},
    }})  # fmt: skip
    ingest_night(1)

    for name in (None, "stars"):
        manifest = retrain.train(retrain.plan(retrain.take_snapshot(name), model=name), model=name)
        decision = retrain.decide(retrain.verify(retrain.evaluate(manifest, name), name), name)
        retrain.write_card(decision, name)
        promote.confirm(promote.promote(decision, actor="test", model=name), name)
    ingest_night(2)
    for name in (None, "stars"):
        monitor.watch(SECOND, name)

    version = Registry(stores.models, "stars").log.champion().version
    shown = {
        registry.name: registry.versions.champion_manifest(registry.log.champion()).plan.class_names
        for registry in (Registry(stores.models, name) for name in ("sentiment", "stars"))
    }
    assert shown == {"sentiment": ("negative", "positive"), "stars": NAMES}
    pages = Pages(stores.models, stores.reviews)
    for path in ("/champion", "/decisions", "/monitoring", f"/monitoring/{SECOND}", "/models"):
        reply = pages.get(f"{path}?model=stars")
        assert reply.status_code == 200, (path, reply.text[-500:])
        assert pages.get(path).status_code == 200, path
    (link,) = {
        html.unescape(link) for link in links_of(pages.get("/decisions?model=stars").text)
        if "/decisions/" in link and "model=stars" in link
    }  # fmt: skip
    decided = pages.get(link.removeprefix("/retraining"))
    assert decided.status_code == 200
    assert "The rarest class, " in decided.text
    assert f"decision verify {version} --model stars" in decided.text
    for line in pages.get("/metrics").text.splitlines():
        assert line.startswith("#") or "model=" in line or "model" not in line, line
