"""The retraining loop from a shell: the same steps as Airflow's tasks, on the same S3.

Credentials and endpoint come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_ENDPOINT_URL_S3 (or a profile or role); settings come from the file that LOOP_CONFIG names.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer
from rich.logging import RichHandler

from pipelines.cli.alerts import alerts_app
from pipelines.cli.champion import champion_app, score
from pipelines.cli.decisions import decision_app
from pipelines.cli.deliveries import delivery_app
from pipelines.cli.housekeeping import housekeeping
from pipelines.cli.ingest import ingest, init, simulate
from pipelines.cli.keys import keys_app
from pipelines.cli.monitor import export_app, export_window, metrics, monitor
from pipelines.cli.retrain import retrain
from pipelines.cli.serve import serve
from pipelines.cli.tables import err

logger = logging.getLogger(__name__)

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
)
for command in (
    init, simulate, ingest, retrain, monitor, metrics, export_window, score, serve, housekeeping,
):  # fmt: skip
    app.command()(command)
app.add_typer(champion_app, name="champion")
app.add_typer(delivery_app, name="delivery")
app.add_typer(decision_app, name="decision")
app.add_typer(alerts_app, name="alerts")
app.add_typer(export_app, name="export")
app.add_typer(keys_app, name="keys")


@app.callback()
def main(
    is_verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also log each step to standard error.")
    ] = False,
) -> None:
    level = logging.INFO if is_verbose else logging.WARNING
    logging.basicConfig(
        level=level,
        format="%(message)s",
        handlers=[RichHandler(console=err, show_path=False, markup=False)],
    )
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding must not fail
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
