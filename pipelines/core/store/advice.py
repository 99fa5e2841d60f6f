"""What to change when the store, or the way to it, refuses: one sentence that names the setting.

What cannot help by repeating has advice; everything else is passing trouble.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CHECKSUMS = (
    "The store may not know the checksums that boto3 sends: set "
    "AWS_REQUEST_CHECKSUM_CALCULATION=when_required (request_checksum_calculation in a profile), "
    "and AWS_RESPONSE_CHECKSUM_VALIDATION=when_required."
)
_ADDRESSING = (
    "set addressing_style = {style} under s3 in the profile (AWS_CONFIG_FILE, AWS_PROFILE)."
)
_VIRTUAL = "The store wants the bucket in the host's name: " + _ADDRESSING.format(style="virtual")
_CREDENTIALS = "Check the S3 credentials and that they may do this on this bucket."
_CA = (
    "Set AWS_CA_BUNDLE (ca_bundle in a profile) to a PEM file with the certificate of the CA that "
    "signed it."
)

# Codes of errors, and what to do. A code that is not here has its message alone.
_CURES = {
    "SignatureDoesNotMatch": "The secret key is wrong, or a proxy changes the requests. "
    + _CREDENTIALS + " If they are right, try the other way to name the bucket: "
    + _ADDRESSING.format(style="path or virtual"),
    "RequestTimeTooSkewed": "The clocks of this machine and of the store differ: set them by NTP.",
    "RequestExpired": "The clocks of this machine and of the store differ: set them by NTP.",
    "ExpiredToken": "The session has expired: get new credentials. " + _CREDENTIALS,
    "ExpiredTokenException": "The session has expired: get new credentials. " + _CREDENTIALS,
    "TokenRefreshRequired": "The session has expired: get new credentials.",
    "InvalidToken": _CREDENTIALS + " AWS_SESSION_TOKEN must belong to them, or be empty.",
    "SecondLevelDomainForbidden": _VIRTUAL,
    "PathStyleDomainForbidden": _VIRTUAL,
    "VirtualHostDomainForbidden": "The store wants the bucket in the path: "
    + _ADDRESSING.format(style="path"),
    "InvalidBucketName": "Change store.reviews_bucket or store.models_bucket.",
    "BucketAlreadyExists": "Somebody else has a bucket of this name: change store.reviews_bucket "
    "or store.models_bucket.",
    "TooManyBuckets": "Delete a bucket, or have the limit raised.",
    "QuotaExceeded": "Free some space in the store, or have the quota raised.",
    "EntityTooLarge": "The store takes no object of this size: have its limit raised.",
    "KMS.DisabledException": "Enable the bucket's encryption key.",
    "KMS.NotFoundException": "The bucket's encryption key does not exist: choose another.",
    "InvalidObjectState": "The object is archived: restore it, and exclude this bucket from "
    "archiving rules.",
}  # fmt: skip
_DENIED = {
    "AccessDenied", "AccessForbidden", "Forbidden", "AllAccessDisabled", "AccountProblem",
    "InvalidAccessKeyId", "InvalidSecurity", "NotSignedUp", "UnauthorizedAccess", "Unauthorized",
    "AuthFailure", "MissingSecurityHeader", "InvalidClientTokenId",
}  # fmt: skip
_OTHER_REGION = {
    "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException",
    "InvalidLocationConstraint", "InvalidRegion", "IncorrectEndpoint",
}  # fmt: skip
_OF_CHECKSUMS = re.compile(
    r"checksum|trailer|aws-chunked|crc-?32|crc64|x-amz-sdk|content-sha256|content-encoding|"
    r"content-length|content-md5|sha-?256|header you provided|decoded",
    re.IGNORECASE,
)
_CHECKSUM_CODES = {
    "BadDigest", "InvalidDigest", "IncompleteBody", "MalformedTrailerError", "MissingContentLength",
    "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "InvalidChunkSizeError",
}  # fmt: skip
_EXPECTED_REGION = re.compile(r"expecting ['\"]?([a-z0-9-]+)")


def is_about_checksums(code: str, message: str) -> bool:
    return code in _CHECKSUM_CODES or bool(_OF_CHECKSUMS.search(message))


def on_refusal(error: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> str:
    """What to do about an error of the store; empty if nothing better than its message is known.

    Parameters
    ----------
    error : mapping
        Its ``Code`` and ``Message``, and further elements.
    status : int
        Of the reply.
    headers : mapping
        Of the reply, in small letters.
    """
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    if code in _OTHER_REGION:
        return _region(error, message, headers)
    if status in {501, 505} or code == "NotImplemented":
        return (
            f"{CHECKSUMS} If it is set already, the store lacks something that this project needs: "
            "docs/own-store.md"
        )
    if code in _CURES:
        return _CURES[code]
    if is_about_checksums(code, message):
        return CHECKSUMS
    return _CREDENTIALS if code in _DENIED or status in {401, 403} else ""


def _region(error: Mapping[str, Any], message: str, headers: Mapping[str, str]) -> str:
    """Where the store says that the bucket lies, and how to go there."""
    expected = _EXPECTED_REGION.search(message)
    region = error.get("Region") or headers.get("x-amz-bucket-region")
    region = region or (expected[1] if expected else None)
    endpoint = error.get("Endpoint")
    where = f"={region}" if region else " to the region of the bucket"
    at = f" It names the endpoint {endpoint}." if endpoint else ""
    return (
        f"The bucket lies in another region: set AWS_DEFAULT_REGION{where} (region in a profile), "
        f"and leave AWS_ENDPOINT_URL_S3 out or name the endpoint of that region.{at}"
    )


def on_silence(message: str, bucket: str) -> str:
    """What else to check when nobody answered."""
    if "proxy" in message.lower():
        return " A proxy is in between: check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
    if f"//{bucket}." in message:
        return (
            f" The name of the bucket was put before the host's: {_ADDRESSING.format(style='path')}"
        )
    return ""


# ── Encryption of the connection ─────────────────────────────────────────────────────────────

_PASSING = re.compile(
    r"eof|reset by peer|timed? ?out|broken pipe|connection aborted|try again|"
    r"temporarily|zero_return|shutdown while in init|syscall",
    re.IGNORECASE,
)
# What OpenSSL says, and what to do about it; the first that matches.
_TLS = [
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        (
            (
                r"no such file|permission denied|is a directory|invalid path|no_certificate_or_crl|"
                r"no_start_line|pem lib|bad_end_line|x509: no"
            ),
            "The file that AWS_CA_BUNDLE (ca_bundle in a profile) names cannot be read as PEM.",
        ),
        (r"has expired", "The certificate of the store has expired: renew it."),
        (r"not yet valid", "The certificate is not yet valid: check this machine's clock."),
        (
            r"hostname mismatch|ip address mismatch|doesn't match|not valid for|no appropriate",
            "The certificate is for another name: AWS_ENDPOINT_URL_S3 must use a name that it "
            "holds. If only the bucket in front of the name is missing in it, "
            + _ADDRESSING.format(style="path"),
        ),
        (
            (
                r"self.signed|unable to get|unknown ca\b|certificate_verify_failed|verify failed|"
                r"certificate signature|certificate key too weak|md too weak|basic constraints|"
                r"key usage|subject key identifier|authority key identifier"
            ),
            "The certificate of the store is not signed by a CA that is known here. " + _CA,
        ),
        (
            (
                r"wrong_version_number|wrong version number|record.layer|unknown_protocol|http_req|"
                r"packet length|record overflow"
            ),
            (
                "It does not encrypt on that port: AWS_ENDPOINT_URL_S3 may have to begin with "
                "http:, or name another port."
            ),
        ),
        (
            r"certificate.required|bad.certificate|alert.unknown.ca|access.denied",
            (
                "It asks for a certificate of the client, which is not supported: use a gateway "
                "that does not."
            ),
        ),
    )
]
_NO_COMMON_TLS = (
    "This machine and the store have no version or cipher of TLS in common: update the store, or "
    "put a gateway before it."
)


def on_encryption(message: str) -> str | None:
    """What to do about a failed handshake of TLS; None if it is passing trouble."""
    advice = next((advice for pattern, advice in _TLS if pattern.search(message)), None)
    if advice is None and not _PASSING.search(message):
        return _NO_COMMON_TLS
    return advice
