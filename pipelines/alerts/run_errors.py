"""What the failed tasks of a run raised, as far as an alert repeats it.

A text of ours says what happened. Any other error may quote anything, also a password, so only its
class is repeated. An alert leaves the network, and nothing masks it as Airflow masks a log.
"""

from __future__ import annotations

import re

from pipelines.alerts.alert import Run
from pipelines.core.errors import LoopError
from pipelines.core.escaping import plain
from pipelines.core.links import error_runbook

MAX_ERROR_CHARS = 1_000
_MAX_SENTENCE_CHARS = 450
_PASSWORD = re.compile(r"(?<=//)[^/\s@]+(?=@)")
_FIRST_SENTENCE = re.compile(r".*?[.!?](?=\s|$)")
_STORED_VERSION = re.compile(r"/versions/[0-9a-f]{20}/")
# Raised about deliveries that have alerts of their own, or only repeat what other tasks raised.
_REPORTED = ("DeliveryHeldError", "NightHeldError", "NightIncompleteError",
             "MissingDeliveryError", "SetAsideError")  # fmt: skip


def described(error: object) -> str:
    """An error for the run's alert: its class, and its text if that is ours."""
    name = type(error).__name__
    if not isinstance(error, LoopError):
        return name
    return plain(f"{name}: {_PASSWORD.sub('***', str(error))}", most=MAX_ERROR_CHARS)


def first(run: Run) -> str:
    """The first error that explains the run; empty when none is known."""
    return next((one for one in run.errors if not one.startswith(_REPORTED)), "")


def sentence(run: Run) -> str:
    """The first error's class and first sentence, and where the runbooks explain it."""
    name, _, text = first(run).partition(": ")
    if not name:
        return ""
    whole = _FIRST_SENTENCE.match(text)
    said = plain(whole[0] if whole else text, most=_MAX_SENTENCE_CHARS)
    return f"{name}: {said or 'see its log.'} What to do: {error_runbook(first(run))}"


def names_a_version(error: str) -> bool:
    """Whether an error names a file of a stored version, which may be the champion."""
    return bool(_STORED_VERSION.search(error))
