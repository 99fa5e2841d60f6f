"""Where the service listens."""

from __future__ import annotations

import socket

import pytest

from pipelines.core.errors import ConfigError
from pipelines.serving.http import server
from tests.support.made.served_builders import a_service


@pytest.mark.parametrize("host", ["", "no such host", "256.1.1.1", "x" * 300, "a..b"])
def test_an_address_that_cannot_be_used_is_named(host):
    with pytest.raises(ConfigError, match="cannot listen at"):
        server.run(a_service(), host=host, port=0)


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=f"port {port}: .*in use"):
            server.run(a_service(), host="127.0.0.1", port=port)
