"""A deadline for all that one call does on the network, however slowly the answer drips in.

A time limit per read bounds nothing: a server that sends one byte every few seconds never reaches
it. Here each socket asks, before it waits, what the call that uses it has left. The deadline
belongs to the thread, so calls in other threads are not touched, and it needs no thread or signal.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

MOST_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one answer without the object that it brings; a page of a listing has less than 4 MiB."""


class _Active(threading.local):
    deadline: Deadline | None = None


_active = _Active()


def active() -> Deadline | None:
    """The deadline of the call that this thread is in."""
    return _active.deadline


class Deadline:
    """How long a call may take: some seconds, and more for every byte transferred.

    It runs inside ``with`` only, which may be entered again: the time that a reader takes between
    two chunks does not count.

    Parameters
    ----------
    seconds : float
        For a call that transfers nothing.
    bytes_per_second : float
        The slowest transfer that is waited for: so many bytes give another second.
    """

    def __init__(self, seconds: float, *, bytes_per_second: float) -> None:
        self._left, self._bytes_per_second = seconds, bytes_per_second
        self._ends = 0.0
        self._outer: Deadline | None = None
        self.bytes_left = MOST_ANSWER_BYTES
        self.came_with: tuple[int, Mapping[str, str]] | None = None  # the last status and headers

    def __enter__(self) -> Deadline:
        self._ends = time.monotonic() + self._left
        self._outer, _active.deadline = _active.deadline, self
        return self

    def __exit__(self, *_: object) -> None:
        _active.deadline = self._outer
        self._left = self._ends - time.monotonic()

    @property
    def seconds_left(self) -> float:
        return self._ends - time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Pause between two tries, no longer than the call has left."""
        time.sleep(max(0.0, min(seconds, self.seconds_left)))

    def sent(self, count: int) -> None:
        self._ends += count / self._bytes_per_second

    def received(self, count: int) -> None:
        """Count received bytes.

        Raises
        ------
        OSError
            If the answer is longer than any answer may be.
        """
        self._ends += count / self._bytes_per_second
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise OSError("the answer does not end")


class _Hurried(socket.socket):
    """A socket whose waits end with the deadline of the call that uses it."""

    _patience: float | None = None

    def settimeout(self, value: float | None) -> None:
        self._patience = value
        super().settimeout(value)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        deadline = self._hurry(self._patience)
        count = super().recv_into(*args, **kwargs)
        if deadline is not None:
            deadline.received(count)
        return count

    def _hurry(self, patience: float | None) -> Deadline | None:
        """Shorten the next wait to what is left of the call."""
        deadline = _active.deadline
        if deadline is not None:
            left = deadline.seconds_left
            if left <= 0:
                raise TimeoutError("the deadline of the call has passed")
            super().settimeout(left if patience is None else min(patience, left))
        return deadline


class _Plain(_Hurried):
    def sendall(self, data: Any, flags: int = 0) -> None:
        if _active.deadline is not None:
            _active.deadline.sent(len(data))
        self._hurry(None)  # Python's limit is for all of the data, urllib3's that for connecting
        super().sendall(data, flags)


class _Encrypted(_Hurried, ssl.SSLSocket):
    def send(self, data: Any, flags: int = 0) -> int:
        deadline = self._hurry(None)
        count = super().send(data, flags)
        if deadline is not None:
            deadline.sent(count)
        return count


def hurry(client: Any) -> None:
    """Make every connection of a boto3 client obey the deadline of the thread that uses it."""
    client._endpoint.http_session._pool_classes_by_scheme.update(_pools())


@functools.cache
def _pools() -> dict[str, type]:
    from botocore import awsrequest

    class Connection(awsrequest.AWSHTTPConnection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            return _hurried(self, super()._new_conn)

    class EncryptedConnection(awsrequest.AWSHTTPSConnection):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            self.ssl_context.sslsocket_class = _Encrypted
            return _hurried(self, super()._new_conn)

    class Pool(awsrequest.AWSHTTPConnectionPool):  # type: ignore[misc]
        ConnectionCls = Connection

    class EncryptedPool(awsrequest.AWSHTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = EncryptedConnection

    return {"http": Pool, "https": EncryptedPool}


def _hurried(connection: Any, connect: Any) -> socket.socket:
    if (deadline := _active.deadline) is not None:
        if deadline.seconds_left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        connection.timeout = min(connection.timeout, deadline.seconds_left)
    plain = connect()
    patience = plain.gettimeout()
    hurried = _Plain(plain.family, plain.type, plain.proto, fileno=plain.detach())
    hurried.settimeout(patience)
    return hurried
