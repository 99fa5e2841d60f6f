"""Alerts for tests."""

from __future__ import annotations

from typing import Any

from pipelines.alerts.alert import Alert, Link, Run, make_alert
from pipelines.core.settings.operation import AlertName

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> {{ 7 * 7 }} \u202egpj.exe "
    "<!channel> <@U123> @here *bold* <https://evil.example|click> =HYPERLINK(1) a\r\nb"
)
LINKS = (
    Link(name="run", url="https://airflow.example.org/dags/x/runs/y"),
    Link(name="report", url="s3://reviews/reports/r/report.html"),
)


def an_alert(
    kind: AlertName = "held_delivery",
    identity: str = "a" * 64,
    title: str = "A delivery of source 'web' is held",
    sentences: tuple[str, ...] = ("None of its 5 rows count.",),
    run_id: str = "manual__1",
    **more: Any,
) -> Alert:
    run = Run(dag_id="reviews_ingest", run_id=run_id)
    return make_alert(
        kind, identity, title, sentences, run=run, night="2026-01-05", **({"links": LINKS} | more)
    )
