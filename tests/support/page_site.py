"""The pages without Airflow: buckets in memory, a reader with given rights, a scripted Airflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

from pipelines.core.store.stores import Stores
from pipelines.pages.app import build
from pipelines.pages.site import Reply, Site, Viewer
from pipelines.records.succession import LogEntry
from pipelines.registry.registry import Registry
from tests.support.in_memory import InMemory
from tests.support.made.registry_builders import a_log_entry

DELIVERY, BASIS = "e" * 64, "f" * 16


class Bucket(InMemory):
    """One in which promotions can be made, too."""

    def prove_create_if_absent(self) -> None:
        pass

    def put(self, key: str, data: bytes) -> None:
        self.objects[key] = data


@dataclass
class Pages:
    """An app and what it looks at.

    ``answers`` are those of Airflow's API by method and path; what is not there is not found.
    ``asked`` is what it was asked. ``refusal`` is the status for readers who may not read the runs
    of the DAGs that ``refuses`` says.
    """

    models: Bucket = field(default_factory=Bucket)
    reviews: Bucket = field(default_factory=Bucket)
    may_start: Callable[[str], bool] = lambda _dag: True
    refusal: int | None = None
    refuses: Callable[[str], bool] = lambda _dag: True
    answers: dict[tuple[str, str], Reply] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    open_stores: Callable[[], Stores] | None = None

    @property
    def registry(self) -> Registry:
        return Registry(self.models, "sentiment")

    @cached_property  # building one takes as long as answering twenty requests
    def app(self) -> FastAPI:
        return build(Site(
            reads=self._reads, view_as=self._viewer,
            ask=self._ask, stores=self._stores, secret=lambda: "secret",
        ))  # fmt: skip

    @property
    def client(self) -> TestClient:
        return TestClient(self.app, raise_server_exceptions=False, follow_redirects=False)

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def _stores(self) -> Stores:
        return self.open_stores() if self.open_stores else Stores(self.reviews, self.models)

    def _viewer(self) -> Viewer:
        def may_read(dag_id: str) -> bool:
            return not (self.refusal and self.refuses(dag_id))

        return Viewer(name="vera", may_start=self.may_start, may_read=may_read)

    def _reads(self, dag_of: Callable[[Request], str]) -> Callable[[Request], None]:
        def check(request: Request) -> None:
            if self.refusal and self.refuses(dag_of(request)):
                raise HTTPException(self.refusal)

        return check

    async def _ask(self, _request: Any, method: str, path: str, body: Any) -> Reply:
        self.asked.append((method, path, body))
        return self.answers.get((method, path), Reply(404, {"detail": "not found"}))


def a_succession(registry: Registry, count: int, **changes: object) -> list[LogEntry]:
    """A champion log of so many promotions, each of a version of its own."""
    entries: list[LogEntry] = []
    for generation in range(1, count + 1):
        version = f"{generation:020x}"
        values: dict[str, object] = {
            "version": version,
            "reference": version,
            "previous_entry_sha256": entries[-1].digest() if entries else None,
            "decision_key": f"sentiment/versions/{version}/gates/"
            f"{generation - 1:08d}-{'d' * 16}/decision.json",
            "at": f"2026-01-05T00:{generation // 60 % 60:02d}:{generation % 60:02d}+00:00",
        }
        entry = a_log_entry(generation, **(values | changes))
        registry.models.put_record(entry)
        entries.append(entry)
    return entries


def links_of(html: str) -> list[str]:
    return re.findall(r'href="([^"#]+)"', html)


class Outline(HTMLParser):
    """What a reader with a screen reader finds: landmarks, headings, fields and their labels."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[Mapping[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
