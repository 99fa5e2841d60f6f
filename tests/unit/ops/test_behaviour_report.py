"""What `python -m ops.behaviour` tells about a version, for answers that can be checked by hand."""

import numpy as np

from ops.behaviour import main, report
from pipelines.evaluation.behaviour.scoring import Capability, Case, Suite
from pipelines.evaluation.golden import GoldenSet

SUITE = Suite(
    (
        Capability("labels", "minimum_functionality", "It can.", 0.25, 0.0,
                   (Case("Good.", None, "positive"), Case("Bad.", None, "negative"))),
        Capability("praise", "direction", "It rises.", 0.0, 0.0, (Case("Bad.", "Worse.", "down"),)),
    ),
    "d" * 64,
)  # fmt: skip
GOLDEN = GoldenSet(("Fine.", "Good."), np.array([1, 0], np.int8), "e" * 64)
ANSWERS = {"Good.": 0.9, "Bad.": 0.6, "Worse.": 0.5, "Fine.": 0.75}


def test_the_report_counts_and_names_what_failed():
    lines = list(report(SUITE, GOLDEN, lambda texts: np.array([ANSWERS[text] for text in texts])))

    assert lines == [
        "labels: 1 of 2 fail (50%), ABOVE the limit of 25%",
        "praise: 0 of 1 fail (0%), within the limit of 0%",
        "labels: expected negative, got 0.60 'Bad.'",
        "golden set: 1 of 2 right (50.0%)",
        "golden set: expected negative, given 0.10 'Good.'",
    ]


def test_a_changed_text_is_shown_beside_the_one_it_came_from():
    answers = ANSWERS | {"Worse.": 0.7}

    lines = list(report(SUITE, GOLDEN, lambda texts: np.array([answers[text] for text in texts])))

    assert "praise: expected down, got 0.60 'Bad.' -> 0.70 'Worse.'" in lines


def test_settings_that_cannot_be_used_end_in_one_line(configure, capsys):
    configure(evaluation={"golden_file": "nowhere.jsonl"})

    code = main([])

    assert code == 1
    assert capsys.readouterr().err.startswith("error: ")
