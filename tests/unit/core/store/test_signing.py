"""Signatures: whose word counts, and what happens to a record that was changed."""

from __future__ import annotations

import pytest

from pipelines.core.errors import ConfigError, SignatureError
from pipelines.core.store import keyring, sealed, signing
from pipelines.records.succession import ChampionHint
from tests.support import sealing

KIND, PLACE, PAYLOAD = "Decision", "models/sentiment/decision.json", b"some bytes\n\x00"


def a_seal(**changes):
    return sealing.seal(**({"payload": PAYLOAD, "kind": KIND, "place": PLACE} | changes))


def unsealed(data, **changes):
    wanted = {"kind": KIND, "place": PLACE, "uri": "here", "keyring": sealing.keyring()}
    return bytes(signing.unseal(data, **(wanted | changes)))


@pytest.fixture
def key(tmp_path, monkeypatch, configure):
    """A signing key of this test's own; its public half."""
    configure()
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    return keyring.write_new_key(tmp_path / "key.pem")


def test_sealed_bytes_come_back_and_the_seal_is_the_same_twice(key):
    first, second = a_seal(), a_seal()

    assert unsealed(first) == PAYLOAD
    assert first == second
    assert signing.read_seal(first, uri="here")["key_id"] == key


def test_arrays_after_a_seal_are_aligned(key):
    data = a_seal(place="reviews/" + "x" * 13)

    assert (len(data) - len(PAYLOAD)) % 64 == 0


@pytest.mark.attack
@pytest.mark.parametrize(
    "other", [{"kind": "Evaluation"}, {"place": "models/sentiment/other.json"},
              {"place": "reviews/sentiment/decision.json"}],
)  # fmt: skip
def test_a_seal_is_for_one_kind_of_thing_and_one_place(key, other):
    with pytest.raises(SignatureError, match="was signed as Decision for"):
        unsealed(a_seal(), **other)


@pytest.mark.attack
def test_no_bit_of_sealed_bytes_can_be_changed(key):
    data = a_seal()

    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(SignatureError):
            unsealed(bytes(changed))


@pytest.mark.attack
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: data + b" ", id="longer"),
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: PAYLOAD, id="unsealed"),
        pytest.param(lambda data: data.replace(b'","', b'", "', 1), id="in another spelling"),
        pytest.param(lambda data: data.replace(b'{"', b'{"key_id":"a","', 1), id="a name twice"),
        pytest.param(lambda data: b"[" * 100_000, id="deep"),
        pytest.param(lambda data: data.replace(b'"Decision"', b'["Decision"]'), id="no text"),
        pytest.param(lambda data: data.partition(b"\n")[0], id="a seal alone"),
    ],
)
def test_what_is_not_sealed_as_it_should_be_is_refused(key, change):
    with pytest.raises(SignatureError):
        unsealed(change(a_seal()))


def test_unsealed_bytes_are_signed_by_nobody(key):
    with pytest.raises(SignatureError, match="signed by nobody"):
        unsealed(PAYLOAD)


@pytest.mark.attack
def test_a_stranger_is_not_believed_and_the_message_names_the_keys(key, tmp_path, monkeypatch):
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "other.pem"))
    stranger = keyring.write_new_key(tmp_path / "other.pem")
    data = a_seal()
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))

    with pytest.raises(SignatureError, match=stranger):
        unsealed(data)


@pytest.mark.attack
def test_a_record_that_makes_another_key_is_refused_although_it_is_sealed_for_this_one(key):
    hint = ChampionHint(model_name="other", generation=1, version="a" * 20)
    place = "models/sentiment/champion.json"
    data = sealing.seal(hint.to_bytes(), kind="ChampionHint", place=place)

    with pytest.raises(SignatureError, match=r"belongs under other/champion\.json"):
        sealed.from_stored(
            data, ChampionHint, "sentiment/champion.json", uri="here", keyring=sealing.keyring()
        )


def test_a_reader_needs_no_private_key_when_the_trusted_ones_are_configured(
    key, configure, monkeypatch
):
    data = a_seal()
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE")
    configure(trust={"trusted_keys": [key]})

    assert unsealed(data) == PAYLOAD


def test_configured_keys_and_no_signing_key_never_fall_back_to_a_development_key(
    configure, monkeypatch, tmp_path
):
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    configure(trust={"trusted_keys": ["ab" * 32]})

    with pytest.raises(ConfigError, match="needs a real key"):
        a_seal()

    assert not keyring.development_key_path().exists()


def test_a_signing_key_that_nobody_trusts_does_not_sign(key, configure):
    configure(trust={"trusted_keys": ["ab" * 32]})

    with pytest.raises(ConfigError, match="every reader would refuse it"):
        a_seal()


def test_the_development_key_is_made_once_and_only_its_owner_reads_it(
    configure, monkeypatch, tmp_path
):
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    configure()

    first, second = sealing.own_key_id(), sealing.own_key_id()

    assert first == second
    assert keyring.development_key_path().stat().st_mode & 0o777 == 0o600


def test_the_development_key_warns_whoever_signs_once_and_nobody_who_reads(
    configure, monkeypatch, tmp_path, caplog
):
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    configure()

    sealing.keyring().trusted_keys()
    assert not caplog.messages

    a_seal()
    a_seal()
    assert ["SIGNING WITH A DEVELOPMENT KEY" in message for message in caplog.messages] == [True]


def test_a_new_key_never_replaces_an_old_one(tmp_path):
    keyring.write_new_key(tmp_path / "key.pem")
    before = (tmp_path / "key.pem").read_bytes()

    with pytest.raises(ConfigError, match="File exists"):
        keyring.write_new_key(tmp_path / "key.pem")

    assert (tmp_path / "key.pem").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_says_how_to_make_one(tmp_path, monkeypatch, configure, content):
    configure()
    (tmp_path / "bad.pem").write_bytes(content)
    monkeypatch.setenv("LOOP_SIGNING_KEY_FILE", str(tmp_path / "bad.pem"))

    with pytest.raises(ConfigError, match="keys new"):
        sealing.own_key_id()


def test_a_key_can_come_from_a_variable(configure, monkeypatch):
    configure()
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv(
        "LOOP_SIGNING_KEY", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    )

    # The first test vector of RFC 8032, section 7.1.
    assert (
        sealing.own_key_id() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )


@pytest.mark.parametrize("seed", ["abc", "zz" * 32, "ab" * 31])
def test_a_variable_that_is_no_key_is_refused_and_not_repeated(configure, monkeypatch, seed):
    configure()
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE", raising=False)
    monkeypatch.setenv("LOOP_SIGNING_KEY", seed)

    with pytest.raises(ConfigError, match="64 hex digits") as refused:
        sealing.own_key_id()

    assert seed not in str(refused.value)


def test_who_only_reads_checks_with_exported_public_keys(key, tmp_path, monkeypatch):
    signed = a_seal()
    sealing.keyring().export(tmp_path / "keys")
    monkeypatch.delenv("LOOP_SIGNING_KEY_FILE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no-development-key"))
    monkeypatch.setenv("LOOP_TRUSTED_KEYS_FILE", str(tmp_path / "keys"))

    unsealed(signed)

    assert (tmp_path / "keys").read_text() == f"{key}\n"
    assert not (tmp_path / "no-development-key").exists()
    with pytest.raises(SignatureError):
        unsealed(signed + b"!")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"abc\n", b"\xff", b"A" * 64])
def test_an_unusable_file_of_trusted_keys_trusts_nobody_and_says_so(
    key, tmp_path, monkeypatch, content
):
    signed = a_seal()
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    monkeypatch.setenv("LOOP_TRUSTED_KEYS_FILE", str(tmp_path / "keys"))

    with pytest.raises(ConfigError, match="LOOP_TRUSTED_KEYS_FILE"):
        unsealed(signed)
