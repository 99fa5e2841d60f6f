"""The table of every key that this project writes, and what lies there.

`pipelines.registry.fsck.check` reads the buckets by it; a test compares docs/records.md with it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pipelines.alerts.alert import Alert
from pipelines.alerts.records import AttemptEnd, Claim, LookedAt
from pipelines.core.record import StoredRecord
from pipelines.records.data import Snapshot
from pipelines.records.decisions import ApprovalRecord, CardFiles, Decision
from pipelines.records.deliveries import (
    Arrival,
    Delivery,
    MissingDelivery,
    NameClaim,
    Outcome,
    Receipt,
    Replay,
    ReplayPlan,
)
from pipelines.records.evaluations import ArtefactCheck, Evaluation
from pipelines.records.housekeeping import Housekeeping
from pipelines.records.monitoring import AnsweredDay, TriggerDecision, Window
from pipelines.records.succession import ChampionHint, LogEntry, RollbackPlan
from pipelines.records.validations import Validation
from pipelines.records.versions import Manifest, Plan

BucketName = Literal["reviews", "models"]
FileKind = Literal[
    "landing file", "raw delivery", "partition", "report page", "features",
    "signatures", "answers", "roll-up",
    "pack", "model file", "card file", "probe", "prediction file",
    "monitoring reference",
]  # fmt: skip

# How the variable parts of a key are spelled.
_PARTS = {
    "sha256": "[0-9a-f]{64}",
    "sha256:32": "[0-9a-f]{32}",
    "sha256:20": "[0-9a-f]{20}",
    "sha256:16": "[0-9a-f]{16}",
    "version": "[0-9a-f]{20}",
    "night": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "month": r"[0-9]{4}-[0-9]{2}",
    "number:3": r"[0-9]{3}",
    "number:6": r"[0-9]{6}",
    "number:9": r"[0-9]{9}",
    "generation": r"[0-9]{8}",
    "model": "[a-z][a-z0-9_-]{0,62}",
    "name": "[^/]+",
    "path": ".+",
}


@dataclass(frozen=True)
class Place:
    """One kind of key, and what must lie under such a key.

    Parameters
    ----------
    where : str
        The key, with its variable parts in angle brackets.
    holds : type of StoredRecord, or str
        The kind of record, or the kind of file.
    bucket : {"reviews", "models"}
        In which bucket.
    """

    where: str
    holds: type[StoredRecord] | FileKind
    bucket: BucketName = "reviews"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        spelled = re.split(r"<([^>]+)>", self.where)
        return re.compile(
            "".join(
                _PARTS[part] if place % 2 else re.escape(part) for place, part in enumerate(spelled)
            ),
            re.DOTALL,
        )

    @property
    def folder(self) -> str:
        """The first part of its keys; of models it is the model's name."""
        return self.where.partition("/")[0]


def _record(where: str, kind: type[StoredRecord]) -> Place:
    return Place(where, kind, kind.BUCKET)


_GATES = "<model>/versions/<version>/gates/<generation>-<sha256:16>/"

PLACES: tuple[Place, ...] = (
    Place("landing/<path>", "landing file"),
    _record("arrivals/<night>/<sha256:32>-<sha256:16>.json", Arrival),
    _record("names/<sha256:32>.json", NameClaim),
    _record("receipts/<night>/<sha256:32>.json", Receipt),
    _record("missing/<night>/<name>.json", MissingDelivery),
    _record("deliveries/<sha256>/delivery.json", Delivery),
    Place("deliveries/<sha256>/raw", "raw delivery"),
    _record("deliveries/<sha256>/outcome.json", Outcome),
    _record("deliveries/<sha256>/replay-plans/<sha256:20>.json", ReplayPlan),
    _record("deliveries/<sha256>/replays/<number:6>.json", Replay),
    _record("reports/<sha256>/<sha256:16>/validation.json", Validation),
    Place("reports/<sha256>/<sha256:16>/report.html", "report page"),
    Place("accepted/date=<night>/<sha256>.parquet", "partition"),
    Place("quarantine/date=<night>/<sha256>.parquet", "partition"),
    Place("sketches/date=<night>/<sha256>.parquet", "partition"),
    _record("snapshots/<sha256>.json", Snapshot),
    Place("features/<name>/<sha256>.npz", "features"),
    Place("features/<name>/<sha256>.signatures", "signatures"),
    Place("features/answers/<sha256>.answers", "answers"),
    Place("features/packs/<sha256>.pack", "pack"),
    Place("rollups/<name>-<sha256:16>/<sha256>.rollup", "roll-up"),
    _record("housekeeping/<sha256>.json", Housekeeping),
    _record("alerts/<sha256>/alert.json", Alert),
    _record("alerts/<sha256>/<name>/<number:3>.json", Claim),
    _record("alerts/<sha256>/<name>/<number:3>.sent.json", AttemptEnd),
    _record("alerts/<sha256>/<name>/<number:3>.failed.json", AttemptEnd),
    _record("alerts/runs/<sha256>.json", LookedAt),
    Place("predictions/date=<night>/<sha256>.parquet", "prediction file"),
    _record(
        "monitoring/<model>/windows/<month>/<night>-<number:3>-<number:9>-<sha256:16>.json", Window
    ),
    _record("monitoring/<model>/triggers/<month>/<night>-<sha256:16>.json", TriggerDecision),
    _record("monitoring/<model>/answers/<month>/<night>.json", AnsweredDay),
    Place("monitoring/<model>/references/<version>-<sha256:16>.npz", "monitoring reference"),
    Place("probes/<sha256:32>", "probe"),
    _record("<model>/plans/<version>.json", Plan),
    Place("<model>/versions/<version>/model-<sha256:16>.skops", "model file", "models"),
    _record("<model>/versions/<version>/manifest.json", Manifest),
    _record(f"{_GATES}evaluation.json", Evaluation),
    _record(f"{_GATES}artefact_check.json", ArtefactCheck),
    _record(f"{_GATES}decision.json", Decision),
    Place(f"{_GATES}card.md", "card file", "models"),
    Place(f"{_GATES}calibration.svg", "card file", "models"),
    Place(f"{_GATES}slices.svg", "card file", "models"),
    Place(f"{_GATES}history.svg", "card file", "models"),
    _record(f"{_GATES}card.json", CardFiles),
    _record(f"{_GATES}approval.json", ApprovalRecord),
    _record("<model>/log/<generation>.json", LogEntry),
    _record("<model>/champion.json", ChampionHint),
    _record("<model>/rollbacks/<sha256:20>.json", RollbackPlan),
    Place("<model>/rollups/<name>-<sha256:16>/<sha256>.rollup", "roll-up", "models"),
    Place("probes/<sha256:32>", "probe", "models"),
)


def place_of(bucket: BucketName, key: str) -> Place | None:
    """What must lie under a key of a bucket; None when this project writes no such key."""
    folders = {"<model>", key.partition("/")[0]}
    fitting = (
        place
        for place in PLACES
        if place.bucket == bucket and place.folder in folders and place.pattern.fullmatch(key)
    )
    return next(fitting, None)
