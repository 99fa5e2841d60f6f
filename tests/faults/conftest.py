"""A registry of its own per test, and workers that are processes of their own."""

from __future__ import annotations

import pytest

from pipelines import trust
from pipelines.registry import Registry
from pipelines.store import Stores


@pytest.fixture
def registry(stores: Stores) -> Registry:
    """The registry of the test's own models bucket; its signing key is there already."""
    trust.trusted_keys()
    return Registry(stores.models, "sentiment")
