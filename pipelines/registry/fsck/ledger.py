"""Compare the records of deliveries: arrivals, the ledger, receipts, snapshots, alerts.

The ledger only grows. A record that names an entry which it does not have proves that one was lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from pipelines.alerts.alert import Alert
from pipelines.alerts.records import AttemptEnd, Claim
from pipelines.core import keys
from pipelines.core.keys import (
    alert_claim_key,
    alert_end_key,
    alert_key,
    arrival_key,
    delivery_key,
    name_claim_key,
    outcome_key,
    raw_key,
    receipt_key,
    replay_key,
    replay_plan_key,
)
from pipelines.records.data import Snapshot
from pipelines.records.deliveries import (
    Arrival,
    Delivery,
    NameClaim,
    Outcome,
    Receipt,
    Replay,
    ReplayPlan,
)
from pipelines.records.validations import Validation
from pipelines.registry.fsck.contents import Contents, Finding
from pipelines.registry.fsck.files import partitions_of

Entry = Outcome | Replay


def check(contents: Contents) -> Iterator[Finding]:
    """Findings on records of the reviews bucket that contradict each other."""
    findings: list[Finding] = []
    yield from _arrivals(contents, findings)
    for outcome in contents.of(Outcome):
        yield from _outcome(contents, outcome, findings)
    for validation in contents.of(Validation):
        yield from _validation(contents, validation, findings)
    replays = _replays(contents)
    for delivery, entries in replays.items():
        yield from _chain(contents, delivery, entries, findings)
    for plan in contents.of(ReplayPlan):
        yield from _plan(contents, plan, replays.get(plan.delivery, {}))
    yield from _receipts(contents, findings)
    yield from _snapshots(contents)
    yield from _alerts(contents, findings)
    yield from findings


# ── Arrivals ─────────────────────────────────────────────────────────────────────────────────


def _arrivals(contents: Contents, findings: list[Finding]) -> Iterator[Finding]:
    for arrival in contents.of(Arrival):
        key = arrival.object_key
        contents.needed(Delivery, delivery_key(arrival.delivery), by=key, findings=findings)
        first_key = name_claim_key(arrival.landing_key)
        first = contents.needed(NameClaim, first_key, by=key, findings=findings)
        expected = arrival.conflicts_with or arrival.delivery
        if first is not None and first.delivery != expected:
            yield _error(first_key, f"names another first delivery than {key}: {expected}")
        receipt = receipt_key(
            arrival.night, landing_key=arrival.landing_key, version_tag=arrival.version_tag
        )
        if not contents.has("reviews", receipt):
            what = f"has no receipt {receipt}: its file is due again"
            yield Finding("note", "reviews", key, what)
    for claim in contents.of(NameClaim):
        key = claim.object_key
        contents.needed(Delivery, delivery_key(claim.delivery), by=key, findings=findings)
    for delivery in contents.of(Delivery):
        if delivery.raw_key not in {None, raw_key(delivery.sha256)}:
            yield _error(delivery.object_key, f"names another's bytes: {delivery.raw_key}")


def _receipts(contents: Contents, findings: list[Finding]) -> Iterator[Finding]:
    counted: dict[str, list[str]] = defaultdict(list)
    for receipt in contents.of(Receipt):
        key = receipt.object_key
        contents.needed(Delivery, delivery_key(receipt.delivery), by=key, findings=findings)
        identity = (receipt.night, receipt.landing_key, receipt.version_tag, receipt.delivery)
        contents.needed(Arrival, arrival_key(*identity), by=key, findings=findings)
        ledger = outcome_key(receipt.delivery)
        outcome = contents.needed(Outcome, ledger, by=key, findings=findings)
        if receipt.delivered_rows:
            counted[receipt.delivery].append(key)
        if outcome is not None and not _is_receipt_for(receipt, outcome):
            yield _error(key, f"counts other rows than {ledger}")
    for delivery, receipts in counted.items():
        if len(receipts) > 1:
            what = f"counts rows of delivery {delivery} that {receipts[0]} counts as well"
            yield Finding("warning", "reviews", receipts[1], what)


def _is_receipt_for(receipt: Receipt, outcome: Outcome) -> bool:
    """Whether the receipt counts the same rows as the ledger, or none."""
    if receipt.verdict not in {outcome.verdict, "DUPLICATE"}:
        return False
    return _counts(receipt) in {_counts(outcome), (0, 0, 0, 0)}


def _counts(record: Receipt | Outcome | Validation | Replay) -> tuple[int, int, int, int]:
    return (
        record.delivered_rows, record.accepted_rows, record.quarantined_rows, record.held_rows,
    )  # fmt: skip


# ── The ledger ───────────────────────────────────────────────────────────────────────────────


def _outcome(contents: Contents, outcome: Outcome, findings: list[Finding]) -> Iterator[Finding]:
    key = outcome.object_key
    identity = (outcome.counted_in, outcome.landing_key, outcome.version_tag, outcome.delivery)
    contents.needed(Arrival, arrival_key(*identity), by=key, findings=findings)
    delivery = contents.needed(Delivery, delivery_key(outcome.delivery), by=key, findings=findings)
    if delivery and (delivery.source, delivery.night) != (outcome.source, outcome.night):
        yield _error(key, f"names another source or night than {delivery.object_key}")
    validation = contents.needed(Validation, outcome.validation_key, by=key, findings=findings)
    if validation is not None and not _agree(outcome, validation):
        yield _error(key, f"differs from {outcome.validation_key}, from which it was made")
    yield from _adds_up(key, outcome, accepted=outcome.accepted_rows)


def _agree(outcome: Outcome, validation: Validation) -> bool:
    stored = (outcome.delivery, outcome.verdict, partitions_of(outcome), _counts(outcome))
    return stored == (
        validation.delivery, validation.verdict, partitions_of(validation), _counts(validation),
    )  # fmt: skip


def _validation(
    contents: Contents, validation: Validation, findings: list[Finding]
) -> Iterator[Finding]:
    key = validation.object_key
    contents.needed(Delivery, delivery_key(validation.delivery), by=key, findings=findings)
    for earlier in validation.basis.trailing:
        contents.needed(Validation, earlier, by=key, findings=findings)
    yield from _adds_up(key, validation, accepted=validation.accepted_rows)


def _adds_up(
    key: str, record: Outcome | Validation | Replay, *, accepted: int, discarded: int = 0
) -> Iterator[Finding]:
    """Whether the rows add up and match the rows in the record's own partitions."""
    delivered, accepted_rows, quarantined, held = _counts(record)
    if accepted_rows + quarantined + held + discarded != delivered:
        yield _error(key, f"does not add up to its {delivered:,} delivered rows")
    stored = tuple(
        sum(part.rows for part in parts)
        for parts in (record.accepted_parts, record.quarantined_parts, record.sketches)
    )
    if stored != (accepted, quarantined, accepted):
        yield _error(key, "counts other rows than its partitions hold")


def _replays(contents: Contents) -> dict[str, dict[int, Replay | None]]:
    """Per delivery, each replay by its number; None for one that is not proven."""
    replays: dict[str, dict[int, Replay | None]] = defaultdict(dict)
    for _, key in contents.keys_of(Replay):
        number = int(keys.name_of(key))
        replays[keys.folder_of(key)][number] = contents.find(Replay, key)
    return replays


def _chain(
    contents: Contents, delivery: str, replays: dict[int, Replay | None], findings: list[Finding]
) -> Iterator[Finding]:
    """The entries of one delivery: without gaps from its outcome on, each after the one before."""
    newest = max(replays)
    by = replay_key(delivery, newest)
    before: Entry | None = contents.needed(Outcome, outcome_key(delivery), by=by, findings=findings)
    missing = next((number for number in range(1, newest) if number not in replays), None)
    if missing is not None:
        yield _error(replay_key(delivery, missing), "is missing from the ledger")
    accepted = before.accepted_rows if before else 0
    for number, entry in sorted(replays.items()):
        if entry is not None:
            yield from _replay(contents, entry, before, accepted, findings)
            accepted = entry.accepted_rows
        before = entry if number + 1 in replays else None


def _replay(
    contents: Contents, entry: Replay, before: Entry | None, accepted: int, findings: list[Finding]
) -> Iterator[Finding]:
    key = entry.object_key
    if before is not None and entry.follows != before.digest():
        yield _error(key, "does not follow from the entry before it")
    if before is not None:
        added = entry.accepted_rows - accepted
        yield from _adds_up(key, entry, accepted=added, discarded=entry.discarded_rows)
    contents.needed(
        ReplayPlan, replay_plan_key(entry.delivery, entry.token), by=key, findings=findings
    )
    validation = contents.needed(Validation, entry.validation_key, by=key, findings=findings)
    if validation is not None and validation.delivered_rows != entry.delivered_rows:
        yield _error(key, f"has another number of rows than {entry.validation_key}")


def _plan(
    contents: Contents, plan: ReplayPlan, replays: dict[int, Replay | None]
) -> Iterator[Finding]:
    """Whether the ledger still has the entry that a plan starts from, unchanged."""
    number = plan.number - 1
    ledger = replay_key(plan.delivery, number) if number else outcome_key(plan.delivery)
    if not contents.has("reviews", ledger):
        yield _error(ledger, f"is named by {plan.object_key} and does not exist")
    start = replays.get(number) if number else contents.find(Outcome, ledger)
    if start is not None and start.digest() != plan.follows:
        yield _error(ledger, f"is not what {plan.object_key} starts from: it was replaced")


# ── Snapshots and alerts ─────────────────────────────────────────────────────────────────────


def _snapshots(contents: Contents) -> Iterator[Finding]:
    """Whether the ledger still names every partition that a snapshot has."""
    entries: list[Entry] = [*contents.of(Outcome), *contents.of(Replay)]
    counted = {part for entry in entries for part in entry.accepted_parts}
    lost: dict[str, list[str]] = defaultdict(list)
    for snapshot in contents.of(Snapshot):
        key = snapshot.object_key
        for part in snapshot.partitions:
            if part not in counted:
                lost[part.key].append(key)
        if sum(part.rows for part in snapshot.partitions) != snapshot.rows:
            yield _error(key, f"does not add up to its {snapshot.rows:,} rows")
    for lost_key, pinned in lost.items():
        yield _error(
            lost_key,
            f"is in {len(pinned):,} snapshots, the first is {pinned[0]}, and no ledger entry names "
            "it: the ledger has lost entries",
        )


def _alerts(contents: Contents, findings: list[Finding]) -> Iterator[Finding]:
    for claim in contents.of(Claim):
        key, attempt = claim.object_key, (claim.incident, claim.channel)
        contents.needed(Alert, alert_key(claim.incident), by=key, findings=findings)
        follow = [alert_end_key(*attempt, claim.number, state) for state in ("sent", "failed")]
        follow.append(alert_claim_key(*attempt, claim.number + 1))
        if not any(contents.has("reviews", follower) for follower in follow):
            yield Finding("note", "reviews", key, "did not finish: the alert may be unsent")
    for end in contents.of(AttemptEnd):
        key = end.object_key
        contents.needed(Alert, alert_key(end.incident), by=key, findings=findings)
        if end.number:  # number 0: the channel had just failed, and nothing was claimed
            claimed = alert_claim_key(end.incident, end.channel, end.number)
            contents.needed(Claim, claimed, by=key, findings=findings)


def _error(key: str, what: str) -> Finding:
    return Finding("error", "reviews", key, what)
