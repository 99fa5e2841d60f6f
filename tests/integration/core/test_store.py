"""The store's door against a real server, and against a proxy that misbehaves on purpose."""

import contextlib
import datetime as dt
import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pipelines.core.config import load
from pipelines.core.errors import (
    AlreadyExistsError,
    BucketMissingError,
    ConfigError,
    ObjectMissingError,
    PermanentError,
    StoreRefusedError,
    StoreUnavailableError,
    TransientError,
    TrustError,
    UnsafeStoreError,
)
from pipelines.core.store import deadline
from pipelines.core.store.bucket import Bucket, checked_key
from pipelines.core.store.stores import Stores, open_stores
from pipelines.records.deliveries import Arrival
from tests.support.hostile.store import (
    DRIPS,
    EVERYWHERE,
    OF_A_KIND,
    Hostile,
    Kind,
    Reply,
    Request,
    cut,
    error,
    honest,
    hostile_store,
    lost_reply,
    no_reply,
    page,
    redirect,
)
from tests.support.made.builders import listing
from tests.support.services.alert_servers import self_signed
from tests.support.services.s3_under_test import GIVEN_SERVER


@pytest.fixture
def proxy(s3_server: str) -> Iterator[Hostile]:
    with hostile_store(s3_server) as state:
        yield state


@pytest.fixture
def behind(proxy: Hostile, stores: Stores, configure, monkeypatch) -> Bucket:
    """The reviews bucket of `stores`, reached through the proxy; a call is tried once."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 1})
    return open_stores().reviews


def fresh(stores: Stores) -> Bucket:
    """The same bucket through a new client, which reads the environment again."""
    settings, changes = load(), {"max_attempts": 1, "reviews_bucket": stores.reviews.name}
    store = settings.store.model_copy(update=changes)
    return open_stores(settings.model_copy(update={"store": store})).reviews


EVERY_CALL = {
    "get": lambda bucket: bucket.get("a"),
    "stream": lambda bucket: bucket.stream("a"),
    "find": lambda bucket: bucket.find("a"),
    "find_record": lambda bucket: bucket.find_record("a", Arrival),
    "list": lambda bucket: bucket.list(""),
    "put": lambda bucket: bucket.put("a", b"x"),
    "put_file": lambda bucket: bucket.put_file("a", io.BytesIO(b"x")),
    "put_once": lambda bucket: bucket.put_once("a", b"x"),
    "delete": lambda bucket: bucket.delete("a"),
    "check_exists": lambda bucket: bucket.check_exists(),
}
every_call = pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)

# ── Reading and writing ──────────────────────────────────────────────────────────────────────


def test_what_was_written_is_read_found_and_listed(stores):
    bucket = stores.reviews

    bucket.put("b/two", b"22")
    bucket.put_file("b/three", io.BytesIO(b"333"))
    bucket.put("a", b"1")

    assert [bucket.get(key) for key in ("a", "b/two", "b/three")] == [b"1", b"22", b"333"]
    assert [(info.key, info.size_bytes) for info in bucket.list("b/")] == [
        ("b/three", 3),
        ("b/two", 2),
    ]
    assert bucket.find("b/two") == bucket.list("b/two")[0]


def test_the_version_tag_changes_with_the_bytes_and_only_then(stores):
    tags = []
    for data in (b"one", b"one", b"two"):
        stores.reviews.put("a", data)
        tags.append(stores.reviews.find("a").version_tag)

    assert tags[0] == tags[1] != tags[2]


def test_a_large_object_is_streamed_in_chunks_of_a_megabyte(stores):
    data = bytes(range(256)) * 10_000  # 2,560,000 bytes: 2 MiB and a rest of 462,848
    stores.reviews.put("a", data)

    tag, chunks = stores.reviews.stream("a")
    sizes, joined = zip(*((len(chunk), chunk) for chunk in chunks), strict=True)

    assert tag == stores.reviews.find("a").version_tag
    assert sizes == (1_048_576, 1_048_576, 462_848)
    assert b"".join(joined) == data


def test_more_is_not_read_than_is_expected(stores):
    stores.reviews.put("a", b"12345")

    assert stores.reviews.get("a", max_bytes=5) == b"12345"
    with pytest.raises(TrustError, match="has 5 bytes; at most 4 are expected"):
        stores.reviews.get("a", max_bytes=4)


def test_buckets_are_created_once(stores, configure):
    configure(store={"reviews_bucket": f"{stores.reviews.name}-new"})
    bucket = open_stores().reviews

    assert [bucket.create_if_missing(), bucket.create_if_missing()] == [True, False]


def test_a_uri_leads_back_to_its_bucket_and_key(stores):
    bucket, key = stores.resolve(stores.models.uri("a/b c.json"))

    assert (bucket.name, key) == (stores.models.name, "a/b c.json")


@pytest.mark.parametrize(
    "uri", ["s3://elsewhere/a", "a", "", "s3://{reviews}", "s3://{reviews}/", "s3://{reviews}x/a"]
)
def test_a_uri_of_no_bucket_of_ours_is_refused(stores, uri):
    with pytest.raises(ConfigError, match="lies in neither configured bucket"):
        stores.resolve(uri.format(reviews=stores.reviews.name))


@pytest.mark.parametrize(
    "key",
    [
        "", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/..", ".", "a/./b", "a b", "a\nb", "a\n",
        "a\0b", "a\x7fb", "a?b", "a#b", "a%2e%2e", "a\\b", "é", "<script>", "_a", "a" * 901,
    ],
)  # fmt: skip
def test_an_unsafe_key_is_never_written(stores, key):
    with pytest.raises(ValueError, match="is not a key this project writes"):
        checked_key(key)
    for write in (stores.reviews.put, stores.reviews.put_once):
        with pytest.raises(ValueError, match="is not a key this project writes"):
            write(key, b"x")
    with pytest.raises(ValueError, match="is not a key this project writes"):
        stores.reviews.put_file(key, io.BytesIO(b"x"))

    assert listing(stores.reviews) == {}


@pytest.mark.parametrize("key", ["a", "a/b/c.json", "accepted/date=2026-01-05/0a.parquet", "0..1"])
def test_the_keys_this_project_uses_are_safe(key):
    assert checked_key(key) == key


# ── Created once ─────────────────────────────────────────────────────────────────────────────


def test_an_object_is_created_once_and_never_overwritten(stores):
    bucket = stores.reviews

    outcomes = [bucket.put_once("a", b"first"), bucket.put_once("a", b"first")]

    assert outcomes == ["created", "identical"]
    with pytest.raises(AlreadyExistsError, match=r"/a already exists with other bytes"):
        bucket.put_once("a", b"second")
    assert bucket.get("a") == b"first"


def test_many_writers_of_the_same_bytes_all_succeed(stores):
    with ThreadPoolExecutor(8) as writers:
        outcomes = list(writers.map(lambda _: stores.reviews.put_once("a", b"same"), range(16)))

    assert set(outcomes) <= {"created", "identical"}
    assert stores.reviews.get("a") == b"same"


@pytest.mark.needs("atomic_create")
def test_of_many_writers_of_different_bytes_one_wins_and_the_others_are_told(stores):
    def write(number: int) -> int | None:
        try:
            stores.reviews.put_once("a", f"writer {number}".encode())
        except AlreadyExistsError:
            return None
        return number

    with ThreadPoolExecutor(16) as writers:
        winners = [number for number in writers.map(write, range(16)) if number is not None]

    assert [stores.reviews.get("a")] == [f"writer {number}".encode() for number in winners]


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lost_reply, id="connection-closed"),
        pytest.param(error(500, "InternalError", is_done=True), id="500"),
        pytest.param(error(503, "SlowDown", is_done=True), id="503"),
    ],
)
def test_a_write_whose_answer_was_lost_is_recognised_as_done(behind, proxy, fault):
    proxy.waiting["PUT"] = [fault]

    outcome = behind.put_once("a", b"mine")

    assert outcome == "identical"
    assert behind.get("a") == b"mine"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(no_reply, id="connection-closed"),
        pytest.param(error(500, "InternalError"), id="500"),
        pytest.param(error(409, "ConditionalRequestConflict"), id="409"),
        pytest.param(error(409, "OperationAborted"), id="409-aborted"),
    ],
)
def test_a_write_that_never_happened_is_tried_again(behind, proxy, fault):
    proxy.waiting["PUT"] = [fault, fault]

    outcome = behind.put_once("a", b"mine")

    assert outcome == "created"
    assert behind.get("a") == b"mine"


def test_a_lost_answer_does_not_hide_that_somebody_else_was_first(behind, proxy, stores):
    stores.reviews.put_once("a", b"theirs")
    proxy.waiting["PUT"] = [error(500, "InternalError")]

    with pytest.raises(AlreadyExistsError):
        behind.put_once("a", b"mine")


def test_a_write_that_never_settles_is_given_up_and_worth_a_retry(behind, proxy):
    proxy.waiting["PUT"] = [error(500, "InternalError")] * 9

    with pytest.raises(
        StoreUnavailableError, match=r"no conclusive answer in 4 tries.*Run the task again"
    ):
        behind.put_once("a", b"mine")

    assert len(proxy.waiting["PUT"]) == 5
    assert behind.find("a") is None


# ── What goes wrong ──────────────────────────────────────────────────────────────────────────


def test_a_missing_object_is_told_apart_from_a_store_that_is_away(stores):
    assert stores.reviews.find("a") is None
    assert stores.reviews.find_record("a", Arrival) is None
    for read in (stores.reviews.get, stores.reviews.stream):
        with pytest.raises(ObjectMissingError, match=r"/a does not exist"):
            read("a")

    assert issubclass(ObjectMissingError, PermanentError)
    assert issubclass(StoreUnavailableError, TransientError)


@every_call
def test_a_missing_bucket_is_named_with_the_command_that_creates_it(stores, configure, call):
    configure(store={"reviews_bucket": f"{stores.reviews.name}-missing"})

    with pytest.raises(BucketMissingError, match=r"-missing' does not exist at .*pipelines init"):
        call(open_stores().reviews)


@every_call
@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"])
def test_wrong_credentials_are_said_to_be_wrong(behind, proxy, call, code):
    proxy.always = error(403, code)

    with pytest.raises(StoreRefusedError, match=r"refused it .*Check the S3 credentials"):
        call(behind)

    assert len(proxy.requests) == 1


@pytest.mark.needs("checks_credentials")
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@every_call
def test_wrong_credentials_are_refused_by_the_server_itself(stores, monkeypatch, call, name):
    stores.reviews.put("a", b"there")
    monkeypatch.setenv(name, "wrong" * 4)

    with pytest.raises(StoreRefusedError, match=r"refused it .*Check the S3 credentials"):
        call(fresh(stores))


@every_call
def test_missing_credentials_are_said_to_be_missing(stores, monkeypatch, call):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(StoreRefusedError, match=r"no usable S3 credentials.*Set AWS_ACCESS_KEY_ID"):
        call(fresh(stores))


def test_half_of_the_credentials_are_no_credentials(stores, monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(
        (StoreRefusedError, ConfigError), match=r"AWS_SECRET_ACCESS_KEY|credentials"
    ):
        fresh(stores).get("a")


def test_a_profile_that_does_not_exist_is_named(stores, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises((StoreRefusedError, ConfigError), match="nobody"):
        fresh(stores).get("a")


@every_call
def test_a_store_that_is_away_is_worth_a_retry(stores, monkeypatch, call):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{closed.getsockname()[1]}")

        with pytest.raises(StoreUnavailableError, match=r"did not answer.*AWS_ENDPOINT_URL_S3"):
            call(fresh(stores))


@pytest.mark.parametrize("endpoint", ["nonsense", "http://", "localhost:9000"])
def test_an_endpoint_that_is_no_address_is_a_setting_to_correct(stores, monkeypatch, endpoint):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)

    with pytest.raises(ConfigError, match="cannot set up the S3 client"):
        fresh(stores)


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests")]
)
@pytest.mark.parametrize("call", [EVERY_CALL["get"], EVERY_CALL["list"], EVERY_CALL["put"]])
def test_a_store_that_is_unwell_is_worth_a_retry(behind, proxy, call, status, code):
    proxy.always = error(status, code)

    with pytest.raises(StoreUnavailableError, match=f"answered {status} {code}"):
        call(behind)


def test_an_answer_nobody_foresaw_is_shown_as_it_is(behind, proxy):
    proxy.always = error(400, "InvalidRequest")

    with pytest.raises(StoreRefusedError, match=r"refused it \(400 InvalidRequest: On purpose\)\."):
        behind.get("a")


def test_an_object_that_breaks_off_while_it_is_read_is_never_taken_for_whole(behind, proxy, stores):
    stores.reviews.put("a", b"x" * 100_000)
    proxy.always = cut

    with pytest.raises(StoreUnavailableError):
        behind.get("a")
    with pytest.raises(StoreUnavailableError):
        list(behind.stream("a")[1])


# ── A store that cannot be trusted ───────────────────────────────────────────────────────────


def test_a_store_that_keeps_the_first_of_two_writes_passes_and_nothing_is_left(stores):
    stores.models.prove_create_if_absent()

    assert listing(stores.models) == {}


def test_a_store_that_ignores_the_condition_is_refused_and_nothing_is_left(stores, monkeypatch):
    real = stores.reviews._client.put_object  # left out before signing: a server checks that

    def without_condition(**request):
        request.pop("IfNoneMatch")
        return real(**request)

    monkeypatch.setattr(stores.reviews._client, "put_object", without_condition)

    with pytest.raises(UnsafeStoreError, match=r"does not honour create-if-absent.*MinIO from"):
        stores.reviews.prove_create_if_absent()

    assert listing(stores.reviews) == {}


@pytest.mark.parametrize("tries", [1, 3], ids=["seen-by-us", "repeated-by-boto3"])
@pytest.mark.parametrize("writes_before", [0, 1])
@pytest.mark.parametrize("is_forwarded", [True, False], ids=["answer", "request"])
def test_a_lost_message_does_not_make_a_good_store_look_unsafe(
    behind, proxy, configure, tries, writes_before, is_forwarded
):
    configure(store={"max_attempts": tries})
    fault = error(500, "InternalError", is_done=is_forwarded)
    proxy.waiting["PUT"] = [honest, fault][1 - writes_before :]

    open_stores().reviews.prove_create_if_absent()

    assert not proxy.waiting["PUT"]
    assert listing(behind) == {}


def test_a_store_that_is_away_is_not_called_unsafe(behind, proxy):
    proxy.always = error(503, "SlowDown")

    with pytest.raises(StoreUnavailableError):
        behind.prove_create_if_absent()


# ── What is no answer ────────────────────────────────────────────────────────────────────────

ONE_REQUEST: dict[str, Kind] = {
    "get": "GET", "stream": "GET", "find_record": "GET", "find": "LIST", "list": "LIST",
    "put": "PUT", "put_file": "PUT", "delete": "DELETE", "check_exists": "LIST",
}  # fmt: skip


@pytest.fixture
def filled(stores: Stores) -> Bucket:
    """The bucket of `behind` with a few objects, past the proxy."""
    for key in ("a", "a.b", "a.c"):
        stores.reviews.put(key, f"the bytes of {key}".encode())
    return stores.reviews


def plays(kind: Kind) -> list[pytest.param]:
    return [
        pytest.param(fault, id=name) for name, fault in {**EVERYWHERE, **OF_A_KIND[kind]}.items()
    ]


@pytest.mark.attack
@pytest.mark.parametrize("method", ONE_REQUEST)
def test_what_is_no_answer_is_never_taken_for_one(behind, proxy, filled, method, counted):
    taken, said = {}, []
    faults = {**EVERYWHERE, **OF_A_KIND[ONE_REQUEST[method]]}
    if method in {"find", "check_exists"}:  # they ask for the first line of a listing that goes on
        del faults["endless"], faults["goes on nowhere"]

    for name, fault in faults.items():
        proxy.always = fault
        try:
            answer = EVERY_CALL[method](behind)
            taken[name] = list(answer[1]) if method == "stream" else answer
        except StoreUnavailableError as unavailable:
            said.append(str(unavailable))
        except Exception as other:  # noqa: BLE001  nothing else may leave
            taken[name] = repr(other)

    counted("replies", proxy.played)
    assert taken == {}
    assert all(proxy.address in each for each in said)


@pytest.mark.attack
@pytest.mark.quick_every(3)
@pytest.mark.parametrize("fault", plays("PUT"))
def test_a_creation_with_a_bad_answer_is_settled_by_reading_it_back(behind, proxy, fault):
    proxy.waiting["PUT"] = [fault]

    assert behind.put_once("a", b"mine") in {"created", "identical"}
    assert behind.get("a") == b"mine"


@pytest.mark.attack
@pytest.mark.quick_every(3)
@pytest.mark.parametrize("fault", plays("PUT"))
def test_a_bad_answer_does_not_make_a_good_store_look_unsafe(behind, proxy, fault):
    proxy.waiting["PUT"] = [honest, fault]

    behind.prove_create_if_absent()

    assert not proxy.waiting["PUT"]
    assert listing(behind) == {}


@pytest.mark.attack
@pytest.mark.parametrize("method", ONE_REQUEST)
@pytest.mark.parametrize(
    "fault", [page(200), redirect(302, "https://{host}"), no_reply, error(503, "SlowDown")]
)
def test_one_bad_answer_is_followed_by_another_try(
    proxy, filled, configure, monkeypatch, method, fault
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 2})
    proxy.waiting[ONE_REQUEST[method]] = [fault]

    with contextlib.suppress(TrustError):  # find_record: what is there is no record
        EVERY_CALL[method](open_stores().reviews)

    assert len(proxy.requests) == 2


@pytest.mark.attack
def test_a_write_that_meets_another_one_is_tried_again(proxy, stores, configure, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 2})
    bucket = open_stores().reviews
    proxy.waiting["PUT"] = [error(409, "OperationAborted")]

    bucket.put("a", b"1")

    assert stores.reviews.get("a") == b"1"
    proxy.always = error(409, "ConditionalRequestConflict")
    with pytest.raises(StoreUnavailableError, match="answered 409 ConditionalRequestConflict"):
        bucket.put("a", b"2")


@pytest.mark.attack
@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (page(200), "sent a web page, as a proxy or a login page does"),
        (page(403), "sent a web page, as a proxy"),
        (page(400), "may have to begin with https"),
        (redirect(301, "https://{host}"), r"to https://127\.0\.0\.1.* begin with https"),
        (redirect(307, "http://{host}{target}"), "to itself, as a login page does"),
        (redirect(302, "http://login.example/?token=secret"), r"to http://login\.example, as a"),
    ],
)
def test_the_likely_cause_is_said_and_no_secret(behind, proxy, fault, cause):
    proxy.always = fault

    with pytest.raises(StoreUnavailableError, match=cause) as raised:
        behind.list("")

    assert "secret" not in str(raised.value)
    assert "Check AWS_ENDPOINT_URL_S3" in str(raised.value)


@pytest.mark.attack
def test_the_last_chunk_is_not_given_out_before_all_of_them_proved_right(behind, proxy, stores):
    data = bytes(2 * 1024 * 1024 + 1)
    stores.reviews.put("a", data)
    proxy.always = OF_A_KIND["GET"]["one bit and no checksum"]
    given = []

    with pytest.raises(StoreUnavailableError, match="not that of its ETag"):
        given.extend(behind.stream("a")[1])

    assert [len(chunk) for chunk in given] == [1024 * 1024] * 2


@pytest.mark.attack
def test_an_encrypted_object_whose_tag_is_no_digest_is_read(behind, proxy, filled):
    def as_kms(request: Request, forward) -> Reply:
        reply = forward().with_header("etag", f'"{"1" * 32}"')
        return reply.with_header("x-amz-server-side-encryption", "aws:kms")

    proxy.always = as_kms

    assert behind.get("a") == b"the bytes of a"
    behind.put("a", b"1")
    assert b"".join(behind.stream("a")[1]) == b"1"


@pytest.mark.attack
def test_a_bucket_whose_creation_was_not_heard_of_is_created(proxy, stores, configure, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 2, "reviews_bucket": f"{stores.reviews.name}-new"})
    bucket = open_stores().reviews
    proxy.waiting["BUCKET"] = [lost_reply]

    assert bucket.create_if_missing()

    bucket.check_exists()


@pytest.mark.attack
@pytest.mark.quick_every(3)
@pytest.mark.parametrize("fault", plays("BUCKET"))
def test_a_bucket_counts_as_created_when_it_is_there(proxy, stores, configure, monkeypatch, fault):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 1, "reviews_bucket": f"{stores.reviews.name}-new"})
    bucket = open_stores().reviews
    proxy.waiting["BUCKET"] = [fault]

    try:
        is_created = bucket.create_if_missing()
    except (StoreUnavailableError, BucketMissingError):
        is_created = False

    proxy.waiting.clear()
    if is_created:
        bucket.check_exists()
    bucket.create_if_missing()
    bucket.put("a", b"1")


@pytest.mark.attack
def test_a_probe_that_could_not_be_deleted_stops_nothing_and_goes_later(behind, proxy, monkeypatch):
    proxy.waiting["DELETE"] = [page(200)]

    behind.prove_create_if_absent()

    (left,) = listing(behind)
    behind.prove_create_if_absent()  # it may be somebody's who is at it
    assert list(listing(behind)) == [left]
    monkeypatch.setattr("pipelines.core.store.proof._PROBE_LIVES", dt.timedelta(hours=-1))
    behind.prove_create_if_absent()
    assert listing(behind) == {}


# ── One deadline per call ────────────────────────────────────────────────────────────────────


@pytest.mark.long
@pytest.mark.attack
@pytest.mark.parametrize(
    ("method", "fault"),
    [
        pytest.param(method, fault, id=f"{name}-{method}")
        for name, fault in DRIPS.items()
        for method, kind in ONE_REQUEST.items()
        if kind not in {"PUT", "DELETE"} or name != "drip of the body"  # which they have not
    ],
)
def test_an_answer_that_drips_in_is_given_up_at_the_deadline(
    proxy, filled, configure, monkeypatch, method, fault
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 9, "deadline_seconds": 0.3})
    proxy.always = fault
    filled.put("a", b"x" * 1000)

    def call() -> None:
        answer = EVERY_CALL[method](open_stores().reviews)
        list(answer[1])  # of a stream

    with pytest.raises(StoreUnavailableError, match=r"did not finish within 0\.3 s"):
        call()


@pytest.mark.attack
@pytest.mark.parametrize("seconds_of_a_byte", [0.9, 9])  # what is sent gives time, too
def test_a_slow_line_is_given_time_for_every_byte(
    proxy, stores, configure, monkeypatch, seconds_of_a_byte
):
    """By a clock that only received bytes move, so a busy machine changes nothing."""
    now = [0.0]
    received = deadline.Deadline.received

    def received_slowly(self: deadline.Deadline, count: int) -> None:
        now[0] += count * seconds_of_a_byte
        received(self, count)

    stores.reviews.put("a", b"x" * 20)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"deadline_seconds": 5, "min_bytes_per_second": 1})
    proxy.waiting["GET"] = [DRIPS["drip of the body"]]
    monkeypatch.setattr(deadline.Deadline, "received", received_slowly)
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: now[0]))

    if seconds_of_a_byte < 1:
        assert open_stores().reviews.get("a") == b"x" * 20
    else:
        with pytest.raises(StoreUnavailableError, match="did not finish within 5 s"):
            open_stores().reviews.get("a")


@pytest.mark.attack
def test_the_deadline_of_one_thread_is_not_that_of_another(proxy, filled, configure, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"deadline_seconds": 0.3, "max_attempts": 1})
    hurried = open_stores().reviews
    configure(store={"deadline_seconds": 60.0})
    patient = open_stores().reviews
    proxy.waiting["GET"] = [DRIPS["drip of the head"]]

    with ThreadPoolExecutor(4) as readers:
        dripping = readers.submit(hurried.get, "a")
        while not proxy.requests:
            threading.Event().wait(0.01)
        others = list(readers.map(patient.get, ["a"] * 12))

    assert others == [b"the bytes of a"] * 12
    assert isinstance(dripping.exception(), StoreUnavailableError)


@pytest.mark.attack
def test_an_answer_that_never_begins_is_given_up(behind, proxy, filled, monkeypatch):
    for module in ("bucket", "calls"):
        monkeypatch.setattr(f"pipelines.core.store.{module}.MOST_ANSWER_BYTES", 65_536)
    endless = b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000
    proxy.always = lambda _request, _forward: Reply(200, {}, b"", before=endless)

    with pytest.raises(StoreUnavailableError, match="does not end"):
        behind.get("a")


@pytest.mark.attack
def test_a_server_that_asks_for_the_body_and_hangs_up_is_given_up(
    s3_environment, configure, monkeypatch
):
    configure(store={"deadline_seconds": 0.3, "max_attempts": 1})
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.getsockname()[1]}")

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 100 Continue\r\n")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(StoreUnavailableError):
            open_stores().reviews.put_file("a", io.BytesIO(b"x"))
        thread.join()


@pytest.fixture
def encrypted(s3_server, stores, monkeypatch, tmp_path) -> Iterator[Hostile]:
    """A proxy that speaks TLS, with a certificate that this process's clients trust."""
    context, certificate = self_signed(tmp_path)
    with hostile_store(s3_server, context) as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", state.address)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        yield state


@pytest.mark.attack
@pytest.mark.skipif(
    bool(GIVEN_SERVER),
    reason="what boto3 signs for an encrypted connection, this server refuses on the other side",
)
def test_an_encrypted_connection_has_the_same_deadline(encrypted, configure):
    bucket = open_stores().reviews
    data = bytes(range(256)) * 20_000
    bucket.put("a", data)
    bucket.put_file("b", io.BytesIO(data))

    assert bucket.get("a") == bucket.get("b") == data
    assert b"".join(bucket.stream("a")[1]) == data
    assert list(listing(bucket)) == ["a", "b"]
    configure(store={"max_attempts": 1, "deadline_seconds": 0.5})
    encrypted.always = DRIPS["drip of the head"]
    with pytest.raises(StoreUnavailableError, match=r"did not finish within 0\.5 s"):
        open_stores().reviews.get("a")
