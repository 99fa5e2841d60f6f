"""Reviews that grow are such as a site delivers: no benchmark is of a delivery that is held."""

from __future__ import annotations

import re

import numpy as np

from benchmarks.bench_growth import Grown
from pipelines.features import signatures
from pipelines.features.fingerprints import fingerprint

TEXT = "A film.<br /><br />It begins late, <br /> and " + " ".join(f"word{n}" for n in range(150))


def grown(copies, **more):
    reviews = Grown([TEXT], np.array([1], np.int8), np.array(["film"]), copies, **more)
    return reviews.partition(0, copies)


def test_a_copy_keeps_each_line_break_whole_or_drops_it():
    texts = grown(200)

    assert len(set(texts)) > 190
    assert [text for text in texts if re.search("[<>]", text.replace("<br />", ""))] == []


def test_copies_with_three_words_in_ten_dropped_are_not_almost_the_same():
    def near_share(texts):
        own = signatures.signatures(fingerprint(texts, signatures.VIEW))
        return signatures.near_repeats(own).mean()

    assert near_share(grown(100)) > 0.03
    assert near_share(grown(100, dropped=0.3)) == 0
