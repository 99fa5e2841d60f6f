"""What Great Expectations costs beside the same checks in plain pandas, in CPU seconds.

Both decode the same file and measure the same rows; one has Great Expectations check the rules, the
other compares the columns itself. The import is left out: it is
paid once per process. Made-up reviews serve, the figures hardly depend on the texts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd
import pyarrow as pa

from pipelines.core import config
from pipelines.intake.files.decoding import Rows, decode
from pipelines.simulation.damage import DELIVERED_SCHEMA
from pipelines.simulation.film_site import encode
from pipelines.simulation.made_up import make_reviews
from pipelines.validation import checks
from pipelines.validation.gx_runner import Finding, run_rules
from pipelines.validation.rules import LABELS, Rule

NIGHT = date(2026, 1, 5)
MOST_TIMES = 2.0  # the promise: at most so many times the CPU of plain pandas


def made_up_file(rows: int) -> bytes:
    table = make_reviews(rows, seed=1)
    columns = {
        "review_id": [f"r-{number}" for number in range(rows)],
        **{name: table[name] for name in ("movie_id", "text", "label", "rating")},
        "written_on": [NIGHT.isoformat()] * rows,
    }
    return encode(pa.table(columns, schema=DELIVERED_SCHEMA), "parquet")


def plain_pandas(frame: pd.DataFrame, rules: list[Rule]) -> list[Finding]:
    """The rules of `validation.rules` and `validation.drift`, without Great Expectations."""
    return [_checked(frame, rule) for rule in rules]


def _checked(frame: pd.DataFrame, rule: Rule) -> Finding:
    expectation = rule.expectation(rule.column)
    low, high = getattr(expectation, "min_value", None), getattr(expectation, "max_value", None)
    if rule.severity != "row":
        observed = (
            float(len(frame)) if rule.name == "row_count" else float(frame[rule.column].mean())
        )
        is_passed = (low is None or observed >= low) and (high is None or observed <= high)
        return Finding(rule, False, is_passed, observed, ())
    column = frame[rule.column]
    if rule.name == "label_missing":
        broken = column.isna()
    elif rule.name == "label_unknown":
        broken = column.notna() & ~column.isin(LABELS)
    elif rule.name == "text_length":
        broken = column.notna() & ~column.between(low, high)
    else:
        broken = column.astype(bool)
    rows = tuple(int(row) for row in broken.to_numpy().nonzero()[0])
    return Finding(rule, False, not rows, None, rows)


def checked(body: bytes, runner: Callable[[pd.DataFrame, list[Rule]], list[Finding]]) -> Any:
    settings = config.load()
    rows: Rows = decode(body, "parquet", is_gzipped=False, intake=settings.intake)
    with mock.patch.object(checks, "run_rules", runner):
        return checks.check_rows(rows, night=NIGHT, settings=settings.validation)


def cpu_seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warm_up, body = made_up_file(100), made_up_file(arguments.rows)
    runners = {"great_expectations": run_rules, "plain_pandas": plain_pandas}
    reasons = {name: checked(warm_up, runner).reasons for name, runner in runners.items()}
    assert reasons["great_expectations"] == reasons["plain_pandas"]
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(arguments.repeats):
        for name, runner in runners.items():
            seconds[name].append(cpu_seconds(partial(checked, body, runner)))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    times = median["great_expectations"] / median["plain_pandas"]
    report = {"rows": arguments.rows, "cpu_seconds": median, "times_plain_pandas": times}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    if times > MOST_TIMES:
        sys.exit(f"{times:.2f} times plain pandas, promised are {MOST_TIMES}")


if __name__ == "__main__":
    main()
