"""The process that decodes a delivery: what it has, and what its end means."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core import apart, bare_process, config
from pipelines.core.errors import DecoderGoneError, TransientError, UnreadableDeliveryError
from pipelines.intake.arrivals import read_arrival, receive
from pipelines.intake.files import blocks, decoder
from pipelines.intake.files.decoding import Rows, decode
from pipelines.intake.files.rows import FAULTS
from pipelines.validation import validate
from tests.support.in_memory import InMemory
from tests.support.made.builders import as_csv, as_file, in_memory, landing_key, some_rows

pytestmark = pytest.mark.attack

ROOT = Path(__file__).resolve().parents[2]
INTAKE = config.load().intake
HAS_LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) >= 1
needs_landlock = pytest.mark.skipif(not HAS_LANDLOCK, reason="the kernel has no Landlock")

BARE = """
import os, signal, sys, time; sys.path.insert(0, sys.argv[1])
from pipelines.core import apart, bare_process
from pipelines.intake.files import blocks
from pipelines.intake.files.rows import Rows
bare_process.give_up_everything(address_bytes=2**30, cpu_seconds=1)
def say(kind, body): os.write(1, apart.HEAD.pack(kind, len(body)) + body)
def pass_on(words): say(b'R', __import__('json').dumps(
    {'reason': 'test', 'detail': str(words), 'rows': 0}).encode())
"""

Instead = Callable[[str], None]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Instead:
    """Have the child run a program of the test's own, started and stripped as the decoder is."""

    def replace(program: str) -> None:
        command = [sys.executable, "-I", "-c", BARE + program, str(ROOT)]
        monkeypatch.setattr(bare_process, "command", lambda *_: command)

    return replace


def decoded(body: bytes = b"anything", intake=INTAKE, file_format: str = "csv") -> Rows:
    name, _, packing = file_format.partition(".")
    with decoder.unnamed_file(len(body)) as file:
        file.write(body)
        spooled = decoder.decode_apart(file, name, is_gzipped=bool(packing), intake=intake)
    return in_memory(spooled)


def held(*args, **changes) -> str:
    with pytest.raises(UnreadableDeliveryError) as caught:
        decoded(*args, **changes)
    return caught.value.reason


def seen(instead: Instead, program: str) -> str:
    """What the child says of itself: the value of ``words``."""
    instead(program + "\npass_on(words)")
    with pytest.raises(UnreadableDeliveryError) as caught:
        decoded()
    return caught.value.detail


# ── What it has ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file_format", ["csv", "csv.gz", "jsonl", "parquet"])
def test_it_reads_the_very_rows_that_this_process_would_read(file_format):
    delivered = [*some_rows(3), some_rows(4)[3] | {"movie_id": None, "rating": None, "text": "é"}]
    body, name = as_file(delivered, file_format), file_format.partition(".")

    here = decode(body, name[0], is_gzipped=bool(name[1]), intake=INTAKE)

    assert decoded(body, file_format=file_format) == here


def test_it_has_no_variable_that_is_not_harmless(instead, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("LOOP_SIGNING_KEY", "canary")

    names = seen(instead, "words = sorted(os.environ)")

    assert names == str(sorted(bare_process.ENVIRONMENT))


OPEN_FILES = """
links = [f'/proc/self/fd/{number}' for number in range(64)]
words = sorted(os.readlink(one).split(':[')[0] for one in links if os.path.islink(one))
"""


def test_it_has_no_open_file_but_the_delivery_and_its_answer(instead, tmp_path):
    with (tmp_path / "signing-key.pem").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)

        said = seen(instead, OPEN_FILES)

    assert said == "['/dev/null', '/memfd:file (deleted)', 'pipe']"


ATTEMPT = """
try: {what}
except OSError as error: words = type(error).__name__
else: words = 'it could'
"""


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("open({key!r})", id="read-a-key"),
        pytest.param(
            "open('/proc/%d/environ' % os.getppid()).read()", id="read-what-the-parent-has"
        ),
        pytest.param("open({folder!r} + '/loot', 'w')", id="make-a-file"),
        pytest.param("os.unlink({key!r})", id="delete-a-file"),
        pytest.param("os.kill(os.getppid(), 0)", id="signal-the-parent"),
    ],
)
@needs_landlock
def test_it_may_touch_no_file_and_no_process_but_its_own(instead, tmp_path, what):
    key = tmp_path / "signing-key.pem"
    key.write_text("canary")

    said = seen(instead, ATTEMPT.format(what=what.format(key=str(key), folder=str(tmp_path))))

    assert said == "PermissionError"
    assert [file.name for file in tmp_path.iterdir()] == [key.name]


@pytest.mark.parametrize(
    "what",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9), timeout=2)",
        "import socket; socket.socket().bind(('127.0.0.1', 0))",
        "os.write(0, b'x')",
    ],
)
@pytest.mark.parametrize("most_bytes", [apart.MOST_BYTES_IN_MEMORY, 0], ids=["memory", "disk"])
def test_it_reaches_no_network_and_cannot_change_the_delivery(
    instead, monkeypatch, what, most_bytes
):
    monkeypatch.setattr(apart, "MOST_BYTES_IN_MEMORY", most_bytes)

    assert seen(instead, ATTEMPT.format(what=what)) in {"PermissionError", "OSError"}


def test_reading_lines_takes_no_library(instead):
    heavy = "{'pyarrow', 'numpy', 'pandas', 'pydantic', 'boto3', 'subprocess'}"

    assert seen(instead, f"words = sorted(sys.modules.keys() & {heavy})") == "[]"


MORE_AND_MORE = """
block = blocks.packed(Rows(*([None] * 4096 for _ in range(6)), [()] * 4096))
while True: say(b'B', block)
"""


# ── What its end means ───────────────────────────────────────────────────────────────────────


def test_more_memory_than_the_limit_holds_the_delivery():
    little = INTAKE.model_copy(update={"max_decoder_memory_bytes": 150_000_000})
    rows = [row | {"text": "x" * 19_000} for row in some_rows(2_000)]

    assert held(as_file(rows, "parquet"), little, "parquet") == "decoder_memory_limit"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("while True: pass", "decoder_cpu_limit"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "decoder_failed"),
        ("os.abort()", "decoder_failed"),
        ("say(b'M', b'')", "decoder_memory_limit"),
        ("say(b'B', bytes(10))", "decoder_failed"),
        ("os.write(1, b'B' + b'\\xff' * 1000)", "decoder_failed"),
        ("say(b'D', b'[' * 100_000)", "decoder_failed"),
        ("say(b'R', b'{}')", "decoder_failed"),
        (MORE_AND_MORE, "too_many_rows"),
    ],
)
def test_an_end_that_the_same_bytes_bring_about_again_holds_the_delivery(instead, program, reason):
    instead(program)

    assert held() == reason


def test_whatever_is_raised_in_it_holds_the_delivery(monkeypatch, tmp_path):
    def breaks(*_args, **_kwargs):
        raise KeyError("a fault of our own")

    monkeypatch.setattr(decoder, "decode_file", breaks)
    with (tmp_path / "answers").open("wb") as answers:
        kind, words = decoder._decoded(
            None, answers, {"file_format": "csv", "is_gzipped": False}, INTAKE
        )

    assert (kind, words["reason"]) == (decoder.REFUSED, "decoder_failed")
    assert "KeyError" in words["detail"]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("signal.raise_signal(signal.SIGTERM)", "SIGTERM"),
        ("os._exit(0)", "exit code 0"),
        ("os._exit(1)", "exit code 1"),
        ("os.write(1, apart.HEAD.pack(b'D', 100))", "exit code 0"),
    ],
)
def test_an_end_from_outside_is_no_verdict_and_leaves_nothing(instead, program, why):
    bucket = InMemory()
    bucket.put(landing_key("r.csv"), as_csv(some_rows(40)))
    key, _ = receive(bucket, landing_key("r.csv"), night="2026-01-05", intake=INTAKE)
    _, delivery = read_arrival(bucket, key)
    before = dict(bucket.objects)
    instead(program)

    with pytest.raises(DecoderGoneError, match=why) as caught:
        validate.validate(bucket, delivery, config.load())

    assert isinstance(caught.value, TransientError)
    assert bucket.objects == before


def test_silence_beyond_the_wall_clock_is_no_verdict(instead):
    instead("time.sleep(600)")

    with pytest.raises(DecoderGoneError, match="no answer within"):
        decoded(intake=INTAKE.model_copy(update={"max_decoder_wall_seconds": 1.0}))


@pytest.mark.parametrize("name", ["subprocess.Popen", "os.memfd_create"])
def test_a_process_that_cannot_be_started_is_no_verdict(monkeypatch, name):
    def refuse(*_args, **_kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(name, refuse)

    with pytest.raises(DecoderGoneError, match="Resource temporarily unavailable"):
        decoded()


def own_children() -> set[str]:
    """Processes that this one has started and not waited for, those of other tests included."""
    listed = Path("/proc/self/task").glob("*/children")
    return {pid for children in listed for pid in children.read_text().split()}


def test_no_child_and_no_thread_is_left_behind(instead):
    threads, children = threading.active_count(), own_children()
    instead("while True: say(b'B', bytes(10))")

    assert held() == "decoder_failed"

    assert threading.active_count() == threads
    assert own_children() == children


# ── Blocks of rows ───────────────────────────────────────────────────────────────────────────

TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ROW = st.tuples(
    TEXT, TEXT, TEXT, TEXT, st.none() | st.integers(1, 10), st.none() | st.dates(),
    st.sets(st.sampled_from(FAULTS)).map(lambda some: tuple(one for one in FAULTS if one in some)),
)  # fmt: skip


@settings(deadline=None)
@given(rows=st.lists(ROW, max_size=20))
def test_a_block_is_the_same_on_the_other_side(rows):
    block = Rows(*([row[place] for row in rows] for place in range(7)))

    assert blocks.unpacked(blocks.packed(block)) == block


@settings(deadline=None)
@given(body=st.binary(max_size=300))
def test_bytes_that_are_no_block_are_refused(body):
    with suppress(UnreadableDeliveryError):
        assert blocks.packed(blocks.unpacked(body))[:4] == body[:4]


def test_the_environment_names_no_place_of_this_machine():
    assert not any(str(Path.home()) in value for value in bare_process.ENVIRONMENT.values())
