"""Differences of two groups: their size, what chance reaches, and that nothing else matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipelines.monitoring import two_samples
from pipelines.monitoring.word_table import BUCKETS, Documents, WordTable

VALUES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60)
COUNTS = st.tuples(st.integers(1, 500), st.integers(1, 500)).flatmap(
    lambda rows: st.tuples(
        st.integers(0, rows[0]), st.just(rows[0]), st.integers(0, rows[1]), st.just(rows[1])
    )
)


@given(VALUES, VALUES)
def test_the_distance_of_distributions_is_scipys_and_symmetric(one, other):
    one, other = np.array(one), np.array(other)

    found = two_samples.kolmogorov_smirnov(one, other, significance=0.01)

    assert found.value == pytest.approx(stats.ks_2samp(one, other, method="asymp").statistic)
    assert found == two_samples.kolmogorov_smirnov(other, one, significance=0.01)
    assert 0 < found.p_value <= 1


@given(VALUES)
def test_equal_groups_do_not_differ(values):
    values = np.array(values)

    assert two_samples.kolmogorov_smirnov(values, values, significance=0.01).value == 0
    assert two_samples.rise(values, values, significance=0.01).value == 0


@given(COUNTS)
def test_shares_differ_both_ways_and_fall_one_way(counts):
    part, rows, usual_part, usual_rows = counts

    change = two_samples.shares(*counts, significance=0.01)
    fall = two_samples.fall(*counts, significance=0.01)

    assert change.value == pytest.approx(abs(part / rows - usual_part / usual_rows))
    assert fall.value == pytest.approx(usual_part / usual_rows - part / rows)
    assert change.chance > 0
    assert 0 < fall.p_value <= 1


def test_a_share_by_hand():
    """Half of 100 after 60 % of 100: the standard error of equal shares of 0.55 is 0.0704."""
    found = two_samples.shares(50, 100, 60, 100, significance=0.05)

    assert found.value == pytest.approx(0.1)
    assert found.chance == pytest.approx(1.96 * 0.0704, abs=0.001)
    assert found.p_value == pytest.approx(0.155, abs=0.002)


def test_what_chance_reaches_shrinks_with_the_reviews_and_grows_with_certainty():
    chances = [
        two_samples.shares(rows // 2, rows, 2000, 4000, significance=0.01).chance
        for rows in (200, 1000, 5000)
    ]
    strict = two_samples.shares(100, 200, 2000, 4000, significance=0.0001).chance

    assert chances == sorted(chances, reverse=True)
    assert strict > chances[0]


def documents(rng, rows, words, shares):
    """Reviews that have each word with a probability."""
    has = rng.random((rows, words)) < shares
    return Documents(np.nonzero(has)[1].astype(np.int32), has.sum(axis=1).astype(np.int64))


@pytest.mark.long
def test_chance_alone_rarely_reaches_the_limit_of_any_test():
    """At 2 % each, 60 pairs of equal groups: 1.2 alarms are expected per test, 6 have p < 0.1 %."""
    rng = np.random.default_rng(1)
    buckets = np.arange(300, dtype=np.int32)
    alarms = {"ks": 0, "words": 0, "classifier": 0, "rise": 0}

    for _ in range(60):
        one, usual = documents(rng, 200, 300, 0.1), documents(rng, 400, 300, 0.1)
        scores = rng.random(200), rng.random(400)
        found = {
            "ks": two_samples.kolmogorov_smirnov(*scores, significance=0.02),
            "rise": two_samples.rise(*scores, significance=0.02),
            "words": two_samples.presence(
                one.presence(buckets), usual.presence(buckets), significance=0.02
            ),
            "classifier": two_samples.tell_apart(
                one, usual, words=300, significance=0.02
            ).difference,
        }
        for name, difference in found.items():
            alarms[name] += difference.value > difference.chance

    assert max(alarms.values()) <= 5


def test_a_changed_vocabulary_is_seen_by_words_and_classifier_and_named():
    rng = np.random.default_rng(2)
    shares = np.full(300, 0.1)
    changed = shares.copy()
    changed[7], changed[11] = 0.5, 0.0
    one, usual = documents(rng, 400, 300, changed), documents(rng, 400, 300, shares)
    buckets = np.arange(300, dtype=np.int32)

    words = two_samples.presence(one.presence(buckets), usual.presence(buckets), significance=0.001)
    told = two_samples.tell_apart(one, usual, words=300, significance=0.001)

    assert words.value > words.chance
    assert told.difference.value > told.difference.chance
    assert set(told.words[:2].tolist()) == {7, 11}
    assert told.shares[told.words.tolist().index(11)] == 0


def test_a_word_of_a_few_reviews_is_not_named():
    table = WordTable()
    one = table.read(["the film is good"] * 200 + ["zanzibarsecret film"] * 4)
    usual = table.read(["the film is bad"] * 200)

    told = two_samples.tell_apart(one, usual, words=len(table), significance=0.001)

    assert "zanzibarsecret" not in [table.names[number] for number in told.words]


@given(st.lists(st.text(max_size=80), max_size=20))
def test_a_table_of_words_reads_any_text_and_gives_the_same_numbers_again(texts):
    table = WordTable()
    first = table.read(texts)
    known = len(table)

    again = table.read(texts)

    assert len(table) == known
    assert first.ids.tolist() == again.ids.tolist()
    assert first.lengths.sum() == len(first.ids)
    assert (
        all(
            (np.diff(part) > 0).all() for part in np.split(first.ids, np.cumsum(first.lengths)[:-1])
        )
        or not texts
    )
    assert WordTable(table.names).read(texts).ids.tolist() == first.ids.tolist()


def test_words_that_nobody_knew_are_counted_per_review():
    table = WordTable()
    table.read(["a good film"])

    read = table.read(["a good film", "a new film", "quite new"])

    assert read.share_from(3).tolist() == pytest.approx([0, 1 / 3, 1])
    assert read.take(np.array([2, 0])).lengths.tolist() == [2, 3]
    assert read.presence(table.buckets()).shape == (3, BUCKETS)
