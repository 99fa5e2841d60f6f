"""Records of the monitoring: what nights and answers showed, and whether a retraining started.

Numbers are rounded to `DECIMALS` places before they are recorded, as in `records.evaluations`.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from pipelines.core import keys
from pipelines.core.record import NightDate, Record, Sha256, StoredRecord, VersionId

WindowVerdict = Literal["QUIET", "DRIFT", "FADING", "TOO_FEW"]
TriggerName = Literal["operator", "fading", "drift", "volume", "staleness"]
DriftName = Literal[
    "scores",
    "positive_scores",
    "labels",
    "length",
    "unseen_words",
    "words",
    "distinguishable",
    "class_scores",
    "class_labels",
]


class SourceRows(Record):
    """What became of a source's rows of the window's nights; the last three add up to the first."""

    source: str
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int  # or discarded by a person
    held_rows: int


class Measured(Record):
    """The champion's labels compared with those that were delivered.

    ``low`` and ``high`` are the 95 % interval of the accuracy; ``loss`` is how much lower than
    usual it is, and ``limit`` what chance and the configured floor allow.
    """

    rows: int
    right_rows: int
    accuracy: float
    low: float
    high: float
    log_loss: float  # nats per review
    usual: float  # on the champion's reference
    usual_rows: int
    loss: float
    limit: float
    p_value: float  # one-sided

    @property
    def is_beyond(self) -> bool:
        return self.loss > self.limit


class GroupScore(Record):
    """A part of the window: a source, or a slice that is shown and never judged."""

    name: str  # family=part
    rows: int
    accuracy: float
    low: float
    high: float
    usual: float | None  # None: the reference has too few of its rows
    limit: float | None  # of the loss; None where it is not judged
    is_beyond: bool


class Estimate(Record):
    """The accuracy that the champion's own confidence speaks for; no label is used.

    ``low`` and ``high`` are a 95 % interval. It holds only while the probabilities are calibrated.
    """

    rows: int
    accuracy: float  # average confidence, corrected by the reference
    low: float
    high: float
    log_loss: float
    second_opinion: float  # average thresholded confidence
    asks_for_labels: bool  # the two differ by more than both intervals
    loss: float
    limit: float

    @property
    def is_beyond(self) -> bool:
        return self.loss > self.limit


class DriftTest(Record):
    """One comparison of the window with the champion's reference.

    ``limit`` is the larger of ``floor``, the smallest difference that matters, and what chance
    alone reaches at these numbers of reviews.
    """

    name: DriftName
    value: float
    limit: float
    floor: float
    p_value: float
    rows: int
    usual_rows: int
    sentence: str

    @property
    def is_beyond(self) -> bool:
        return self.value > self.limit


class MovedWord(Record):
    """A word whose share of the reviews changed most. It is foreign text: escape it."""

    word: str
    share: float
    usual: float


class Window(StoredRecord):
    """What the reviews of some nights showed about the champion that had not learned them."""

    schema_version: Literal[1] = 1
    model_name: str
    first_night: NightDate
    night: NightDate  # the last one
    partitions: tuple[Sha256, ...]
    rows: int
    champion_generation: int = Field(ge=1)
    champion_version: VersionId
    reference: Sha256  # what the window was compared with
    rules: Sha256  # settings, code and libraries
    sources: tuple[SourceRows, ...]
    coverage: float  # share of the delivered rows that count
    is_provisional: bool  # too few of the delivered rows count to start anything
    late_nights: int  # from the night to the run that let the last of its rows count
    verdict: WindowVerdict
    why: str
    measured: Measured | None  # None, as all below, where there are too few rows
    estimate: Estimate | None
    drift: tuple[DriftTest, ...] = ()
    groups: tuple[GroupScore, ...] = ()
    words: tuple[MovedWord, ...] = ()

    @model_validator(mode="after")
    def _nights_are_days(self) -> Window:
        if self.nights < 1:
            raise ValueError(f"{self.first_night} is after {self.night}")
        return self

    @property
    def nights(self) -> int:
        last, first = date.fromisoformat(self.night), date.fromisoformat(self.first_night)
        return (last - first).days + 1

    @property
    def object_key(self) -> str:
        return keys.window_key(
            self.model_name, self.night, nights=self.nights, rows=self.rows,
            partitions=self.partitions,
        )  # fmt: skip


class AnsweredDay(StoredRecord):
    """What a day's answers of the scoring services say about the champion that gave most of them.

    Nobody knows whether they were right, so there is an estimate and no measurement. Many answers
    are sampled, and a text that was asked again counts once.
    """

    schema_version: Literal[1] = 1
    model_name: str
    day: NightDate
    files: Sha256  # of the names of those that were read
    left_out_files: int  # too large, changed, or not readable
    answers: int  # of this champion that were read
    other_answers: int  # of others
    texts: int  # different ones among the answers; they are judged
    champion_generation: int = Field(ge=1)
    champion_version: VersionId
    reference: Sha256  # what the answers were compared with
    rules: Sha256  # settings, code and libraries
    verdict: WindowVerdict
    why: str
    estimate: Estimate | None  # None where there are too few texts
    drift: tuple[DriftTest, ...] = ()

    @property
    def object_key(self) -> str:
        return keys.answered_day_key(self.model_name, self.day)


class TriggerCheck(Record):
    """One reason to start a retraining, or one against it, with its threshold."""

    name: str
    observed: float
    threshold: float
    is_met: bool
    sentence: str


class TriggerDecision(StoredRecord):
    """Whether a run of the monitor started an attempt to retrain, and why or why not."""

    schema_version: Literal[1] = 1
    model_name: str
    day: NightDate  # on which the run decided
    night: NightDate | None  # the newest that was judged; None before the first
    token: Sha256  # of the run: the same for every retry
    actor: str
    champion_generation: int
    champion_version: VersionId
    windows: tuple[Sha256, ...]  # digests of those that were looked at, newest first
    checks: tuple[TriggerCheck, ...]
    vetoes: tuple[TriggerCheck, ...]
    trigger: TriggerName | None
    is_started: bool
    why: str
    at: str  # ISO 8601, UTC, seconds, by the store's clock

    @property
    def object_key(self) -> str:
        return keys.trigger_key(self.model_name, self.day, self.token)
