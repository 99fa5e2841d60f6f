"""Which DAGs the pages are about, and the way to the pages of a DAG's runs and forms."""

from __future__ import annotations

from pipelines.core import config, links

# The page above those of a DAG's forms and runs.
WAYS = {
    links.RETRAIN: [("Champion", links.champion_link())],
    links.ROLLBACK: [("Champion", links.champion_link())],
    links.RELEASE: [("Champion", links.champion_link())],
    links.MONITOR: [("Monitoring", links.monitoring_link())],
    links.INGEST: [("Incidents", links.incidents_link())],
    links.REPLAY: [("Incidents", links.incidents_link())],
}


def is_ours(dag_id: str) -> bool:
    """Whether a DAG is one of the loop: about deliveries, or about a configured model."""
    return dag_id in {links.INGEST, links.REPLAY} or config.load().model_of(dag_id) is not None


def way_to(dag_id: str) -> list[tuple[str, str]]:
    """The page above those of a DAG's forms and runs, about the same model."""
    model = config.load().model_of(dag_id) or ""
    way = WAYS[links.of_first(dag_id)] if is_ours(dag_id) else []
    return [(label, links.about(link, model)) for label, link in way]
