"""An S3 server alone, for what needs no Airflow: it is there, and gone afterwards."""

from __future__ import annotations

import socket

import pytest

from ops.services.processes import LOOPBACK
from ops.services.stack import PROJECT, LocalStack, environment
from pipelines.core import config
from pipelines.core.store.stores import open_stores


def test_the_s3_server_can_be_had_without_airflow(tmp_path):
    settings = PROJECT / "config" / "demo.toml"

    with (
        LocalStack(tmp_path / "stack", settings, has_airflow=False) as stack,
        environment(stack.s3_environment),
    ):
        reviews = open_stores(config.load()).reviews
        reviews.create_if_missing()
        reviews.put("one", b"1")
        assert reviews.get("one") == b"1"
        logs = sorted(log.name for log in (tmp_path / "stack" / "logs").iterdir())

    assert logs == ["s3.log"]
    with pytest.raises(OSError, match="refused"), socket.socket() as probe:
        probe.connect((LOOPBACK, stack.s3_port))
