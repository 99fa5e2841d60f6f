"""What a person may do about rows that do not count: only what can work, with its effect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pipelines.alerts.kinds import RULE_ALERTS
from pipelines.intake.files.rows import DATE_INVALID, MALFORMED_ROW
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import ReplayAction
from pipelines.records.validations import Validation

HELD_RUNBOOK = "docs/runbooks/held-delivery.md"
POISONED_RUNBOOK = "docs/runbooks/poisoned-labels.md"

Tone = Literal["", "plain", "danger"]

# Rows with one of these reasons lack a text, a known label or a day: nothing can be trained on them
_UNUSABLE = (
    "text_missing", "text_length", "label_missing", "label_unknown", "label_neutral", DATE_INVALID,
    MALFORMED_ROW,
)  # fmt: skip


@dataclass(frozen=True)
class Remedy:
    """What a person may do about a delivery's rows."""

    label: str
    action: ReplayAction
    effect: str  # half a sentence
    tone: Tone = "plain"


@dataclass(frozen=True)
class Remedies:
    """The buttons of one delivery; ``not_offered`` says why one is missing.

    A red one cannot be taken back. ``corrected_night`` is the night to ingest once a corrected file
    was delivered, which is the usual way and leads; empty if no file is held.
    """

    offered: tuple[Remedy, ...] = ()
    not_offered: str = ""
    corrected_night: str = ""


NOTHING_TO_DO = Remedies()


def is_poison_alarm(validation: Validation | None) -> bool:
    """Whether the delivery is held because the champion disagrees with its labels."""
    broken = validation.failed_rules if validation else ()
    return any(
        rule.severity == "critical" and RULE_ALERTS.get(rule.rule) == "poison_alarm"
        for rule in broken
    )


def is_unreadable(validation: Validation | None) -> bool:
    """Whether no row of the file could be read, so that how many it has is not known for sure."""
    return validation is not None and validation.profile is None


def runbook_of(validation: Validation | None) -> str:
    return POISONED_RUNBOOK if is_poison_alarm(validation) else HELD_RUNBOOK


def remedies(standing: Standing | None, validation: Validation | None) -> Remedies:
    """What can be done about the rows that do not count."""
    if standing is None:
        return NOTHING_TO_DO
    if standing.verdict == "HELD":
        held = _of_held(standing.newest.held_rows, validation)
        return replace(held, corrected_night=standing.outcome.counted_in)
    if standing.quarantined:
        return _of_quarantined(standing.newest.quarantined_rows, validation)
    return NOTHING_TO_DO


def _of_held(rows: int, validation: Validation | None) -> Remedies:
    if is_unreadable(validation):
        return Remedies(
            (
                Remedy(
                    "Validate again", "revalidate",
                    "reads the file again, which helps only if the limits were changed",
                ),
                Remedy("Discard", "discard", "gives the file up permanently", "danger"),
            ),
            "It cannot be released, because no row can be read from it.",
        )  # fmt: skip
    again = _again(rows)
    discard = Remedy("Discard", "discard", f"discards {_rows(rows)} permanently", "danger")
    if validation is not None and validation.profile is not None and not validation.profile.rows:
        return Remedies(
            (again, discard), "It cannot be released, because every row of it breaks a row rule."
        )
    if is_poison_alarm(validation):
        anyway = Remedy(
            "Release all the same", "release",
            f"trains the next model on {_good_rows(rows, validation)} with these labels, and "
            "nothing takes them back. Only after you have read the rows below", "danger",
        )  # fmt: skip
        return Remedies((again, discard, anyway))
    release = Remedy("Release", "release", f"accepts {_good_rows(rows, validation)}", "danger")
    return Remedies((again, release, discard))


def _of_quarantined(rows: int, validation: Validation | None) -> Remedies:
    again = _again(rows)
    discard = Remedy("Discard", "discard", f"discards {_rows(rows)} permanently", "danger")
    reasons = validation.reasons if validation else {}
    unusable = max((reasons.get(reason, 0) for reason in _UNUSABLE), default=0)
    lacking = "lack a text of the allowed length, a known label or a day"
    if unusable >= rows:
        return Remedies((again, discard), f"They cannot be released, because they {lacking}.")
    if unusable:
        some = Remedy(
            "Release some rows", "release",
            f"accepts those whose positions you give under Rows; at least {unusable:,} cannot be "
            f"released, because they {lacking}", "danger",
        )  # fmt: skip
        return Remedies((again, some, discard))
    release = Remedy(
        "Release", "release", f"accepts {_rows(rows)}, although they break a rule", "danger"
    )
    return Remedies((again, release, discard))


def _again(rows: int) -> Remedy:
    return Remedy(
        "Validate again", "revalidate",
        f"validates {_rows(rows)} by today's rules, which helps only if a rule, a limit or the "
        "champion was changed",
    )  # fmt: skip


def _good_rows(rows: int, validation: Validation | None) -> str:
    """How many of the rows would count, as the validation found."""
    good = validation.profile.rows if validation and validation.profile else rows
    if good == rows:
        return _rows(rows)
    return f"{good:,} of {_rows(rows)} (the others break a row rule and go to quarantine)"


def _rows(count: int) -> str:
    return "the row" if count == 1 else f"the {count:,} rows"
