"""Real servers for alerts, on loopback: one that takes mail, one that takes posts."""

from __future__ import annotations

import http.server
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

HANG_SECONDS = 60.0  # longer than any test waits


@dataclass
class Mails:
    """What a mail server got."""

    port: int = 0
    received: list[bytes] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    refuses: str = ""  # the recipient it does not know
    data_reply: str = "250 taken"

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(one, policy=policy.default) for one in self.received]


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Posts:
    """What a web server got, and how it answers."""

    port: int = 0
    scheme: str = "http"
    received: list[Post] = field(default_factory=list)
    status: int = 200
    location: str = ""
    silent_seconds: float = 0.0
    drips: bool = False  # sends a byte now and then, and its answer never ends

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hook/SECRET-TOKEN"


class _MailHandler(socketserver.StreamRequestHandler):
    """As much of SMTP as `smtplib` speaks: one command per line."""

    server: Any

    def handle(self) -> None:
        self._say("220 ready")
        while line := self.rfile.readline():
            word = line.split(b" ")[0].strip().upper().decode("ascii", "replace")
            if word == "QUIT":
                self._say("221 bye")
                return
            self._answer(word, line)

    def _answer(self, word: str, line: bytes) -> None:
        if word == "EHLO":
            self._say("250-here\r\n250 AUTH PLAIN")
        elif word == "AUTH":
            self.server.mails.logins.append(line.split()[-1].decode())
            self._say(self.server.login_reply)
        elif word == "DATA":
            self._say("354 go on")
            self.server.mails.received.append(self._read_mail())
            self._say(self.server.mails.data_reply)
        elif word == "RCPT" and f"<{self.server.mails.refuses}>".encode() in line:
            self._say("550 no such user")
        else:
            self._say("250 fine")

    def _read_mail(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in {b".\r\n", b""}:
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def _say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


class _PostHandler(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        posts: Posts = self.server.posts
        body = self.rfile.read(int(self.headers["Content-Length"]))
        posts.received.append(Post(self.path, dict(self.headers), body))
        time.sleep(posts.silent_seconds)
        self.send_response(posts.status)
        if posts.location:
            self.send_header("Location", posts.location)
        if posts.drips:
            self._drip()
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def _drip(self) -> None:
        self.flush_headers()
        deadline = time.monotonic() + HANG_SECONDS
        while time.monotonic() < deadline:
            self.wfile.write(b"x")
            time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


class _Quiet(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that hung up is what some tests are about."""


@contextmanager
def mail_server(
    tls: ssl.SSLContext | None = None, login_reply: str = "235 welcome", **answers: Any
) -> Iterator[Mails]:
    """A server that takes every mail; with a context it speaks TLS from the start."""
    mails = Mails(**answers)
    with _Quiet(("127.0.0.1", 0), _MailHandler) as server:
        server.mails, server.login_reply = mails, login_reply  # type: ignore[attr-defined]
        _run(server, mails, tls)
        yield mails
        server.shutdown()


@contextmanager
def web_server(tls: ssl.SSLContext | None = None, **answers: Any) -> Iterator[Posts]:
    """A server that takes posts and answers as told."""
    posts = Posts(scheme="https" if tls else "http", **answers)
    with _Quiet(("127.0.0.1", 0), _PostHandler) as server:
        server.posts = posts  # type: ignore[attr-defined]
        _run(server, posts, tls)
        yield posts
        server.shutdown()


def _run(server: _Quiet, kept: Mails | Posts, tls: ssl.SSLContext | None) -> None:
    kept.port = server.server_address[1]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    run: Callable[[], None] = lambda: server.serve_forever(poll_interval=0.02)  # noqa: E731
    threading.Thread(target=run, daemon=True).start()


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for 127.0.0.1 that nobody trusts yet, and its file."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alerts test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return context, pem
