"""When a retraining is started, when it is not, and what stops it."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.core import config
from pipelines.monitoring.triggers import Known, choose, remembered
from pipelines.records.monitoring import Window

SETTINGS = config.load().triggers  # 2 of 3 windows, 10,000 rows, 30 days, 20 hours, 3 days
NOW = datetime(2026, 2, 1, 5, tzinfo=UTC)


def a_window(verdict, *, night=10, generation=4, is_provisional=False):
    return Window(
        model_name="sentiment", first_night=f"2026-01-{night:02}", night=f"2026-01-{night:02}",
        partitions=("a" * 64,), rows=1000, champion_generation=generation,
        champion_version="b" * 20, reference="c" * 64, rules="d" * 64, sources=(), coverage=1.0,
        is_provisional=is_provisional, late_nights=0, verdict=verdict, why=f"It is {verdict}.",
        measured=None, estimate=None,
    )  # fmt: skip


def known(*verdicts, **more):
    """Windows newest first."""
    windows = tuple(
        each if isinstance(each, Window) else a_window(each, night=20 - place)
        for place, each in enumerate(verdicts)
    )
    usual = {
        "windows": windows, "generation": 4, "new_rows": 500,
        "champion_since": NOW - timedelta(days=3), "now": NOW,
    }  # fmt: skip
    return Known(**{**usual, **more})


def chosen(*verdicts, **more):
    return choose(known(*verdicts, **more), SETTINGS)


@pytest.mark.parametrize(
    ("verdicts", "trigger"),
    [
        (("FADING", "FADING", "QUIET"), "fading"),
        (("FADING", "QUIET", "FADING"), "fading"),
        (("QUIET", "FADING", "FADING"), None),  # the newest is well again
        (("FADING", "QUIET", "QUIET"), None),
        (("DRIFT", "DRIFT", "QUIET"), "drift"),
        (("DRIFT", "FADING", "QUIET"), "drift"),
        (("FADING",), None),
        ((), None),
        (("QUIET", "QUIET", "QUIET"), None),
    ],
)
def test_enough_of_the_newest_windows_and_the_newest_itself_start_a_retraining(verdicts, trigger):
    choice = chosen(*verdicts)

    assert choice.trigger == trigger
    assert choice.is_started == (trigger is not None)


def test_windows_of_an_earlier_champion_or_without_a_verdict_count_for_nothing():
    earlier = a_window("FADING", night=19, generation=3)
    few = a_window("TOO_FEW", night=18)
    provisional = a_window("FADING", night=17, is_provisional=True)

    assert chosen("FADING", earlier, few).trigger is None
    assert chosen("FADING", provisional, earlier).trigger is None
    assert chosen("FADING", few, "FADING").trigger == "fading"


def test_enough_new_rows_or_an_old_champion_start_a_retraining():
    assert chosen("QUIET", new_rows=10_000).trigger == "volume"
    assert chosen("QUIET", new_rows=9_999).trigger is None
    assert chosen("QUIET", champion_since=NOW - timedelta(days=30)).trigger == "staleness"
    assert chosen("QUIET", champion_since=NOW - timedelta(days=29)).trigger is None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"poisoned": ("e" * 64,)}, "a poison alarm is open"),
        ({"last_start": NOW - timedelta(hours=19)}, "the last start was 19.0 hours ago"),
        ({"new_rows": 0}, "there is nothing to train on"),
    ],
)
def test_a_poison_alarm_a_start_not_long_ago_and_nothing_new_stop_a_start_and_say_so(more, says):
    choice = chosen("FADING", "FADING", **more)

    assert choice.trigger == "fading"
    assert not choice.is_started
    assert f"Not started: {says}" in choice.why


@pytest.mark.parametrize(
    "more", [{"new_rows": 10_000}, {"champion_since": NOW - timedelta(days=40)}]
)
def test_an_attempt_that_left_the_champion_is_repeated_after_some_days(more):
    early = chosen("QUIET", last_start=NOW - timedelta(days=2), **more)
    later = chosen("QUIET", last_start=NOW - timedelta(days=3), **{
        "champion_since": NOW - timedelta(days=8), **more
    })  # fmt: skip

    assert not early.is_started
    assert "Not started: an attempt 2.0 days ago left this champion in place" in early.why
    assert later.is_started


def test_a_champion_that_fades_is_not_kept_waiting_by_an_attempt_that_left_it():
    assert chosen("FADING", "FADING", last_start=NOW - timedelta(days=2)).is_started
    assert not chosen("DRIFT", "DRIFT", last_start=NOW - timedelta(days=2)).is_started


def test_an_attempt_that_made_the_champion_is_no_reason_to_wait():
    since = NOW - timedelta(days=3)

    choice = chosen(new_rows=10_000, champion_since=since, last_start=since - timedelta(minutes=5))

    assert choice.trigger == "volume"
    assert choice.is_started


def test_a_start_is_remembered_as_long_as_it_matters():
    assert remembered(SETTINGS) == timedelta(days=3)
    patient = SETTINGS.model_copy(update={"cool_down_hours": 240.0})
    assert remembered(patient) == timedelta(days=10)


def test_a_cool_down_ends():
    assert chosen("FADING", "FADING", last_start=NOW - timedelta(hours=20)).is_started


def test_an_operator_is_stopped_by_nothing_but_nothing_to_train_on():
    wish = {"operator_reason": "the site changed its form"}

    choice = chosen(poisoned=("e" * 64,), last_start=NOW, **wish)

    assert choice.trigger == "operator"
    assert choice.is_started
    assert choice.why == "A person asks for it: the site changed its form"
    assert not chosen(new_rows=0, **wish).is_started


def test_every_decision_says_all_that_was_checked_with_its_threshold():
    choice = chosen("DRIFT", "QUIET", "QUIET")

    assert [check.name for check in choice.checks] == [
        "operator", "fading", "drift", "volume", "staleness",
    ]  # fmt: skip
    assert [veto.name for veto in choice.vetoes] == [
        "nothing_new", "poison", "cool_down", "retry",
    ]  # fmt: skip
    drift = choice.checks[2]
    assert (drift.observed, drift.threshold, drift.is_met) == (1, 2, False)
    assert drift.sentence.startswith("DRIFT or FADING in 1 of the last 3 windows")
    assert choice.why == "No trigger is met."
