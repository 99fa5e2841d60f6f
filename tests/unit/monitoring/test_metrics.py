"""Metrics from records: what is in a scrape, what it costs, and that it never lies about a gap."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipelines.core import config
from pipelines.core.parallel import MOST_READS
from pipelines.core.store.stores import Stores
from pipelines.monitoring import facts, metrics
from pipelines.records.monitoring import SourceRows
from pipelines.registry.registry import Registry
from tests.support.made.nights import a_silence
from tests.support.made.registry_builders import promoted
from tests.support.made.window_builders import (
    a_trigger,
    a_window,
    an_answered_day,
    night_after,
)
from tests.support.page_site import Bucket, Pages, a_succession
from tests.support.settings_file import write_settings

NOW = datetime(2026, 1, 20, 6, tzinfo=UTC)


@pytest.fixture
def stores(monkeypatch):
    monkeypatch.setattr(Bucket, "clock", lambda _bucket: NOW)
    return Stores(Bucket(), Bucket())


def scraped(stores, model="sentiment"):
    """Every sample of a model by its name and other labels."""
    text = metrics.render(facts.read_all(stores, config.load())).decode()
    return {
        (
            sample.name.removeprefix("loop_"),
            *sorted(label for label in sample.labels.items() if label[0] != "model"),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels.get("model", model) == model
    }


def test_every_model_has_its_own_series_and_what_they_share_is_counted_once(
    stores, tmp_path, monkeypatch
):
    path = write_settings(tmp_path / "loop.toml", {"models": {"stars": {"seed": 7}}})
    monkeypatch.setenv("LOOP_CONFIG", str(path))
    a_succession(Pages(models=stores.models, reviews=stores.reviews).registry, 3)
    promoted(Registry(stores.models, "stars"), "theirs")
    stores.reviews.put_record(a_window(night_after(0), "FADING", accuracy=0.8))
    stores.reviews.put_record(a_window(night_after(1), model_name="stars"))

    first, stars = scraped(stores), scraped(stores, "stars")

    assert (first["champion_generation",], stars["champion_generation",]) == (3, 1)
    assert (first["fresh_accuracy_ratio",], stars["fresh_accuracy_ratio",]) == (0.8, 0.9)
    assert first["window_verdict", ("verdict", "FADING")] == 1
    assert stars["window_verdict", ("verdict", "FADING")] == 0
    text = metrics.render(facts.read_all(stores, config.load())).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    shared = [line.split()[0] for line in lines if "model=" not in line]
    assert shared == ["loop_alerts_unsent"]


def test_what_was_read_of_many_models_is_not_held_at_once(stores, tmp_path, monkeypatch):
    models = {f"m{number}": {"seed": number} for number in range(3 * MOST_READS)}
    monkeypatch.setenv("LOOP_CONFIG", str(write_settings(tmp_path / "l.toml", {"models": models})))
    read = []
    monkeypatch.setattr(
        facts, "read", lambda _stores, settings, **_: read.append(1) or settings.model.name
    )

    every = facts.read_all(stores, config.load())

    assert next(every) == "sentiment"
    assert len(read) <= MOST_READS
    assert list(every) == list(models)


def test_a_store_without_anything_has_no_champion_and_no_error(stores):
    samples = scraped(stores)

    assert samples["champion_generation",] == 0
    assert samples["read_timestamp_seconds",] == NOW.timestamp()
    assert {value for (name, *_), value in samples.items() if name == "read_errors"} == {0}
    assert not any(name.startswith("fresh") for name, *_ in samples)


def test_the_newest_window_is_shown_with_its_limits(stores):
    for night in range(3):
        stores.reviews.put_record(a_window(night_after(night)))
    stores.reviews.put_record(a_window(night_after(3), "FADING", accuracy=0.8))

    samples = scraped(stores)

    assert samples["fresh_accuracy_ratio",] == 0.8
    assert samples["fresh_loss_ratio",] == pytest.approx(0.1)
    assert samples["fresh_loss_limit_ratio",] == 0.03
    assert samples["window_verdict", ("verdict", "FADING")] == 1
    assert samples["window_verdict", ("verdict", "QUIET")] == 0
    assert samples["windows", ("verdict", "QUIET")] == 3
    assert samples["drift_limit", ("test", "words")] == 0.05
    assert samples["rows", ("kind", "quarantined"), ("source", "web")] == 50
    assert (
        samples["window_night_timestamp_seconds",] == datetime(2026, 1, 8, tzinfo=UTC).timestamp()
    )


def test_the_champion_and_what_was_decided_on_triggers_are_shown(stores):
    pages = Pages(models=stores.models, reviews=stores.reviews)
    a_succession(pages.registry, 3)
    stores.reviews.put_record(a_trigger("2026-01-19", is_started=True, trigger="fading"))

    samples = scraped(stores)

    assert samples["champion_generation",] == 3
    assert samples["champion_since_timestamp_seconds",] > 0
    assert samples["trigger_started",] == 1
    assert samples["trigger_threshold", ("check", "fading"), ("kind", "trigger")] == 2


def test_what_the_services_were_asked_is_shown_where_the_log_is_on(stores, tmp_path, monkeypatch):
    for night in range(2):
        stores.reviews.put_record(
            an_answered_day(night_after(night), "FADING" if night else "QUIET")
        )
    assert not any(name.startswith("answers") for name, *_ in scraped(stores))

    path = write_settings(
        tmp_path / "loop.toml", {"serving": {"prediction_log": {"is_enabled": True}}}
    )
    monkeypatch.setenv("LOOP_CONFIG", str(path))
    samples = scraped(stores)

    assert samples["answers_verdict", ("verdict", "FADING")] == 1
    assert samples["answers_verdict", ("verdict", "QUIET")] == 0
    assert samples["answers_texts",] == 1000
    assert samples["answers_estimated_accuracy_low_ratio",] == 0.88
    assert samples["answers_loss_limit_ratio",] == 0.03
    assert samples["answers_drift_limit", ("test", "scores")] == 0.05
    assert samples["read_errors", ("part", "answers")] == 0


def test_a_part_that_cannot_be_read_is_an_error_in_the_metrics_and_the_rest_is_shown(stores):
    """The made-up log names decisions that are not there."""
    pages = Pages(models=stores.models, reviews=stores.reviews)
    a_succession(pages.registry, 1)
    stores.reviews.put_record(a_window())

    samples = scraped(stores)

    assert samples["read_errors", ("part", "decision")] == 1
    assert samples["read_errors", ("part", "windows")] == 0
    assert samples["fresh_accuracy_ratio",] == 0.9


def test_what_waits_the_last_good_night_and_how_long_things_took_are_shown(stores):
    for number, held in enumerate([0, 0, 7, 7]):
        row = SourceRows(source="web", delivered_rows=9, accepted_rows=9 - held,
                         quarantined_rows=0, held_rows=held)  # fmt: skip
        stores.reviews.put_record(a_window(night_after(number), sources=(row,)))
    promoted(Pages(models=stores.models, reviews=stores.reviews).registry, "one")
    stores.models.moments = {
        key: NOW + timedelta(seconds=seconds)
        for key in stores.models.objects
        for ending, seconds in (("manifest.json", 40), ("evaluation.json", 47),
                                ("decision.json", 48), ("log/00000001.json", 50))
        if key.endswith(ending)
    }  # fmt: skip

    samples = scraped(stores)

    assert samples["incidents_open", ("kind", "held")] == 2
    good = night_after(1)
    assert (
        samples["last_good_night_timestamp_seconds",]
        == datetime.fromisoformat(f"{good}T00:00:00+00:00").timestamp()
    )
    took = {
        name[1][1]: value for name, value in samples.items() if name[0] == "champion_step_seconds"
    }
    assert took == {"evaluate": 7, "decide": 1, "promote": 2}
    assert ("delivery_longest_seconds",) not in samples


def test_the_newest_night_is_shown_once_for_all_models(stores, tmp_path, monkeypatch):
    path = write_settings(tmp_path / "loop.toml", {"models": {"stars": {"seed": 7}}})
    monkeypatch.setenv("LOOP_CONFIG", str(path))
    stores.reviews.put_record(a_silence(NOW.date().isoformat(), "web"))

    assert scraped(stores)["incidents_open", ("kind", "silent")] == 1
    assert ("incidents_open", ("kind", "silent")) not in scraped(stores, "stars")


def test_names_of_sources_cannot_make_series_without_end(stores):
    many = tuple(
        SourceRows(source=f"source-{n}\n{'x' * 200}", delivered_rows=2, accepted_rows=1,
                   quarantined_rows=1, held_rows=0)
        for n in range(500)
    )  # fmt: skip
    stores.reviews.put_record(a_window(sources=many))

    samples = {name: value for name, value in scraped(stores).items() if name[0] == "rows"}
    names = {dict(labels)["source"] for _, *labels in samples}

    assert len(names) == metrics.MOST_SOURCES + 1
    assert all(len(name) <= metrics.MOST_NAME_CHARS and name.isprintable() for name in names)
    assert sum(value for (_, kind, _), value in samples.items() if kind[1] == "delivered") == 1000


def test_the_requests_of_a_scrape_do_not_grow_with_history(stores, monkeypatch):
    def requests():
        asked = []
        for bucket in (stores.reviews, stores.models):
            for name in ("get", "list"):
                call = getattr(Bucket, name)

                def counting(key, *, _call=call, _bucket=bucket, **more):
                    asked.append(key)
                    return _call(_bucket, key, **more)

                monkeypatch.setattr(bucket, name, counting)
        scraped(stores)
        return len(asked)

    pages = Pages(models=stores.models, reviews=stores.reviews)
    a_succession(pages.registry, 40)
    for night in range(-25, 15):
        stores.reviews.put_record(a_window(night_after(night)))
    stores.reviews.put_record(a_silence(night_after(14), "web"))
    few = requests()
    for night in range(-800, -25):
        stores.reviews.put_record(a_silence(night_after(night), "web"))
        stores.reviews.put_record(a_window(night_after(night)))
    for day in range(1, 10):
        stores.reviews.put_record(a_trigger(f"2025-0{day}-11"))
    many = requests()

    assert many <= few + 2
    assert many < 80


def test_an_impatient_server_costs_no_more_than_a_patient_one():
    made, time = [], [0.0]
    cached = metrics.Cached(lambda: made.append(1) or b"text", now=lambda: time[0])

    for second in (0, 1, 10, 29, 31, 40):
        time[0] = second
        assert cached() == b"text"

    assert len(made) == 2
