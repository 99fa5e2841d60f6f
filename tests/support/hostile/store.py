"""A proxy before the S3 server that answers chosen requests as no store does.

It listens on the loopback address and lives inside ``with hostile_store(...)``; a drip ends when
the reader goes, or after `DRIP_SECONDS`. What it was told to play, it plays to one request each.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import parse_qs, urlsplit

DRIP_SECONDS = 20.0
Kind = Literal["GET", "LIST", "PUT", "DELETE", "BUCKET"]


@dataclass(frozen=True)
class Request:
    """What the client asks for."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    address: str  # of the proxy

    @property
    def kind(self) -> Kind:
        """What is asked: a PUT, GET or DELETE of an object, a listing, or a bucket's creation."""
        if "list-type" in parse_qs(urlsplit(self.target).query):
            return "LIST"
        has_key = len(urlsplit(self.target).path.strip("/").split("/")) > 1
        return self.method if has_key else "BUCKET"  # type: ignore[return-value]


@dataclass(frozen=True)
class Reply:
    """What the proxy sends; ``drips`` names the part that comes a byte at a time."""

    status: int
    headers: dict[str, str]
    body: bytes
    drips: Literal["", "head", "body"] = ""
    is_cut: bool = False
    before: bytes = b""  # sent ahead of the status line

    def without(self, *names: str) -> Reply:
        return replace(self, headers={k: v for k, v in self.headers.items() if k not in names})

    def with_header(self, name: str, value: str) -> Reply:
        return replace(self, headers={**self.headers, name: value})

    def with_body(self, body: bytes) -> Reply:
        return replace(self, body=body).with_header("content-length", str(len(body)))


Forward = Callable[[], Reply]
Fault = Callable[[Request, Forward], Reply | None]
"""Makes the reply to one request, with or without the store; None closes the connection."""


@dataclass
class Hostile:
    """The proxy's state: what it plays, and what it saw."""

    server: str
    address: str = ""
    faults: dict[int, Fault] = field(default_factory=dict)  # by the request's number, from 0
    waiting: dict[Kind, list[Fault]] = field(default_factory=dict)  # for the next of a kind
    always: Fault | None = None
    requests: list[Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)  # as the store gave them
    played: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start_over(self, faults: dict[int, Fault] | None = None) -> None:
        """Forget what was seen, count from 0 again, and play these faults."""
        with self._lock:
            self.faults, self.requests, self.replies = faults or {}, [], []

    def answer(self, request: Request) -> Reply | None:
        with self._lock:
            waiting = self.waiting.get(request.kind)
            otherwise = waiting.pop(0) if waiting else self.always
            fault = self.faults.pop(len(self.requests), otherwise)
            self.requests.append(request)
            self.played += fault is not None
        forward = partial(self._forward, request)
        return forward() if fault is None else fault(request, forward)

    def _forward(self, request: Request) -> Reply:
        headers = {name: value for name, value in request.headers.items()
                   if name.lower() not in {"expect", "connection"}}  # fmt: skip
        connection = http.client.HTTPConnection(urlsplit(self.server).netloc, timeout=30)
        try:
            connection.request(request.method, request.target, request.body, headers)
            got = connection.getresponse()
            body = got.read()
        finally:
            connection.close()
        kept = {name.lower(): value for name, value in got.getheaders()
                if name.lower() not in {"connection", "transfer-encoding"}}  # fmt: skip
        if got.status != 204:
            kept["content-length"] = str(len(body))
        reply = Reply(got.status, kept, body)
        self.replies.append(reply)
        return reply


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hostile: Hostile

    def _handle(self) -> None:
        body = self._body()
        headers = {k: v for k, v in self.headers.items() if k.lower() != "transfer-encoding"}
        request = Request(self.command, self.path, headers, body, self.hostile.address)
        reply = self.hostile.answer(request)
        self.close_connection = True
        if reply is not None:
            with contextlib.suppress(OSError):  # the reader may have given up
                self._send(reply)

    def _body(self) -> bytes:
        """What was sent; over TLS boto3 sends it in pieces, without a length."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, reply: Reply) -> None:
        lines = [f"HTTP/1.1 {reply.status} Said"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        head = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        body = reply.body[: len(reply.body) // 2] if reply.is_cut else reply.body
        self.connection.sendall(reply.before)
        if reply.drips == "head":
            self._drip(head)
        self.connection.sendall(b"" if reply.drips == "head" else head)
        if reply.drips:
            self._drip(body)
        self.connection.sendall(body)

    def _drip(self, data: bytes) -> None:
        """Send a byte now and then, each in time for any limit that is per read."""
        ends = time.monotonic() + DRIP_SECONDS
        for number in range(len(data)):
            if time.monotonic() > ends:
                raise TimeoutError
            self.connection.sendall(data[number : number + 1])
            time.sleep(0.05)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Keep test output quiet."""


@contextlib.contextmanager
def hostile_store(server: str, tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """A proxy before the server at this address, honest until it is told otherwise."""
    state = Hostile(server)
    handler = type("Handler", (_Handler,), {"hostile": state})

    class Server(ThreadingHTTPServer):
        request_queue_size = 64
        block_on_close = False  # a drip ends by itself
        daemon_threads = True

    with Server(("127.0.0.1", 0), handler) as listening:
        if tls is not None:
            listening.socket = tls.wrap_socket(listening.socket, server_side=True)
        state.address = f"http{'s' if tls else ''}://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            listening.shutdown()
            thread.join()


# ── What is played to any request ────────────────────────────────────────────────────────────

_PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body><form><br>%s</form></html>"
_TIDY = b"<html><head><title>Log in</title></head><body><p>Log in</p></body></html>"


def _page(status: int, body: bytes = _PAGE, **headers: str) -> Reply:
    given = {"content-type": "text/html", "content-length": str(len(body))}
    return Reply(status, given | {k.replace("_", "-"): v for k, v in headers.items()}, body)


def page(status: int, body: bytes = _PAGE) -> Fault:
    """A web page in place of the store's answer; the store never hears of the request."""
    return lambda _request, _forward: _page(status, body)


def login_page_with_a_tag(_request: Request, _forward: Forward) -> Reply:
    """As a web server sends a file of its own: with everything that a GET has."""
    return _page(
        200, _PAGE, etag='"5e8c-1f3a2b"', last_modified="Mon, 05 Jan 2026 03:00:00 GMT"
    )  # fmt: skip


def empty(_request: Request, _forward: Forward) -> Reply:
    return Reply(200, {"content-length": "0"}, b"")


def redirect(status: int, to: str) -> Fault:
    """``to`` may hold ``{host}`` and ``{target}`` of the request."""

    def play(request: Request, _forward: Forward) -> Reply:
        host = request.address.removeprefix("http://")
        return _page(status, location=to.format(host=host, target=request.target))

    return play


def honest(_request: Request, forward: Forward) -> Reply:
    return forward()


def error(status: int, code: str, *, is_done: bool = False) -> Fault:
    """The store's own error; ``is_done`` when it did what was asked all the same."""

    def play(_request: Request, forward: Forward) -> Reply:
        if is_done:
            forward()
        xml = f"<Error><Code>{code}</Code><Message>On purpose.</Message></Error>".encode()
        return Reply(status, {"content-type": "application/xml"}, b"").with_body(xml)

    return play


def no_reply(_request: Request, _forward: Forward) -> None:
    return None


def lost_reply(_request: Request, forward: Forward) -> None:
    """The store does what is asked, and nobody hears of it."""
    forward()


def lost_in_a_gateway(_request: Request, forward: Forward) -> Reply:
    forward()
    return _page(504)


def cut(_request: Request, forward: Forward) -> Reply | None:
    reply = forward()
    return replace(reply, is_cut=True) if reply.body else None


def no_http(_request: Request, _forward: Forward) -> Reply:
    return Reply(200, {}, b"", before=b"220 mail.example ESMTP\r\n" * 3)


def drip(part: Literal["head", "body"]) -> Fault:
    return lambda _request, forward: replace(forward(), drips=part)


def without(*names: str) -> Fault:
    return lambda _request, forward: forward().without(*names)


def with_header(name: str, value: str) -> Fault:
    return lambda _request, forward: forward().with_header(name, value)


def with_body(change: Callable[[bytes], bytes]) -> Fault:
    """The store's answer with another body, and a Content-Length that fits it."""

    def play(_request: Request, forward: Forward) -> Reply:
        reply = forward()
        return reply.with_body(change(reply.body)) if reply.status == 200 else reply

    return play


def with_status(status: int) -> Fault:
    return lambda _request, forward: replace(forward(), status=status)


EVERYWHERE: dict[str, Fault] = {
    "login page": page(200),
    "tidy login page": page(200, _TIDY),
    "login page with a tag": login_page_with_a_tag,
    "empty answer": empty,
    "to https": redirect(302, "https://{host}{target}"),
    "to itself": redirect(307, "http://{host}{target}"),
    "to another host": redirect(301, "http://login.example/?next={target}"),
    "to nowhere": redirect(308, ""),
    "bare 400": page(400),
    "bare 401": page(401),
    "bare 403": page(403),
    "bare 404": page(404),
    "empty 404": page(404, b""),
    "tidy 404": page(404, _TIDY),
    "bare 409": page(409),
    "bare 412": page(412),
    "bare 500": page(500),
    "bare 503": page(503, b""),
    "no reply": no_reply,
    "lost reply": lost_reply,
    "lost in a gateway": lost_in_a_gateway,
    "cut": cut,
    "no HTTP": no_http,
    "another 2xx": with_status(206),
}

DRIPS: dict[str, Fault] = {"drip of the head": drip("head"), "drip of the body": drip("body")}

# ── What is played to one kind of request ────────────────────────────────────────────────────


def flipped(body: bytes) -> bytes:
    """The same bytes but for one bit in the middle."""
    changed = bytearray(body)
    changed[len(body) // 2 : len(body) // 2 + 1] = bytes(
        each ^ 1 for each in body[len(body) // 2 : len(body) // 2 + 1]
    )
    return bytes(changed)


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Fault:
    """Another list of lines; a listing without a line gets one that is not there."""

    def edit(body: bytes) -> bytes:
        lines = re.findall(rb"<Contents>.*?</Contents>", body, re.DOTALL)
        rest = re.sub(rb"<Contents>.*?</Contents>", b"", body, flags=re.DOTALL)
        # Not counted: otherwise the count alone would betray the change.
        rest = re.sub(rb"<KeyCount>.*?</KeyCount>", b"", rest)
        return rest.replace(
            b"</ListBucketResult>", b"".join(change(lines)) + b"</ListBucketResult>"
        )

    return with_body(edit)


def _tag_removed(name: str) -> Fault:
    pattern = rf"<{name}>.*?</{name}>|<{name} ?/>".encode()
    return with_body(lambda body: re.sub(pattern, b"", body, flags=re.DOTALL))


def _tag_set(name: str, value: str) -> Fault:
    pattern = rf"<{name}>.*?</{name}>|<{name} ?/>".encode()
    made = f"<{name}>{value}</{name}>".encode()

    def edit(body: bytes) -> bytes:
        if re.search(pattern, body, re.DOTALL):
            return re.sub(pattern, made, body, flags=re.DOTALL)
        return body.replace(b"</ListBucketResult>", made + b"</ListBucketResult>")

    return with_body(edit)


def endless(request: Request, forward: Forward) -> Reply:
    """Says that more follows, and gives the same token again."""
    reply = _tag_set("IsTruncated", "true")(request, forward)
    return _tag_set("NextContinuationToken", "on-and-on")(request, lambda: reply) or reply


OF_A_KIND: dict[Kind, dict[str, Fault]] = {
    "GET": {
        "one bit": with_body(flipped),
        "one bit and no checksum": lambda request, forward: with_body(flipped)(
            request, lambda: forward().without("x-amz-checksum-crc32")
        ),
        "a byte more": with_body(lambda body: body + b" "),
        "a byte less": with_body(lambda body: body[:-1]),
        "without Content-Length": without("content-length"),
        "without ETag": without("etag"),
        "without Last-Modified": without("last-modified"),
        "an odd Last-Modified": with_header("last-modified", "yesterday"),
        "an odd Content-Length": with_header("content-length", "many"),
        "without any header": without(
            "etag", "last-modified", "content-length", "x-amz-checksum-crc32"
        ),
    },
    "LIST": {
        "without its last line": with_body(
            lambda body: re.sub(rb"(.*)<Contents>.*?</Contents>", rb"\1", body, flags=re.DOTALL)
        ),
        "half of it": with_body(lambda body: body[: len(body) // 2]),
        "a line twice": _lines(lambda lines: lines + lines[-1:] + [b"<Contents/>"] * (not lines)),
        "upside down": _lines(lambda lines: lines[::-1] if lines[1:] else [b"<Contents/>"]),
        "endless": endless,
        "goes on nowhere": _tag_set("IsTruncated", "true"),
        "of another bucket": _tag_set("Name", "another-bucket"),
        "of another prefix": _tag_set("Prefix", "another/"),
        "without Name": _tag_removed("Name"),
        "without IsTruncated": _tag_removed("IsTruncated"),
        "a line without Key": _lines(lambda _lines: [b"<Contents><Size>1</Size></Contents>"]),
        "a line without Size": _lines(lambda _lines: [b"<Contents><Key>z</Key></Contents>"]),
    },
    "PUT": {
        "without ETag": without("etag"),
        "the ETag of other bytes": with_header("etag", f'"{"0" * 32}"'),
    },
    "DELETE": {"200": with_status(200)},
    "BUCKET": {},
}


def faults_for(kind: Kind) -> dict[str, Fault]:
    """All that can be played to such a request without waiting."""
    return {**EVERYWHERE, **OF_A_KIND[kind]}
