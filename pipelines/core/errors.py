"""Every error the loop raises, filed by the one question a scheduler asks: would a retry help?

    LoopError
    ├── PermanentError                 a retry gives the same answer: a person is needed
    │   ├── ConfigError                settings that cannot be used
    │   ├── SourceError                a source of reviews that cannot be read
    │   ├── StalePlanError             a plan made by other code or libraries than these
    │   ├── DataError                  what was delivered cannot be used
    │   │   ├── UnreadableDeliveryError    the file cannot be decoded
    │   │   ├── DeliveryHeldError          validated, and held back as a whole
    │   │   ├── NightHeldError             the night is done, some of its deliveries are held
    │   │   ├── NightIncompleteError       a delivery of the night was not processed
    │   │   ├── MissingDeliveryError       a source is overdue
    │   │   ├── SetAsideError              a landed file that no night will take up as it is
    │   │   ├── ReplayError                a replay that cannot be done
    │   │   ├── NoReviewsError             nothing accepted to train or evaluate on
    │   │   └── FitError                   a candidate cannot be fitted on these reviews
    │   ├── TrustError                 bytes that differ from what a record says
    │   │   ├── DigestMismatchError
    │   │   ├── SignatureError             signed by nobody trusted, or changed since
    │   │   └── ModelFormatError
    │   ├── PromotionError             a promotion that must not happen
    │   │   ├── ConfirmationError          a champion that consumers would not get as approved
    │   │   └── BakeInconclusiveError      a champion on which the services gave no verdict
    │   └── StoreRefusedError          the store refused the request
    │       ├── BucketMissingError
    │       ├── ObjectMissingError
    │       ├── AlreadyExistsError         a write-once object holds other bytes
    │       └── UnsafeStoreError           the store ignores create-if-absent
    └── TransientError                 the same call may succeed later
        ├── StoreUnavailableError
        ├── DecoderGoneError           the process that decodes a delivery was ended from outside
        ├── CleanRoomGoneError         the process that tries a model file was ended from outside
        ├── ChampionMovedError         somebody promoted first: decide again, then retry
        └── AlertChannelError          a way to send alerts does not work

Each message says what happened, with the values, and what to do next.
"""

from __future__ import annotations

import errno


class LoopError(Exception):
    """Anything this project raises on purpose."""


class PermanentError(LoopError):
    """A retry gives the same answer."""


class TransientError(LoopError):
    """The same call may succeed later."""


class ConfigError(PermanentError):
    """Settings that cannot be used."""


class SourceError(PermanentError):
    """A source of reviews that cannot be read."""


class StalePlanError(PermanentError):
    """A plan was made by other code or other libraries than those that should carry it out."""


class DataError(PermanentError):
    """What was delivered cannot be used."""


class UnreadableDeliveryError(DataError):
    """The delivered file cannot be decoded into rows.

    Parameters
    ----------
    reason : str
        Stable reason code, e.g. ``"truncated"`` or ``"wrong_columns"``.
    detail : str
        One sentence with the observed and the expected value.
    rows : int
        How many rows the file has, as far as that is known; all of them are held.
    """

    def __init__(self, reason: str, detail: str, *, rows: int = 0) -> None:
        self.reason, self.detail, self.rows = reason, detail, rows
        super().__init__(f"{reason}: {detail}")


class DeliveryHeldError(DataError):
    """A delivery was validated, recorded and held back as a whole."""

    def __init__(
        self, *, landing_key: str, delivery: str, why: str, report_uri: str, runbook: str
    ) -> None:
        self.landing_key, self.delivery, self.report_uri = landing_key, delivery, report_uri
        super().__init__(
            f"delivery {landing_key!r} is held, none of its rows count: {why} "
            f"Its bytes are kept under deliveries/{delivery}/. Full findings: {report_uri} "
            f"What to do: docs/runbooks/{runbook}"
        )


class NightHeldError(DataError):
    """The night is complete, and some of its deliveries were not accepted."""


class NightIncompleteError(DataError):
    """A delivery of the night was not processed: its task failed before it recorded an outcome."""


class MissingDeliveryError(DataError):
    """A source that should have delivered did not; what was delivered is fine."""


class SetAsideError(DataError):
    """The night is complete, except for landed files that no night takes up as they are."""


class ReplayError(DataError):
    """A replay that cannot be done, or that another replay overtook."""


class NoReviewsError(DataError):
    """There is nothing accepted to train or evaluate on."""


class FitError(DataError):
    """A candidate cannot be fitted on these reviews."""


class TrustError(PermanentError):
    """Bytes that differ from what a record says about them."""


class DigestMismatchError(TrustError):
    """An object's bytes do not hash to the digest that was recorded for it."""

    def __init__(self, *, uri: str, expected: str, found: str) -> None:
        self.uri, self.expected, self.found = uri, expected, found
        super().__init__(
            f"{uri} was changed after it was recorded: expected sha256 {expected}, found {found}. "
            "It is not used. Restore it from a backup. If it is the champion's and there is none, "
            "roll back. What to do: docs/runbooks/retrain-failed.md#digestmismatcherror"
        )


class SignatureError(TrustError):
    """A record that nobody trusted has signed, or that was changed since."""


class ModelFormatError(TrustError):
    """A model file that is not one of ours, refused before anything in it is built."""


class PromotionError(PermanentError):
    """A promotion that must not happen."""


class ConfirmationError(PromotionError):
    """After a promotion, a consumer would not get the model that was approved."""

    def __init__(self, *, generation: int, why: str, put_back: str | None) -> None:
        self.generation, self.put_back = generation, put_back
        done = (
            f"Version {put_back} was put back as champion."
            if put_back
            else "NOTHING WAS PUT BACK: it is champion. Stop consumers from taking it."
        )
        super().__init__(
            f"champion generation {generation} is not what was approved: {why} {done} "
            "What to do: docs/runbooks/retrain-failed.md"
        )


class BakeInconclusiveError(PromotionError):
    """After a promotion, the services showed neither that it is good nor that it is bad."""

    def __init__(self, *, generation: int, why: str) -> None:
        self.generation = generation
        super().__init__(
            f"champion generation {generation} stays, but not every service showed that it answers "
            f"with it as approved: {why}. Look at the services. "
            "What to do: docs/runbooks/bake-inconclusive.md"
        )


class StoreRefusedError(PermanentError):
    """The object store answered and refused the request."""


class BucketMissingError(StoreRefusedError):
    """The bucket does not exist."""


class ObjectMissingError(StoreRefusedError):
    """The object does not exist. The store was reachable and said so."""


class AlreadyExistsError(StoreRefusedError):
    """A write-once object already exists with other bytes."""


class UnsafeStoreError(StoreRefusedError):
    """The store accepts create-if-absent writes and ignores the condition."""


class StoreUnavailableError(TransientError):
    """The object store gave no conclusive answer."""


class DecoderGoneError(TransientError):
    """A delivery was not decoded for a reason outside the file, so there is no verdict."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the process that decodes a delivery {why}. Nothing was decided, and nothing is "
            "stored. Repeat the task. If it fails again: docs/runbooks/ingest-incomplete.md"
        )


class ClusterError(TransientError):
    """The Dask cluster did not do what it was asked for."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"{why}. Nothing was trained, and nothing is stored. Start the cluster and repeat the "
            "task, or fit here: leave training.cluster empty. The model is the same"
        )


class CleanRoomGoneError(TransientError):
    """A model file was not tried for a reason outside the file, so nothing is known about it."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"the process that tries the model file {why}. Nothing was decided, and nothing is "
            "stored. Repeat the task when the machine is less busy or has more memory. "
            "If it fails again: docs/runbooks/retrain-failed.md"
        )


class ChampionMovedError(TransientError):
    """Somebody else's promotion came first; the decision was made against an older champion."""

    def __init__(self, *, decided_against: int, champion_is: int) -> None:
        self.decided_against, self.champion_is = decided_against, champion_is
        super().__init__(
            f"the decision was made against champion generation {decided_against}, but generation "
            f"{champion_is} has been promoted since. Evaluate against the new champion and decide "
            "again: python -m pipelines retrain"
        )


class ExportError(TransientError):
    """Something could not be exported. Nothing depends on it."""


class AlertChannelError(TransientError):
    """An alert could not be sent. The message never holds the address, which is a secret.

    Parameters
    ----------
    channel, why : str
        Which one, and what happened.
    is_dead : bool
        Whether the channel would fail for any alert; False when it refused this one.
    """

    def __init__(self, *, channel: str, why: str, is_dead: bool = True) -> None:
        self.channel, self.why, self.is_dead = channel, why, is_dead
        super().__init__(
            f"alerts cannot be sent by {channel}: {why}. Nothing else is affected. To try it, run: "
            "python -m pipelines alerts check. What to do: docs/runbooks/dead-alert-channel.md"
        )


_MOST_CHARS = 300


def sentence(error: BaseException) -> str:
    """What went wrong, for people: our own errors in their own words, any other by type and text.

    The text is one line and cut short: it may quote what was delivered.
    """
    if isinstance(error, LoopError):
        return str(error)
    line = " ".join(str(error).split())[:_MOST_CHARS]
    message = "".join(char if char.isprintable() else "?" for char in line)
    return f"{type(error).__name__}: {message or 'without a message'}{_what_to_do(error)}"


def _what_to_do(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return ". The process ran out of memory: give it more, then run this again"
    if not isinstance(error, OSError):
        return ". This was not expected: run it again with --verbose to see where it happened"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ". Free some space there, or set TMPDIR to another folder, then run this again"
    return ". Look at the folder or file it names, and at TMPDIR, then run this again"


def concerns_one_record(error: Exception) -> bool:
    """Whether the fault lies in the record that was read, so that all others can be read.

    False for faults of the configuration, the credentials or the whole store.
    """
    whole = (ConfigError, BucketMissingError, StoreRefusedError, TransientError)
    return isinstance(error, ObjectMissingError | AlreadyExistsError) or not isinstance(
        error, whole
    )
