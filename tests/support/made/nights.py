"""Reviews of a night, and records of one that nobody ingested."""

from __future__ import annotations

from pipelines.core.store.bucket import Bucket
from pipelines.records.deliveries import MissingDelivery, Receipt
from pipelines.simulation.made_up import make_reviews
from tests.support.made.builders import Row

NIGHT = "2026-01-06"


def reviews_of_a_night(*, is_turned: bool = False) -> list[Row]:
    turned = {"positive": "negative", "negative": "positive"}
    rows = make_reviews(400, seed=29).to_pylist()
    return [
        {"review_id": f"j-{place}", "written_on": NIGHT, **row}
        | ({"label": turned[row["label"]], "rating": None} if is_turned else {})
        for place, row in enumerate(rows)
    ]


def a_receipt(night: str, name: str = "a.csv", **changes: object) -> Receipt:
    values = {
        "landing_key": f"landing/web/{night}/{name}", "version_tag": "1", "night": night,
        "delivery": "0" * 64, "verdict": "ACCEPTED", "why": "All count.", "delivered_rows": 1,
        "accepted_rows": 1, "quarantined_rows": 0, "held_rows": 0,
    }  # fmt: skip
    return Receipt.model_validate(values | changes)


def a_silence(night: str, source: str = "web") -> MissingDelivery:
    return MissingDelivery(
        night=night, source=source, expected_every_days=1, last_delivered_for=None
    )


def forge(bucket: Bucket, key: str) -> None:
    """What somebody without a key can put there."""
    bucket.put(key, b'{"night": "2026-01-19"}')
