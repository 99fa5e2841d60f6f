"""Signatures: whose word counts, and what happens to a record that was changed."""

from __future__ import annotations

import pytest

from pipelines import trust
from pipelines.errors import ConfigError, SignatureError, TrustError
from pipelines.records import LogEntry

DIGEST = "d" * 64


def an_entry(**changes):
    values = {
        "model_name": "sentiment", "generation": 1, "previous_entry_sha256": None,
        "kind": "promotion", "version": "a" * 20, "manifest_sha256": DIGEST, "decision_key": "key",
        "decision_sha256": DIGEST, "reference": "a" * 20, "reference_manifest_sha256": DIGEST,
        "holdout_accuracy": 0.9, "holdout_log_loss": 0.3, "actor": "somebody", "reason": "",
        "token": DIGEST, "at": "2026-01-05T03:00:00+00:00",
    }  # fmt: skip
    return LogEntry(**(values | changes))


@pytest.fixture
def key(tmp_path, monkeypatch, configure):
    """A signing key of this test's own; its public half."""
    configure()
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    return trust.write_new_key(tmp_path / "key.pem")


def test_a_signed_record_passes_and_is_the_same_twice(key):
    first, second = (trust.sign(an_entry()) for _ in range(2))

    trust.check(first, uri="here")
    assert first.key_id == key
    assert first.to_bytes() == second.to_bytes()


def test_signing_again_replaces_an_old_signature(key):
    once = trust.sign(an_entry())

    assert trust.sign(once) == once


@pytest.mark.parametrize("change", [{"actor": "me"}, {"generation": 2}, {"holdout_accuracy": 0.91}])
def test_a_changed_record_is_refused(key, change):
    signed = trust.sign(an_entry())

    with pytest.raises(SignatureError, match="was changed after"):
        trust.check(signed.model_copy(update=change), uri="here")


@pytest.mark.parametrize("signature", ["", "00", "zz", "0" * 128])
def test_a_signature_that_is_none_is_refused(key, signature):
    signed = trust.sign(an_entry())

    with pytest.raises(SignatureError):
        trust.check(signed.model_copy(update={"signature": signature}), uri="here")


def test_an_unsigned_record_is_signed_by_nobody(key):
    with pytest.raises(SignatureError, match="signed by nobody"):
        trust.check(an_entry(), uri="here")


def test_a_stranger_is_not_believed_and_the_message_names_the_keys(key, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "other.pem"))
    stranger = trust.write_new_key(tmp_path / "other.pem")
    signed = trust.sign(an_entry())
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))

    with pytest.raises(SignatureError, match=stranger):
        trust.check(signed, uri="here")


def test_a_reader_needs_no_private_key_when_the_trusted_ones_are_configured(
    key, configure, monkeypatch
):
    signed = trust.sign(an_entry())
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE")
    configure(trust={"trusted_keys": [key]})

    trust.check(signed, uri="here")


def test_configured_keys_and_no_signing_key_never_fall_back_to_a_development_key(
    configure, monkeypatch, tmp_path
):
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    configure(trust={"trusted_keys": ["ab" * 32]})

    with pytest.raises(ConfigError, match="needs a real key"):
        trust.sign(an_entry())

    assert not trust.development_key_path().exists()


def test_a_signing_key_that_nobody_trusts_does_not_sign(key, configure):
    configure(trust={"trusted_keys": ["ab" * 32]})

    with pytest.raises(ConfigError, match="nobody would believe it"):
        trust.sign(an_entry())


def test_the_development_key_is_made_once_and_only_its_owner_reads_it(
    configure, monkeypatch, tmp_path
):
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    configure()

    first, second = trust.own_key_id(), trust.own_key_id()

    assert first == second
    assert trust.development_key_path().stat().st_mode & 0o777 == 0o600


def test_a_new_key_never_replaces_an_old_one(tmp_path):
    trust.write_new_key(tmp_path / "key.pem")
    before = (tmp_path / "key.pem").read_bytes()

    with pytest.raises(ConfigError, match="File exists"):
        trust.write_new_key(tmp_path / "key.pem")

    assert (tmp_path / "key.pem").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_says_how_to_make_one(tmp_path, monkeypatch, configure, content):
    configure()
    (tmp_path / "bad.pem").write_bytes(content)
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "bad.pem"))

    with pytest.raises(ConfigError, match="keys new"):
        trust.own_key_id()


def test_a_key_can_come_from_a_variable(configure, monkeypatch):
    configure()
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv(
        "LOOP_SIGNING_KEY", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    )

    # The first test vector of RFC 8032, section 7.1.
    assert trust.own_key_id() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.mark.parametrize("seed", ["abc", "zz" * 32, "ab" * 31])
def test_a_variable_that_is_no_key_is_refused_and_not_repeated(configure, monkeypatch, seed):
    configure()
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("LOOP_SIGNING_KEY", seed)

    with pytest.raises(ConfigError, match="64 hex digits") as refused:
        trust.own_key_id()

    assert seed not in str(refused.value)


def test_a_signed_record_in_another_spelling_is_refused(key):
    spaced = trust.sign(an_entry()).to_bytes().replace(b'":', b'": ')

    with pytest.raises(TrustError, match="not in canonical form"):
        LogEntry.from_bytes(spaced, uri="here")


def test_who_only_reads_checks_with_exported_public_keys(key, tmp_path, monkeypatch):
    signed = trust.sign(an_entry())
    trust.export_trusted_keys(tmp_path / "keys")
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no-development-key"))
    monkeypatch.setenv("LOOP_TRUSTED_KEYS_FILE", str(tmp_path / "keys"))

    trust.check(signed, uri="here")

    assert (tmp_path / "keys").read_text() == f"{key}\n"
    assert not (tmp_path / "no-development-key").exists()
    with pytest.raises(SignatureError):
        trust.check(signed.model_copy(update={"actor": "me"}), uri="here")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"abc\n", b"\xff", b"A" * 64])
def test_an_unusable_file_of_trusted_keys_trusts_nobody_and_says_so(
    key, tmp_path, monkeypatch, content
):
    signed = trust.sign(an_entry())
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    monkeypatch.setenv("LOOP_TRUSTED_KEYS_FILE", str(tmp_path / "keys"))

    with pytest.raises(ConfigError, match="LOOP_TRUSTED_KEYS_FILE"):
        trust.check(signed, uri="here")
