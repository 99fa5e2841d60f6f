"""The commands that watch the champion, write metrics, and export to other tools."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from pipelines.cli.output import (
    Actor,
    AsJson,
    Model,
    complain,
    failure_of,
    in_shell,
    parse_day,
    print_json,
    reports_errors,
)
from pipelines.cli.tables import out, print_table
from pipelines.core import config
from pipelines.core.errors import ConfigError, NoReviewsError, PromotionError, SourceError
from pipelines.core.escaping import visible
from pipelines.steps import exports
from pipelines.steps import monitor as steps_monitor
from pipelines.steps.context import open_loop

export_app = typer.Typer(
    help="Export to MLflow and OpenLineage, where `[exports]` says so.", no_args_is_help=True
)


@reports_errors
def monitor(
    night: Annotated[
        str | None, typer.Option(help="Up to which night. Default: the newest that counts.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Ask for a retraining, and why. Without it only triggers do.")
    ] = "",
    actor: Actor = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Judge the champion on nights that are not judged yet, and decide on a retraining.

    A retraining that is asked for is not run here: `retrain` does that.
    """
    from pipelines.core.store import clock

    asked_for = parse_day(night).isoformat() if night else None
    last = steps_monitor.find_night(asked_for, model)
    uris = steps_monitor.watch(last, model)
    now = clock.now(open_loop(None).reviews)
    who = f"{in_shell(actor)} at {clock.written(now)}"
    decided = steps_monitor.decide_trigger(last, now.date().isoformat(), who, reason, model)
    # Last: what the services were asked decides nothing, so its faults are in the way of nothing.
    days = steps_monitor.answered_days(steps_monitor.watch_answers(model), model)
    facts: dict[str, Any] = {
        "windows": [each.model_dump(mode="json") for each in steps_monitor.windows(uris, model)],
        "answers": [day.model_dump(mode="json") for day in days],
        "decision": steps_monitor.read_decision(decided, model).model_dump(mode="json")
        if decided else None,
    }  # fmt: skip
    if as_json:
        print_json(facts)
        return
    rows = [(each["night"], each["verdict"], f"{each['rows']:,}", each["why"])
            for each in facts["windows"]]  # fmt: skip
    print_table("Nights", ("night", "verdict", "reviews", "why"), rows, if_empty="Nothing new.")
    if days:
        lines = [(day.day, day.verdict, f"{day.texts:,}", day.why) for day in days]
        print_table("Answers", ("day", "verdict", "texts", "why"), lines, if_empty="Nothing new.")
    if facts["decision"]:
        said = "Retrain: " if facts["decision"]["is_started"] else "No retraining: "
        out.print(Text.assemble((said, "bold"), visible(facts["decision"]["why"])), soft_wrap=True)


@reports_errors
def export_window(
    night: Annotated[str, typer.Argument(help="The window's last night, YYYY-MM-DD.")],
    folder: Annotated[Path, typer.Argument(help="Where to write the two files.")],
    model: Model = None,
) -> None:
    """Write a judged night, and what it was compared with, as Parquet without texts."""
    from pipelines.monitoring import export, kept
    from pipelines.records.monitoring import Window

    loop, day = open_loop(None, model), parse_day(night).isoformat()
    nights = loop.settings.monitoring.window_nights
    found = kept.of_night(loop.reviews, loop.registry.name, day, nights=nights)
    window = kept.first_proven(loop.reviews, found, Window)
    if window is None:
        raise NoReviewsError(f"{day} was not judged. To judge it: python -m pipelines monitor")
    tables = export.tables(loop.reviews, loop.registry, window, loop.settings)
    for name, table in zip(("current", "reference"), tables, strict=True):
        path = folder / f"{day}-{name}.parquet"
        _replace(path, _as_parquet(table))
        out.print(Text(f"{path}: {table.num_rows:,} reviews"), soft_wrap=True)


def _as_parquet(table: Any) -> bytes:
    import io

    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@reports_errors
def metrics(
    output: Annotated[
        Path | None,
        typer.Option(help="Write to this file, whole or not at all. Default: standard output."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Answer scrapes of /metrics here until stopped; 0: any."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Where to listen, with --port.")] = "127.0.0.1",
) -> None:
    """Write metrics for Prometheus, from the records; for a textfile collector, or as a server."""
    from pipelines.monitoring import facts
    from pipelines.monitoring import metrics as monitoring_metrics

    if output is not None and port is not None:
        raise typer.BadParameter("metrics are written to --output or served at --port; choose one")
    loop = open_loop(None)

    def text() -> bytes:
        return monitoring_metrics.render(facts.read_all(loop.stores, config.load()))

    if port is not None:
        _serve(monitoring_metrics.Cached(text), monitoring_metrics.CONTENT_TYPE, host, port)
    elif output is None:
        sys.stdout.write(text().decode())
    else:
        _replace(output, text())


def _serve(scrape: Callable[[], bytes], content_type: str, host: str, port: int) -> None:
    """Answer scrapes until SIGTERM or Ctrl-C. What goes wrong with one is its answer, a 503."""

    class Scraped(BaseHTTPRequestHandler):
        timeout = 30  # seconds that a client may take to ask

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404, "metrics are at /metrics")
                return
            try:
                body = scrape()
            except Exception as error:  # noqa: BLE001 - the next scrape may succeed
                complain(failure_of(error))
                self.send_error(503, "the records cannot be read; the log says why")
                return
            with contextlib.suppress(ConnectionError):  # whoever asked is gone
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of each scrape."""

    try:
        server = ThreadingHTTPServer((host, port), Scraped)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    out.print(f"metrics: http://{host}:{server.server_port}/metrics", soft_wrap=True)
    with server, contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _replace(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".metrics-", delete=False) as part:
            part.write(data)
        Path(part.name).chmod(0o644)
        os.replace(part.name, path)  # noqa: PTH105 - atomic
    except OSError as error:
        with contextlib.suppress(OSError, NameError):
            Path(part.name).unlink(missing_ok=True)
        raise SourceError(f"cannot write {path}: {error.strerror}. Choose another file.") from error


@export_app.command()
@reports_errors
def champion(model: Model = None) -> None:
    """Export the champion in use: its version to MLflow, its origin to OpenLineage."""
    loop = open_loop(None, model)
    entry = loop.registry.log.champion()
    if entry is None:
        raise PromotionError("there is no champion yet. To make one: python -m pipelines retrain")
    _print(exports.champion(loop, loop.registry.log.began(entry)))


@export_app.command()
@reports_errors
def night(
    day: Annotated[str, typer.Argument(help="The night that processed them, YYYY-MM-DD.")],
) -> None:
    """Export what became of a night's deliveries to OpenLineage."""
    _print(exports.night_of(open_loop(None), parse_day(day).isoformat()))


def _print(lines: Sequence[str]) -> None:
    if not lines:
        raise ConfigError(
            "nothing is exported: [exports] sets no target for this. A champion that was put back "
            "is no news to OpenLineage"
        )
    for line in lines:
        out.print(Text(visible(line)), soft_wrap=True)
