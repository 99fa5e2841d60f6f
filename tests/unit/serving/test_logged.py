"""What services logged, read from files that nobody signed."""

import ctypes
import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core import bare_process, config, keys
from pipelines.core.errors import TransientError
from pipelines.core.record import sha256_of
from pipelines.serving import logged
from pipelines.serving.logged import Who
from tests.support.in_memory import InMemory
from tests.support.made.answer_builders import again, an_answer, many_answers, put_answers

DAY = "2026-01-06"
HAS_LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) >= 1
needs_landlock = pytest.mark.skipif(not HAS_LANDLOCK, reason="the kernel has no Landlock")
OLD, NEW = Who(1, "a" * 20), Who(2, "b" * 20)


@pytest.fixture
def reviews():
    return InMemory()


def read(reviews):
    return logged.read(reviews, DAY, config.load().intake)


def put(reviews, data):
    reviews.put(keys.prediction_key(DAY, sha256_of(data)), data)


def test_a_day_without_a_log_has_no_answers(reviews):
    log = read(reviews)

    assert (log.files, log.rows, log.counts) == ((), 0, {})


def test_a_text_that_is_asked_again_counts_once_and_champions_are_kept_apart(reviews):
    put_answers(reviews, DAY, again(many_answers(*NEW, probabilities=[0.1, 0.9]), 3))
    put_answers(reviews, DAY, many_answers(*OLD, probabilities=[0.4]))
    put_answers(reviews, "2026-01-07", many_answers(*NEW, probabilities=[0.7]))

    log = read(reviews)

    assert log.rows == 7
    assert log.counts == {NEW: 6, OLD: 1}
    assert sorted(log.texts[NEW].values()) == [0.1, 0.9]


def a_file(**columns):
    """A file of one row, with other columns than a service writes."""
    given = {
        "text_sha256": ["c" * 64], "version": ["b" * 20], "generation": [2], "probability": [0.5],
    } | columns  # fmt: skip
    file = io.BytesIO()
    pq.write_table(pa.table({name: given[name] for name in given if given[name]}), file)
    return file.getvalue()


@pytest.mark.attack
def test_files_that_no_service_writes_are_left_out_and_counted(reviews):
    for data in (
        b"", b"PAR1", b"no Parquet", a_file()[:-20], a_file(probability=[]),
        a_file(version=[["b" * 20]]),
    ):  # fmt: skip
        put(reviews, data)
    put_answers(reviews, DAY, many_answers(*NEW, probabilities=[0.1]))

    log = read(reviews)

    assert (log.left_out_files, len(log.files), log.rows) == (6, 1, 1)


@pytest.mark.attack
def test_rows_that_no_service_writes_are_no_answers_of_a_champion(reviews):
    columns = [
        {"text_sha256": ["a film"]}, {"version": ["../" * 7]}, {"generation": [0]},
        {"generation": [10**12]}, {"generation": ["2"]}, {"probability": [float("nan")]},
        {"probability": [1.5]}, {"probability": ["0.5"]},
        {"version": pa.array([None], pa.string())},
    ]  # fmt: skip
    for column in columns:
        put(reviews, a_file(**column))

    log = read(reviews)

    assert (log.rows, log.counts, log.left_out_files) == (len(columns), {}, 0)


@pytest.mark.attack
def test_a_file_that_was_changed_or_is_too_large_is_left_out(reviews, monkeypatch):
    key = put_answers(reviews, DAY, many_answers(*NEW))
    reviews.objects[key] = a_file()
    put(reviews, a_file())
    assert read(reviews).left_out_files == 1

    monkeypatch.setattr(logged, "MOST_FILE_BYTES", 100)

    assert read(reviews).left_out_files == 2


@pytest.mark.attack
def test_a_file_that_is_too_large_takes_the_place_of_no_other(reviews, monkeypatch):
    monkeypatch.setattr(logged, "MOST_FILE_BYTES", 60_000)
    monkeypatch.setattr(logged, "MOST_DAY_BYTES", 100_000)
    put_answers(reviews, DAY, many_answers(*NEW))
    reviews.put(keys.prediction_key(DAY, "0" * 64), b"x" * 200_000)

    log = read(reviews)

    assert (log.rows, len(log.files), log.left_out_files) == (400, 1, 1)


@pytest.mark.attack
def test_a_file_that_grew_after_it_was_listed_is_not_read(reviews):
    key = put_answers(reviews, DAY, many_answers(*NEW, probabilities=[0.1]))
    (listed,) = reviews.first(keys.predictions_folder(DAY), 1)
    reviews.first = lambda *_: [replace(listed, size_bytes=listed.size_bytes - 1)]
    asked, get = [], reviews.get
    reviews.get = lambda key, **limits: asked.append(limits) or get(key, **limits)

    log = read(reviews)

    assert (log.left_out_files, log.files) == (1, ())
    assert asked == [{"max_bytes": len(reviews.objects[key]) - 1}]


def test_a_day_of_many_files_costs_a_bounded_number_of_reads_and_rows(reviews, monkeypatch):
    monkeypatch.setattr(logged, "MOST_FILES", 5)
    monkeypatch.setattr(logged, "MOST_ANSWERS", 20)
    for number in range(30):
        texts = [an_answer(f"{number} {n}", 0.5, *NEW) for n in range(50)]
        put_answers(reviews, DAY, texts)
    gets = []
    get = reviews.get
    reviews.get = lambda key, **limits: gets.append(key) or get(key, **limits)

    log = read(reviews)

    assert len(gets) == len(log.files) == 5
    assert log.rows == 20


# The process that decodes them

SAY = """
import os, signal, struct, sys; sys.path.insert(0, sys.argv[1])
from pipelines.core import apart
from pipelines.serving import logged
request, file, answers = apart.asked()
def rows(count, generation=2, probability=0.5):
    answer = bytes(32) + bytes.fromhex('bb' * 10) + struct.pack('<id', generation, probability)
    return struct.pack('=I', count) + answer * count
"""


@pytest.fixture
def instead(monkeypatch):
    """Have the process run a program of the test's own."""
    command = bare_process.command

    def replace(program):
        def changed(module, *arguments):
            given = command(module, *arguments)
            return [*given[: given.index("-c") + 1], SAY + program, *given[given.index("-c") + 2 :]]

        monkeypatch.setattr(bare_process, "command", changed)

    return replace


@pytest.fixture
def three_files(reviews):
    for number in range(3):
        put_answers(reviews, DAY, [an_answer(f"text {number}", 0.5, *NEW)])
    return reviews


@pytest.mark.attack
def test_a_file_that_ends_the_process_is_left_out_and_the_others_are_read(three_files, instead):
    instead(
        """
second = len(request['sizes']) == 2
if not second: apart.send(answers, b'F', rows(1)); os.kill(os.getpid(), signal.SIGSEGV)
apart.send(answers, b'F', rows(1))
"""
    )

    log = read(three_files)

    assert (log.rows, log.left_out_files, len(log.files)) == (2, 1, 2)


@pytest.mark.attack
def test_files_that_all_end_it_are_left_out_after_a_few_processes(
    three_files, instead, monkeypatch
):
    monkeypatch.setattr(logged, "MOST_PROCESSES", 2)
    instead("os.kill(os.getpid(), signal.SIGXCPU)")

    log = read(three_files)

    assert (log.rows, log.left_out_files) == (0, 3)


@pytest.mark.attack
def test_what_no_decoder_says_is_not_believed(reviews, instead):
    for number in range(8):
        put_answers(reviews, DAY, [an_answer(f"text {number}", 0.5, *NEW)])
    instead(
        """
for body in (
    rows(1, generation=0), rows(1, generation=-5), rows(1, probability=float('nan')),
    rows(1, probability=2.0), b'', b'x', rows(1) + b'x', rows(2)[:4] + rows(3)[4:],
):
    apart.send(answers, b'F', body)
"""
    )

    log = read(reviews)

    assert (log.rows, log.counts, log.left_out_files) == (0, {}, 8)


@pytest.mark.attack
def test_more_than_was_asked_for_is_not_read(three_files, instead):
    instead("for _ in range(10): apart.send(answers, b'F', rows(1))")
    assert read(three_files).rows == 3

    instead("apart.send(answers, b'F', rows(request['share'] + 1))")
    assert read(three_files).rows == 0


@pytest.mark.attack
@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"])
def test_a_process_that_something_else_ended_is_no_result(three_files, instead, how):
    instead(how)

    with pytest.raises(TransientError, match="Nothing was judged, and nothing is stored"):
        read(three_files)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("attempt", "rows"),
    [("pass", 3), ("os.environ['AWS_SECRET_ACCESS_KEY']", 0),
     pytest.param("open({key!r})", 0, marks=needs_landlock),
     ("__import__('socket').create_connection(('127.0.0.1', 9))", 0)],
    ids=["nothing", "a secret", "a key", "the network"],
)  # fmt: skip
def test_the_process_that_decodes_them_has_nothing(
    three_files, instead, monkeypatch, tmp_path, attempt, rows
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    key = tmp_path / "signing-key.pem"
    key.write_text("canary")
    instead(
        f"""
decode = logged._answers
def attempt(*arguments):
    {attempt.format(key=str(key))}
    return decode(*arguments)
logged._answers = attempt
logged.main()
"""
    )

    assert read(three_files).rows == rows


# ── More than two classes ────────────────────────────────────────────────────────────────────

CLASSES = ("poor", "middling", "great")


def of_classes(*answers):
    return [
        replace(
            an_answer(f"text {number}", max(answer), *NEW),
            of_classes=dict(zip(CLASSES, answer, strict=True)),
        )
        for number, answer in enumerate(answers)
    ]


def read_classes(reviews):
    return logged.read(reviews, DAY, config.load().intake, CLASSES)


def test_of_more_than_two_classes_the_probability_of_each_is_read(reviews):
    put_answers(reviews, DAY, of_classes((0.2, 0.3, 0.5), (0.5, 0.25, 0.25)))

    log = read_classes(reviews)

    assert sorted(log.texts[NEW].values()) == [[0.2, 0.3, 0.5], [0.5, 0.25, 0.25]]
    assert log.counts == {NEW: 2}


@pytest.mark.attack
def test_answers_that_are_no_distribution_are_no_answers(reviews):
    put_answers(reviews, DAY, of_classes((0.2, 0.3, 0.6), (1.2, -0.1, -0.1), (0.2, 0.3, 0.5)))

    log = read_classes(reviews)

    assert (log.rows, log.counts) == (3, {NEW: 1})


def test_files_of_a_model_with_other_classes_are_left_out_and_counted(reviews):
    put_answers(reviews, DAY, many_answers(*NEW, probabilities=[0.1]))

    log = read_classes(reviews)

    assert (log.files, log.left_out_files, log.counts) == ((), 1, {})
