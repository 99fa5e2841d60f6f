"""The commands that export to other tools, by `[exports]` of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from pipelines.cli.output import parse_day, reports_errors
from pipelines.cli.tables import out
from pipelines.core.errors import ConfigError, PromotionError
from pipelines.core.escaping import visible
from pipelines.steps import exports
from pipelines.steps.context import open_loop

export_app = typer.Typer(
    help="Export to MLflow and OpenLineage, where `[exports]` says so.", no_args_is_help=True
)


@export_app.command()
@reports_errors
def champion() -> None:
    """Export the champion in use: its version to MLflow, its origin to OpenLineage."""
    loop = open_loop(None)
    entry = loop.registry.log.champion()
    if entry is None:
        raise PromotionError("there is no champion yet. To make one: python -m pipelines retrain")
    _print(exports.champion(loop, entry))


@export_app.command()
@reports_errors
def night(
    day: Annotated[str, typer.Argument(help="The night that processed them, YYYY-MM-DD.")],
) -> None:
    """Export what became of a night's deliveries to OpenLineage."""
    _print(exports.night_of(open_loop(None), parse_day(day).isoformat()))


def _print(lines: Sequence[str]) -> None:
    if not lines:
        raise ConfigError("nothing is exported: no target for this is set in [exports]")
    for line in lines:
        out.print(Text(visible(line)), soft_wrap=True)
