"""Write the Grafana dashboards: ``python -m ops.dashboards`` after a change of the panels below.

Each panel is one line here: its title, what it says, its unit, and its queries. The files in
``ops/grafana/dashboards`` are made from that, and a test compares them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
COLUMNS, WIDTH, HEIGHT = 24, 12, 8
DATASOURCE = {"type": "prometheus", "uid": "prometheus"}

Unit = Literal["percentunit", "none", "short", "d", "s", "reqps", "bool"]
Kind = Literal["timeseries", "stat", "bargauge"]


@dataclass(frozen=True)
class Panel:
    """One panel; ``queries`` are pairs of a legend and PromQL."""

    title: str
    says: str
    unit: Unit
    queries: tuple[tuple[str, str], ...]
    kind: Kind = "timeseries"


_TRIGGERS = 'loop_trigger_observed{kind="trigger"} / loop_trigger_threshold'
_GOOD_NIGHT_AGE = "(loop_read_timestamp_seconds - loop_last_good_night_timestamp_seconds) / 86400"
_REQUESTS = "sum by (model) (rate(loop_scoring_requests_total[5m]))"
_FAULTS = 'sum by (model) (rate(loop_scoring_requests_total{status=~"5.."}[5m]))'
_SECONDS = "sum by (model, le) (rate(loop_scoring_seconds_bucket[5m]))"

LOOP = (
    Panel("Verdict on the newest night", "1 for the verdict on the newest judged night.", "bool",
          (("{{verdict}}", "loop_window_verdict"),), "stat"),
    Panel("Age of the newest night", "Days since the newest judged night began.", "d",
          (("days", "loop:window_age_days"),), "stat"),
    Panel("Age of the last good night", "Days since the newest night began that brought reviews "
          "and left none held.", "d", (("days", _GOOD_NIGHT_AGE),), "stat"),
    Panel("Incidents that wait", "Held rows of a source and night, and silent sources.", "short",
          (("{{kind}}", "loop_incidents_open"),)),
    Panel("Rows by source", "What became of the rows of the newest night.", "short",
          (("{{source}} {{kind}}", "loop_rows"),)),
    Panel("Coverage", "The share of the delivered rows that count.", "percentunit",
          (("coverage", "loop_window_coverage_ratio"),)),
    Panel("Decisions on the present champion", "What the gate decided against it.", "short",
          (("{{verdict}}", "loop_decisions"),), "bargauge"),
    Panel("Waiting for people", "Models that wait for an answer, and alerts that reached nobody.",
          "short", (("approvals", "loop_approvals_pending"), ("alerts", "loop_alerts_unsent"))),
    Panel("How long the champion's steps took", "From what the step before stored to what each "
          "stored; to promote takes a person's answer, too.", "s",
          (("{{step}}", "loop_champion_step_seconds"),), "bargauge"),
    Panel("The slowest file of the newest night", "From when it was taken up to when it was "
          "decided.", "s", (("seconds", "loop_delivery_longest_seconds"),), "stat"),
    Panel("Triggers", "What the monitor's last decision saw, as a multiple of its threshold.",
          "none", (("{{check}}", _TRIGGERS),)),
    Panel("Records that cannot be read", "1 where a part of the records cannot be read.", "bool",
          (("{{part}}", "loop_read_errors"),)),
)  # fmt: skip

MODEL = (
    Panel("Accuracy on new reviews", "The champion on reviews that it had not learned, with its "
          "95 % interval, and what is usual for it.", "percentunit",
          (("right", "loop_fresh_accuracy_ratio"), ("low", "loop_fresh_accuracy_low_ratio"),
           ("high", "loop_fresh_accuracy_high_ratio"), ("usual", "loop_usual_accuracy_ratio"))),
    Panel("Estimate without labels", "The accuracy that its own confidence speaks for, with its "
          "95 % interval. It cannot notice labels that changed.", "percentunit",
          (("estimate", "loop_estimated_accuracy_ratio"),
           ("low", "loop_estimated_accuracy_low_ratio"),
           ("high", "loop_estimated_accuracy_high_ratio"))),
    Panel("Loss against its limit", "How much less often than usual it is right. Above the limit "
          "the night is FADING.", "percentunit",
          (("loss", "loop_fresh_loss_ratio"), ("limit", "loop_fresh_loss_limit_ratio"))),
    Panel("Drift as a multiple of its limit", "Above 1 the night has DRIFT.", "none",
          (("{{test}}", "loop:drift_of_limit"),)),
    Panel("Estimate on what was asked", "The same for the newest judged day of the services' "
          "answers, whose labels nobody knows. Empty while the prediction log is off.",
          "percentunit",
          (("estimate", "loop_answers_estimated_accuracy_ratio"),
           ("low", "loop_answers_estimated_accuracy_low_ratio"),
           ("high", "loop_answers_estimated_accuracy_high_ratio"))),
    Panel("What was asked, as a multiple of its limits", "Above 1 the day is FADING, by its "
          "estimated loss, or has DRIFT, by a test.", "none",
          (("loss", "loop_answers_loss_ratio / (loop_answers_loss_limit_ratio > 0)"),
           ("{{test}}", "loop:answers_drift_of_limit"))),
    Panel("Scores at the gate", "On the holdout, its newest nights and the golden set, when it was "
          "promoted.", "percentunit", (("{{set}}", "loop_gate_accuracy_ratio"),), "bargauge"),
    Panel("Margins at the gate", "How far it was from each limit of its gate.", "none",
          (("{{rule}}", "loop:gate_margin"),), "bargauge"),
    Panel("Generation", "The number of the champion in its log.", "short",
          (("generation", "loop_champion_generation"),), "stat"),
    Panel("Age of the champion", "Days since it became champion.", "d",
          (("days", "loop:champion_age_days"),), "stat"),
)  # fmt: skip

SERVICE = (
    Panel("Requests", "Requests each second, by route and status.", "reqps",
          (("{{route}} {{status}}",
            "sum by (model, route, status) (rate(loop_scoring_requests_total[5m]))"),)),
    Panel("Errors", "The share of requests that ended in a fault of the service.", "percentunit",
          (("errors", f"({_FAULTS} or 0 * {_REQUESTS}) / {_REQUESTS}"),)),
    Panel("Seconds to an answer", "Median and 99th percentile.", "s",
          (("median", f"histogram_quantile(0.5, {_SECONDS})"),
           ("99 %", f"histogram_quantile(0.99, {_SECONDS})"))),
    Panel("Champion that answers", "The generation that each instance serves, and the newest in "
          "the log.", "short", (("{{instance}}", "loop_scoring_generation"),
                            ("in the log", "loop_champion_generation"))),
    Panel("Ready", "Whether a champion answers, by instance.", "bool",
          (("{{instance}}", "loop_scoring_is_ready"),), "stat"),
    Panel("Swaps", "Champions that took over, and that were refused.", "short",
          (("taken {{instance}}", "loop_scoring_swaps_total"),
           ("refused {{instance}}", "loop_scoring_refused_total"))),
)  # fmt: skip

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "loop": ("Retraining: the loop", LOOP),
    "model": ("Retraining: the model", MODEL),
    "service": ("Retraining: the service", SERVICE),
}


# Which models are shown; all unless somebody chooses.
_MODELS = {
    "name": "model", "label": "Model", "type": "query", "datasource": DATASOURCE,
    "query": "label_values(loop_champion_generation, model)", "refresh": 2,
    "multi": True, "includeAll": True, "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}  # fmt: skip
_OF_A_MODEL = re.compile(r"(loop[_:](?!alerts_unsent)\w+)(?:\{([^}]*)\})?")


def of_models(query: str) -> str:
    """A query of the chosen models; one that is about no model stays as it is."""
    return _OF_A_MODEL.sub(
        lambda found: f'{found[1]}{{model=~"$model"{"," + found[2] if found[2] else ""}}}', query
    )


def _is_about_a_model(panel: Panel) -> bool:
    return any(of_models(query) != query for _, query in panel.queries)


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard in Grafana's own form."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"retraining-{name}",
        "title": title,
        "tags": ["retraining"],
        "timezone": "utc",
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-30d", "to": "now"},
        "templating": {"list": [_MODELS] if any(map(_is_about_a_model, panels)) else []},
        "annotations": {"list": []},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    per_line = COLUMNS // WIDTH
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "gridPos": {
            "x": number % per_line * WIDTH, "y": number // per_line * HEIGHT,
            "w": WIDTH, "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {} if panel.kind == "timeseries" else {
            "reduceOptions": {"calcs": ["lastNotNull"]}
        },
        "targets": [
            {"refId": chr(ord("A") + place), "expr": of_models(query),
             "legendFormat": legend if of_models(query) == query else f"{{{{model}}}} {legend}",
             "datasource": DATASOURCE}
            for place, (legend, query) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def text(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(dashboard(name), indent=1, sort_keys=True) + "\n"


def main(names: Sequence[str] = tuple(DASHBOARDS)) -> int:
    for name in names:
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / f"{name}.json").write_text(text(name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
