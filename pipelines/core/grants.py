"""Who may do what in the two buckets: for each role a policy of least privilege.

`GRANTS` is the one place that says who may read, write or delete below which prefix; a test runs
the loop and compares. Everything that is not in it is denied.

A role that may create an object may also replace it: not every store can distinguish the two in a
policy. Signatures and digests detect a replaced record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from pipelines.core.errors import ConfigError

Role = Literal[
    "upstream", "ingest", "retrain", "housekeeping", "monitor", "alerts", "pages", "scoring"
]

ROLES: tuple[Role, ...] = get_args(Role)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PROBES = "probes"


@dataclass(frozen=True)
class Grant:
    """What a role may do in one bucket.

    ``reads``, ``writes`` and ``deletes`` are patterns of keys: ``*`` is any text, slashes included.
    ``lists`` allows listing the whole bucket. A role that looks for objects which may be absent
    needs it: without it, or with a condition on the prefix, S3 answers 403 instead of 404, so that
    "does not exist" and "not allowed" look the same.
    """

    bucket: Literal["reviews", "models", "logs"]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    lists: bool = False


# Keys of the reviews bucket
_LANDING = ("landing/*",)
_ROWS = ("accepted/*", "quarantine/*", "sketches/*")
_LEDGER = ("arrivals/*", "names/*", "deliveries/*", "reports/*", "receipts/*", "missing/*", *_ROWS)
_COUNTED = ("deliveries/*.json", "accepted/*")
_ALERTS = ("alerts/*",)
_TRAINING = ("snapshots/*", "features/*")
_MONITORING = ("monitoring/*",)
_ROLLUPS = ("rollups/*",)
_ROLLUPS_OF_ALERTS = ("rollups/alerts-*",)

# Keys of the models bucket
_LOG = ("{model}/log/*", "{model}/champion.json")
_CHAMPION = (*_LOG, "{model}/versions/*/manifest.json", "{model}/versions/*/model-*.skops")
_VERSIONS = (*_LOG, "{model}/versions/*")
_REGISTRY = (*_VERSIONS, "{model}/plans/*", "{model}/rollbacks/*")
_PROBE = (f"{_PROBES}/*",)
_ROLLUPS_OF_LOG = ("{model}/rollups/*",)

GRANTS: Mapping[Role, tuple[Grant, ...]] = {
    "upstream": (Grant("reviews", writes=_LANDING),),
    "ingest": (
        Grant(
            "reviews",
            (*_LANDING, *_LEDGER, *_ALERTS, *_ROLLUPS, "snapshots/*"),
            (*_LEDGER, *_ALERTS, *_ROLLUPS),
            _ROLLUPS,
            lists=True,
        ),
        Grant("models", _CHAMPION, lists=True),
    ),
    "retrain": (
        Grant(
            "reviews",
            (*_COUNTED, *_TRAINING, *_ALERTS, *_ROLLUPS, "monitoring/*/triggers/*"),
            (*_TRAINING, *_ALERTS),
            lists=True,
        ),
        Grant(
            "models",
            (*_REGISTRY, *_PROBE, *_ROLLUPS_OF_LOG),
            (*_REGISTRY, *_PROBE, *_ROLLUPS_OF_LOG),
            (*_PROBE, *_ROLLUPS_OF_LOG),
            lists=True,
        ),
    ),
    "housekeeping": (
        Grant(
            "reviews",
            (*_COUNTED, *_ALERTS, *_ROLLUPS, *_TRAINING, "housekeeping/*"),
            (*_ALERTS, "housekeeping/*"),
            ("features/*", "reports/*", "snapshots/*", *_ROLLUPS),
            lists=True,
        ),
        Grant(
            "models",
            (*_REGISTRY, *_ROLLUPS_OF_LOG),
            deletes=("{model}/versions/*", "{model}/plans/*", *_ROLLUPS_OF_LOG),
            lists=True,
        ),
    ),
    # It may start a retraining, and cannot change a model or who is champion.
    "monitor": (
        Grant(
            "reviews",
            (*_COUNTED, "reports/*.json", "snapshots/*", *_ALERTS, *_MONITORING, *_ROLLUPS),
            (*_ALERTS, *_MONITORING),
            lists=True,
        ),
        Grant("models", (*_CHAMPION, *_ROLLUPS_OF_LOG), lists=True),
    ),
    "alerts": (Grant("reviews", (*_ALERTS, *_ROLLUPS_OF_ALERTS), _ALERTS, lists=True),),
    "pages": (
        Grant(
            "reviews",
            (*_LEDGER, *_ALERTS, *_ROLLUPS, *_MONITORING, "snapshots/*", "housekeeping/*"),
            lists=True,
        ),
        Grant("models", (*_REGISTRY, *_ROLLUPS_OF_LOG), lists=True),
    ),
    "scoring": (Grant("models", _VERSIONS, lists=True),),
}


PREDICTION_LOG: Mapping[Role, Grant] = {
    "scoring": Grant("reviews", writes=("predictions/*",)),
    "monitor": Grant("reviews", reads=("predictions/*",)),
}
"""What roles need, too, where answers are kept. Who writes them cannot read them back."""

TASK_LOGS = "logs"
"""Names the user as whom Airflow keeps and shows logs of tasks. No part of the loop acts as it."""

_TASK_LOGS = Grant("logs", ("*",), ("*",), lists=True)


def policies(
    *, reviews: str, models: str, names: Sequence[str], keeps_predictions: bool = False
) -> dict[Role, dict[str, Any]]:
    """The IAM policy of each role, for two buckets and all models in them.

    Parameters
    ----------
    reviews, models : str
        Names of the buckets.
    names : sequence of str
        The models' folders in the models bucket.
    keeps_predictions : bool
        Whether scoring services write a prediction log, which the monitor reads.

    Raises
    ------
    ConfigError
        If a name would make a policy allow more than is meant.
    """
    _check_names(reviews, models, names)
    buckets = {"reviews": reviews, "models": models}
    return {
        role: {
            "Version": "2012-10-17",
            "Statement": [
                statement for grant in _grants(role, keeps_predictions=keeps_predictions)
                for statement in _statements(grant, buckets[grant.bucket], names)
            ],
        }
        for role in GRANTS
    }  # fmt: skip


def task_logs_policy(bucket: str, *, others: Sequence[str]) -> dict[str, Any]:
    """The IAM policy of the user as whom Airflow keeps and shows the logs of tasks.

    It cannot delete: what lies in the bucket expires.

    Raises
    ------
    ConfigError
        If its name would make the policy allow more than is meant, or is one of ``others``.
    """
    _check_bucket(bucket)
    if bucket in others:
        raise ConfigError(
            f"{bucket!r} holds records; logs of tasks need a bucket of their own. "
            "Choose another name."
        )
    statements = [*_statements(_TASK_LOGS, bucket, [""])]
    return {"Version": "2012-10-17", "Statement": statements}


def _grants(role: Role, *, keeps_predictions: bool) -> Iterator[Grant]:
    """A role's grants, one per bucket: a statement's name must not occur twice in a policy."""
    more = PREDICTION_LOG.get(role) if keeps_predictions else None
    grants = GRANTS[role]
    for grant in grants:
        if more is not None and grant.bucket == more.bucket:
            yield replace(
                grant, reads=(*grant.reads, *more.reads), writes=(*grant.writes, *more.writes)
            )
        else:
            yield grant
    if more is not None and more.bucket not in {grant.bucket for grant in grants}:
        yield more


def as_file(policy: Mapping[str, Any]) -> str:
    return json.dumps(policy, indent=2) + "\n"


def profile(role: Role) -> str:
    """The name of a role's profile in boto3's files, and of its user in compose."""
    return f"loop-{role}"


def _statements(grant: Grant, bucket: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    name, of_bucket = grant.bucket.capitalize(), f"arn:aws:s3:::{bucket}"
    if grant.lists:
        yield _allow(f"List{name}", ["s3:ListBucket"], [of_bucket])
    for verb, actions, patterns in (
        ("Read", ["s3:GetObject"], grant.reads),
        ("Write", ["s3:PutObject", "s3:AbortMultipartUpload"], grant.writes),
        ("Delete", ["s3:DeleteObject"], grant.deletes),
    ):
        if patterns:
            filled = (pattern.format(model=name) for pattern in patterns for name in names)
            keys = [f"{of_bucket}/{each}" for each in dict.fromkeys(filled)]
            yield _allow(f"{verb}{name}", actions, keys)


def _allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _check_names(reviews: str, models: str, names: Sequence[str]) -> None:
    for name in (reviews, models):
        _check_bucket(name)
    if reviews == models:
        raise ConfigError(
            f"both buckets are {reviews!r}; policies are made for two. Change [store]."
        )
    if _PROBES in names:
        raise ConfigError(
            f"model.name is {_PROBES!r}, and retraining may delete what lies there. Choose another."
        )


def _check_bucket(name: str) -> None:
    if not _BUCKET.fullmatch(name):
        raise ConfigError(
            f"no policy can be made for a bucket named {name!r}: the name must have 3 to 63 "
            "lower-case letters, digits, dots or hyphens. Change it in [store], or name another "
            "bucket for the logs."
        )
