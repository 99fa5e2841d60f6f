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
CORPUS = f"reviews/features/fp1-n3-b40/corpora-c1-df2/{SHA}.corpus"
VALIDATION = f"reviews/reports/{SHA}/{'a' * 16}/validation.json"
WINDOW = f"reviews/monitoring/sentiment/windows/2026-01/2026-01-05-{'a' * 16}.json"
TRIGGER = f"reviews/monitoring/sentiment/triggers/2026-01/2026-01-05-{'a' * 16}.json"
FINGERPRINTS = f"reviews/features/fp1-n3-b40/{SHA}.npz"
PLAN = f"models/sentiment/plans/{VERSION}.json"
MANIFEST = f"models/sentiment/versions/{VERSION}/manifest.json"
MODEL = f"models/sentiment/versions/{VERSION}/model-{'b' * 16}.skops"
DECISION = f"models/sentiment/versions/{VERSION}/gates/00000000-{'d' * 16}/decision.json"
ENTRY = "models/sentiment/log/00000001.json"
HINT = "models/sentiment/champion.json"
PROBE = f"models/probes/{'c' * 32}"
OTHER_MODEL = "models/other/log/00000001.json"

ALL = (
    LANDING, OUTCOME, RAW, RECEIPT, ROWS, ALERT, SNAPSHOT, CORPUS, FINGERPRINTS,
    PLAN, MANIFEST, MODEL, DECISION, ENTRY, HINT, PROBE, OTHER_MODEL,
    VALIDATION, WINDOW, TRIGGER,
)  # fmt: skip
LEDGER = {OUTCOME, RAW, RECEIPT, ROWS, VALIDATION}
WATCHED = {WINDOW, TRIGGER}
REGISTRY = {PLAN, MANIFEST, MODEL, DECISION, ENTRY, HINT}

MAY: dict[str, dict[str, set[str]]] = {
    "upstream": {READ: set(), WRITE: {LANDING}, DELETE: set(), LIST: set()},
    "ingest": {
        READ: {LANDING, ALERT, MANIFEST, MODEL, ENTRY, HINT, SNAPSHOT} | LEDGER,
        WRITE: {ALERT} | LEDGER,
        DELETE: set(),
        LIST: {"reviews", "models"},
    },
    "retrain": {
        READ: {OUTCOME, ROWS, ALERT, SNAPSHOT, CORPUS, FINGERPRINTS, PROBE, TRIGGER} | REGISTRY,
        WRITE: {ALERT, SNAPSHOT, CORPUS, FINGERPRINTS, PROBE} | REGISTRY,
        DELETE: {CORPUS, PROBE},
        LIST: {"reviews", "models"},
    },
    "monitor": {
        READ: {OUTCOME, ROWS, VALIDATION, ALERT, SNAPSHOT, MANIFEST, MODEL, ENTRY, HINT} | WATCHED,
        WRITE: {ALERT} | WATCHED,
        DELETE: set(),
        LIST: {"reviews", "models"},
    },
    "alerts": {READ: {ALERT}, WRITE: {ALERT}, DELETE: set(), LIST: {"reviews"}},
    "pages": {
        READ: {ALERT, SNAPSHOT} | LEDGER | REGISTRY | WATCHED,
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
