"""Read what scoring services logged on a day (`serving.prediction_log`).

The files are signed by nobody: whoever can write to the bucket can have written them. So a process
without rights decodes them, and its answer is numbers of a fixed size (`answer_type`), which are
checked. A file is left out, and counted, if it is too large, changed or not readable, or if it ends
the process. Files are named by their digests, so those with the first names are a fair sample of a
day with many.
"""

from __future__ import annotations

import io
import re
import signal
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from pipelines.core import apart, bare_process, keys
from pipelines.core.errors import ObjectMissingError, TransientError, TrustError
from pipelines.core.parallel import MOST_READS, in_parallel
from pipelines.core.record import sha256_of
from pipelines.core.settings.model import SENTIMENT
from pipelines.intake.files.parquet_rows import read_parquet
from pipelines.intake.files.reading import Reading
from pipelines.models.answers import class_column

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings
    from pipelines.core.store.answers import ObjectInfo
    from pipelines.core.store.bucket import Bucket

MOST_FILES = 200  # of a day that are read
MOST_FILE_BYTES = 16 * 1024 * 1024
MOST_DAY_BYTES = 256 * 1024 * 1024
MOST_ANSWERS = 20_000  # of a day, the same number of each file
MOST_FILE_ROWS = 1_000_000
MOST_PROCESSES = 4  # for one day; each but the first because a file ended the one before


def answer_type(class_names: Sequence[str]) -> np.dtype[np.void]:
    """One answer: with the probability of positive, or with that of each of more classes."""
    count = len(class_names)
    probability = ("probability", "<f8") if count == 2 else ("probability", "<f8", (count,))
    return np.dtype([("text", "u1", 32), ("version", "u1", 10), ("generation", "<i4"), probability])


_FILE, _LEFT_OUT = b"F", b"L"
_ROWS = struct.Struct("=I")  # of a file, also those that no service writes

_COLUMNS = ("text_sha256", "version", "generation")
_LARGEST_GAP = 1e-6  # by which the probabilities of all classes may miss 1
_SHA256, _VERSION = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{20}")
_LAST_GENERATION = 99_999_999  # that a key of the log can hold


class Who(NamedTuple):
    """Which champion says that it answered."""

    generation: int
    version: str


@dataclass(frozen=True, eq=False)
class Log:
    """A sample of a day's answers.

    Parameters
    ----------
    files : tuple of str
        Keys of those that were read.
    left_out_files : int
        Too large, changed, or not readable.
    counts : Counter of Who
        Answers of each champion.
    texts : dict of Who to dict of str to float or list of float
        Probability of positive, or of each of more classes, by the digest of the text.
    rows : int
        All that were read, also those that make no sense.
    """

    files: tuple[str, ...]
    left_out_files: int
    counts: Counter[Who]
    texts: dict[Who, dict[str, float | list[float]]]
    rows: int


class _Decoded(NamedTuple):
    rows: int
    answers: np.ndarray[Any, Any]  # of `answer_type`


# ── The parent's side ────────────────────────────────────────────────────────────────────────


def read(
    reviews: Bucket, day: str, intake: IntakeSettings, class_names: tuple[str, ...] = SENTIMENT
) -> Log:
    """A sample of a day's answers, in at most `MOST_FILES` reads.

    A file of a model with other classes is left out.

    Raises
    ------
    TransientError
        If the process that decodes them could not be started, or was ended from outside.
    """
    infos = reviews.first(keys.predictions_folder(day), MOST_FILES)
    share = MOST_ANSWERS // max(1, len(infos))
    names: list[str] = []
    sizes: list[int] = []
    try:
        chosen = _chosen(infos)
        with apart.unnamed_file(sum(info.size_bytes for info in chosen)) as file:
            for key, data in _fetched(reviews, chosen):
                file.write(data)
                names.append(key)
                sizes.append(len(data))
            files = _decoded(file, sizes, share, intake, class_names)
    except OSError as error:
        raise _gone(f"could not be started ({error.strerror})") from error
    return _log(infos, names, files)


def _chosen(infos: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """The files that are small enough, and together not too much."""
    total, chosen = 0, []
    for info in infos:
        if info.size_bytes <= MOST_FILE_BYTES and total + info.size_bytes <= MOST_DAY_BYTES:
            total += info.size_bytes
            chosen.append(info)
    return chosen


def _fetched(reviews: Bucket, infos: Sequence[ObjectInfo]) -> Iterator[tuple[str, bytes]]:
    """Key and bytes of the files that are what their names say, a few at a time."""
    for start in range(0, len(infos), MOST_READS):
        few = infos[start : start + MOST_READS]
        found = in_parallel(lambda info: _bytes(reviews, info), few)
        for info, data in zip(few, found, strict=True):
            if data is not None:
                yield info.key, data


def _bytes(reviews: Bucket, info: ObjectInfo) -> bytes | None:
    try:
        data = reviews.get(info.key, max_bytes=info.size_bytes)
    except (ObjectMissingError, TrustError):
        return None
    name = info.key.rpartition("/")[2]
    return data if sha256_of(data) == name.removesuffix(".parquet") else None


def _decoded(
    file: BinaryIO,
    sizes: list[int],
    share: int,
    intake: IntakeSettings,
    class_names: tuple[str, ...],
) -> list[_Decoded | None]:
    """What each file holds; None for one that is not readable."""
    limits = intake.model_copy(
        update={"max_rows": MOST_FILE_ROWS, "max_decoded_bytes": 16 * MOST_FILE_BYTES}
    )
    files: list[_Decoded | None] = []
    kind_of_answer = answer_type(class_names)
    for _ in range(MOST_PROCESSES):
        if len(files) == len(sizes):
            return files
        request = {
            "begins": sum(sizes[: len(files)]), "sizes": sizes[len(files) :], "share": share,
            "intake": limits.model_dump(), "class_names": class_names,
        }  # fmt: skip
        seconds = intake.max_decoder_wall_seconds
        with apart.Apart(__name__, request, file, wall_seconds=seconds) as process:
            try:
                for kind, body in process.messages(_ROWS.size + share * kind_of_answer.itemsize):
                    files.append(_checked(body, kind_of_answer) if kind == _FILE else None)
                    if len(files) == len(sizes):
                        return files
                _check_end(process)
            except apart.TooLargeMessageError:
                pass  # no decoder says so much
            files.append(None)  # the one that ended it
    return files + [None] * (len(sizes) - len(files))


def _checked(body: bytes, kind_of_answer: np.dtype[np.void]) -> _Decoded | None:
    """A file's answers; None if no decoder says this."""
    if len(body) < _ROWS.size or (len(body) - _ROWS.size) % kind_of_answer.itemsize:
        return None
    (rows,) = _ROWS.unpack_from(body)
    answers = np.frombuffer(body, kind_of_answer, offset=_ROWS.size)
    generation, probability = answers["generation"], answers["probability"]
    is_one = (generation >= 1) & (generation <= _LAST_GENERATION)
    is_one &= _are_shares(probability)
    return _Decoded(rows, answers) if is_one.all() and len(answers) <= rows else None


def _are_shares(probability: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whether each answer is a probability, or one per class that add up to 1."""
    with np.errstate(invalid="ignore"):
        inside = (probability >= 0) & (probability <= 1)
        if inside.ndim == 1:
            return inside
        whole: np.ndarray[Any, Any] = np.abs(probability.sum(axis=1) - 1) <= _LARGEST_GAP
    return inside.all(axis=1) & whole


def _check_end(process: apart.Apart) -> None:
    """Raise unless the file ended the process, and would again."""
    code = process.exit_code()
    if -code in apart.OF_ITSELF:
        return
    if process.is_late:
        raise _gone("gave no answer in time")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise _gone(f"ended without an answer ({how})")


def _gone(why: str) -> TransientError:
    return TransientError(
        f"the process that decodes the prediction log {why}. Nothing was judged, and nothing is "
        "stored. Repeat the task."
    )


def _log(infos: Sequence[ObjectInfo], names: list[str], files: list[_Decoded | None]) -> Log:
    counts: Counter[Who] = Counter()
    texts: dict[Who, dict[str, float | list[float]]] = {}
    rows = 0
    for decoded in filter(None, files):
        rows += decoded.rows
        for text, version, generation, probability in decoded.answers:
            who = Who(int(generation), version.tobytes().hex())
            counts[who] += 1
            texts.setdefault(who, {}).setdefault(text.tobytes().hex(), probability.tolist())
    good = tuple(name for name, decoded in zip(names, files, strict=True) if decoded is not None)
    return Log(good, len(infos) - len(good), counts, texts, rows)


# ── The child's side ─────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Decode the files on standard input, one after the other."""
    request, file, answers = apart.asked()
    limits: Any = SimpleNamespace(**request["intake"])
    bare_process.give_up_everything(
        address_bytes=limits.max_decoder_memory_bytes, cpu_seconds=limits.max_decoder_cpu_seconds
    )
    file.seek(request["begins"])
    for size in request["sizes"]:
        data = file.read(size)
        try:
            kind, body = _FILE, _answers(data, request["share"], limits, request["class_names"])
        except Exception:  # noqa: BLE001 - whatever it is, the file is left out
            kind, body = _LEFT_OUT, b""
        apart.send(answers, kind, body)
    answers.close()


def _answers(data: bytes, most: int, limits: IntakeSettings, class_names: Sequence[str]) -> bytes:
    """How many of the first rows there are, and those that a service can have written."""
    shares = ["probability"] if len(class_names) == 2 else list(map(class_column, class_names))
    columns = (*_COLUMNS, *shares)
    reading = Reading(columns={name: (name,) for name in columns}, needed=columns)
    rows = list(islice(read_parquet(io.BytesIO(data), limits, reading), most))
    found = [answer for row in rows if (answer := _answer(row.values, shares)) is not None]
    return _ROWS.pack(len(rows)) + np.array(found, answer_type(class_names)).tobytes()


def _answer(row: dict[str, Any], shares: list[str]) -> tuple[Any, ...] | None:
    """Who answered which text, and how, as an `answer_type`; None for what no service writes."""
    text, version, generation = (row[name] for name in _COLUMNS)
    probability = [row[name] for name in shares]
    if not (isinstance(text, str) and isinstance(version, str) and isinstance(generation, int)):
        return None
    if not (_SHA256.fullmatch(text) and _VERSION.fullmatch(version)):
        return None
    if not 1 <= generation <= _LAST_GENERATION:
        return None
    if not all(isinstance(share, float) and 0 <= share <= 1 for share in probability):
        return None
    if len(probability) > 1 and abs(sum(probability) - 1) > _LARGEST_GAP:
        return None
    said = probability if len(probability) > 1 else probability[0]
    return list(bytes.fromhex(text)), list(bytes.fromhex(version)), generation, said
