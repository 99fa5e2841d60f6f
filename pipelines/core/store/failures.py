"""Translate what went wrong with a call to the store into one of our own errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.core.errors import (
    BucketMissingError,
    LoopError,
    ObjectMissingError,
    StoreRefusedError,
    StoreUnavailableError,
)
from pipelines.core.settings.data import StoreSettings
from pipelines.core.store import answers
from pipelines.core.store.advice import (
    CHECKSUMS,
    is_about_checksums,
    on_encryption,
    on_refusal,
    on_silence,
)
from pipelines.core.store.answers import MovedError, NoAnswerError
from pipelines.core.store.deadline import active

_TRANSIENT_CODES = {
    "ConditionalRequestConflict", "OperationAborted",  # a write that met another one
    "BadDigest", "IncompleteBody", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch",
    "RequestTimeout", "SlowDown",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A request: ``verb`` and ``target`` as parts of a sentence, and where it was sent."""

    verb: str
    target: str
    bucket: str
    endpoint: str
    settings: StoreSettings


def translated(call: Call, error: Exception) -> LoopError:
    """Our own error for an error of boto3 or of `pipelines.core.store.answers`."""
    from botocore.exceptions import (
        ClientError,
        CredentialRetrievalError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
        ProfileNotFound,
        SSLError,
        SSOError,
        TokenRetrievalError,
    )

    no_credentials = (
        NoCredentialsError, PartialCredentialsError, ProfileNotFound, CredentialRetrievalError,
        SSOError, TokenRetrievalError,
    )  # fmt: skip

    if isinstance(error, no_credentials):
        return StoreRefusedError(
            f"cannot {call.verb} {call.target}: no usable S3 credentials ({error}). Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile or role that boto3 finds"
        )
    if isinstance(error, ParamValidationError):
        return StoreRefusedError(
            f"cannot {call.verb} {call.target}: {error}. Check store.reviews_bucket and "
            "store.models_bucket"
        )
    if isinstance(error, ClientError):
        return _answered(call, error)
    if isinstance(error, MovedError) and error.error["Code"] == "PermanentRedirect":
        return _refused(call, error.error, error.status, {})
    if isinstance(error, SSLError) and (advice := on_encryption(str(error))) is not None:
        return StoreRefusedError(
            f"cannot {call.verb} {call.target}: no encrypted connection to the store at "
            f"{call.endpoint} ({error}). {advice}"
        )
    return _unanswered(call, error)


def _answered(call: Call, error: Any) -> LoopError:
    code, status = answers.own_code(error), answers.status_of(error)
    if not code:
        return _no_answer(call, "an error without an S3 error code")
    if _may_pass(code, status):
        return StoreUnavailableError(
            f"cannot {call.verb} {call.target}: the store at {call.endpoint} answered {status} "
            f"{code}. Run this again when the store has recovered."
            + (f" If it goes on: {CHECKSUMS}" if is_about_checksums(code, "") else "")
        )
    if code == "NoSuchBucket":
        return BucketMissingError(
            f"bucket {call.bucket!r} does not exist at {call.endpoint}. "
            "For a new loop, create it: python -m pipelines init. If it was there before, do not: "
            "docs/runbooks/retrain-failed.md#bucketmissingerror"
        )
    if code == "NoSuchKey":
        return ObjectMissingError(f"{call.target} does not exist")
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return _refused(call, error.response["Error"], status, headers)


def _may_pass(code: str, status: int) -> bool:
    """Whether the same request may succeed later: not if the store does not know it."""
    is_unknown = status in {501, 505} or code == "NotImplemented"
    return code in _TRANSIENT_CODES or (not is_unknown and (status >= 500 or status == 429))


def _refused(
    call: Call, error: Mapping[str, Any], status: int, headers: Mapping[str, str]
) -> StoreRefusedError:
    said = f"{status} {error['Code']}: {error.get('Message', '')}".rstrip(": .")
    return StoreRefusedError(
        f"cannot {call.verb} {call.target}: the store at {call.endpoint} refused it ({said}). "
        f"{on_refusal(error, status, headers)}".rstrip()
    )


def _unanswered(call: Call, error: Exception) -> StoreUnavailableError:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError

    deadline = active()
    if deadline is not None and deadline.bytes_left < 0:
        return _no_answer(call, "it does not end")
    if deadline is not None and deadline.seconds_left <= 0:
        return StoreUnavailableError(
            f"cannot {call.verb} {call.target}: the store at {call.endpoint} did not finish within "
            f"{call.settings.deadline_seconds:g} s (store.deadline_seconds) and a second for every "
            f"{call.settings.min_bytes_per_second:,} bytes. Run this again when it has recovered."
        )
    if isinstance(error, BotoCoreError | Boto3Error | OSError):
        return StoreUnavailableError(
            f"cannot {call.verb} {call.target}: the store at {call.endpoint} did not answer "
            f"({error}). Check AWS_ENDPOINT_URL_S3 and that the store is running; then run this "
            f"again.{on_silence(str(error), call.bucket)}"
        )
    is_explained = isinstance(error, NoAnswerError)
    return _no_answer(call, str(error) if is_explained else type(error).__name__)


def _no_answer(call: Call, what: str) -> StoreUnavailableError:
    """The error for a reply that is not, or not wholly, the store's."""
    deadline = active()
    cause = answers.likely_cause(deadline.came_with if deadline else None, call.endpoint)
    return StoreUnavailableError(
        f"cannot {call.verb} {call.target}: the reply from {call.endpoint} does not come from an "
        f"S3 store or is incomplete ({what}). {cause} Check AWS_ENDPOINT_URL_S3 and any proxies; "
        "then run this again."
    )
