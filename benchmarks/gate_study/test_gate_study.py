"""The gate's benchmark: its pieces, by numbers that can be checked by hand."""

import json
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.gate_study import bench, records
from benchmarks.gate_study.calibration import Difference
from benchmarks.gate_study.claims import about_erosion, about_models, about_simulation
from benchmarks.gate_study.erosion import ALWAYS_STALE, Erosion, erode
from benchmarks.gate_study.models import Challenger, Kitchen
from benchmarks.gate_study.resampling import Outcome, Pool, case_of, draws, measure
from benchmarks.gate_study.reviews import Reviews, read_sides
from benchmarks.gate_study.rivals import is_higher, is_higher_by_margin, is_significant
from benchmarks.gate_study.sheets import Sheet, of_erosion, per_year
from benchmarks.gate_study.simulation import (
    Model,
    Nights,
    Tally,
    challengers,
    fault,
    holdouts,
    year,
)
from benchmarks.gate_study.world import WEIGHTS, World, accuracy_of, calibrated, signed_logits
from pipelines.core import config
from pipelines.features.fingerprints import fingerprint
from pipelines.gate import decide
from pipelines.simulation.made_up import make_reviews

POLICY = config.load(config.CONFIG_FOLDER / "default.toml").gate
FEW_REPEATS = POLICY.model_copy(update={"bootstrap_repeats": 100})


def rights(*, both=0, only_champion=0, only_challenger=0, neither=0):
    """Which reviews champion and challenger get right, as two arrays."""
    counts = [both, only_champion, only_challenger, neither]
    return (
        np.repeat([True, True, False, False], counts),
        np.repeat([True, False, True, False], counts),
    )


def no_step(_done):
    pass


# ── The gates that people use ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("won", "lost", "promotes"), [(3, 2, True), (2, 2, False), (2, 3, False)])
def test_one_more_right_review_is_enough_where_only_the_accuracy_counts(won, lost, promotes):
    assert is_higher(*rights(both=90, only_champion=lost, only_challenger=won)) is promotes


@pytest.mark.parametrize(("won", "promotes"), [(5, False), (6, True)])
def test_half_a_point_is_five_of_a_thousand_reviews_and_must_be_exceeded(won, promotes):
    models = rights(both=900, only_challenger=won, neither=100 - won)

    assert is_higher_by_margin(*models) is promotes


@pytest.mark.parametrize(("won", "lost", "promotes"), [(5, 0, True), (4, 0, False), (0, 5, False)])
def test_five_to_nothing_is_significant_and_four_is_not(won, lost, promotes):
    """By chance alone: 1 in 32, and 1 in 16."""
    assert is_significant(*rights(only_champion=lost, only_challenger=won)) is promotes


# ── Real models ──────────────────────────────────────────────────────────────────────────────


def a_pool(rows=3000, seed=0):
    """A champion that is right on about nine reviews of ten, and sure about it."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(rows) % 2).astype(np.int8)
    is_right = rng.random(rows) < 0.92
    champion = np.where(is_right == (labels == 1), 0.9, 0.1)
    return Pool(labels, champion, {"half=first": np.arange(rows) < rows // 2})


def a_challenger(pool, *, spoiled=0.0, name="made by hand", kind="bad", copies=0):
    """The champion, but asked for the opposite on the first ``spoiled`` share of every hundred."""
    is_spoiled = np.arange(len(pool)) % 100 < 100 * spoiled
    probability = np.where(is_spoiled, 1 - pool.champion, pool.champion)
    return Challenger(name, kind, probability, np.arange(len(pool)) < copies)


def measured(pool, challenger, size=2000, repeats=3):
    return measure(
        pool, challenger, size, FEW_REPEATS, repeats=repeats, seed=1, on_step=no_step
    )  # fmt: skip


def test_the_same_model_is_held_and_replaces_a_stale_champion():
    pool = a_pool()

    outcome = measured(pool, a_challenger(pool))

    assert outcome.true_change == 0
    assert (outcome.fresh, outcome.stale) == (Counter(HOLD=3), Counter(REFRESH=3))
    assert (outcome.stopped_share, outcome.rejected_share) == (0, 0)
    assert outcome.rivals == Counter({"always": 3})


def test_a_model_that_is_wrong_more_often_is_rejected_however_stale_the_champion():
    pool = a_pool()

    outcome = measured(pool, a_challenger(pool, spoiled=0.10))

    assert outcome.true_change < -0.05
    assert (outcome.fresh["REJECT"], outcome.stale["REJECT"]) == (3, 3)
    assert (outcome.stopped_share, outcome.rejected_share) == (1, 1)


def test_reviews_that_were_trained_on_are_counted_and_not_scored():
    pool = a_pool(rows=100)
    rows = np.array([0, 1, 2, 50, 99])

    case = case_of(pool, rows, a_challenger(pool, copies=3), POLICY)

    assert case.overlap_rows == 3
    assert case.scored.labels.tolist() == pool.labels[[50, 99]].tolist()
    assert case.slices["half=first"].tolist() == [False, False]


def test_a_leak_is_rejected_by_the_overlap_though_its_scores_are_good():
    pool = a_pool()

    outcome = measured(pool, a_challenger(pool, kind="leak", copies=300), size=2500)

    assert (outcome.fresh["REJECT"], outcome.rules["overlap"]) == (3, 3)


def test_every_model_meets_the_same_holdouts():
    first, second = (list(draws(50, 20, 2, seed=3)) for _ in range(2))

    assert [rows.tolist() for rows in first] == [rows.tolist() for rows in second]
    assert first[0].tolist() != first[1].tolist()


def test_the_benchmark_asks_the_gate_itself(monkeypatch):
    asked = []

    def strict(evaluation, *rest):
        asked.append(evaluation)
        return gate_decide(evaluation, *rest).model_copy(update={"verdict": "REJECT"})

    gate_decide = decide.decide
    monkeypatch.setattr(decide, "decide", strict)
    pool = a_pool()

    outcome = measured(pool, a_challenger(pool), repeats=1)

    assert outcome.fresh == Counter(REJECT=1)
    assert [each.champion_age_nights for each in asked] == [1, POLICY.refresh_after_nights]


def test_what_the_benchmark_cannot_know_never_stops_a_model():
    pool = a_pool()
    rows = np.arange(len(pool))
    evaluation = records.evaluation_of(
        case_of(pool, rows, a_challenger(pool), FEW_REPEATS), FEW_REPEATS
    )

    decision = records.decided(evaluation, FEW_REPEATS)

    rules = {rule.rule: rule.is_passed for rule in decision.rules}
    constant = ("golden_floor", "golden_drop", "behaviour_floor", "behaviour_drop", "clean_process",
                "artefact_size", "scoring_time", "memory", "complete")  # fmt: skip
    assert all(rules[name] for name in constant)


# ── Erosion ──────────────────────────────────────────────────────────────────────────────────


def test_without_a_gate_erosion_goes_on_and_the_gate_stops_it():
    pool = a_pool()
    nights = [a_challenger(pool, spoiled=share) for share in (0.05, 0.10)]

    found = erode(pool, nights, FEW_REPEATS, size=2000, repeats=1, seed=0, on_step=no_step)

    by_gate = {each.gate: each for each in found}
    lost = pool.accuracy(pool.champion) - pool.accuracy(nights[1].probability)
    assert by_gate["always"] == Erosion("always", None, lost, lost)
    assert by_gate["accuracy >"] == Erosion("accuracy >", 1, 0.0, 0.0)
    assert by_gate[ALWAYS_STALE] == Erosion(ALWAYS_STALE, 1, 0.0, 0.0)


# ── Simulation ───────────────────────────────────────────────────────────────────────────────


def a_world(rows=3000, **changes):
    """Nine reviews of ten are right by two, the tenth is wrong by two; a fault turns them all."""
    logits = np.where(np.arange(rows) % 10 == 0, -2.0, 2.0).astype(np.float32)
    values = {
        "labels": (np.arange(rows) % 2).astype(np.int8),
        "slices": {"half=first": np.arange(rows) < rows // 2},
        "logits": logits,
        "knows_less": np.full(rows, -1.0, np.float32),
        "drops": 0.02 * WEIGHTS,
        "faults": (-2 * logits,),
        "seed_sd": 0.0,
        "rows_sd": 0.0,
        "memory": 0.5,
    }
    return World(**(values | changes))


QUIET = Nights(nights=3, holdout_rows=2000, decay=0.0, poisoned_share=0.0, unlucky_share=0.0)


def test_a_logit_is_the_log_odds_given_to_the_truth():
    labels, probability = np.array([1, 0, 0], np.int8), np.array([0.8, 0.2, 0.8])

    logits = signed_logits(labels, probability)

    assert logits == pytest.approx([np.log(4), np.log(4), -np.log(4)], rel=1e-6)
    assert accuracy_of(logits) == pytest.approx(2 / 3)


def test_probabilities_come_back_from_logits():
    world = a_world(rows=4)

    probability = world.probability(np.log(np.float32([4, 4, 0.25, 1])), np.arange(4))

    assert probability == pytest.approx([0.2, 0.8, 0.8, 0.5])  # labels are 0, 1, 0, 1


def test_a_model_falls_behind_by_the_decay_of_every_night():
    """Two hundredths of accuracy are one step back, so four nights of one hundredth are two."""
    model = Model(night=3, logits=np.array([2.0, -1.0], np.float32))

    later = model.on(a_world(rows=2), 7, replace(QUIET, decay=0.01))

    assert later.tolist() == [0.0, -3.0]


def test_the_holdout_loses_its_oldest_and_gains_as_many_new_reviews():
    how = replace(QUIET, holdout_rows=50, new_share=0.04)

    first, second, _third = holdouts(1000, how, np.random.default_rng(0))

    assert second[:48].tolist() == first[2:].tolist()
    assert not set(second[48:]) & set(first)


def test_a_poisoned_night_adds_the_whole_fault_and_a_quiet_one_nothing():
    world, rng = a_world(rows=20), np.random.default_rng(0)

    poisoned = fault(world, replace(QUIET, poisoned_share=1.0, least_poison=1.0), rng)

    assert accuracy_of(world.logits + poisoned) == 0.1
    assert not fault(world, QUIET, rng).any()


def test_an_unlucky_night_costs_what_it_is_said_to_cost_on_average():
    how = replace(QUIET, unlucky_share=1.0, unlucky_drop=0.002)
    rng = np.random.default_rng(0)

    weights = [-fault(a_world(rows=1), how, rng)[0] for _ in range(4000)]

    assert np.mean(weights) == pytest.approx(0.002 / 0.02, rel=0.05)


def test_models_of_nights_apart_differ_by_what_the_world_says():
    world = a_world(rows=40_000, seed_sd=0.3, rows_sd=0.4, memory=0.75)

    first, second = list(challengers(world, replace(QUIET, nights=1), np.random.default_rng(1)))

    # 2 * 0.3**2 by the seed, 2 * 0.4**2 * (1 - 0.75) by the rows
    assert np.var(second.logits - first.logits) == pytest.approx(0.18 + 0.08, rel=0.03)


def test_the_world_is_calibrated_on_real_models():
    """Changes of +-0.3, +-0.4 and +-0.5: squares of 0.09, 0.16 and 0.25."""
    rows = 1000
    labels, sign = np.ones(rows, np.int8), np.where(np.arange(rows) % 2, 1.0, -1.0)
    base = np.full(rows, 0.5)

    def of(name, change, kind="good"):
        probability = 1 / (1 + np.exp(-(base + change)))
        return Challenger(name, kind, probability, np.zeros(rows, np.bool_))

    pool = Pool(labels, of("champion", 0.0).probability, {})
    models = [
        of("other seed", 0.3 * sign),
        of("+4 % reviews", 0.4 * sign),
        of("other sample", 0.5 * sign),
        of("half the data", -(sign + 1) / 2, "bad"),
    ]

    world = calibrated(pool, models)

    assert world.seed_sd == pytest.approx((0.09 / 2) ** 0.5, rel=1e-3)
    assert world.rows_sd == pytest.approx((0.16 / 2) ** 0.5, rel=1e-3)
    assert world.memory == pytest.approx(1 - 0.07 / 0.16, rel=1e-3)
    assert world.drops[[9, 11]].tolist() == [0, 0.5]  # at half of it, half of them cross
    assert len(world.faults) == 1


def test_two_models_are_compared_review_by_review():
    """One of four reviews changes from a loss of log(2) to one of log(1 + e)."""
    first, second = np.zeros(4, np.float32), np.array([-1, 0, 0, 0], np.float32)

    found = Difference.between(first + np.float32(1e-9), second)

    change = np.log(1 + np.e) - np.log(2)
    assert found.log_loss_change == pytest.approx(change / 4, rel=1e-6)
    assert found.log_loss_sd == pytest.approx(change * 3**0.5 / 4, rel=1e-6)
    assert (found.accuracy_change, found.discordant_share) == (-1, 1)


def test_in_a_year_of_nothing_but_faults_only_those_without_a_gate_are_hurt():
    how = replace(QUIET, poisoned_share=1.0, least_poison=1.0)

    tallies = year(a_world(), how, FEW_REPEATS, 0, no_step)

    assert (tallies["always"].promotions, tallies["always"].far_worse) == (3, 1)
    assert tallies["always"].mean_accuracy == pytest.approx(0.1)
    for name in ("our gate", "oracle", "accuracy >", "McNemar p < .05"):
        assert (tallies[name].promotions, tallies[name].mean_accuracy) == (0, pytest.approx(0.9))


def test_a_simulated_year_is_the_same_twice():
    how = replace(QUIET, poisoned_share=0.3, unlucky_share=0.3)
    world = a_world(seed_sd=0.5, rows_sd=0.5)

    first, second = (year(world, how, FEW_REPEATS, 5, no_step) for _ in range(2))

    assert first == second
    assert all(len(tally.accuracies) == 3 for tally in first.values())


# ── What is said ─────────────────────────────────────────────────────────────────────────────


def an_outcome(name="5% flipped", kind="bad", change=-0.012, **stale):
    return Outcome(name, kind, 5000, change, 100, stale=Counter(stale), fresh=Counter(stale))


def promises(claims):
    return [claim.is_kept for claim in claims]


@pytest.mark.parametrize(("let_in", "is_kept"), [(1, True), (2, False)])
def test_one_of_a_hundred_worse_models_may_be_let_in(let_in, is_kept):
    worse = an_outcome(REFRESH=let_in, REJECT=100 - let_in)
    leak = replace(an_outcome("leak", "leak", 0.01, REJECT=100), rules=Counter(overlap=100))
    clean = an_outcome("other seed", "good", 0.0, REFRESH=100)

    claims = list(about_models([worse, leak, clean]))

    assert claims[0].is_kept is is_kept
    assert claims[1].is_kept


@pytest.mark.parametrize(("alarms", "is_kept"), [(2, True), (3, False)])
def test_two_of_a_hundred_clean_models_may_be_rejected(alarms, is_kept):
    leak = replace(an_outcome("leak", "leak", 0.01, REJECT=100), rules=Counter(overlap=100))
    clean = an_outcome("other seed", "good", 0.0, REFRESH=100 - alarms, INCONCLUSIVE=alarms)

    claims = list(about_models([an_outcome(REJECT=100), leak, clean]))

    assert promises(claims[2:4]) == [is_kept, is_kept]


def test_erosion_may_cost_less_than_half_a_point_on_the_worst_holdout():
    mild, grave = Erosion(ALWAYS_STALE, 3, 0.002, 0.0049), Erosion(ALWAYS_STALE, 3, 0.002, 0.005)

    assert promises(about_erosion([mild])) == [True]
    assert promises(about_erosion([mild, grave])) == [False]


def test_a_promotion_of_a_far_worse_model_a_year_is_two_in_two_years():
    years = [{"our gate": Tally(promotions=4, far_worse=1, accuracies=[0.9]),
              "accuracy > +0.5 pt": Tally(accuracies=[0.9])}]  # fmt: skip

    assert per_year(years, "our gate", "promotions", 730) == 2
    assert promises(about_simulation(years, 365)) == [False, True]


def test_a_sheet_is_a_markdown_table():
    text = Sheet("Title", ("gate", "figure"), (("ours", "1"),)).markdown()

    assert text.splitlines()[2:] == ["| gate | figure |", "|---|---:|", "| ours | 1 |"]


def test_what_was_lost_to_erosion_is_said_in_points():
    """Of a fifth and of nothing; a loss of less than nothing is no minus zero."""
    found = [Erosion("ours", 3, 0.002, 0.002), Erosion("ours", None, -0.00001, -0.00001)]

    (line,) = of_erosion(found, nights=4, size=5000).lines

    assert line == ("ours", "4", "never", "50", "0.10", "0.20", "0.10", "0.20")


# ── The whole ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """Made-up reviews in the form of the real ones; films are split by their last digit."""
    table = make_reviews(1500, seed=4)
    films = table["movie_id"].to_pylist()
    path = tmp_path_factory.mktemp("reviews") / "reviews.parquet"
    columns = {
        "review_id": [f"review {row}" for row in range(len(films))],
        "text": table["text"],
        "label": pa.array([int(rating > 5) for rating in table["rating"].to_pylist()], pa.int64()),
        "split": ["test" if int(film[-1]) % 2 else "train" for film in films],
        "rating": table["rating"],
        "movie_id": films,
    }
    pq.write_table(pa.table(columns), path)
    return path


def test_no_film_and_no_text_is_on_both_sides(reviews):
    training, pool = read_sides(reviews, "train", limit=200)

    assert len(training) == 200
    assert not set(training.films) & set(pool.films)
    assert not set(training.ids) & set(pool.ids)


def test_a_larger_share_of_noise_flips_what_a_smaller_one_flips():
    training = Reviews(
        ids=np.array([str(row) for row in range(400)]),
        texts=np.array(["x"] * 400, np.object_),
        labels=np.zeros(400, np.int8),
        ratings=np.ones(400, np.int64),
        films=np.array(["f"] * 400),
        prints=fingerprint(["x"] * 400),
    )
    kitchen = Kitchen(training, training, 1)

    nights = [recipe.labels for recipe in kitchen.erosion(12)]

    assert all((later >= earlier).all() for earlier, later in pairwise(nights))
    assert 0 < nights[0].sum() < nights[-1].sum() < 40  # of 320: about 1.6 and 19


def test_the_whole_benchmark_runs_on_few_made_up_reviews(reviews, tmp_path, monkeypatch):
    tiny = {"limit": 400, "sizes": (300,), "resamples": 1, "erosion_nights": 1,
            "erosion_holdouts": 1, "main_size": 300, "repetitions": 1, "good_models": 1,
            "nights": Nights(nights=2, holdout_rows=200)}  # fmt: skip
    monkeypatch.setattr(bench, "QUICK", tiny)
    asked = ["--reviews", str(reviews), "--quick", "--bootstrap-repeats", "100"]
    asked += ["--json", str(tmp_path / "gate.json"), "--markdown", str(tmp_path / "gate.md")]
    monkeypatch.setattr(sys, "argv", ["bench", *asked])

    bench.main()

    found = json.loads((tmp_path / "gate.json").read_text())
    titles = [table["title"].partition(":")[0] for table in found["tables"]]
    assert titles == ["Real models, holdouts of 300 reviews", "Erosion",
                      "What the simulation is calibrated on", "Simulation"]  # fmt: skip
    text = (tmp_path / "gate.md").read_text()
    assert "| held out rows leaked | 1 |" in text
    assert "| our gate |" in text
