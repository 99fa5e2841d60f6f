"""Where independent fits run: in this process, or on the workers of a Dask cluster.

Both give the same bytes. What a fit needs is handed to it, it draws no random number that is not
its own, and its results are put together here, in the order of the calls.

A cluster is trusted as this process is: its workers get code and reviews as pickles, which is how
Dask sends them. The other way only arrays come back, as bytes, so nothing is unpickled here. A
worker that has other code or libraries refuses to work: its model would not be this version.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipelines.core.errors import ClusterError, ConfigError, FitError
from pipelines.core.provenance import TRAINING, code_digest, environment_digest

Arrays = Sequence[NDArray[Any]]
Calls = Sequence[tuple[Any, ...]]
_RESULT, _FAILED, _OTHER_CODE = b"R", b"F", b"C"


class Compute(Protocol):
    """Runs functions that return arrays."""

    has_workers: bool

    def keep(self, value: Any) -> Any:
        """Hand over a value that several calls take; returns what stands for it in a call."""
        ...

    def run(
        self, function: Callable[..., Arrays], calls: Sequence[tuple[Any, ...]]
    ) -> list[Arrays]:
        """The results of calls that do not depend on each other, in their order.

        Raises
        ------
        FitError
            If one of them does.
        ClusterError
            If the cluster cannot be used.
        """
        ...


class Here:
    """In this process, one call after the other."""

    has_workers = False

    def keep(self, value: Any) -> Any:
        return value

    def run(
        self, function: Callable[..., Arrays], calls: Sequence[tuple[Any, ...]]
    ) -> list[Arrays]:
        return [function(*arguments) for arguments in calls]


class Cluster:
    """On the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
        From `opened`: one that unpickles nothing.
    """

    has_workers = True

    def __init__(self, client: Any) -> None:
        self._client = client
        self._code = _code()

    def keep(self, value: Any) -> Any:
        return self._client.scatter(value, hash=False)

    def later(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What stands for a result that stays on the workers, for other calls to take."""
        return self._client.submit(function, *arguments, pure=False)

    def run(
        self, function: Callable[..., Arrays], calls: Sequence[tuple[Any, ...]]
    ) -> list[Arrays]:
        futures = [
            self._client.submit(_as_bytes, self._code, function, *arguments, pure=False)
            for arguments in calls
        ]
        try:
            answers = self._client.gather(futures)
        except Exception as error:
            raise ClusterError(
                f"a worker ended without an answer ({type(error).__name__})"
            ) from error
        return [_arrays(answer) for answer in answers]


@contextmanager
def opened(address: str) -> Iterator[Compute]:
    """The cluster with a scheduler at this address; this process if it is empty.

    Raises
    ------
    ConfigError
        If Dask is not installed.
    ClusterError
        If the scheduler does not answer.
    """
    if not address:
        yield Here()
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            "training.cluster names a Dask scheduler, and Dask is not installed: "
            "pip install 'retraining-loop[dask]', or leave training.cluster empty"
        ) from error
    formats = ["dask", "msgpack"]  # no pickle
    try:
        client = Client(address, deserializers=formats, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"the scheduler at {address} does not answer") from error
    with client:
        yield Cluster(client)


def _code() -> tuple[str, str]:
    return code_digest(*TRAINING), environment_digest()


# ── On a worker ──────────────────────────────────────────────────────────────────────────────


def _as_bytes(code: tuple[str, str], function: Callable[..., Arrays], *arguments: Any) -> bytes:
    """The result of a function, or why there is none: a byte that says which, and the rest."""
    if _code() != code:
        return _OTHER_CODE
    buffer = io.BytesIO()
    try:
        with threadpool_limits(limits=1):
            np.savez(buffer, *function(*arguments), allow_pickle=False)
    except (FitError, ValueError) as error:
        return _FAILED + str(error).encode()
    return _RESULT + buffer.getvalue()


# ── Here again ───────────────────────────────────────────────────────────────────────────────


def _arrays(answer: object) -> Arrays:
    if not isinstance(answer, bytes):
        raise _not_understood()
    kind, body = answer[:1], answer[1:]
    if kind == _OTHER_CODE:
        raise ClusterError(
            "a worker has other code or libraries than this process, so its model would not be "
            "this version. Give workers the same image"
        )
    if kind == _FAILED:
        raise FitError(body.decode("utf-8", "replace"))
    if kind != _RESULT:
        raise _not_understood()
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]
    except (ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _not_understood() from error


def _not_understood() -> ClusterError:
    return ClusterError("a worker sent something else than a result")
