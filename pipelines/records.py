"""The records that cross a border: small, frozen, versioned, and the same bytes every time.

A record is canonical JSON (sorted keys, no spaces, no NaN, UTF-8, one final newline), so equal
records have equal digests. Object keys in records are relative to their bucket: the same work in
another bucket writes the same bytes. Clocks appear where a person or a promotion decided, in the
champion log and in replays, and where somebody was told, in alerts; nowhere else.

A `StoredRecord` lies in a bucket, sealed (`pipelines.sealed`), under the key that its own fields
make. So a record in another place is noticed, whoever signed it.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines import keys
from pipelines.errors import TrustError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
NightDate = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
VersionId = Annotated[str, Field(pattern=r"^[0-9a-f]{20}$")]

FileFormat = Literal["csv", "jsonl", "parquet", "unknown"]
DeliveryVerdict = Literal["ACCEPTED", "PARTLY_ACCEPTED", "HELD"]
ReceiptVerdict = Literal["ACCEPTED", "PARTLY_ACCEPTED", "HELD", "DUPLICATE"]
Severity = Literal["critical", "row", "warning", "note"]  # a note says what was not judged
ReplayAction = Literal["release", "revalidate", "discard"]
ReplayVerdict = Literal["ACCEPTED", "PARTLY_ACCEPTED", "HELD", "DISCARDED"]
EntryKind = Literal["promotion", "rollback", "release", "pin"]


def canonical_json(value: Any) -> bytes:
    """Bytes that depend on the value alone.

    Raises
    ------
    ValueError
        If the value holds NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8") + b"\n"


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


NO_BYTES = sha256_of(b"")


class Record(BaseModel):
    """Base of every record: frozen, no unknown fields, canonical bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        return sha256_of(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, *, uri: str) -> Self:
        """Read a record back.

        Raises
        ------
        TrustError
            If the bytes are not such a record: torn, foreign, or of another schema version.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise TrustError(
                f"{uri} is not a readable {cls.__name__} record ({where}: {first['msg']}). "
                "It was torn, changed by hand, or written by another version of this project."
            ) from error


class StoredRecord(Record):
    """A record with a place of its own in a bucket. Its stored form is sealed for that place."""

    BUCKET: ClassVar[Literal["reviews", "models"]] = "reviews"

    @property
    @abstractmethod
    def object_key(self) -> str:
        """Where it belongs, made of nothing but its own fields."""


class ModelRecord(StoredRecord):
    """A record about one model, in the bucket of models."""

    BUCKET = "models"
    model_name: str


class Delivery(StoredRecord):
    """One delivered file, named by the hash of its format and bytes. Written when it is landed."""

    schema_version: Literal[1] = 1
    sha256: Sha256
    source: str
    landing_key: str
    file_format: FileFormat
    is_gzipped: bool
    size_bytes: int
    night: NightDate
    raw_key: str | None  # None: too large to keep a second time, its bytes stay in landing

    @property
    def object_key(self) -> str:
        return keys.delivery_key(self.sha256)


class Arrival(StoredRecord):
    """One landing file as it was found on one night, and the delivery its bytes are."""

    schema_version: Literal[1] = 1
    landing_key: str
    version_tag: str
    night: NightDate
    delivery: Sha256
    conflicts_with: Sha256 | None = None  # the delivery that had this name first, with other bytes

    @property
    def object_key(self) -> str:
        return keys.arrival_key(self.night, self.landing_key, self.version_tag, self.delivery)


class NameClaim(StoredRecord):
    """The first delivery that came under a landing key."""

    schema_version: Literal[1] = 1
    landing_key: str
    delivery: Sha256

    @property
    def object_key(self) -> str:
        return keys.name_claim_key(self.landing_key)


class Partition(Record):
    """Rows of one delivery: an immutable Parquet file."""

    key: str  # <accepted, quarantine or sketches>/date=<night>/<sha256>.parquet
    sha256: Sha256
    rows: int
    size_bytes: int

    @property
    def night(self) -> str:
        """The day the rows were delivered for, ``YYYY-MM-DD``."""
        return self.key.split("/")[1].removeprefix("date=")


class RuleResult(Record):
    """What one validation rule found, in numbers and as a sentence."""

    rule: str
    severity: Severity
    is_passed: bool
    observed: float | None
    limit: str
    rows: int
    sentence: str


class Profile(Record):
    """The rows of a delivery that break no row rule, as histograms (see `pipelines.profiles`)."""

    rows: int
    positive_rows: int
    chars: tuple[int, ...]  # rows per bin of text length
    ngrams: tuple[int, ...]  # distinct word n-grams per bin of their hash


class Agreement(Record):
    """How often the champion reads a delivery's texts as they are labelled."""

    champion: VersionId
    rows: int
    agreeing_rows: int
    expected: float  # share in the source's earlier deliveries, else in the champion's holdout
    expected_rows: int  # which that share was counted on
    is_own: bool  # whether it is the source's own


class Basis(Record):
    """All that a validation depends on beside the delivery: the same basis, the same findings."""

    rules: Sha256  # settings, code and libraries
    before: NightDate  # compared with what earlier nights counted
    known: Sha256  # of the texts that counted already
    trailing: tuple[str, ...]  # reports of the source's recent deliveries, oldest first
    champion: VersionId | None  # whose reading of the labels was asked for


class Example(Record):
    """One row that breaks a row rule, cut short. The text is hostile: escape it."""

    row: int  # position in the delivery, from 0
    reasons: tuple[str, ...]
    review_id: str
    text: str


class Validation(StoredRecord):
    """Everything validation found out about one delivery."""

    schema_version: Literal[1] = 1
    delivery: Sha256
    verdict: DeliveryVerdict
    why: str
    basis: Basis
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    reasons: dict[str, int]  # reason code -> rows that carry it; a row may carry several
    rules: tuple[RuleResult, ...]
    examples: tuple[Example, ...] = ()
    profile: Profile | None = None  # None: no rows could be read
    reference: Profile | None = None  # of the trailing deliveries together
    agreement: Agreement | None = None
    accepted: Partition | None
    quarantined: Partition | None
    sketch: Partition | None = None  # of the accepted rows: how their texts are recognised
    page_sha256: Sha256  # of the report for people, which is drawn from all the rest

    @property
    def object_key(self) -> str:
        return keys.validation_key(self.delivery, self.basis.digest())

    @property
    def failed_rules(self) -> list[RuleResult]:
        """Rules that did not pass, those that hold first."""
        order = ("critical", "row", "warning")
        failed = [rule for rule in self.rules if not rule.is_passed and rule.severity in order]
        return sorted(failed, key=lambda rule: order.index(rule.severity))


class Outcome(StoredRecord):
    """The ledger entry of a delivery, written last. What it names counts; nothing else does."""

    schema_version: Literal[1] = 1
    delivery: Sha256
    source: str
    night: NightDate
    landing_key: str  # with version_tag: the one arrival whose receipt counts the rows
    version_tag: str
    counted_in: NightDate  # of the run that concluded it; `night` is the day it was delivered for
    verdict: DeliveryVerdict
    why: str
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    accepted: Partition | None
    quarantined: Partition | None
    sketch: Partition | None = None
    validation_key: str

    @property
    def object_key(self) -> str:
        return keys.outcome_key(self.delivery)


class Receipt(StoredRecord):
    """One landing file was dealt with: which delivery it was, and what became of it."""

    schema_version: Literal[1] = 1
    landing_key: str
    version_tag: str
    night: NightDate
    delivery: Sha256
    verdict: ReceiptVerdict
    why: str
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    conflicts_with: Sha256 | None = None

    @property
    def object_key(self) -> str:
        return keys.receipt_key(
            self.night, landing_key=self.landing_key, version_tag=self.version_tag
        )


class ReplayPlan(StoredRecord):
    """What a person wants to become of rows that do not count, thought over and not done yet."""

    schema_version: Literal[1] = 1
    delivery: Sha256
    number: int = Field(ge=1)
    follows: Sha256  # digest of the ledger entry that it starts from
    action: ReplayAction
    rows: tuple[int, ...] | None  # that were asked for; None for all
    verdict: ReplayVerdict
    why: str
    accept: tuple[int, ...]  # positions of the rows that will count
    quarantine: tuple[tuple[int, tuple[str, ...]], ...]  # those that stay or go there, with reasons
    discarded_rows: int  # of the delivery, afterwards
    held_rows: int
    validation_key: str
    reason: str

    @property
    def object_key(self) -> str:
        return keys.replay_plan_key(self.delivery, self.digest())


class Replay(StoredRecord):
    """What became of a delivery's rows by a person's decision. Follows an outcome or a replay."""

    schema_version: Literal[1] = 1
    delivery: Sha256
    number: int = Field(ge=1)
    follows: Sha256
    action: ReplayAction
    verdict: ReplayVerdict
    why: str
    delivered_rows: int  # of the delivery as a whole, as are the next four, which add up to it
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    discarded_rows: int
    accepted: Partition | None  # rows that count from here on, beside those of before
    quarantined: Partition | None  # all that is still there
    sketch: Partition | None  # of ``accepted``
    validation_key: str
    actor: str
    reason: str
    token: Sha256  # the same for every retry of the same plan
    at: str  # ISO 8601, UTC, seconds

    @property
    def object_key(self) -> str:
        return keys.replay_key(self.delivery, self.number)


class MissingDelivery(StoredRecord):
    """A source that was overdue on a night."""

    schema_version: Literal[1] = 1
    night: NightDate
    source: str
    expected_every_days: int
    last_delivered_for: NightDate | None  # None: it never delivered anything

    @property
    def object_key(self) -> str:
        return keys.missing_key(self.night, self.source)


class SetAside(Record):
    """A landing file that the night does not take up, and why. It stays where it is."""

    landing_key: str  # visible: what cannot be printed is spelled out
    delivered_for: str | None
    why: str  # with what to do
    needs_person: bool  # else it waits for a night to come


class NightSummary(Record):
    """What a night brought, counted from its receipts."""

    night: NightDate
    status: Literal["NEW_REVIEWS", "NO_NEW_DATA", "ALL_HELD", "MISSING_DELIVERY"]
    deliveries: int
    held_deliveries: int
    duplicate_deliveries: int
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    missing: tuple[MissingDelivery, ...] = ()
    set_aside: tuple[SetAside, ...] = ()  # those that need a person first, and not all of many
    set_aside_deliveries: int = 0
    unreadable: tuple[str, ...] = ()  # keys of receipts that are torn or under another's name
    receipts: tuple[Receipt, ...]

    @property
    def for_people(self) -> list[SetAside]:
        """The files that no night will take up unless somebody does something."""
        return [one for one in self.set_aside if one.needs_person]


class Snapshot(StoredRecord):
    """Exactly which accepted partitions a model may see, and how rows are split."""

    schema_version: Literal[1] = 1
    partitions: tuple[Partition, ...]
    rows: int
    holdout_share: float
    selection_share: float
    salt: str

    @property
    def object_key(self) -> str:
        return keys.snapshot_key(self.digest())


class Plan(ModelRecord):
    """Everything that decides a model's bytes. Its digest names the version."""

    schema_version: Literal[1] = 1
    snapshot: Sha256
    candidates: dict[str, dict[str, Any]]
    min_training_rows: int
    folds: int
    keep_share: float
    seed: int
    code: Sha256
    environment: Sha256

    @property
    def version(self) -> str:
        """Twenty hex digits: 80 bits, so two plans never share one by accident."""
        return self.digest()[:20]

    @property
    def object_key(self) -> str:
        return keys.plan_key(self.model_name, self.version)


class CandidateScore(Record):
    name: str
    log_loss: float
    accuracy: float
    folds: int  # how many it was tried on before it was given up, or all


class Manifest(ModelRecord):
    """A trained version, written last: a version without a manifest does not exist."""

    schema_version: Literal[1] = 1
    version: VersionId
    plan: Plan
    candidate: str
    selection: tuple[CandidateScore, ...]
    featurizer: str | None
    training_rows: int
    holdout_rows: int
    duplicate_rows: int
    training_digest: Sha256  # of the sorted text ids the model was fitted on
    model_key: str
    model_sha256: Sha256
    model_size_bytes: int

    @property
    def object_key(self) -> str:
        return keys.manifest_key(self.model_name, self.version)


class LogEntry(ModelRecord):
    """One line of the champion's succession. The log is the truth about who is champion.

    ``version`` is who is champion from here on, ``reference`` the version that every challenger
    must not be worse than, so that many small losses cannot add up. A rollback names in ``subject``
    the version it withdraws, a release the withdrawn version that may compete again.
    """

    schema_version: Literal[2] = 2
    generation: int = Field(ge=1)
    previous_entry_sha256: str | None
    kind: EntryKind
    subject: VersionId | None = None
    version: VersionId
    manifest_sha256: Sha256
    decision_key: str
    decision_sha256: Sha256
    approval_key: str | None = None  # of the person's answer, where the decision asked for one
    approval_sha256: Sha256 | None = None
    reference: VersionId
    reference_manifest_sha256: Sha256
    holdout_accuracy: float
    holdout_log_loss: float
    actor: str
    reason: str
    token: Sha256  # the same for every retry of the same promotion
    at: str  # ISO 8601, UTC, seconds

    @property
    def object_key(self) -> str:
        return keys.log_key(self.model_name, self.generation)


class RollbackPlan(ModelRecord):
    """A rollback that was thought over: from which champion to which older version, and why."""

    schema_version: Literal[1] = 1
    champion_generation: int = Field(ge=1)
    champion_version: VersionId
    target_generation: int = Field(ge=1)  # the entry that made the target champion
    target_version: VersionId
    reason: str

    @property
    def object_key(self) -> str:
        return keys.rollback_key(self.model_name, self.digest())


class ChampionHint(ModelRecord):
    """Where readers may start looking. May be missing or stale: the log decides.

    One that names a generation which the log does not have proves that the log was cut back.
    """

    schema_version: Literal[1] = 1
    generation: int
    version: str

    @property
    def object_key(self) -> str:
        return keys.hint_key(self.model_name)
