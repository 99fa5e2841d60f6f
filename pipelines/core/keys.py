"""Where every record and file lies: object keys, relative to their bucket.

A record knows its own key, because its fields hold everything in the key. So a reader can compare
the key under which it found a record with the key where the record belongs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple


def arrival_id(landing_key: str, version_tag: str) -> str:
    """Id of one version of one landing file; changed content under the same name gets another."""
    identity = f"{landing_key}\n{version_tag}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(identity).hexdigest()[:32]


# ── The reviews bucket ───────────────────────────────────────────────────────────────────────

ARRIVALS, RECEIPTS, MISSING = "arrivals/", "receipts/", "missing/"
DELIVERIES, REPORTS = "deliveries/", "reports/"


def delivery_key(sha256: str) -> str:
    return f"{DELIVERIES}{sha256}/delivery.json"


def raw_key(sha256: str) -> str:
    return f"{DELIVERIES}{sha256}/raw"


def outcome_key(sha256: str) -> str:
    return f"{DELIVERIES}{sha256}/outcome.json"


def replays_folder(sha256: str) -> str:
    return f"{DELIVERIES}{sha256}/replays/"


def replay_key(sha256: str, number: int) -> str:
    return f"{replays_folder(sha256)}{number:06d}.json"


def replay_plan_key(sha256: str, digest: str) -> str:
    return f"{DELIVERIES}{sha256}/replay-plans/{digest[:20]}.json"


def arrival_key(night: str, landing_key: str, version_tag: str, delivery: str) -> str:
    """One per content that was read: a store may return other bytes under one name and tag."""
    return f"{ARRIVALS}{night}/{arrival_id(landing_key, version_tag)}-{delivery[:16]}.json"


def name_claim_key(landing_key: str) -> str:
    return f"names/{arrival_id(landing_key, '')}.json"


def receipt_key(night: str, *, landing_key: str, version_tag: str) -> str:
    return f"{RECEIPTS}{night}/{arrival_id(landing_key, version_tag)}.json"


def missing_key(night: str, source: str) -> str:
    return f"{MISSING}{night}/{source}.json"


def validation_key(delivery: str, basis_digest: str) -> str:
    return f"{REPORTS}{delivery}/{basis_digest[:16]}/validation.json"


def report_key(validation_key: str) -> str:
    """Where the page for people is, in the folder of the record for machines."""
    return f"{validation_key.rpartition('/')[0]}/report.html"


SNAPSHOTS, FEATURES, HOUSEKEEPING = "snapshots/", "features/", "housekeeping/"


def housekeeping_key(digest: str) -> str:
    return f"{HOUSEKEEPING}{digest}.json"


def snapshot_key(digest: str) -> str:
    return f"{SNAPSHOTS}{digest}.json"


ROLLUPS = "rollups/"


def rollup_folder(name: str, trust: str, *, model: str = "") -> str:
    """One per name and set of trusted keys; see `core.store.rollups`."""
    return f"{model}/{ROLLUPS}{name}-{trust}/" if model else f"{ROLLUPS}{name}-{trust}/"


def predictions_folder(day: str) -> str:
    return f"predictions/date={day}/"


def prediction_key(day: str, sha256: str) -> str:
    """Answers that a scoring service gave on a day."""
    return f"{predictions_folder(day)}{sha256}.parquet"


ALERTS = "alerts/"


def alert_key(incident: str) -> str:
    return f"{ALERTS}{incident}/alert.json"


def alert_claim_key(incident: str, channel: str, number: int) -> str:
    return f"{ALERTS}{incident}/{channel}/{number:03d}.json"


def alert_end_key(incident: str, channel: str, number: int, state: str) -> str:
    return f"{ALERTS}{incident}/{channel}/{number:03d}.{state}.json"


def looked_at_key(dag_id: str, run_id: str) -> str:
    identity = f"{dag_id}\n{run_id}".encode("utf-8", "backslashreplace")
    return f"{ALERTS}runs/{hashlib.sha256(identity).hexdigest()}.json"


MONITORING = "monitoring/"


def windows_folder(model: str, month: str = "") -> str:
    """All windows of a model, or those of a month ``YYYY-MM``."""
    return f"{MONITORING}{model}/windows/" + (f"{month}/" if month else "")


def window_key(model: str, night: str, *, nights: int, rows: int, partitions: Iterable[str]) -> str:
    """One per night, length and set of rows: rows that count later make another window.

    Of windows of one length, the last key of a night is that of most rows. Nobody without a key can
    change that, as a signature covers the place; when an object was stored, whoever may write
    decides.
    """
    digest = hashlib.sha256("\n".join(sorted(partitions)).encode()).hexdigest()
    name = f"{night}-{nights:03d}-{rows:09d}-{digest[:16]}"
    return f"{windows_folder(model, night[:7])}{name}.json"


def nights_of_window(key: str) -> str:
    """How many nights a window has, as its key spells it; empty if it is no key of a window."""
    found = _WINDOW.fullmatch(name_of(key))
    return found[1] if found else ""


_WINDOW = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}-([0-9]{3})-[0-9]{9}-[0-9a-f]{16}")


def answers_folder(model: str, month: str) -> str:
    """What the answers of a month ``YYYY-MM`` showed about a model."""
    return f"{MONITORING}{model}/answers/{month}/"


def answered_day_key(model: str, day: str) -> str:
    return f"{answers_folder(model, day[:7])}{day}.json"


def day_of_monitoring(key: str) -> str:
    """The night of a window, the day of answers, or that of a decision on triggers."""
    return name_of(key)[:10]


def triggers_folder(model: str, month: str = "") -> str:
    """All decisions on triggers of a model, or those of a month ``YYYY-MM``."""
    return f"{MONITORING}{model}/triggers/" + (f"{month}/" if month else "")


def trigger_key(model: str, day: str, token: str) -> str:
    return f"{triggers_folder(model, day[:7])}{day}-{token[:16]}.json"


def monitoring_reference_key(model: str, version: str, rules: str) -> str:
    return f"{MONITORING}{model}/references/{version}-{rules[:16]}.npz"


# ── The models bucket ────────────────────────────────────────────────────────────────────────


def plans_folder(model: str) -> str:
    return f"{model}/plans/"


def plan_key(model: str, version: str) -> str:
    return f"{plans_folder(model)}{version}.json"


def model_file_key(model: str, version: str, sha256: str) -> str:
    return f"{model}/versions/{version}/model-{sha256[:16]}.skops"


def manifest_key(model: str, version: str) -> str:
    return f"{model}/versions/{version}/manifest.json"


def gate_key(model: str, version: str, generation: int, policy: str, name: str) -> str:
    """A record or file of one version at the gate, against one champion under one policy."""
    folder = f"{generation:08d}-{policy[:16]}"
    return f"{model}/versions/{version}/gates/{folder}/{name}"


EVALUATION, CHECK, DECISION, CARD, APPROVAL = (
    "evaluation.json", "artefact_check.json", "decision.json", "card.json", "approval.json",
)  # fmt: skip


def sibling(key: str, name: str) -> str:
    """Another object in the same folder."""
    return f"{key.rpartition('/')[0]}/{name}"


def log_folder(model: str) -> str:
    return f"{model}/log/"


def log_key(model: str, generation: int) -> str:
    return f"{log_folder(model)}{generation:08d}.json"


def hint_key(model: str) -> str:
    return f"{model}/champion.json"


def rollbacks_folder(model: str) -> str:
    return f"{model}/rollbacks/"


def rollback_key(model: str, digest: str) -> str:
    return f"{rollbacks_folder(model)}{digest[:20]}.json"


def versions_folder(model: str) -> str:
    return f"{model}/versions/"


def gates_folder(model: str, version: str) -> str:
    return f"{versions_folder(model)}{version}/gates/"


# ── Read back ────────────────────────────────────────────────────────────────────────────────

_LOG_KEY = re.compile(r"([^/]+)/log/([0-9]{8})\.json")
_PLAN_KEY = re.compile(r"[^/]+/plans/[0-9a-f]{20}\.json")
_ROLLBACK_KEY = re.compile(r"[^/]+/rollbacks/[0-9a-f]{20}\.json")
_REPLAY_PLAN_KEY = re.compile(rf"{DELIVERIES}[0-9a-f]{{64}}/replay-plans/[0-9a-f]{{20}}\.json")
_RECEIPT_KEY = re.compile(rf"{RECEIPTS}[^/]+/[0-9a-f]{{32}}\.json")
_ENTRY_KEY = re.compile(rf"{DELIVERIES}[0-9a-f]{{64}}/(outcome|replays/[0-9]{{6}})\.json")
_GATE_KEY = re.compile(r"([^/]+)/versions/([0-9a-f]{20})/gates/([0-9]{8})-([0-9a-f]{16})/[^/]+")


def name_of(key: str) -> str:
    """The last part of a record's key, without its ending."""
    return key.rpartition("/")[2].removesuffix(".json")


def folder_of(key: str) -> str:
    """The part after the first: the night of a receipt, the delivery of an outcome."""
    return key.split("/")[1]


def folder_in(key: str) -> str:
    """The folder that an object lies in."""
    return key.rpartition("/")[0]


def version_in(key: str, model: str) -> str:
    """The version that a key of a model's folder is about; empty for any other key."""
    folder, _, rest = key.removeprefix(f"{model}/").partition("/")
    if folder == "versions":
        return rest.partition("/")[0]
    return rest.removesuffix(".json") if folder == "plans" else ""


def is_replay_plan(key: str) -> bool:
    return _REPLAY_PLAN_KEY.fullmatch(key) is not None


def night_of_partition(key: str) -> str:
    """The day in ``accepted/date=2026-01-05/...``."""
    return folder_of(key).removeprefix("date=")


def version_of(key: str) -> str:
    """The version in ``<model>/versions/<version>/...``."""
    return key.split("/")[2]


def generation_of(key: str, model: str) -> int | None:
    """The generation in ``<model>/log/<generation>.json``; None for any other key."""
    match = _LOG_KEY.fullmatch(key)
    return int(match[2]) if match and match[1] == model else None


class Gate(NamedTuple):
    """What the key of anything in a decision's folder says."""

    version: str
    generation: int
    policy: str  # its first 16 digits


def gate_of(key: str, model: str) -> Gate | None:
    """Version, generation and policy of a decision's folder of a model; None for any other key."""
    match = _GATE_KEY.fullmatch(key)
    return Gate(match[2], int(match[3]), match[4]) if match and match[1] == model else None


def decision_key(model: str, version: str, generation: int, policy: str) -> str:
    return gate_key(model, version, generation, policy, DECISION)


def digest_of_rollup(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".rollup")


def is_outcome(key: str) -> bool:
    return key.startswith(DELIVERIES) and key.endswith("/outcome.json")


def is_receipt(key: str) -> bool:
    return _RECEIPT_KEY.fullmatch(key) is not None


def is_plan(key: str) -> bool:
    """Whether it is the key of a plan of any model."""
    return _PLAN_KEY.fullmatch(key) is not None


def is_rollback_plan(key: str) -> bool:
    return _ROLLBACK_KEY.fullmatch(key) is not None


def is_ledger_entry(key: str) -> bool:
    """Whether it is the key of an outcome or a replay; what else lies there is foreign."""
    return _ENTRY_KEY.fullmatch(key) is not None


def is_manifest(key: str) -> bool:
    """Whether it is the key of a manifest of any model."""
    model, _, _ = key.partition("/")
    return key == manifest_key(model, version_in(key, model))


def is_decision(key: str) -> bool:
    return key.endswith(f"/{DECISION}")
