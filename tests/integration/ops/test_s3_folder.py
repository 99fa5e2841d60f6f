"""The S3 server on a folder stores whole objects or none, on the disk, for who names its key."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from ops.services.s3_folder import FolderServer
from tests.support.services import capabilities
from tests.support.services.s3_under_test import s3_client
from tests.support.timing import HANG_SECONDS

KEY = "the-key"
ROOT = Path(__file__).resolve().parents[3]


@contextlib.contextmanager
def serving(folder):
    server = FolderServer(folder, port=0, access_key=KEY)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / "s3") as running:
        yield running


ANY = "any"  # secrets are not checked


def client_of(server, *, key=KEY, secret=ANY):
    return s3_client(f"http://127.0.0.1:{server.server_port}", keys=(key, secret), secret=secret)


@pytest.fixture
def client(server):
    opened = client_of(server)
    opened.create_bucket(Bucket="bucket")
    return opened


def keys_in(client, **options):
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", **options)
    return [line["Key"] for page in pages for line in page.get("Contents", ())]


def test_it_decides_races_of_create_if_absent_in_one_step(server, monkeypatch):
    monkeypatch.setattr(capabilities.iam, "USERS", {})  # it has none, whatever another server has
    found = capabilities.probe(lambda secret=ANY: client_of(server, secret=secret), "races")

    assert "atomic_create" in found


@pytest.mark.attack
def test_an_upload_that_is_cut_off_stores_nothing(server, client):
    head = (
        "PUT /bucket/a/cut HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={KEY}/20260101/x/s3/aws4_request\r\n\r\n"
    )

    with socket.create_connection(server.server_address) as connection:
        connection.sendall(head.encode() + b"x" * 50)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"50 of 100 bytes came" in answer
    assert keys_in(client) == []
    assert [path for path in (server.folder / "bucket").rglob("*") if path.is_file()] == []


def test_bytes_that_are_not_those_that_were_signed_are_refused(server, client):
    connection = http.client.HTTPConnection(*server.server_address)
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/x/s3/aws4_request",
        "x-amz-content-sha256": "0" * 64,
    }

    connection.request("PUT", "/bucket/changed", body=b"other bytes", headers=headers)

    assert connection.getresponse().status == 400
    assert keys_in(client) == []


@pytest.mark.attack
@pytest.mark.parametrize("key", ["", "another", KEY + "x"])
def test_who_does_not_name_the_key_gets_and_changes_nothing(server, client, key):
    stranger = client_of(server, key=key or "-")

    for call in (
        stranger.list_buckets,
        lambda: stranger.list_objects_v2(Bucket="bucket"),
        lambda: stranger.put_object(Bucket="bucket", Key="one", Body=b"1"),
        lambda: stranger.delete_bucket(Bucket="bucket"),
    ):
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            call()
    assert keys_in(client) == []


@pytest.mark.attack
@pytest.mark.parametrize("method", ["OPTIONS", "GET", "PUT", "DELETE"])
def test_a_page_in_a_browser_can_neither_read_nor_write(server, client, method):
    connection = http.client.HTTPConnection(*server.server_address)
    origin = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "PUT"}

    connection.request(method, "/bucket/one", headers=origin)

    assert connection.getresponse().status == 403


@pytest.mark.attack
@pytest.mark.parametrize(
    "path",
    ["../out", "a/../../out", "%2e%2e/out", "a//b", "/out", ".", "a/", "nul%00", "long" * 100],
)
def test_no_key_reaches_a_file_outside_of_its_bucket(server, client, path):
    connection = http.client.HTTPConnection(*server.server_address)
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/x/s3/aws4_request"}
    before = {file for file in server.folder.parent.rglob("*") if file.is_file()}

    connection.request("PUT", f"/bucket/{path}", body=b"1", headers=headers)

    assert connection.getresponse().status == 400
    assert {file for file in server.folder.parent.rglob("*") if file.is_file()} == before


def test_an_object_and_its_name_are_on_the_disk_before_the_answer(server, client, monkeypatch):
    synced, fsync = set(), os.fsync

    def note(opened):
        synced.add(os.fstat(opened).st_ino)
        fsync(opened)

    monkeypatch.setattr("os.fsync", note)
    client.put_object(Bucket="bucket", Key="a/b/one", Body=b"1", IfNoneMatch="*")

    bucket = server.folder / "bucket"
    needed = [bucket / "a/b/one", bucket / "a/b", bucket / "a", bucket]
    assert {path.stat().st_ino for path in needed} <= synced


def test_a_bucket_is_on_the_disk_before_the_answer(client, monkeypatch):
    monkeypatch.setattr("os.fsync", _full)

    with pytest.raises(ClientError, match=r"InternalError.*No space left"):
        client.create_bucket(Bucket="another")


def _full(_opened):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_an_error_and_leaves_nothing(server, client, monkeypatch):
    monkeypatch.setattr("os.fsync", _full)

    with pytest.raises(ClientError, match=r"InternalError.*No space left"):
        client.put_object(Bucket="bucket", Key="a/one", Body=b"1")

    assert keys_in(client) == []


def test_a_key_below_another_one_is_refused_and_both_sides_stay(client):
    client.put_object(Bucket="bucket", Key="a", Body=b"1")

    with pytest.raises(ClientError, match="InvalidArgument"):
        client.put_object(Bucket="bucket", Key="a/b", Body=b"1")

    assert keys_in(client) == ["a"]


@pytest.mark.long
@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/b/", "a/b/1", "b/", "none/", "../"])
@pytest.mark.parametrize("page", [1, 3, 1000])
def test_a_listing_is_that_of_all_keys_that_begin_so(client, prefix, page):
    every = ["a-0", "a/b/1", "a/b/10", "a/b/2", "a/b0", "a/c/1", "a0", "b/1", "c"]
    for key in every:
        client.put_object(Bucket="bucket", Key=key, Body=b"1")

    assert keys_in(client, Prefix=prefix, PaginationConfig={"PageSize": page}) == [
        key for key in every if key.startswith(prefix)
    ]


@pytest.mark.parametrize("after", ["a", "a/b/1", "a/b/2", "a/z", "b"])
def test_a_listing_below_a_folder_begins_where_it_is_to_begin(client, after):
    for key in ("a/b/1", "a/b/2", "a/c/1"):
        client.put_object(Bucket="bucket", Key=key, Body=b"1")

    found = keys_in(client, Prefix="a/b/", StartAfter=after)
    folders = client.list_objects_v2(Bucket="bucket", Prefix="a/", Delimiter="/", MaxKeys=1)

    assert found == [key for key in ("a/b/1", "a/b/2") if key > after]
    assert [one["Prefix"] for one in folders["CommonPrefixes"]] == ["a/b/"]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_common_prefixes_come_once_on_pages_of_any_size(client, page):
    for key in ("a-0", "a/b/1", "a/b/2", "a/c/1", "a/d", "a0/1"):
        client.put_object(Bucket="bucket", Key=key, Body=b"1")

    def below(prefix):
        options = {"Prefix": prefix, "Delimiter": "/", "PaginationConfig": {"PageSize": page}}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", **options)
        return [
            line.get("Key") or line["Prefix"]
            for reply in pages
            for line in (*reply.get("Contents", ()), *reply.get("CommonPrefixes", ()))
        ]

    assert sorted(below("")) == ["a-0", "a/", "a0/"]
    assert sorted(below("a/")) == ["a/b/", "a/c/", "a/d"]
    assert below("a/b/") == ["a/b/1", "a/b/2"]


def test_a_page_reads_only_the_folders_that_it_shows(client, monkeypatch):
    for number in range(40):
        client.put_object(Bucket="bucket", Key=f"a/{number:02d}/one", Body=b"1")
    read, scandir = [], os.scandir
    monkeypatch.setattr("os.scandir", lambda folder: read.append(folder) or scandir(folder))

    page = client.list_objects_v2(Bucket="bucket", Prefix="a/", StartAfter="a/20/one", MaxKeys=5)

    assert [line["Key"] for line in page["Contents"]] == [f"a/{n}/one" for n in range(21, 26)]
    # The folder, that of the marker, those shown, and one to see that there are more.
    assert len(read) == 1 + 1 + 5 + 1


def test_a_second_server_of_a_folder_does_not_start(server):
    with pytest.raises(BlockingIOError):
        FolderServer(server.folder, port=0, access_key=KEY)


def test_what_a_killed_server_had_begun_to_write_is_removed(tmp_path):
    part = tmp_path / "s3" / "bucket" / "a" / ".localbucket-half"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"ha")

    with serving(tmp_path / "s3"):
        assert not part.exists()


def started(folder):
    child = subprocess.Popen(
        [sys.executable, "-m", "ops.services.s3_folder", str(folder)],
        cwd=ROOT, env={**os.environ, "AWS_ACCESS_KEY_ID": KEY}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    port = child.stdout.readline().removeprefix("port ")
    child.stdout.close()
    return child, s3_client(f"http://127.0.0.1:{int(port)}", keys=(KEY, ANY))


def write_until_it_ends(client, writer, written):
    for number in range(HANG_SECONDS * 1000):
        key, body = f"{writer}/{number:06}", f"{writer} {number} ".encode() * 500
        try:
            client.put_object(Bucket="bucket", Key=key, Body=body, IfNoneMatch="*")
        except (BotoCoreError, ClientError):
            return
        written[key] = body


@pytest.mark.long
def test_killed_among_writers_it_has_all_that_it_confirmed_and_nothing_torn(tmp_path):
    server, client = started(tmp_path)
    client.create_bucket(Bucket="bucket")
    written: dict[str, bytes] = {}

    for _round in range(3):
        before = len(written)
        with ThreadPoolExecutor(4) as writers:
            names = [f"{len(written)}-{number}" for number in range(4)]
            going = functools.partial(write_until_it_ends, client, written=written)
            done = [writers.submit(going, name) for name in names]
            while len(written) < before + 40:
                assert not all(one.done() for one in done)
            server.kill()
            server.wait()
        server, client = started(tmp_path)

        for key in keys_in(client):
            body = client.get_object(Bucket="bucket", Key=key)["Body"].read()
            writer, number = key.split("/")
            assert body == f"{writer} {int(number)} ".encode() * 500  # also if not confirmed
        assert written.keys() <= set(keys_in(client))
    server.kill()
    server.wait()
