"""Who keeps a loop running hears of it when Airflow stops answering."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from ops import display


class Airflow:
    """One that answers or not, and a clock."""

    def __init__(self):
        self.seconds, self.answers, self.asked, self.said = 0.0, True, 0, []
        self.silence = display.Silence(self.ask, self.said.append, lambda: self.seconds)

    def ask(self):
        self.asked += 1
        return self.answers

    def live(self, seconds, *, answers):
        self.answers = answers
        for _ in range(2 * seconds):
            self.seconds += 0.5
            self.silence.look()


@pytest.fixture
def airflow():
    return Airflow()


def test_nothing_is_said_while_it_answers_and_it_is_not_asked_at_each_look(airflow):
    airflow.live(60, answers=True)

    assert airflow.said == []
    assert airflow.asked == 60 / 5


def test_a_short_silence_is_not_said(airflow):
    airflow.live(10, answers=False)
    airflow.live(60, answers=True)

    assert airflow.said == []


def test_a_long_silence_is_said_once_and_so_is_its_end(airflow):
    airflow.live(60, answers=True)
    airflow.live(300, answers=False)
    airflow.live(60, answers=True)

    silent, again = airflow.said
    assert silent.startswith("Airflow has not answered for 15 s. ")
    assert again == "Airflow answers again, after 305 s"


def test_a_second_silence_is_said_again(airflow):
    for answers in (False, True, False):
        airflow.live(60, answers=answers)

    assert len(airflow.said) == 3


def test_whoever_watches_a_loop_reads_it(monkeypatch):
    monkeypatch.setattr(display, "_ASK_SECONDS", 0)
    monkeypatch.setattr(display, "_SILENT_SECONDS", 0)
    console = Console(file=io.StringIO())

    def interrupt():
        raise KeyboardInterrupt

    silent = SimpleNamespace(is_answering=lambda: False, revive=interrupt)
    display.watch(silent, display.Display(console))

    assert "Airflow has not answered for" in console.file.getvalue()
