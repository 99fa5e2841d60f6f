"""Into how many tasks packs are shared out."""

import pytest

from pipelines.features.packs import shares


@pytest.mark.parametrize(
    ("packs", "of"), [(0, 1), (1, 1), (50, 1), (51, 2), (50_000, 1000), (10_000_000, 1000)]
)
def test_no_more_than_airflow_maps_over(packs, of):
    assert shares(packs, 50) == [(number, of) for number in range(of)]
