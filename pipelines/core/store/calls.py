"""One call to the store, with all of its tries, within one deadline."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pipelines.core.errors import (
    LoopError,
    StoreUnavailableError,
)
from pipelines.core.settings.data import StoreSettings
from pipelines.core.store.deadline import MOST_ANSWER_BYTES, Deadline, active
from pipelines.core.store.failures import Call, translated
from pipelines.core.store.keyring import Keyring

Answer = TypeVar("Answer")


class Calls:
    """What all calls on one bucket share."""

    def __init__(self, name: str, client: Any, settings: StoreSettings, keyring: Keyring) -> None:
        self.name = name
        self._client = client
        self._settings = settings
        self.keyring = keyring

    def uri(self, key: str) -> str:
        return f"s3://{self.name}/{key}"

    def call(
        self, verb: str, key: str, request: Callable[[], Answer], *, tries: int | None = None
    ) -> Answer:
        """One call to the store, with all of its tries, within one deadline."""
        tries = tries or self._settings.max_attempts
        call = Call(verb, self.uri(key), self.name, self.endpoint, self._settings)
        with self.deadline() as deadline:
            for attempt in itertools.count(1):
                deadline.bytes_left = MOST_ANSWER_BYTES
                try:
                    return request()
                except LoopError:
                    raise
                except Exception as error:  # noqa: BLE001  botocore raises anything on a bad reply
                    failure, cause = translated(call, error), error
                is_final = attempt >= tries or deadline.seconds_left <= 0
                if is_final or not isinstance(failure, StoreUnavailableError):
                    raise failure from cause
                deadline.sleep(_pause_seconds(attempt))
        raise AssertionError("unreachable")

    @contextlib.contextmanager
    def deadline(self) -> Iterator[Deadline]:
        """The deadline of the call that is in progress, else that of a new one."""
        outer = active()
        if outer is not None:
            yield outer
            return
        limits = self._settings
        with Deadline(
            limits.deadline_seconds, bytes_per_second=limits.min_bytes_per_second
        ) as deadline:
            yield deadline

    @property
    def endpoint(self) -> str:
        """The store's address, without the user and the password that it may hold."""
        address = urlsplit(str(self._client.meta.endpoint_url))
        return urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))


def _pause_seconds(attempt: int) -> float:
    """How long to wait after a try: 0.1 s, 0.4 s, 1.6 s, times a random 1 to 2 to spread calls."""
    return float(0.1 * 4 ** min(attempt - 1, 3) * (1 + random.random()))  # noqa: S311
