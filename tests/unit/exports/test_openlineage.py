"""Events as OpenLineage's own client and its published schema want them."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urldefrag

import httpx
import jsonschema
import pytest
import referencing
from referencing.jsonschema import DRAFT202012

from pipelines.exports import openlineage
from pipelines.records.data import Partition, Snapshot
from pipelines.records.deliveries import Outcome
from tests.support.in_memory import InMemory
from tests.support.page_site import Bucket, Pages, a_succession

ROOT = Path(__file__).resolve().parents[3]
CLIENT = "openlineage-python==1.54.0"
AT = "2026-01-06T02:00:00+00:00"


def a_part(folder):
    return Partition(key=f"{folder}/date=2026-01-05/{'a' * 64}.parquet", sha256="a" * 64, rows=90,
                     size_bytes=1000)  # fmt: skip


def an_outcome(**changes):
    values = {
        "delivery": "b" * 64, "source": "web", "night": "2026-01-05", "counted_in": "2026-01-05",
        "landing_key": "landing/web/2026-01-05/r.csv", "version_tag": "t", "verdict": "ACCEPTED",
        "why": "It is good.", "delivered_rows": 100, "accepted_rows": 90, "quarantined_rows": 10,
        "held_rows": 0, "accepted": a_part("accepted"), "quarantined": a_part("quarantine"),
        "validation_key": f"reports/{'b' * 64}/{'c' * 16}/validation.json",
    }  # fmt: skip
    return Outcome(**(values | changes))


@pytest.fixture
def events():
    """All kinds of them."""
    pages = Pages(models=Bucket(), reviews=Bucket())
    a_succession(pages.registry, 1)
    entry = pages.registry.log.champion()
    manifest = SimpleNamespace(
        model_key=f"sentiment/versions/{entry.version}/model-{'d' * 16}.skops",
        version=entry.version, model_size_bytes=5000,
    )  # fmt: skip
    snapshot = Snapshot(partitions=(a_part("accepted"),), rows=90, holdout_share=0.2,
                        selection_share=0.2, salt="s")  # fmt: skip
    held = an_outcome(verdict="HELD", accepted=None, quarantined=None)
    return [
        *openlineage.of_champion(pages, entry, manifest, snapshot, job="sentiment_retrain"),
        *openlineage.of_delivery(InMemory(), an_outcome(), AT),
        *openlineage.of_delivery(InMemory(), held, AT),
    ]


def test_the_same_record_is_the_same_run_and_another_is_another(events):
    again = openlineage.of_delivery(InMemory(), an_outcome(), AT)
    runs = [event["run"]["runId"] for event in events]

    assert again == events[2:4]
    assert runs[0::2] == runs[1::2]
    assert len(set(runs)) == 3
    assert events[-1]["outputs"] == []


@pytest.mark.long
def test_openlineages_own_client_makes_the_same_events_of_the_same_values(events):
    python = ROOT / ".local" / "openlineage" / "bin" / "python"
    if not (python.parent.parent / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", python.parent.parent], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT]
        if subprocess.run(pip, check=False).returncode:
            pytest.skip(f"{CLIENT} cannot be installed from PyPI")
        (python.parent.parent / "installed").touch()

    done = subprocess.run(
        [python, ROOT / "tests" / "support" / "services" / "openlineage_client.py"],
        input=json.dumps(events), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-3000:]
    assert [without_empty(one) for one in json.loads(done.stdout)] == [
        without_empty(one) for one in events
    ]


def without_empty(value):
    """The client leaves out facets that a dataset does not have, or sends them empty."""
    if isinstance(value, list):
        return [without_empty(one) for one in value]
    if isinstance(value, dict):
        smaller = {key: without_empty(one) for key, one in value.items()}
        return {key: one for key, one in smaller.items() if one not in ({}, None)}
    return value


def test_every_partition_of_a_large_delivery_is_an_output():
    further = a_part("accepted").model_copy(update={"key": f"accepted/x/{'f' * 64}.parquet"})

    event = openlineage.of_delivery(InMemory(), an_outcome(further_accepted=(further,)), AT)[-1]

    names = [output["name"] for output in event["outputs"]]
    assert names == [a_part("accepted").key, further.key, a_part("quarantine").key]


@pytest.mark.long
def test_events_and_facets_are_valid_by_the_published_schema(events):
    try:
        httpx.head("https://openlineage.io", timeout=10)
    except httpx.HTTPError:
        pytest.skip("https://openlineage.io, which has the schemas, cannot be reached")

    check(events, lambda url: httpx.get(url, timeout=30, follow_redirects=True).json())


def check(events, fetch):
    """Validate each event, and each facet by the schema that it names."""
    documents = {}

    def resource(url):
        if url not in documents:
            documents[url] = DRAFT202012.create_resource(fetch(url))
        return documents[url]

    registry = referencing.Registry(retrieve=resource)
    for event in events:
        validate(event, event["schemaURL"], registry)
        for facet in facets_of(event):
            validate(facet, facet["_schemaURL"], registry)
    assert len(documents) >= 5


def validate(value, url, registry):
    document, pointer = urldefrag(url)
    schema = {"$ref": f"{document}#{pointer}"}
    jsonschema.Draft202012Validator(
        schema, registry=registry, format_checker=jsonschema.FormatChecker()
    ).validate(value)


def facets_of(value):
    if isinstance(value, dict):
        if "_schemaURL" in value:
            yield value
        for one in value.values():
            yield from facets_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from facets_of(one)
