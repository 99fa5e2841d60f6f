"""A loop that goes on keeps its secrets and its addresses; one that is thrown away has new ones."""

from __future__ import annotations

import socket
import stat

import pytest

from ops.services.identity import Identity, keep, kept_identity
from ops.services.processes import LOOPBACK, StackError


def test_it_is_made_once_with_secrets_that_nobody_else_can_read(tmp_path):
    path = tmp_path / "identity.json"

    first, second = kept_identity(path), kept_identity(path)

    assert first == second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secrets = [first.password, first.s3_key, first.jwt_secret, first.api_secret, first.fernet_key]
    assert min(map(len, secrets)) >= 16
    assert len({*secrets}) == len(secrets)


def test_each_has_its_own():
    assert Identity().s3_key != Identity().s3_key
    assert Identity().marker != Identity().marker


def test_the_addresses_are_those_of_before_unless_they_are_taken(tmp_path):
    path = tmp_path / "identity.json"
    chosen = kept_identity(path).with_free_ports()
    keep(chosen, path)

    assert kept_identity(path).with_free_ports() == chosen
    with socket.create_server((LOOPBACK, chosen.ui_port)):
        moved = kept_identity(path).with_free_ports()
    assert moved.ui_port != chosen.ui_port
    assert moved.s3_port == chosen.s3_port


@pytest.mark.parametrize("text", ["", "{}x", "[]", '{"unknown": 1}', "null"])
def test_a_file_that_is_none_is_an_error_that_says_what_to_do(tmp_path, text):
    path = tmp_path / "identity.json"
    path.write_text(text)

    with pytest.raises(StackError, match="Put it back"):
        kept_identity(path)
