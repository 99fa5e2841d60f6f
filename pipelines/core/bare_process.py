"""A process without rights: for work on bytes that somebody else made.

A fresh interpreter that ignores the environment, with a few harmless variables of its own. Before
it looks at the bytes it gives up what it was born with: the network, every file but the
interpreter's and this package's, the right to write any, and more memory, processor time and open
files than the work takes. It ends when the process that started it does.

Where the kernel is too old for Landlock [1]_, or a container forbids name spaces, the other
measures remain.

References
----------
.. [1] https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from typing import Any

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # gives memory back, and grows large blocks in place
}

# What a library may want to read, apart from the folders that Python names itself. Of /proc nothing
# but this process: another one's folder shows the variables that it was started with.
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/proc/cpuinfo",
    "/proc/meminfo", "/sys/devices/system", "/dev/null", "/dev/urandom",
)  # fmt: skip
# os.path, because importing pathlib costs 10 ms.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH120, PTH100
# -I: no PYTHON* variables, no user site, no current folder. The package is put on the path by name.
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from importlib import import_module; import_module(sys.argv[2]).main()"
)
_NETWORK_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "urllib.Request"}
)
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38  # of prctl
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # Landlock's, on every architecture
_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3


def command(module: str, *arguments: str) -> list[str]:
    """The command that runs ``main()`` of a module of this package in a bare interpreter."""
    parent = os.path.dirname(_PACKAGE)  # noqa: PTH120
    return [sys.executable, "-I", "-c", _PROGRAM, parent, module, *arguments]


def give_up_everything(
    *, address_bytes: int, cpu_seconds: int, readable: Iterable[str] = ()
) -> None:
    """Permanently give up what the work ahead does not need.

    Parameters
    ----------
    address_bytes, cpu_seconds : int
        Memory and processor time that it may use. More memory is a MemoryError, more time SIGXCPU.
    readable : iterable of str
        Files and folders to read, in addition to the interpreter's and this package's own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _end_with_the_parent(libc)
    leave_the_network(libc)
    _leave_the_files(libc, readable)
    limit(address_bytes, cpu_seconds)


def _end_with_the_parent(libc: ctypes.CDLL) -> None:
    with contextlib.suppress(OSError, AttributeError):
        libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def leave_the_network(libc: ctypes.CDLL) -> None:
    """Enter a network namespace of our own, where the system allows it; and refuse sockets."""
    with contextlib.suppress(OSError, AttributeError):
        if libc.unshare(CLONE_NEWNET) != 0:
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    sys.addaudithook(_refuse_network)


def _refuse_network(event: str, _arguments: tuple[Any, ...]) -> None:
    if event in _NETWORK_EVENTS:
        raise PermissionError(f"this process may not use the network ({event})")


def _leave_the_files(libc: ctypes.CDLL, readable: Iterable[str]) -> None:
    """Deny all access to files except reading these, and also TCP and signals to others."""
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return  # a kernel before 5.13, or without Landlock
    ruleset = libc.syscall(_CREATE_RULESET, *_handled(version), 0)
    folders = {sys.prefix, sys.base_prefix, _PACKAGE, *_SYSTEM, *readable}
    for path in filter(os.path.exists, folders):
        _allow_reading(libc, ruleset, path)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0) != 0:
        raise OSError(ctypes.get_errno(), "the process cannot give up its files")
    os.close(ruleset)


def _handled(version: int) -> tuple[bytes, int]:
    """Everything that this version of Landlock can deny, and the size of its description."""
    files = (1 << 13) - 1 | (version >= 2) << 13 | (version >= 3) << 14
    if version < 4:
        return struct.pack("=Q", files), 8
    if version < 6:
        return struct.pack("=QQ", files, 3), 16  # TCP: bind and connect
    return struct.pack("=QQQ", files, 3, 3), 24  # abstract sockets, signals to others


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    allowed = _EXECUTE | _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)  # noqa: PTH112
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
    os.close(opened)


def limit(address_bytes: int, cpu_seconds: int) -> None:
    """Bound what this process may use from here on; it may not write any file."""
    for what, most in (
        (resource.RLIMIT_AS, address_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    # At the first limit comes SIGXCPU, which names the reason; at the second SIGKILL.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
