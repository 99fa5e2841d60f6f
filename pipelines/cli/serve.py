"""The command that serves the champion by HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import Model, reports_errors
from pipelines.core.store.keyring import Keyring
from pipelines.steps.context import open_loop

USUAL_PORT = 8090


@reports_errors
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = USUAL_PORT,
    from_folder: Annotated[
        Path | None,
        typer.Option(help="A folder of 'champion pull', instead of the champion log."),
    ] = None,
    model: Model = None,
    is_quiet: Annotated[bool, typer.Option("--quiet", help="Log no line per request.")] = False,
) -> None:
    """Answer requests for scores with the champion, and take each new one when it comes."""
    from pipelines.evaluation.golden import load_golden
    from pipelines.serving.http import server
    from pipelines.serving.http.service import Service
    from pipelines.serving.prediction_log import PredictionLog
    from pipelines.serving.shadow import Shadow
    from pipelines.serving.sources import FolderSource, LogSource, Source
    from pipelines.serving.swap import Champions

    loop = open_loop("scoring", model)
    settings, serving = loop.settings, loop.settings.serving
    source: Source = (
        FolderSource(from_folder, Keyring(settings.trust.trusted_keys), settings.model.name)
        if from_folder
        else LogSource(loop.registry)
    )
    golden = load_golden(settings.evaluation.golden_file, settings.model.class_names)
    champions = Champions(source, golden, retry_seconds=serving.refused_retry_seconds)
    kept = serving.prediction_log
    service = Service(
        champions,
        serving,
        prediction_log=PredictionLog(loop.reviews, kept) if kept.is_enabled else None,
        shadow=Shadow(loop.registry, serving.shadow) if serving.shadow.version else None,
    )
    server.run(service, host=host, port=port, is_quiet=is_quiet)
