"""A dataset's fingerprints come in the order asked for, whatever the partitions."""

from __future__ import annotations

import numpy as np
import pytest
from test_features import a_partition, a_snapshot, plain

from pipelines.dataset import load_dataset
from pipelines.fingerprints import fingerprint

SIZE = {"ngram_max": 2, "bits": 40}


@pytest.mark.parametrize(
    "rows", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [1, 7], [11, 0, 6], [3, 3, 9], [8], []]
)
def test_fingerprints_come_in_the_order_asked_for(stores, rows):
    parts, texts = zip(*(a_partition(stores, first=6 * number) for number in range(2)), strict=True)
    dataset = load_dataset(stores.reviews, a_snapshot(*parts))

    found = dataset.fingerprints(np.array(rows, np.int64), **SIZE)

    every = [text for part in texts for text in part]
    assert plain(found) == plain(fingerprint([every[row] for row in rows], **SIZE))


def test_a_text_seen_before_is_left_out_of_the_later_partition(stores):
    (first, texts), (second, later) = (
        a_partition(stores, first=0),
        a_partition(stores, first=3),  # its first three rows are the last three of the other
    )
    dataset = load_dataset(stores.reviews, a_snapshot(first, second))

    found = list(dataset.fingerprints_by_partition(np.arange(9), **SIZE))

    assert [rows.tolist() for rows, _ in found] == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert plain(found[0][1]) == plain(fingerprint(texts, **SIZE))
    assert plain(found[1][1]) == plain(fingerprint(later[3:], **SIZE))
