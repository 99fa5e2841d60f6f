"""What a service was asked, watched against a real store."""

import json
from datetime import date, timedelta

import pytest
from typer.testing import CliRunner

from benchmarks.years import counted_requests
from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.keys import prediction_key
from pipelines.core.store import clock
from pipelines.intake import standings
from pipelines.models.prediction import positive_probability
from pipelines.monitoring import answers, kept
from pipelines.monitoring.sample import read_rows
from pipelines.records.monitoring import AnsweredDay
from pipelines.registry.registry import Registry
from pipelines.steps import monitor
from tests.support.made.answer_builders import an_answer, many_answers, put_answers
from tests.support.made.builders import listing

pytestmark = pytest.mark.usefixtures("one_clean_room_per_model")

DAY = "2026-01-06"


def judge(stores, until=DAY):
    registry = Registry(stores.models, "sentiment")
    return answers.judge_new(stores.reviews, registry, config.load(), until=until)


def real_answers(stores, generation=1):
    """What the champion answers to the reviews of all nights."""
    registry = Registry(stores.models, "sentiment")
    entry = registry.log.entry(generation)
    model = registry.versions.load(registry.versions.champion_manifest(entry))
    parts = [part for each in standings.every(stores.reviews) for part in each.accepted]
    texts = read_rows(stores.reviews, parts).column("text").to_pylist()
    return [
        an_answer(text, probability, entry.generation, entry.version)
        for text, probability in zip(texts, positive_probability(model, texts), strict=True)
    ]


def test_a_day_is_judged_by_the_champion_that_gave_most_answers(stores, champions):
    champions(1)
    put_answers(stores.reviews, DAY, real_answers(stores))
    put_answers(stores.reviews, DAY, many_answers(9, "c" * 20))

    (day,) = judge(stores)

    assert (day.day, day.champion_generation) == (DAY, 1)
    assert day.answers >= day.texts >= 900
    assert day.other_answers == 400
    assert 0.5 < day.estimate.accuracy <= 1
    assert {test.name for test in day.drift} == {"scores", "positive_scores"}
    assert kept.newest_answers(stores.reviews, "sentiment", "2026-02-01", 3) == [day]


def test_answers_of_no_champion_of_the_log_say_nothing(stores, champions):
    champions(1)
    put_answers(stores.reviews, DAY, many_answers(1, "c" * 20))

    assert judge(stores) == []


def test_a_judged_day_is_not_judged_again_and_costs_one_listing_a_month(stores, champions):
    champions(1)
    put_answers(stores.reviews, DAY, real_answers(stores))
    (day,) = judge(stores)
    before = stores.reviews.get(day.object_key)
    put_answers(stores.reviews, DAY, many_answers())

    assert judge(stores) == []
    assert stores.reviews.get(day.object_key) == before


@pytest.mark.long
def test_the_requests_do_not_grow_with_the_days_of_the_log(stores, champions):
    champions(1)
    many = real_answers(stores)
    costs = []
    for days in (1, 200):
        for back in range(days):
            day = (date.fromisoformat(DAY) - timedelta(days=20 + back)).isoformat()
            stores.reviews.put(prediction_key(day, "0" * 64), b"old")
        put_answers(stores.reviews, DAY, many)
        with counted_requests() as requests:
            (judged,) = judge(stores)
        costs.append(requests.total)
        stores.reviews.delete(judged.object_key)

    assert costs[1] <= costs[0]


def test_the_command_judges_what_was_asked_where_the_log_is_on(stores, champions, configure):
    champions(1)
    yesterday = clock.last_complete_day(stores.reviews) - timedelta(days=1)
    put_answers(stores.reviews, yesterday.isoformat(), real_answers(stores))
    assert monitor.watch_answers() == []

    configure(serving={"prediction_log": {"is_enabled": True}})
    reply = CliRunner().invoke(app, ["monitor", "--json"])

    assert reply.exit_code == 0, reply.output
    (facts,) = json.loads(reply.stdout)["answers"]
    assert facts["day"] == yesterday.isoformat()
    (key,) = [key for key in listing(stores.reviews) if "/answers/" in key]
    assert stores.reviews.get_record(key, AnsweredDay).verdict == facts["verdict"]


@pytest.mark.long
def test_a_log_does_not_change_the_record_of_a_night(stores, champions, configure):
    champions(2)
    (uri,) = monitor.watch(DAY)
    key = stores.resolve(uri)[1]
    before = stores.reviews.get(key)
    stores.reviews.delete(key)

    configure(serving={"prediction_log": {"is_enabled": True}})
    put_answers(stores.reviews, DAY, many_answers())
    monitor.watch(DAY)

    assert stores.reviews.get(key).partition(b"\n")[2] == before.partition(b"\n")[2]
