"""Windows and decisions on triggers, with only what a test is about written out."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from pipelines.monitoring.drift_tests import MEANINGS
from pipelines.records.monitoring import (
    AnsweredDay,
    DriftTest,
    Estimate,
    GroupScore,
    Measured,
    MovedWord,
    SourceRows,
    TriggerCheck,
    TriggerDecision,
    Window,
)

FIRST = date(2026, 1, 5)


def night_after(count: int) -> str:
    """The night so many after the first, ``YYYY-MM-DD``."""
    return (FIRST + timedelta(days=count)).isoformat()


def a_window(night: str = "2026-01-05", verdict: str = "QUIET", **changes: Any) -> Window:
    accuracy = changes.pop("accuracy", 0.9)
    word = changes.pop("word", "film")
    values: dict[str, Any] = {
        "model_name": "sentiment", "first_night": night, "night": night, "partitions": ("a" * 64,),
        "rows": 1000, "champion_generation": 4, "champion_version": "b" * 20,
        "reference": "c" * 64, "rules": "d" * 64,
        "sources": (SourceRows(source="web", delivered_rows=1050, accepted_rows=1000,
                               quarantined_rows=50, held_rows=0),),
        "coverage": 0.952, "is_provisional": False, "late_nights": 1, "verdict": verdict,
        "why": f"It is {verdict}.",
        "measured": Measured(rows=1000, right_rows=round(1000 * accuracy), accuracy=accuracy,
                             low=accuracy - 0.02, high=accuracy + 0.02, log_loss=0.25, usual=0.9,
                             usual_rows=4000, loss=0.9 - accuracy, limit=0.03, p_value=0.5),
        "estimate": Estimate(rows=1000, accuracy=0.9, low=0.88, high=0.92, log_loss=0.25,
                             second_opinion=0.9, asks_for_labels=False, loss=0.0, limit=0.03),
        "drift": tuple(
            DriftTest(name=name, value=0.08 if verdict == "DRIFT" else 0.01, limit=0.05, floor=0.05,
                      p_value=0.5, rows=1000, usual_rows=4000, sentence=f"{name} differs.")
            for name in MEANINGS
        ),
        "groups": (
            GroupScore(name="source=web", rows=1000, accuracy=accuracy, low=0.8, high=0.95,
                       usual=0.9, limit=0.03, is_beyond=False),
            GroupScore(name="length=short", rows=300, accuracy=accuracy, low=0.8, high=0.95,
                       usual=None, limit=None, is_beyond=False),
        ),
        "words": (MovedWord(word=word, share=0.4, usual=0.5),),
    }  # fmt: skip
    return Window(**(values | changes))


def an_answered_day(day: str = "2026-01-05", verdict: str = "QUIET", **changes: Any) -> AnsweredDay:
    window = a_window(verdict=verdict)
    values: dict[str, Any] = {
        "model_name": "sentiment", "day": day, "files": "a" * 64, "left_out_files": 0,
        "answers": 1200, "other_answers": 0, "texts": 1000, "champion_generation": 4,
        "champion_version": "b" * 20, "reference": "c" * 64, "rules": "d" * 64,
        "verdict": verdict, "why": f"What was asked is {verdict}.", "estimate": window.estimate,
        "drift": window.drift[:2],
    }  # fmt: skip
    return AnsweredDay(**(values | changes))


def a_trigger(day: str = "2026-01-06", **changes: Any) -> TriggerDecision:
    check = TriggerCheck(name="fading", observed=0, threshold=2, is_met=False, sentence="No.")
    values: dict[str, Any] = {
        "model_name": "sentiment", "day": day, "night": "2026-01-05", "token": "e" * 64,
        "actor": "airflow sentiment_monitor run_1", "champion_generation": 4,
        "champion_version": "b" * 20, "windows": (), "checks": (check,), "vetoes": (),
        "trigger": None, "is_started": False, "why": "No trigger is met.",
        "at": f"{day}T06:00:00+00:00",
    }  # fmt: skip
    return TriggerDecision(**(values | changes))
