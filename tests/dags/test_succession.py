"""A champion log that was cut back, with everything that could tell, is noticed by Airflow."""

from __future__ import annotations

import pytest
from succession import champion_of, check_and_remember, confirm

from pipelines.core import keys
from pipelines.core.errors import TrustError
from pipelines.registry.registry import Registry
from pipelines.steps import context
from tests.support.made.registry_builders import promoted

pytestmark = pytest.mark.attack


class States:
    """As much of Airflow's store of what assets remember as a task uses."""

    def __init__(self):
        self.remembered = {}

    def __getitem__(self, asset):
        assert asset == champion_of()
        return self

    def get(self, key, default=None):
        return self.remembered.get(key, default)

    def set(self, key, value):
        self.remembered[key] = value


@pytest.fixture
def registry(stores):
    return Registry(stores.models, "sentiment")


def cut_back(stores, registry, to: int) -> None:
    """Put the bucket back to a state in which nothing speaks of later generations."""
    for info in stores.models.list("sentiment/"):
        generation = info.key.rpartition("/")[2].removesuffix(".json")
        if "/log/" in info.key and int(generation) > to:
            stores.models.delete(info.key)
        if "/gates/" in info.key and int(info.key.split("/")[4][:8]) >= to:
            stores.models.delete(info.key)
    stores.models.delete(keys.hint_key(registry.name))


def test_the_newest_generation_is_remembered_per_log(stores, registry):
    states = States()
    check_and_remember(states)
    assert states.remembered == {}

    first = promoted(registry, "a")
    promoted(registry, "b", against=first)
    check_and_remember(states)
    check_and_remember(states)

    assert states.remembered == {context.log_name(): 2}


def test_a_bucket_that_was_put_back_to_an_older_state_is_noticed(stores, registry):
    states = States()
    first = promoted(registry, "a")
    promoted(registry, "b", against=first)
    check_and_remember(states)

    cut_back(stores, registry, to=1)

    assert registry.log.champion() == first  # nothing in the bucket says otherwise
    with pytest.raises(TrustError, match="generation 2 was seen before"):
        check_and_remember(states)
    with pytest.raises(TrustError, match="was cut back"):
        confirm(None, asset_state_store=states)


def test_another_log_is_remembered_by_itself(stores, registry, configure):
    states = States()
    promoted(registry, "a")
    check_and_remember(states)

    configure(model={"name": "other"})
    check_and_remember(states)

    assert list(states.remembered.values()) == [1]


def test_each_model_has_an_asset_of_its_own_and_the_first_keeps_its(stores, registry, configure):
    configure(models={"stars": {}})
    states = States()
    promoted(registry, "a")

    assert champion_of("sentiment") == champion_of()
    assert (champion_of("stars").name, champion_of("stars").uri) == (
        "stars_champion", "s3://models/stars/log",
    )  # fmt: skip
    check_and_remember(states, "sentiment")
    assert list(states.remembered) == [context.log_name("sentiment")]
