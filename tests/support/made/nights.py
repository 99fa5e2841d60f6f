"""Reviews of a night."""

from __future__ import annotations

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
