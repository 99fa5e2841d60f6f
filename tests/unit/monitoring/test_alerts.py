"""People hear of a champion that fades once, not every night."""

import pytest

from pipelines.alerts.alert import Run
from pipelines.core import config
from pipelines.core.store.stores import Stores
from pipelines.steps.context import Loop
from pipelines.steps.incidents import MOST_BAD_NIGHTS, monitor_alerts
from tests.support.made.window_builders import a_window, night_after
from tests.support.page_site import Bucket

RUN = Run(dag_id="sentiment_monitor", run_id="run_1")


@pytest.fixture
def loop():
    return Loop(config.load(), Stores(Bucket(), Bucket()))


def heard(loop, *verdicts, **changes):
    """What is reported after each of some nights."""
    incidents = []
    for night, verdict in enumerate(verdicts):
        loop.reviews.put_record(a_window(night_after(night), verdict, **changes))
        incidents.append([(alert.kind, alert.key) for alert in monitor_alerts(loop, RUN)])
    return incidents


def test_nights_on_end_are_one_incident_and_a_later_one_is_another(loop):
    first, second, quiet, again = heard(loop, "FADING", "FADING", "QUIET", "FADING")

    assert first == second
    assert first[0][0] == "model_fading"
    assert quiet == []
    assert again[0][0] == "model_fading"
    assert again != first


def test_drift_is_a_ticket_and_names_the_words(loop):
    loop.reviews.put_record(a_window(verdict="DRIFT", word="streaming"))

    (alert,) = monitor_alerts(loop, RUN)

    assert (alert.kind, alert.severity) == ("input_drift", "warning")
    assert any("streaming (50% to 40%)" in sentence for sentence in alert.sentences)


def test_quiet_too_few_and_provisional_nights_are_not_reported(loop):
    assert heard(loop, "QUIET", "TOO_FEW") == [[], []]
    assert heard(loop, "FADING", is_provisional=True, partitions=("f" * 64,))[0] == []


def test_after_many_bad_nights_nobody_is_told_again(loop):
    incidents = heard(loop, *["DRIFT"] * (MOST_BAD_NIGHTS + 3))

    assert len({key for found in incidents for _, key in found}) == 1
    assert incidents[-1] == []


def test_a_failed_run_is_reported(loop):
    run = Run(dag_id="sentiment_monitor", run_id="run_1", failed_tasks=("watch",))

    assert [alert.kind for alert in monitor_alerts(loop, run)] == ["monitor_failed"]
