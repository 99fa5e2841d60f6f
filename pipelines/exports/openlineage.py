"""Which objects came from which, as OpenLineage events: by hand, since a few of its facets do.

A dataset is an object of a bucket: namespace ``s3://<bucket>``, name its key. A run is named by
the record that it left, so an event that is sent again is about the same run.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import ExportError
from pipelines.core.keys import raw_key

if TYPE_CHECKING:
    from pipelines.core.store.bucket import Bucket
    from pipelines.core.store.stores import Stores
    from pipelines.records.data import Partition, Snapshot
    from pipelines.records.deliveries import Outcome
    from pipelines.records.succession import LogEntry
    from pipelines.records.versions import Manifest

Event = dict[str, Any]

KEY = "OPENLINEAGE_API_KEY"
NAMESPACE = "retraining-loop"
PRODUCER = "https://retraining-loop.invalid"  # this project has no public address
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = "https://openlineage.io/spec/facets"


def of_champion(
    stores: Stores, entry: LogEntry, manifest: Manifest, snapshot: Snapshot, *, job: str
) -> list[Event]:
    """From the accepted rows of a snapshot to the champion; ``job`` is the DAG that made it."""
    reviews, models = stores.reviews, stores.models
    model = _dataset(models, manifest.model_key, version=manifest.version)
    model["outputFacets"] = {
        "outputStatistics": _facet("1-0-2", "OutputStatisticsOutputDatasetFacet",
                                   size=manifest.model_size_bytes),
    }  # fmt: skip
    return _run(
        f"{models.uri(entry.object_key)} {entry.digest()}", job, entry.at,
        inputs=[_rows(reviews, part) for part in snapshot.partitions],
        outputs=[model, _dataset(models, entry.object_key, version=str(entry.generation))],
    )  # fmt: skip


def of_delivery(reviews: Bucket, outcome: Outcome, at: str) -> list[Event]:
    """From a delivered file to the rows that count and those that do not."""
    parts = [*outcome.accepted_parts, *outcome.quarantined_parts]
    return _run(
        f"{reviews.uri(outcome.object_key)} {outcome.digest()}", "reviews_ingest", at,
        inputs=[_dataset(reviews, raw_key(outcome.delivery), version=outcome.delivery)],
        outputs=[_written(reviews, part) for part in parts],
    )  # fmt: skip


def _run(
    identity: str, job: str, at: str, *, inputs: Sequence[Event], outputs: Sequence[Event]
) -> list[Event]:
    """The start and the end of a run, which the specification both asks for."""
    common: Event = {
        "eventTime": at,
        "producer": PRODUCER,
        "schemaURL": SCHEMA,
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)), "facets": {}},
        "job": {
            "namespace": NAMESPACE, "name": job,
            "facets": {"jobType": _facet("2-0-4", "JobTypeJobFacet", processingType="BATCH",
                                         integration="RETRAINING_LOOP", jobType="DAG")},
        },
    }  # fmt: skip
    return [
        {"eventType": "START", **common, "inputs": [], "outputs": []},
        {"eventType": "COMPLETE", **common, "inputs": [*inputs], "outputs": [*outputs]},
    ]


def _dataset(bucket: Bucket, key: str, *, version: str) -> Event:
    facets = {"version": _facet("1-0-1", "DatasetVersionDatasetFacet", datasetVersion=version)}
    return {"namespace": f"s3://{bucket.name}", "name": key, "facets": facets}


def _rows(bucket: Bucket, part: Partition) -> Event:
    counts = _facet("1-0-3", "DataQualityMetricsInputDatasetFacet", rowCount=part.rows,
                    bytes=part.size_bytes, columnMetrics={})  # fmt: skip
    dataset = _dataset(bucket, part.key, version=part.sha256)
    return {**dataset, "inputFacets": {"dataQualityMetrics": counts}}


def _written(bucket: Bucket, part: Partition) -> Event:
    counts = _facet("1-0-2", "OutputStatisticsOutputDatasetFacet", rowCount=part.rows,
                    size=part.size_bytes)  # fmt: skip
    dataset = _dataset(bucket, part.key, version=part.sha256)
    return {**dataset, "outputFacets": {"outputStatistics": counts}}


def _facet(version: str, kind: str, **values: Any) -> Event:
    schema = f"{_FACETS}/{version}/{kind}.json#/$defs/{kind}"
    return {"_producer": PRODUCER, "_schemaURL": schema, **values}


# ── Where they go ────────────────────────────────────────────────────────────────────────────


def send(events: Iterable[Event], to: str, *, timeout_seconds: float) -> int:
    """Append events to a file, one per line, or post each to an address; returns how many.

    Raises
    ------
    ExportError
        If the file cannot be written, or the server cannot be reached or refuses.
    """
    sent = [*events]
    if to.startswith(("http://", "https://")):
        _post(sent, to, timeout_seconds)
    else:
        _append(sent, Path(to))
    return len(sent)


def _append(events: Sequence[Event], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(_lines(events)))
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}") from error


def _lines(events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        yield json.dumps(event, sort_keys=True, separators=(",", ":")) + "\n"


def _post(events: Sequence[Event], url: str, timeout_seconds: float) -> None:
    import httpx

    key = os.environ.get(KEY)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(headers=headers, timeout=timeout_seconds) as client:
            for event in events:
                with client.stream("POST", url, json=event) as reply:  # its body is not read
                    status = reply.status_code
                if not 200 <= status < 300:
                    raise ExportError(f"the OpenLineage server answered {status}")
    except httpx.HTTPError as error:
        raise ExportError(
            f"the OpenLineage server did not answer: {type(error).__name__}"
        ) from error
