"""Build events again with OpenLineage's own client, in its own virtual environment.

Run by that environment's Python: a list of events on standard input, the client's own form of them
on standard output. It knows each facet by the name in its ``_schemaURL``.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def _facets(given: dict[str, Any]) -> dict[str, Any]:
    import importlib
    import pkgutil

    from openlineage.client import generated

    modules = [
        importlib.import_module(f"{generated.__name__}.{found.name}")
        for found in pkgutil.iter_modules(generated.__path__)
    ]
    made = {}
    for name, facet in given.items():
        kind = facet["_schemaURL"].rpartition("/")[2]
        facet_class = next(getattr(one, kind) for one in modules if hasattr(one, kind))
        values = {key: value for key, value in facet.items() if not key.startswith("_")}
        made[name] = facet_class(producer=facet["_producer"], **values)
    return made


def main() -> None:
    from openlineage.client import event_v2
    from openlineage.client.serde import Serde

    def dataset(kind: Any, given: dict[str, Any], own: str) -> Any:
        more = {own: _facets(given.get(own, {}))}
        return kind(given["namespace"], given["name"], facets=_facets(given["facets"]), **more)

    rebuilt = [
        event_v2.RunEvent(
            eventTime=event["eventTime"],
            eventType=event_v2.RunState(event["eventType"]),
            producer=event["producer"],
            run=event_v2.Run(event["run"]["runId"], facets=_facets(event["run"]["facets"])),
            job=event_v2.Job(
                event["job"]["namespace"],
                event["job"]["name"],
                facets=_facets(event["job"]["facets"]),
            ),
            inputs=[dataset(event_v2.InputDataset, one, "inputFacets") for one in event["inputs"]],
            outputs=[
                dataset(event_v2.OutputDataset, one, "outputFacets") for one in event["outputs"]
            ],
        )
        for event in json.load(sys.stdin)
    ]
    json.dump([Serde.to_dict(event) for event in rebuilt], sys.stdout)


if __name__ == "__main__":
    main()
