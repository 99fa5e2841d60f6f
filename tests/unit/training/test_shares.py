"""Into how many tasks the partitions without features are shared out."""

from types import SimpleNamespace

import pytest

from pipelines.features import fingerprint_cache
from pipelines.intake import snapshot
from pipelines.steps import retrain


@pytest.mark.parametrize(
    ("missing", "of"), [(0, 1), (1, 1), (50, 1), (51, 2), (50_000, 1000), (10_000_000, 1000)]
)
def test_no_more_than_airflow_maps_over(monkeypatch, missing, of):
    monkeypatch.setattr(snapshot, "pinned", lambda *_: None)
    monkeypatch.setattr(fingerprint_cache, "missing_packs", lambda *_: missing)
    monkeypatch.setattr(retrain, "_views", lambda *_: [None])
    settings = SimpleNamespace(training=SimpleNamespace(packs_per_task=50))

    shares = retrain._shares(SimpleNamespace(reviews=None, settings=settings), None)

    assert shares == [(number, of) for number in range(of)]
