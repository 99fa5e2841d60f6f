"""One real Airflow and one Chromium for all tests of the pages.

The store is filled by the pipeline's own steps while Airflow starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ops import browser as browsers
from ops.services.airflow_api import AirflowApi
from ops.services.processes import free_port
from ops.services.stack import LocalStack
from pipelines.core import config
from pipelines.core.store.stores import open_stores
from tests.browser import world as worlds
from tests.support.services.s3_under_test import CREDENTIALS, THIS_RUN
from tests.support.settings_file import write_settings
from tests.support.timing import HANG_SECONDS

ROLES = {"admin": "admin", "operator": "op", "oncall": "user", "viewer": "viewer"}
INGEST, REPLAY = "reviews_ingest", "reviews_replay"
FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
CSP = "Content Security Policy"
PAGE_MILLISECONDS = 300_000  # whatever takes so long hangs

expect.set_options(timeout=PAGE_MILLISECONDS)


@pytest.fixture(scope="session")
def started(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, s3_server: str
) -> Iterator[tuple[LocalStack, worlds.World]]:
    """Airflow, running on buckets that the world's troubles are in.

    Its parameter is the models that the configuration holds besides the first; usually none.
    """
    more_models = getattr(request, "param", {})
    folder = tmp_path_factory.mktemp("browser")
    bucket = f"{THIS_RUN}-{folder.name}"
    settings = write_settings(
        folder / "settings.toml",
        {
            "store": {f"{name}_bucket": f"{name}-{bucket}" for name in ("reviews", "models")},
            "gate": {"max_overlap_share": 0.1},  # made-up reviews are alike
            "sources": worlds.SOURCES,
            "models": more_models,
        },
    )
    given = {
        "AWS_ENDPOINT_URL_S3": s3_server,
        "AWS_ACCESS_KEY_ID": CREDENTIALS[0],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS[1],
    }
    # Not the usual port: another Airflow on this machine would answer in place of this one.
    stack = LocalStack(folder, settings, given_s3=given, roles=ROLES, ui_port=free_port())
    saved = dict(os.environ)
    os.environ.update(stack.s3_environment)
    stores = open_stores(config.load(settings))
    stores.reviews.create_if_missing()
    stores.models.create_if_missing()
    try:
        # Airflow's processes must be started here: they end with the thread that started them.
        with ThreadPoolExecutor(1) as background:
            filled = background.submit(worlds.build, stores, more_models)
            with stack:
                yield stack, filled.result()
    finally:
        os.environ.clear()
        os.environ.update(saved)


@pytest.fixture(scope="session")
def stack(started: tuple[LocalStack, worlds.World]) -> LocalStack:
    return started[0]


@pytest.fixture(scope="session")
def world(started: tuple[LocalStack, worlds.World]) -> worlds.World:
    return started[1]


@pytest.fixture(scope="session")
def api(stack: LocalStack) -> AirflowApi:
    """Airflow's REST API as admin; the ingest's last night and the replay may run."""
    client = AirflowApi(stack.ui_url, username="admin", password=stack.password)
    client.wait_for_dags([INGEST, REPLAY, "sentiment_retrain"], timeout_seconds=HANG_SECONDS)
    client.unpause(INGEST)
    client.unpause(REPLAY)
    return client


@pytest.fixture(scope="session")
def ingest_run(api: AirflowApi) -> Callable[[], str]:
    """The scheduled run that finds the hostile delivery, once it has ended."""

    def ended() -> str:
        run_id: str = next(
            run["dag_run_id"] for run in api.runs(INGEST) if run["run_type"] == "scheduled"
        )
        assert (
            api.wait(INGEST, run_id, timeout_seconds=HANG_SECONDS) == "failed"
        )  # one delivery is held
        return run_id

    return ended


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser; without one every test fails and says how to get it."""
    try:
        path = browsers.find()
    except browsers.NoBrowserError as error:
        pytest.fail(f"{error} Or: make browser")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tokens(stack: LocalStack, api: AirflowApi) -> dict[str, str]:
    """A session of each account."""
    found = {}
    for name in ROLES:
        body = {"username": name, "password": name}
        reply = httpx.post(f"{stack.ui_url}/auth/token", json=body, timeout=HANG_SECONDS)
        found[name] = str(reply.json()["access_token"])
    return found


@dataclass
class Seen:
    """What a browser did besides showing pages: nothing, if all is well."""

    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def watch(self, page: Page, origin: str) -> None:
        page.on("dialog", lambda one: (self.dialogs.append(one.message), one.dismiss()))
        page.on("pageerror", lambda one: self.errors.append(str(one)))
        page.on("request", lambda one: self._requested(one.url, origin))
        page.on(
            "console", lambda one: self.violations.append(one.text) if CSP in one.text else None
        )

    def _requested(self, url: str, origin: str) -> None:
        if not url.startswith((f"{origin}/", "data:", "blob:", "about:")):
            self.foreign.append(url)


@dataclass
class Visitor:
    """One person in front of the pages."""

    page: Page
    seen: Seen
    origin: str
    context: BrowserContext

    def open(self, path: str) -> Page:
        """Go to a page under ``/retraining`` and wait until it is there."""
        reply = self.page.goto(f"{self.origin}/retraining{path}")
        assert reply is not None
        assert reply.status == 200, f"{path}: {reply.status}"
        return self.page


Visit = Callable[..., Visitor]


@pytest.fixture
def visit(chromium: Browser, stack: LocalStack, tokens: dict[str, str]) -> Iterator[Visit]:
    """A visitor: ``visit("viewer")``, ``visit("admin", color_scheme="dark")``; "" is nobody."""
    contexts = []

    def start(who: str, **how: object) -> Visitor:
        context = chromium.new_context(**how)  # type: ignore[arg-type]
        contexts.append(context)
        context.set_default_timeout(PAGE_MILLISECONDS)
        if who:
            context.add_cookies([{"name": "_token", "value": tokens[who], "url": stack.ui_url}])
        page, seen = context.new_page(), Seen()
        seen.watch(page, stack.ui_url)
        return Visitor(page, seen, stack.ui_url, context)

    yield start
    for context in contexts:
        context.close()
