"""The last message of the process that decodes a file is not believed, whoever made it."""

import json

import pytest

from pipelines.core import config
from pipelines.core.errors import UnreadableDeliveryError
from pipelines.intake.files import decoder
from pipelines.intake.files.decoder import DONE, REFUSED
from pipelines.intake.files.spooled_rows import SpooledRows

INTAKE = config.load().intake


def finished(kind, message):
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return decoder._finished(kind, body, SpooledRows(), INTAKE)


@pytest.mark.attack
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (REFUSED, b'{"reason": "truncated", "detail": "", "rows": 1e999}'),
        (REFUSED, {"reason": "\ud800", "detail": "", "rows": 1}),
        (REFUSED, {"reason": "truncated", "detail": "\ud800", "rows": 1}),
        (REFUSED, {"reason": "<b>no code", "detail": "", "rows": 1}),
        (REFUSED, {"reason": "x" * 1000, "detail": "", "rows": 1}),
        (DONE, b'{"extra_columns": [], "found": {"a": {"b": 1e999}}}'),
        (DONE, {"extra_columns": ["\ud800"], "found": {}}),
        (DONE, {"extra_columns": [], "found": {"a": {"\ud800": 1}}}),
        (DONE, b"[" * 100_000),
    ],
)
def test_a_message_that_cannot_be_reckoned_with_holds_the_delivery(kind, message):
    with pytest.raises(UnreadableDeliveryError) as raised:
        finished(kind, message)

    assert raised.value.reason == "decoder_failed"


@pytest.mark.attack
def test_what_it_claims_is_cut_to_what_a_record_may_hold():
    rows = finished(DONE, {"extra_columns": [], "found": {"a": {"b": 10**400, "c": -5}}})
    assert rows.found == {"a": {"b": INTAKE.max_rows, "c": 0}}

    with pytest.raises(UnreadableDeliveryError) as raised:
        finished(REFUSED, {"reason": "truncated", "detail": "x" * 900_000, "rows": 10**400})

    assert raised.value.rows == INTAKE.max_rows
    assert len(raised.value.detail) < 10_000
