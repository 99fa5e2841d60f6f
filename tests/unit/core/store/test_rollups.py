"""A roll-up saves requests and never changes what is read."""

from __future__ import annotations

import pytest

from pipelines.core.errors import StoreRefusedError, StoreUnavailableError, TrustError
from pipelines.core.store import rollups
from pipelines.core.store.keyring import Keyring, write_new_key
from pipelines.core.store.rollups import RollUp
from pipelines.core.store.sealed import to_stored
from pipelines.records.deliveries import NameClaim
from tests.support.in_memory import InMemory


class Reading(InMemory):
    """A bucket that notes which records were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key, **more):
        if not key.startswith("rollups/"):
            self.read.append(key)
        return super().get(key, **more)

    @property
    def rolled_up(self) -> list[str]:
        return [info.key for info in self.list("rollups/")]


@pytest.fixture(autouse=True)
def keeps_every_entry(monkeypatch):
    monkeypatch.setattr(rollups, "FEWEST_NEW", 1)


@pytest.fixture
def bucket() -> Reading:
    return Reading()


def put(bucket: Reading, *numbers: int) -> None:
    for number in numbers:
        bucket.put_record(NameClaim(landing_key=f"landing/{number}", delivery=f"{number:064x}"))


def read(bucket: Reading, *, keeps: bool = True) -> list[NameClaim]:
    """All records, as a reader that lists them sees them."""
    bucket.read.clear()
    rolled = RollUp(bucket, "names")
    records = rolled.each(
        lambda info: rolled.record(info, NameClaim),
        bucket.list("names/"),
        lambda info: (info.key, info.version_tag),
    )
    if keeps:
        rolled.keep()
    return records


def deliveries(records: list[NameClaim]) -> set[int]:
    return {int(record.delivery, 16) for record in records}


def test_what_was_read_once_is_not_read_again(bucket):
    put(bucket, 1, 2, 3)
    first = read(bucket)

    assert read(bucket) == first
    assert bucket.read == []


def test_only_what_came_since_is_read(bucket):
    put(bucket, 1, 2, 3)
    read(bucket)
    put(bucket, 4)

    assert deliveries(read(bucket)) == {1, 2, 3, 4}
    assert len(bucket.read) == 1


def test_nothing_is_stored_unless_it_is_kept(bucket):
    put(bucket, 1)

    read(bucket, keeps=False)

    assert bucket.rolled_up == []


def test_a_few_new_records_are_not_worth_an_object(bucket, monkeypatch):
    monkeypatch.setattr(rollups, "FEWEST_NEW", 3)
    put(bucket, 1, 2)
    assert deliveries(read(bucket)) == {1, 2}
    assert bucket.rolled_up == []
    put(bucket, 3)

    assert deliveries(read(bucket)) == deliveries(read(bucket)) == {1, 2, 3}
    assert len(bucket.rolled_up) == 1


def test_a_record_that_was_removed_is_gone(bucket):
    put(bucket, 1, 2)
    (first, _) = read(bucket)
    bucket.delete(first.object_key)

    assert first not in read(bucket)


def test_a_record_that_was_changed_is_read_again_and_refused(bucket):
    put(bucket, 1)
    (record,) = read(bucket)
    bucket.objects[record.object_key] = b"forged"

    with pytest.raises(TrustError):
        read(bucket)


def test_a_changed_record_replaces_what_was_rolled_up_of_it(bucket):
    put(bucket, *range(20))
    read(bucket)
    for number in (101, 102):  # as if somebody with a key had written it again
        changed = NameClaim(landing_key="landing/0", delivery=f"{number:064x}")
        place = changed.object_key
        bucket.objects[place] = to_stored(changed, bucket.keyring)
        assert number in deliveries(read(bucket))
        assert number in deliveries(read(bucket))
        assert bucket.read == []


def test_there_are_two_objects_at_most_however_often_it_grows(bucket):
    for number in range(60):
        put(bucket, number)
        assert deliveries(read(bucket)) == set(range(number + 1))
        assert len(bucket.rolled_up) <= 2
        assert len(bucket.read) == 1


def test_a_small_addition_does_not_write_the_large_object_again(bucket):
    put(bucket, *range(16))
    read(bucket)
    (large,) = bucket.rolled_up
    put(bucket, 16)
    read(bucket)

    assert large in bucket.rolled_up
    assert len(bucket.rolled_up) <= 2


def test_what_is_not_needed_any_more_is_dropped_when_all_is_written_again(bucket):
    put(bucket, 1, 2)
    read(bucket)
    put(bucket, 3)
    rolled = RollUp(bucket, "names")
    infos = bucket.list("names/")
    records = [rolled.record(info, NameClaim) for info in infos]
    gone = records[0].object_key

    rolled.keep(only={info.key for info in infos} - {gone})

    again = RollUp(bucket, "names")
    assert [again.has(info.key, info.version_tag) for info in infos].count(True) == 2


def test_two_writers_at_once_lose_nothing(bucket):
    put(bucket, *range(16))
    read(bucket)
    put(bucket, 16)
    one = RollUp(bucket, "names")
    [one.record(info, NameClaim) for info in bucket.list("names/")]
    put(bucket, 17)
    other = RollUp(bucket, "names")
    [other.record(info, NameClaim) for info in bucket.list("names/")]
    one.keep()
    other.keep()

    assert deliveries(read(bucket)) == set(range(18))
    assert bucket.read == []
    put(bucket, 18)
    read(bucket)
    assert len(bucket.rolled_up) <= 2


def test_a_writer_that_is_killed_before_it_deletes_the_older_objects_costs_nothing(
    bucket, monkeypatch
):
    put(bucket, *range(16))
    read(bucket)
    monkeypatch.setattr(bucket, "delete", lambda _key: None)
    for number in (16, 17, 18):
        put(bucket, number)
        read(bucket)
    monkeypatch.undo()
    assert len(bucket.rolled_up) > 2

    assert deliveries(read(bucket)) == set(range(19))
    assert bucket.read == []
    assert len(bucket.rolled_up) <= 2


SPOILED = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[:-1],
    "a flipped bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "no seal": lambda data: data.partition(b"\n")[2],
    "another thing": lambda data: b"hello",
}


@pytest.mark.attack
@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_roll_up_is_made_again(bucket, spoil):
    put(bucket, *range(17))
    records = read(bucket)
    put(bucket, 17)
    records = read(bucket)
    for key in bucket.rolled_up:
        bucket.objects[key] = spoil(bucket.objects[key])

    assert read(bucket) == records
    assert len(bucket.read) == 18
    assert read(bucket) == records
    assert bucket.read == []
    assert len(bucket.rolled_up) == 1


@pytest.mark.attack
def test_a_roll_up_that_a_stranger_signed_is_not_used(bucket, tmp_path, monkeypatch):
    put(bucket, 1)
    records = read(bucket)
    (key,) = bucket.rolled_up
    lie = NameClaim(landing_key="landing/1", delivery="f" * 64)
    (info,) = bucket.list("names/")
    payload = rollups._encoded({info.key: rollups._Entry(info.version_tag, lie.to_bytes())})
    write_new_key(tmp_path / "stranger.pem")
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "stranger.pem"))
    stranger = Reading()
    stranger.keyring = Keyring(())
    stranger.put_cached(key, payload, kind=rollups.KIND)
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE")
    bucket.objects[key] = stranger.objects[key]

    assert read(bucket) == records


@pytest.mark.attack
def test_a_roll_up_in_the_place_of_another_one_is_not_used(bucket):
    put(bucket, 1)
    records = read(bucket)
    (key,) = bucket.rolled_up
    bucket.objects[key.replace("names", "claims")] = bucket.objects[key]

    assert not RollUp(bucket, "claims").has(records[0].object_key, "")
    assert RollUp(bucket, "claims")._known == {}


@pytest.mark.attack
def test_an_older_roll_up_that_is_put_back_hides_nothing(bucket):
    put(bucket, *range(16))
    read(bucket)
    older = {key: bucket.objects[key] for key in bucket.rolled_up}
    put(bucket, *range(16, 40))
    records = read(bucket)
    for key in bucket.rolled_up:
        bucket.delete(key)
    bucket.objects |= older

    assert read(bucket) == records


@pytest.mark.attack
def test_nothing_is_taken_from_roll_ups_made_while_another_key_was_trusted(
    bucket, tmp_path, monkeypatch
):
    put(bucket, 1)
    read(bucket)
    write_new_key(tmp_path / "new.pem")
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "new.pem"))

    with pytest.raises(TrustError):
        read(bucket)


@pytest.mark.parametrize("error", [StoreRefusedError("no"), StoreUnavailableError("not now")])
def test_a_store_that_refuses_the_roll_up_stops_nobody(bucket, monkeypatch, error):
    def refuse(*_arguments, **_more):
        raise error

    monkeypatch.setattr(bucket, "put", refuse)
    put(bucket, 1)

    assert deliveries(read(bucket)) == {1}


def test_more_objects_than_writers_leave_are_not_read(bucket):
    put(bucket, 1)
    read(bucket)
    folder = bucket.rolled_up[0].rpartition("/")[0]
    for number in range(100):
        bucket.put(f"{folder}/{number:064x}.rollup", b"nothing")

    assert deliveries(read(bucket)) == {1}
