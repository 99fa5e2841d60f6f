"""What a store refuses for good is permanent, and the error names the setting that helps."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.core import config
from pipelines.core.errors import LoopError, StoreRefusedError, StoreUnavailableError
from pipelines.core.store.advice import on_encryption
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.client import make_client
from pipelines.core.store.keyring import Keyring

DENIED = "Check the S3 credentials"
CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION=when_required"


class Stub:
    """A server that answers every request alike, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"", {}
        self.asked: list[tuple[str, str, bytes]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stub.asked.append((f"{self.command} {self.path}", self.headers["Host"], body))
                self.send_response(stub.status)
                for name, value in {"Content-Type": "application/xml", **stub.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(stub.body)))
                self.end_headers()
                self.wfile.write(stub.body)

            do_GET = do_PUT = do_HEAD = answer  # noqa: N815 - the names of http.server

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def says(self, status: int, code: str, message: str = "", **elements: str) -> None:
        parts = {"Code": code, "Message": message, **elements}
        inner = "".join(f"<{name}>{text}</{name}>" for name, text in parts.items())
        self.status, self.body = status, f"<Error>{inner}</Error>".encode()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.server.shutdown()
    stub.server.server_close()


@pytest.fixture
def surroundings(stub, monkeypatch, tmp_path) -> pytest.MonkeyPatch:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{stub.port}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "*")
    return monkeypatch


def a_bucket(name: str = "reviews") -> Bucket:
    settings = config.load().store.model_copy(update={"max_attempts": 1})
    return Bucket(name, make_client(settings, None), settings, Keyring(()))


def created() -> None:
    bucket = a_bucket()
    bucket.call("create", "", bucket._create_bucket)


def failure(do: Any) -> LoopError:
    with pytest.raises(LoopError) as caught:
        do()
    return caught.value


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<Error><Code>InternalError</Code></Error>", "a listing of a bucket None"),
        (b"<html><br>Log in</html>", "ResponseParserError"),
        (b"<ListBucketResult><Name>reviews</Na", "ResponseParserError"),
        (b"", "a listing of a bucket None"),
    ],
)
def test_what_is_no_listing_is_none_with_the_status_of_success(stub, surroundings, body, what):
    stub.status, stub.body = 200, body

    error = failure(lambda: a_bucket().list(""))

    assert isinstance(error, StoreUnavailableError)
    assert f"does not come from an S3 store or is incomplete ({what})" in str(error)


def test_a_listing_is_parsed_once(stub, surroundings):
    parsed, parser = [], ElementTree.XMLParser
    surroundings.setattr(
        ElementTree, "XMLParser", lambda **options: parsed.append(1) or parser(**options)
    )
    stub.status, stub.body = (
        200,
        (
            b"<ListBucketResult><Name>reviews</Name><Prefix/><KeyCount>0</KeyCount>"
            b"<IsTruncated>false</IsTruncated></ListBucketResult>"
        ),
    )

    assert a_bucket().list("") == []
    assert len(parsed) == 1


@pytest.mark.parametrize(
    ("status", "code", "message", "advice"),
    [
        (501, "NotImplemented", "A header you provided implies functionality", CHECKSUMS),
        (501, "NotImplemented", "", CHECKSUMS),
        (400, "InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm'", CHECKSUMS),
        (400, "InvalidRequest", "Value for x-amz-checksum-crc32 header is invalid.", CHECKSUMS),
        (400, "InvalidArgument", "aws-chunked encoding is not supported", CHECKSUMS),
        (411, "MissingContentLength", "You must provide the Content-Length", CHECKSUMS),
        (400, "MalformedTrailerError", "", CHECKSUMS),
        (403, "AccessDenied", "Access Denied", DENIED),
        (403, "InvalidAccessKeyId", "", DENIED),
        (403, "SignatureDoesNotMatch", "", "addressing_style"),
        (403, "RequestTimeTooSkewed", "", "NTP"),
        (400, "ExpiredToken", "", "get new credentials"),
        (403, "Anything", "", DENIED),
        (401, "Unauthorized", "", DENIED),
        (403, "SecondLevelDomainForbidden", "Please use virtual hosted style", "= virtual"),
        (301, "PermanentRedirect", "Use the specified endpoint", "AWS_DEFAULT_REGION"),
        (400, "AuthorizationHeaderMalformed", "expecting 'eu-west-1'", "REGION=eu-west-1"),
        (400, "IllegalLocationConstraintException", "incompatible", "AWS_DEFAULT_REGION"),
        (400, "InvalidBucketName", "", "store.reviews_bucket"),
        (403, "QuotaExceeded", "", "Free some space"),
        (409, "BucketAlreadyExists", "", "Somebody else"),
        (405, "MethodNotAllowed", "The method is not allowed", "The method is not allowed"),
    ],
)
def test_a_final_no_is_permanent_and_names_what_helps(
    stub, surroundings, status, code, message, advice
):
    stub.says(status, code, message)

    errors = [failure(lambda: a_bucket().put_once("a", b"x")), failure(lambda: a_bucket().get("a"))]

    for error in errors:
        assert type(error) is StoreRefusedError
        assert advice in str(error)
        assert f"{status} {code}" in str(error)


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError"), (502, "BadGateway"), (504, "GatewayTimeout"),
     (429, "TooManyRequests"), (400, "RequestTimeout"), (409, "OperationAborted"),
     (400, "XAmzContentSHA256Mismatch"), (507, "XMinioStorageFull"), (400, "BadDigest")],
)  # fmt: skip
def test_what_may_pass_is_transient(stub, surroundings, status, code):
    stub.says(status, code)

    error = failure(lambda: a_bucket().get("a"))

    assert type(error) is StoreUnavailableError
    assert (CHECKSUMS in str(error)) == (code in {"XAmzContentSHA256Mismatch", "BadDigest"})


def test_a_bucket_elsewhere_is_told_with_its_region_and_endpoint(stub, surroundings):
    stub.says(301, "PermanentRedirect", "Use it", Endpoint="reviews.s3.eu-west-1.amazonaws.com")
    assert "s3.eu-west-1.amazonaws.com" in str(failure(lambda: a_bucket().get("a")))

    stub.headers = {"x-amz-bucket-region": "eu-west-1"}
    assert "AWS_DEFAULT_REGION=eu-west-1" in str(failure(lambda: a_bucket().get("a")))


# ── What the profile decides ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("profile", "is_virtual"),
    [
        ("", False),
        ("s3 =\n  addressing_style = virtual\n", True),
        ("s3 =\n  addressing_style = path\n", False),
        ("s3 =\n  payload_signing_enabled = true\n", False),
    ],
)
def test_the_profile_decides_how_the_bucket_is_named(
    stub, surroundings, tmp_path, profile, is_virtual
):
    (tmp_path / "config").write_text(f"[default]\n{profile}")
    surroundings.setenv("AWS_ENDPOINT_URL_S3", f"http://localhost:{stub.port}")
    stub.says(403, "AccessDenied")

    failure(lambda: a_bucket().get("a"))

    if stub.asked:  # reviews.localhost resolves on some machines alone
        assert stub.asked[-1][1].startswith("reviews.") == is_virtual
    else:
        assert is_virtual


def test_an_endpoint_of_the_profile_has_the_bucket_in_the_path(stub, surroundings, tmp_path):
    surroundings.delenv("AWS_ENDPOINT_URL_S3")
    (tmp_path / "config").write_text(
        f"[default]\nservices = own\n[services own]\ns3 =\n"
        f"  endpoint_url = http://127.0.0.1:{stub.port}\n"
    )
    stub.says(403, "AccessDenied")

    failure(lambda: a_bucket().get("a"))

    assert stub.asked[-1][0].startswith("GET /reviews/a")


@pytest.mark.parametrize("variable", ["AWS_DEFAULT_REGION", "AWS_REGION"])
def test_a_bucket_is_created_in_the_region_of_the_surroundings(stub, surroundings, variable):
    surroundings.setenv(variable, "eu-central-1")
    stub.says(404, "NoSuchBucket")

    failure(a_bucket().create_if_missing)

    assert b"<LocationConstraint>eu-central-1<" in stub.asked[-1][2]


def test_a_store_without_regions_gets_a_bucket_without_one(stub, surroundings):
    surroundings.setenv("AWS_DEFAULT_REGION", "somewhere-1")
    stub.says(400, "InvalidLocationConstraint", "The specified location-constraint is not valid")

    error = failure(created)

    assert [b"LocationConstraint" in body for _, _, body in stub.asked] == [True, False]
    assert "location" in str(error).lower()


def test_in_us_east_1_no_region_is_named(stub, surroundings):
    stub.says(403, "AccessDenied")

    failure(created)

    assert b"LocationConstraint" not in stub.asked[-1][2]


# ── Encryption ───────────────────────────────────────────────────────────────────────────────


def certificate(folder: Path, *, host: str = "127.0.0.1", days: int = 1) -> Path:
    """A certificate of its own for a host, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "store")])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9)).not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / f"{host}{days}.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file


def encrypt(stub: Stub, file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True)


def over_https(
    stub: Stub, surroundings: pytest.MonkeyPatch, bundle: Path | None = None
) -> LoopError:
    surroundings.setenv("AWS_ENDPOINT_URL_S3", f"https://127.0.0.1:{stub.port}")
    if bundle is not None:
        surroundings.setenv("AWS_CA_BUNDLE", str(bundle))
    stub.says(403, "AccessDenied")
    return failure(lambda: a_bucket().get("a"))


def test_a_ca_that_is_not_known_is_permanent_and_names_the_bundle(stub, surroundings, tmp_path):
    own = certificate(tmp_path)
    encrypt(stub, own)

    error = over_https(stub, surroundings)

    assert type(error) is StoreRefusedError
    assert "AWS_CA_BUNDLE" in str(error)
    assert DENIED in str(over_https(stub, surroundings, own))


@pytest.mark.parametrize(
    ("host", "days", "advice"),
    [("other.example", 1, "another name"), ("127.0.0.1", -1, "has expired")],
)
def test_what_is_wrong_with_a_certificate_is_told(stub, surroundings, tmp_path, host, days, advice):
    own = certificate(tmp_path, host=host, days=days)
    encrypt(stub, own)

    error = over_https(stub, surroundings, own)

    assert type(error) is StoreRefusedError
    assert advice in str(error)


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "no-pem"])
def test_a_bundle_that_cannot_be_read_is_named(stub, surroundings, tmp_path, content):
    encrypt(stub, certificate(tmp_path))
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)

    error = over_https(stub, surroundings, bundle)

    assert type(error) is StoreRefusedError
    assert "AWS_CA_BUNDLE" in str(error)


def test_a_port_that_does_not_encrypt_is_told(stub, surroundings):
    error = over_https(stub, surroundings)

    assert type(error) is StoreRefusedError
    assert "begin with http:" in str(error)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol", "no version or cipher"),
        ("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] ssl/tls alert handshake failure", "no version"),
        ("[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version", "no version"),
        ("[SSL: DH_KEY_TOO_SMALL] dh key too small", "no version"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "client"),
        ("certificate verify failed: certificate is not yet valid", "clock"),
        ("certificate verify failed: self-signed certificate in certificate chain", "CA_BUNDLE"),
        ("certificate verify failed: unable to get local issuer certificate", "CA_BUNDLE"),
        ("certificate verify failed: Basic Constraints of CA cert not critical", "CA_BUNDLE"),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol", None),
        ("_ssl.c:989: The handshake operation timed out", None),
        ("[Errno 104] Connection reset by peer", None),
    ],
)  # fmt: skip
def test_a_failed_handshake_has_advice_unless_it_may_pass(message, advice):
    found = on_encryption(message)

    assert (found is None) if advice is None else (advice in str(found))
