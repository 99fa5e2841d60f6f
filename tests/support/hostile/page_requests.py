"""Text that tries to act, in every place where a delivery can bring text."""

from __future__ import annotations

from tests.support.made.builders import Row, some_rows

SENTINEL = "__pwned"
MARKUP = (
    f"<script>window.{SENTINEL}=1</script>",
    f'<img src=x onerror="window.{SENTINEL}=1">',
    f"\"'><svg/onload=window.{SENTINEL}=1>",
    f"</td></table></pre></textarea></title><script>top.{SENTINEL}=1</script>",
    f'<iframe srcdoc="<script>parent.{SENTINEL}=1</script>"></iframe>',
    "<style>@import 'http://evil.example/x.css';</style>",
    '<meta http-equiv="refresh" content="0;url=http://evil.example/">',
    '<a href="javascript:alert(1)">x</a> [x](javascript:alert(1)) ![x](http://evil.example/y.png)',
    "{{7*7}} {% for x in [] %} ${7*7} <%= 7*7 %> #{7*7}",
    "\u202eright to left\u202c \u2066isolated\u2069 \u200bno width \x07bell \x1b[31mred \x00nul",
    '=HYPERLINK("http://evil.example") +1+1 -1+1 @SUM(1)',
)
FILE_NAME = f'=1+1 <img src=x onerror="window.{SENTINEL}=1">{{{{7*7}}}}\u202e.csv'


def rows(night: str) -> list[Row]:
    """Forty rows that hold nothing else, each kind of them among the rows that break a rule."""
    return [
        row | {
            "text": f"{MARKUP[place % len(MARKUP)]} {row['text']}",
            "review_id": f"{MARKUP[(place + 1) % len(MARKUP)]} {place}",
            "movie_id": MARKUP[(place + 2) % len(MARKUP)],
            "label": "so so" if place % len(MARKUP) >= len(MARKUP) - 3 else row["label"],
        }
        for place, row in enumerate(some_rows(40, first=9_000, night=night))
    ]  # fmt: skip
