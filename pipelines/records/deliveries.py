"""Records of deliveries: arrival, ledger entries, receipts, replays, and the sum of a night."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.core import keys
from pipelines.core.record import NightDate, Record, Sha256, StoredRecord
from pipelines.records.data import WithRows

FileFormat = Literal["csv", "jsonl", "parquet", "unknown"]
DeliveryVerdict = Literal["ACCEPTED", "PARTLY_ACCEPTED", "HELD"]
ReceiptVerdict = Literal["ACCEPTED", "PARTLY_ACCEPTED", "HELD", "DUPLICATE"]
ReplayAction = Literal["release", "revalidate", "discard"]
ReplayVerdict = Literal["ACCEPTED", "PARTLY_ACCEPTED", "HELD", "DISCARDED"]


class Delivery(StoredRecord):
    """One delivered file, named by the hash of its format and bytes. Written when it lands."""

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
    """One landing file as it was read on one night, and the delivery that its bytes are."""

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


class Outcome(WithRows):
    """The ledger entry of a delivery, written last. What it names counts; nothing else does."""

    schema_version: Literal[1] = 1
    delivery: Sha256
    source: str
    night: NightDate
    landing_key: str  # with version_tag: the one arrival whose receipt counts the rows
    version_tag: str
    counted_in: NightDate  # of the run that processed it; `night` is the day it was delivered for
    verdict: DeliveryVerdict
    why: str
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int
    validation_key: str

    @property
    def object_key(self) -> str:
        return keys.outcome_key(self.delivery)


class Receipt(StoredRecord):
    """One landing file was processed: which delivery it was, and what became of it."""

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
    """What a person plans to do with rows that do not count; not done yet."""

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


class Replay(WithRows):
    """What became of a delivery's rows by a person's decision. Follows an outcome or a replay.

    ``accepted`` are the rows that count from here on, in addition to the earlier ones;
    ``quarantined`` is all that is still there.
    """

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
    set_aside: tuple[SetAside, ...] = ()  # those that need a person first; cut off when many
    set_aside_deliveries: int = 0
    side_files: int = 0  # checksums, markers, hidden and temporary files beside the deliveries
    unreadable: tuple[str, ...] = ()  # keys of receipts that are torn or under another's name
    receipts: tuple[Receipt, ...]

    @property
    def for_people(self) -> list[SetAside]:
        """The files that no night will take up until a person acts."""
        return [entry for entry in self.set_aside if entry.needs_person]
