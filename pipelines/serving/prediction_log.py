"""Keep what a service answered, for those who measure it later. Never in the way of an answer.

Rows wait in memory and are written in batches as Parquet files to the reviews bucket, each named by
its own bytes: ``predictions/date=<day>/<sha256>.parquet``. A file is never changed. Rows that
cannot be written are tried again until too many wait; then the newest are lost, and counted.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, islice

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import StoreUnavailableError, sentence
from pipelines.core.keys import prediction_key
from pipelines.core.record import sha256_of
from pipelines.core.settings.operation import PredictionLogSettings
from pipelines.core.store.bucket import Bucket
from pipelines.models.answers import class_column

logger = logging.getLogger(__name__)

MOST_WAITING_CHARACTERS = 64 * 1024 * 1024  # of texts that are kept
MOST_FILE_CHARACTERS = 3 * 1024 * 1024  # a file stays below what `serving.logged` reads of one


@dataclass(frozen=True)
class Predicted:
    """One answer.

    Attributes
    ----------
    row_id : str or None
        The caller's name for the text.
    text : str or None
        Only if the settings say that texts are kept.
    text_sha256 : str
        Of the text in UTF-8.
    probability : float
        Of the second of two classes, or else of the label.
    at : datetime
        When it was answered, by this machine's clock.
    of_classes : dict of str to float
        The probability of each class, if there are more than two.
    """

    request_id: str
    row_id: str | None
    text: str | None
    text_sha256: str
    version: str
    generation: int
    probability: float
    at: datetime
    of_classes: dict[str, float] = field(default_factory=dict)


class PredictionLog:
    """Collects answers and writes them from a thread of its own."""

    def __init__(self, reviews: Bucket, settings: PredictionLogSettings) -> None:
        self._reviews, self._settings = reviews, settings
        self._rows: deque[Predicted] = deque()
        self._characters = 0  # of the texts in them
        self._is_due, self._is_closed = threading.Event(), False
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._write_batches, daemon=True)
        self.written = self.lost = 0
        self.trouble = ""

    def start(self) -> None:
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._rows)

    def add(
        self,
        request_id: str,
        texts: Sequence[str],
        probabilities: NDArray[np.float64],
        *,
        class_names: tuple[str, ...],
        version: str,
        generation: int,
        row_ids: Sequence[str] | None = None,
    ) -> None:
        """Take the answers to one request; takes no time that the caller would notice."""
        taken = self._room_for(texts)
        self.lost += len(texts) - taken
        at = datetime.now(UTC)
        ids: Sequence[str | None] = row_ids or [None] * len(texts)
        likeliest = probabilities if probabilities.ndim == 1 else probabilities.max(axis=1)
        rows = zip(texts, likeliest.tolist(), probabilities.tolist(), ids, strict=True)
        for text, probability, answer, row_id in islice(rows, taken):
            digest = hashlib.sha256(text.encode("utf-8")).hexdigest()
            kept = text if self._settings.keeps_texts else None
            of_classes = (
                dict(zip(class_names, answer, strict=True)) if probabilities.ndim == 2 else {}
            )
            with self._changing:
                self._characters += len(kept or "")
            self._rows.append(
                Predicted(
                    request_id, row_id, kept, digest, version, generation, probability, at,
                    of_classes,
                )
            )  # fmt: skip
        if len(self._rows) >= self._settings.batch_rows:
            self._is_due.set()

    def _room_for(self, texts: Sequence[str]) -> int:
        """How many of the texts may wait, from the first."""
        room = max(0, self._settings.max_waiting_rows - len(self._rows))
        if not self._settings.keeps_texts:
            return min(len(texts), room)
        ends = accumulate(map(len, texts[:room]), initial=self._characters)
        return sum(end <= MOST_WAITING_CHARACTERS for end in islice(ends, 1, None))

    def close(self, timeout_seconds: float) -> None:
        """Write what waits, for so long at most; what is left then is lost, and counted."""
        self._is_closed = True
        self._is_due.set()
        self._thread.join(timeout_seconds)
        self.lost += len(self._rows)
        logger.info("predictions_written=%d predictions_lost=%d", self.written, self.lost)

    def _write_batches(self) -> None:
        while not self._is_closed:
            self._is_due.wait(self._settings.batch_seconds)
            self._is_due.clear()
            self._write_all()
        while self._rows and not self._write_all():
            time.sleep(0.2)  # until `close` gives up

    def _write_all(self) -> bool:
        """Write all that waits; False if the store did not take it."""
        while self._rows:
            batch = self._next_batch()
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - answers go on, whatever it is
                self._note(sentence(error))
                return False
            for row in batch:
                self._rows.popleft()
                with self._changing:
                    self._characters -= len(row.text or "")
            self.written += len(batch)
            self._note("")
        return True

    def _next_batch(self) -> list[Predicted]:
        """What goes into one file: at least a row, and not too much text."""
        rows = list(islice(self._rows, self._settings.batch_rows))
        ends = accumulate(len(row.text or "") for row in rows)
        return rows[: max(1, sum(end <= MOST_FILE_CHARACTERS for end in ends))]

    def _write(self, batch: Sequence[Predicted]) -> None:
        data = as_parquet(batch)
        key = prediction_key(batch[0].at.date().isoformat(), sha256_of(data))
        # No read right is needed: what is there under this name has these very bytes.
        if self._reviews.try_create(key, data) == "unsettled":
            raise StoreUnavailableError(f"writing {self._reviews.uri(key)} was not confirmed")

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            logger.warning("predictions wait, and are tried again: %s", trouble)
        self.trouble = trouble


def as_parquet(rows: Sequence[Predicted]) -> bytes:
    """A file with one row per answer."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("request_id", pa.string()), ("row_id", pa.string()), ("text", pa.string()),
            ("text_sha256", pa.string()), ("version", pa.string()), ("generation", pa.int32()),
            ("probability", pa.float64()), ("at", pa.timestamp("us", tz="UTC")),
        ]
    )  # fmt: skip
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    for name in dict.fromkeys(name for row in rows for name in row.of_classes):
        schema = schema.append(pa.field(class_column(name), pa.float64()))
        columns[class_column(name)] = [row.of_classes.get(name) for row in rows]
    table = pa.table(columns, schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
