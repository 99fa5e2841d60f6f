"""Check rules on a frame with Great Expectations, and read its results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.validation.rules import Rule

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Finding:
    """The result of one expectation: whether it crashed or passed, the observed value, the rows."""

    rule: Rule
    has_crashed: bool
    is_passed: bool
    observed: float | None
    rows: tuple[int, ...]


def run_rules(frame: pd.DataFrame, rules: list[Rule]) -> list[Finding]:
    """Check the rules with Great Expectations, in a context of their own that is thrown away.

    A shared context is corrupted by tasks that run at the same time; this one lives in memory.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    in_memory = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False),
    )
    context = gx.get_context(mode="ephemeral", project_config=in_memory)
    expectations = [
        rule.expectation(rule.column, severity="critical", meta={"rule": rule.name})
        for rule in rules
    ]
    suite = gx.ExpectationSuite(name="reviews", expectations=expectations)
    source = context.data_sources.add_pandas("memory").add_dataframe_asset("rows")
    definition = source.add_batch_definition_whole_dataframe("all")
    # Validating the batch itself does not store the result in the context, which would copy each
    # row's number several times.
    result = definition.get_batch(batch_parameters={"dataframe": frame}).validate(
        suite,
        result_format={
            "result_format": "COMPLETE",
            "exclude_unexpected_values": True,
            "return_unexpected_index_query": False,
        },
    )
    by_name = {line.expectation_config.meta["rule"]: line for line in result.results}
    return [_finding(rule, by_name.get(rule.name)) for rule in rules]


def _finding(rule: Rule, line: Any) -> Finding:
    """Great Expectations returns results in its own order and reports crashes inside them."""
    if line is None or _has_crashed(line.exception_info or {}):
        return Finding(rule, has_crashed=True, is_passed=False, observed=None, rows=())
    values = line.result
    rows = tuple(int(row) for row in values.get("unexpected_index_list") or ())
    observed = values.get("observed_value")
    is_number = observed is not None and math.isfinite(float(observed))
    return Finding(
        rule,
        has_crashed=False,
        is_passed=bool(line.success) and not rows,
        observed=float(observed) if is_number else None,
        rows=rows if rule.severity == "row" else (),
    )


def _has_crashed(info: dict[str, Any]) -> bool:
    nested = any(isinstance(part, dict) and part.get("raised_exception") for part in info.values())
    return bool(info.get("raised_exception")) or nested
