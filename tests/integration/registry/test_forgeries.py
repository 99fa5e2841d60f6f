"""Every kind of record, forged in every way: no reader takes anything from it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import pipelines
from pipelines.core.errors import TrustError
from pipelines.core.record import StoredRecord
from pipelines.core.store import sealed
from pipelines.registry.fsck.places import PLACES
from tests.support.hostile import forgeries
from tests.support.hostile import whole_world as whole
from tests.support.hostile.forgeries import KINDS

pytestmark = pytest.mark.attack

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture
def world(whole_bytes):
    return whole.in_memory(whole_bytes.reviews, whole_bytes.models)


@pytest.fixture
def refused(world, counted):
    """Put forgeries where a record lies; each must be refused. ``refused(target, forgeries)``."""
    tried = 0

    def check(one, forgeries):
        nonlocal tried
        bucket = world.reviews if one.bucket == "reviews" else world.models
        for forgery in forgeries:
            bucket.objects[one.key] = forgery.data
            why = refusal(lambda: bucket.get_record(one.key, one.kind))
            assert why, f"{one.key} was read although it holds {forgery.what}"
            assert one.key in why
            tried += 1
        bucket.objects[one.key] = one.data
        assert bucket.get_record(one.key, one.kind).object_key == one.key

    yield check
    assert tried > 0
    counted("records", tried)


def refusal(read):
    """Why nothing was read; empty if something was."""
    try:
        read()
    except TrustError as error:
        return str(error)
    return ""


def every_kind_in_the_package():
    for module in pkgutil.walk_packages(pipelines.__path__, "pipelines."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, waiting = set(), [StoredRecord]
    while waiting:
        kinds = waiting.pop().__subclasses__()
        waiting += kinds
        found |= {
            kind for kind in kinds
            if kind.__module__.startswith("pipelines.") and not inspect.isabstract(kind)
        }  # fmt: skip
    return found


def test_no_kind_of_record_is_forgotten_here():
    assert every_kind_in_the_package() == set(KINDS.values())
    assert all(place.bucket == place.holds.BUCKET for place in PLACES
               if isinstance(place.holds, type))  # fmt: skip


@each_kind
def test_what_nobody_we_trust_has_signed_is_refused(world, refused, kind):
    for one in forgeries.targets(world, kind)[:2]:
        refused(one, forgeries.unsigned(one))


@each_kind
def test_a_changed_field_under_the_old_seal_is_refused(world, refused, kind):
    one = forgeries.targets(world, kind)[0]

    refused(one, forgeries.changed_fields(one))


@each_kind
def test_a_record_in_another_place_of_its_kind_is_refused(world, counted, kind):
    one = forgeries.targets(world, kind)[0]
    bucket = world.reviews if kind.BUCKET == "reviews" else world.models
    places = forgeries.other_places(one)

    for key in places:
        bucket.objects[key] = one.data
        with pytest.raises(TrustError, match="was signed as"):
            bucket.get_record(key, kind)

    # The hint of a model has one place, so there are only those of other models.
    assert len(places) >= 10
    counted("records", len(places))


@each_kind
def test_another_record_of_ours_is_refused(world, refused, kind):
    own, *more = forgeries.targets(world, kind)
    others = more + [
        forgeries.targets(world, other)[0] for other in KINDS.values() if other != kind
    ]

    refused(own, forgeries.other_records(own, others))


@each_kind
def test_a_record_whose_fields_say_another_place_is_refused_although_it_is_sealed_for_this_one(
    world, refused, kind
):
    own, *more = forgeries.targets(world, kind)
    others = more[:3] + [
        forgeries.targets(world, other)[0] for other in KINDS.values() if other != kind
    ]

    refused(own, forgeries.sealed_for_here(own, others))


@each_kind
def test_what_is_torn_empty_or_spelled_otherwise_is_refused(world, refused, kind):
    one = forgeries.targets(world, kind)[0]

    refused(one, [*forgeries.torn(one), *forgeries.sealed_junk(one)])


@each_kind
def test_what_is_too_large_is_refused_before_it_is_read(world, refused, monkeypatch, kind):
    one = forgeries.targets(world, kind)[0]
    monkeypatch.setattr(sealed, "MAX_RECORD_BYTES", len(one.data))

    refused(one, [forgeries.Forgery("one byte more than is allowed", one.data + b"\n")])
