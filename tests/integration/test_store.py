"""The store's door against a real server, and against a proxy that misbehaves on purpose."""

import http.client
import io
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from pipelines.config import load
from pipelines.errors import (
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
from pipelines.records import Arrival
from pipelines.store import Bucket, Stores, checked_key, open_stores
from tests.builders import listing

# ── A proxy that misbehaves ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of a plain answer."""

    is_forwarded: bool = False  # the store does what is asked, only the answer differs
    status: int | None = None  # None: the connection is closed without an answer
    code: str = ""


@dataclass
class Proxy:
    """Between boto3 and the server: takes one fault per request of a method, then is honest."""

    server: str
    address: str = ""
    faults: dict[str, list[Fault | None]] = field(default_factory=dict)
    always: Fault | None = None
    cuts_bodies_of: str = ""
    requests: list[str] = field(default_factory=list)

    def next_fault(self, method: str) -> Fault | None:
        waiting = self.faults.get(method)
        return waiting.pop(0) if waiting else self.always


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.requests.append(f"{self.command} {self.path}")
        fault = self.proxy.next_fault(self.command)
        if fault is None:
            self._answer(*self._forward(body))
            return
        if fault.is_forwarded:
            self._forward(body)
        if fault.status is None:
            self.close_connection = True
            return
        xml = f"<Error><Code>{fault.code}</Code><Message>On purpose.</Message></Error>".encode()
        self._answer(fault.status, {"Content-Type": "application/xml"}, xml)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in {"expect", "connection"}}  # fmt: skip
        connection = http.client.HTTPConnection(urlsplit(self.proxy.server).netloc, timeout=600)
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        answer = reply.status, dict(reply.getheaders()), reply.read()
        connection.close()
        return answer

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(body)))
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.command == self.proxy.cuts_bodies_of:
            body, self.close_connection = body[: len(body) // 2], True
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Keep test output quiet."""


@pytest.fixture
def proxy(s3_server: str) -> Iterator[Proxy]:
    state = Proxy(s3_server)
    handler = type("Handler", (_Handler,), {"proxy": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.fixture
def behind(proxy: Proxy, stores: Stores, configure, monkeypatch) -> Bucket:
    """The reviews bucket of `stores`, reached through the proxy; boto3 itself never retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.address)
    configure(store={"max_attempts": 1, "read_timeout_seconds": 600.0})
    return open_stores().reviews


def fresh(stores: Stores) -> Bucket:
    """The same bucket through a new client, which reads the environment again."""
    settings = load().store.model_copy(update={"max_attempts": 1})
    return open_stores(settings.model_copy(update={"reviews_bucket": stores.reviews.name})).reviews


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
        pytest.param(Fault(is_forwarded=True), id="connection-closed"),
        pytest.param(Fault(is_forwarded=True, status=500, code="InternalError"), id="500"),
        pytest.param(Fault(is_forwarded=True, status=503, code="SlowDown"), id="503"),
    ],
)
def test_a_write_whose_answer_was_lost_is_recognised_as_done(behind, proxy, fault):
    proxy.faults["PUT"] = [fault]

    outcome = behind.put_once("a", b"mine")

    assert outcome == "identical"
    assert behind.get("a") == b"mine"


def test_a_write_that_boto3_repeated_by_itself_is_recognised_as_done(behind, proxy, configure):
    configure(store={"max_attempts": 3})
    proxy.faults["PUT"] = [Fault(is_forwarded=True, status=500, code="InternalError")]

    outcome = open_stores().reviews.put_once("a", b"mine")

    assert outcome == "identical"
    assert proxy.requests[:2] == [f"PUT /{behind.name}/a"] * 2


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(), id="connection-closed"),
        pytest.param(Fault(status=500, code="InternalError"), id="500"),
        pytest.param(Fault(status=409, code="ConditionalRequestConflict"), id="409"),
        pytest.param(Fault(status=409, code="OperationAborted"), id="409-aborted"),
    ],
)
def test_a_write_that_never_happened_is_tried_again(behind, proxy, fault):
    proxy.faults["PUT"] = [fault, fault]

    outcome = behind.put_once("a", b"mine")

    assert outcome == "created"
    assert behind.get("a") == b"mine"


def test_a_lost_answer_does_not_hide_that_somebody_else_was_first(behind, proxy, stores):
    stores.reviews.put_once("a", b"theirs")
    proxy.faults["PUT"] = [Fault(status=500, code="InternalError")]

    with pytest.raises(AlreadyExistsError):
        behind.put_once("a", b"mine")


def test_a_write_that_never_settles_is_given_up_and_worth_a_retry(behind, proxy):
    proxy.faults["PUT"] = [Fault(status=500, code="InternalError")] * 9

    with pytest.raises(
        StoreUnavailableError, match=r"not settled after 4 tries.*Run the task again"
    ):
        behind.put_once("a", b"mine")

    assert len(proxy.faults["PUT"]) == 5
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
    proxy.always = Fault(status=403, code=code)

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
    proxy.always = Fault(status=status, code=code)

    with pytest.raises(StoreUnavailableError, match=f"answered {status} {code}"):
        call(behind)


def test_an_answer_nobody_foresaw_is_shown_as_it_is(behind, proxy):
    proxy.always = Fault(status=400, code="InvalidRequest")

    with pytest.raises(StoreRefusedError, match=r"answered 400 InvalidRequest: On purpose\."):
        behind.get("a")


def test_an_object_that_breaks_off_while_it_is_read_is_never_taken_for_whole(behind, proxy, stores):
    stores.reviews.put("a", b"x" * 100_000)
    proxy.cuts_bodies_of = "GET"

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
    fault = Fault(is_forwarded=is_forwarded, status=500, code="InternalError")
    proxy.faults["PUT"] = [None, fault][1 - writes_before :]

    open_stores().reviews.prove_create_if_absent()

    assert not proxy.faults["PUT"]
    assert listing(behind) == {}


def test_a_store_that_is_away_is_not_called_unsafe(behind, proxy):
    proxy.always = Fault(status=503, code="SlowDown")

    with pytest.raises(StoreUnavailableError):
        behind.prove_create_if_absent()
