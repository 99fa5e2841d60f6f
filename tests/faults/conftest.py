"""A registry of its own per test, and workers that are processes of their own."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.core.store.stores import Stores
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_sgd
from pipelines.registry.registry import Registry
from tests.support import sealing
from tests.support.tried import FILES_TRIED


@pytest.fixture
def registry(stores: Stores) -> Registry:
    """The registry of the test's own models bucket; its signing key is there already."""
    sealing.keyring().trusted_keys()
    return Registry(stores.models, "sentiment")


@pytest.fixture(scope="session")
def model() -> bytes:
    """The file of a small model that can be loaded and answers."""
    texts = ["a great film", "a great cast", "a dull film", "a dull cast"] * 5
    return dump_model(fingerprint_sgd(seed=1, ngram_max=1).fit(texts, [1, 1, 0, 0] * 5))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if FILES_TRIED in config.stash:
        terminalreporter.write_line(f"attack: {config.stash[FILES_TRIED]} files tried")
