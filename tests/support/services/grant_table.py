"""What each role may do of all that anybody might try, as people would write it down.

Objects are named by the bucket and the key in it.
"""

from __future__ import annotations

READ, WRITE, DELETE, LIST = "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"
SHA, VERSION = "e" * 64, "a" * 20

LANDING = "reviews/landing/web/2026-01-05/r.csv"
OUTCOME = f"reviews/deliveries/{SHA}/outcome.json"
RAW = f"reviews/deliveries/{SHA}/raw"
RECEIPT = f"reviews/receipts/2026-01-05/{SHA}.json"
ROWS = f"reviews/accepted/date=2026-01-05/{SHA}.parquet"
ALERT = f"reviews/alerts/{SHA}/alert.json"
SNAPSHOT = f"reviews/snapshots/{SHA}.json"
FINGERPRINTS = f"reviews/features/fp2-n3-g0-p0-b40/{SHA}.npz"
ROLLUP = f"reviews/rollups/ledger-{'f' * 16}/{SHA}.rollup"
ROLLUP_OF_ALERTS = f"reviews/rollups/alerts-{'f' * 16}/{SHA}.rollup"
PACK = f"reviews/features/packs/{SHA}.pack"
REPORT = f"reviews/reports/{SHA}/{'a' * 16}/validation.json"
TIDIED = f"reviews/housekeeping/{SHA}.json"
WINDOW = f"reviews/monitoring/sentiment/windows/2026-01/2026-01-05-001-{'0' * 9}-{'a' * 16}.json"
TRIGGER = f"reviews/monitoring/sentiment/triggers/2026-01/2026-01-05-{'a' * 16}.json"
PREDICTIONS = f"reviews/predictions/date=2026-01-05/{SHA}.parquet"
ROLLUP_OF_LOG = f"models/sentiment/rollups/log-{'f' * 16}/{SHA}.rollup"
PLAN = f"models/sentiment/plans/{VERSION}.json"
MANIFEST = f"models/sentiment/versions/{VERSION}/manifest.json"
MODEL = f"models/sentiment/versions/{VERSION}/model-{'b' * 16}.skops"
DECISION = f"models/sentiment/versions/{VERSION}/gates/00000000-{'d' * 16}/decision.json"
ENTRY = "models/sentiment/log/00000001.json"
HINT = "models/sentiment/champion.json"
PROBE = f"models/probes/{'c' * 32}"
OTHER_MODEL = "models/other/log/00000001.json"

ALL = (
    LANDING, OUTCOME, RAW, RECEIPT, ROWS, ALERT, SNAPSHOT, FINGERPRINTS,
    PLAN, MANIFEST, MODEL, DECISION, ENTRY, HINT, PROBE, OTHER_MODEL,
    ROLLUP, ROLLUP_OF_ALERTS, ROLLUP_OF_LOG, PACK, REPORT, TIDIED,
    WINDOW, TRIGGER, PREDICTIONS,
)  # fmt: skip
LEDGER = {OUTCOME, RAW, RECEIPT, ROWS, REPORT}
WATCHED = {WINDOW, TRIGGER}
ROLLUPS = {ROLLUP, ROLLUP_OF_ALERTS}
REGISTRY = {PLAN, MANIFEST, MODEL, DECISION, ENTRY, HINT}

MAY: dict[str, dict[str, set[str]]] = {
    "upstream": {READ: set(), WRITE: {LANDING}, DELETE: set(), LIST: set()},
    "ingest": {
        READ: {LANDING, ALERT, MANIFEST, MODEL, ENTRY, HINT, SNAPSHOT} | LEDGER | ROLLUPS,
        WRITE: {ALERT} | LEDGER | ROLLUPS,
        DELETE: ROLLUPS,
        LIST: {"reviews", "models"},
    },
    "retrain": {
        READ: {OUTCOME, ROWS, ALERT, SNAPSHOT, FINGERPRINTS, PROBE, ROLLUP_OF_LOG, PACK, TRIGGER}
        | REGISTRY
        | ROLLUPS,
        WRITE: {ALERT, SNAPSHOT, FINGERPRINTS, PROBE, PACK, ROLLUP_OF_LOG} | REGISTRY,
        DELETE: {PROBE, ROLLUP_OF_LOG},
        LIST: {"reviews", "models"},
    },
    "housekeeping": {
        READ: {OUTCOME, ROWS, ALERT, SNAPSHOT, FINGERPRINTS, PACK, TIDIED, ROLLUP_OF_LOG}
        | REGISTRY
        | ROLLUPS,
        WRITE: {ALERT, TIDIED},
        DELETE: {SNAPSHOT, FINGERPRINTS, PACK, REPORT, ROLLUP_OF_LOG}
        | {PLAN, MANIFEST, MODEL, DECISION}
        | ROLLUPS,
        LIST: {"reviews", "models"},
    },
    "monitor": {
        READ: {OUTCOME, ROWS, REPORT, ALERT, SNAPSHOT, MANIFEST, MODEL, ENTRY, HINT, ROLLUP_OF_LOG}
        | WATCHED
        | ROLLUPS,
        WRITE: {ALERT} | WATCHED,
        DELETE: set(),
        LIST: {"reviews", "models"},
    },
    "alerts": {
        READ: {ALERT, ROLLUP_OF_ALERTS},
        WRITE: {ALERT},
        DELETE: set(),
        LIST: {"reviews"},
    },
    "pages": {
        READ: {ALERT, SNAPSHOT, ROLLUP_OF_LOG, TIDIED} | LEDGER | REGISTRY | ROLLUPS | WATCHED,
        WRITE: set(),
        DELETE: set(),
        LIST: {"reviews", "models"},
    },
    "scoring": {
        READ: {MANIFEST, MODEL, DECISION, ENTRY, HINT},
        WRITE: set(),
        DELETE: set(),
        LIST: {"models"},
    },
}
