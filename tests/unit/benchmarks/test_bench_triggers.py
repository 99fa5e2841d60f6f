"""Every policy of the simulated year sees the same nights, and pays for what it asks."""

import itertools
import string

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import bench_triggers
from pipelines.simulation.made_up import make_reviews

FIRST_ROWS, NIGHTS, ROWS = 600, 7, 70


def some_reviews():
    made = make_reviews(1300, seed=3)
    labels = [int(label == "positive") for label in made["label"].to_pylist()]
    return pa.table({
        "review_id": [f"review-{number:05d}" for number in range(made.num_rows)],
        "text": made["text"],
        "label": pa.array(labels, pa.int8()),
        "rating": made["rating"],
        "movie_id": made["movie_id"],
    })  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


def played(kept):
    return bench_triggers.run(
        some_reviews(), first_rows=FIRST_ROWS, nights=NIGHTS, rows=ROWS, kept=kept
    )


@pytest.fixture(scope="module")
def policies(kept):
    return {policy.name: policy for policy in played(kept)}


def test_a_run_that_was_ended_goes_on_where_it_was_and_ends_the_same(policies, kept, monkeypatch):
    files = sorted(kept.glob("*/*.npy"))
    assert [file.stem for file in files] == [f"{night:03d}" for night in range(NIGHTS + 1)]
    for file in files[4:]:
        file.unlink()
    asked, fit = [], bench_triggers._answers_of
    monkeypatch.setattr(
        bench_triggers, "_answers_of", lambda night: asked.append(night) or fit(night)
    )

    again = played(kept)

    assert asked == list(range(4, NIGHTS + 1))
    assert bench_triggers.figures(again) == bench_triggers.figures(list(policies.values()))


def test_a_policy_retrains_as_often_as_it_says(policies):
    retrainings = {name: policy.retrainings for name, policy in policies.items()}

    assert retrainings["every night"] == NIGHTS
    assert policies["every night, without a gate"].promotions == NIGHTS
    assert retrainings["every week"] == 1
    assert retrainings["never"] == 0


def test_all_answer_the_same_nights_before_anything_is_trained_on_them(policies):
    first_night = {policy.accuracies[0] for policy in policies.values()}

    assert len(first_night) == 1
    assert {len(policy.accuracies) for policy in policies.values()} == {NIGHTS}


def test_the_windows_are_judged_by_a_champion_that_did_not_learn_them(policies):
    windows = policies["when the monitor asks"].windows

    assert all(window.rows == 3 * ROWS for window in windows)
    assert windows
    # A window of three nights begins after the first load from night 3 on.
    assert len(windows) == NIGHTS - 2


class Served:
    """A policy that served these nights, as far as the table asks."""

    name, retrainings, promotions, verdicts = "some", 0, 0, {}

    def __init__(self, *nights):
        self.answers_right = [np.array(night, np.bool_) for night in nights]
        self.accuracies = [night.mean() for night in self.answers_right]


def test_policies_are_compared_review_by_review():
    first = Served([1, 1, 1, 1], [0, 0, 1, 1])
    other = Served([1, 1, 0, 1], [0, 0, 1, 0])  # two of eight are no longer right

    line = bench_triggers.figures([first, other])[1]

    assert line["change"] == -0.25
    # The changes are six zeros and two of -1: a standard deviation of (1/4 * 3/4) ** 0.5.
    assert line["change_error"] == pytest.approx(1.96 * (3 / 16 / 8) ** 0.5)


def test_the_table_has_a_line_for_each(policies):
    table = bench_triggers.as_markdown(bench_triggers.figures(list(policies.values())))

    lines = table.splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == list(policies)
    assert "| 7 |" in lines[0]


def test_the_drift_comes_as_it_is_described():
    year = bench_triggers.Calendar()
    letters = string.ascii_lowercase
    names = (f"w{one}{other}" for one in letters for other in letters)
    known = list(itertools.islice(names, bench_triggers.SLOW_WORDS + bench_triggers.SUDDEN_WORDS))
    text = " ".join(known)

    def others(night):
        words = bench_triggers._as_written(text, known, night, year).split()
        return len(set(words) - set(known))

    first, last = year.slow
    assert others(first - 1) == 0
    assert others((first + last) // 2) == bench_triggers.SLOW_WORDS / 2
    assert others(last) == others(year.sudden - 1) == bench_triggers.SLOW_WORDS
    assert others(year.sudden) == len(known)


def test_more_of_the_reviews_are_positive_after_the_shift():
    year = bench_triggers.Calendar()
    labels = np.tile(np.array([0, 1], np.int8), 200)
    night = np.repeat([0, year.shift - 1, year.shift], [100, 100, 100])

    dealt = labels[bench_triggers._dealt(labels, night, year)]

    assert [int(dealt[night == at].sum()) for at in np.unique(night)] == [50, 50, 70]
    assert len(set(bench_triggers._dealt(labels, night, year))) == 300


def test_a_shorter_year_has_the_same_parts():
    assert bench_triggers.Calendar().slow == (91, 210)
    short = bench_triggers.Calendar(112)
    assert (short.slow, short.sudden, short.shift) == ((28, 65), 74, 92)
    assert list(short.parts.values()) == [(1, 27), (28, 65), (66, 73), (74, 91), (92, 112)]


def test_nights_of_the_usual_size_are_played_with_the_defaults():
    defaults = bench_triggers.config.load(bench_triggers.config.CONFIG_FOLDER / "default.toml")

    usual, small = (bench_triggers.settings_of_the_year(rows) for rows in (1_000, 90))

    gate = defaults.gate.model_copy(update={"bootstrap_repeats": 500})
    assert usual == defaults.model_copy(update={"gate": gate})
    assert (small.monitoring.window_nights, small.triggers.new_rows) == (3, 900)
