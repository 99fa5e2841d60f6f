"""The two buckets, opened by the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.core import config
from pipelines.core.errors import ConfigError, StoreRefusedError
from pipelines.core.grants import Role
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.client import make_client
from pipelines.core.store.keyring import Keyring

TASK_LOGS_DAYS = 14
"""How long the logs of tasks are kept."""

_TASK_LOGS_RULE = "old-task-logs"


@dataclass(frozen=True)
class Stores:
    """The two buckets: ingest writes ``reviews``, retrain writes ``models``."""

    reviews: Bucket
    models: Bucket

    def resolve(self, uri: str) -> tuple[Bucket, str]:
        """The bucket and key behind an URI that one of the two buckets gave out.

        Raises
        ------
        ConfigError
            If it names neither bucket.
        """
        for bucket in (self.reviews, self.models):
            prefix = bucket.uri("")
            if uri.startswith(prefix) and len(uri) > len(prefix):
                return bucket, uri.removeprefix(prefix)
        raise ConfigError(
            f"{uri!r} lies in neither configured bucket "
            f"({self.reviews.name!r}, {self.models.name!r})"
        )


def open_stores(settings: Settings | None = None, role: Role | None = None) -> Stores:
    """Connect to the configured buckets. Nothing is sent until a method is called.

    With a role, boto3's profile ``loop-<role>`` is used if there is one. Without a role or such a
    profile, boto3 finds the credentials as usual: the same for everything.
    """
    settings = settings or config.load()
    store, keyring = settings.store, Keyring(settings.trust.trusted_keys)
    client = make_client(store, role)
    return Stores(
        Bucket(store.reviews_bucket, client, store, keyring),
        Bucket(store.models_bucket, client, store, keyring),
    )


# The bucket of task logs


def make_task_logs_bucket(name: str, settings: Settings | None = None) -> bool:
    """Create the bucket if it is missing, and let expire what lies in it.

    Returns
    -------
    is_new : bool
        Whether it was missing.

    Raises
    ------
    ConfigError
        If a bucket of that name holds something else: that must not expire.
    StoreRefusedError
        If the store knows no expiry, or these credentials may not set it.
    """
    settings = settings or config.load()
    client = make_client(settings.store, None)
    bucket = Bucket(name, client, settings.store, Keyring(settings.trust.trusted_keys))
    is_new = bucket.create_if_missing()
    if not is_new:
        _check_is_ours(bucket, client)
    rule = {
        "ID": _TASK_LOGS_RULE,
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": TASK_LOGS_DAYS},
    }

    def set_expiry() -> None:
        client.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [rule]}
        )

    bucket.call("set the expiry of", "", lambda: _known(bucket, set_expiry))
    return is_new


def _check_is_ours(bucket: Bucket, client: Any) -> None:
    """Its only rule is ours, or it has none and is empty."""
    from botocore.exceptions import ClientError

    def rules() -> list[str]:
        try:
            reply = client.get_bucket_lifecycle_configuration(Bucket=bucket.name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
                return []
            raise
        return [rule.get("ID", "") for rule in reply["Rules"]]

    found = bucket.call("read the expiry of", "", lambda: _known(bucket, rules))
    if found == [_TASK_LOGS_RULE] or (not found and next(iter(bucket.list("")), None) is None):
        return
    raise ConfigError(
        f"the bucket {bucket.name!r} is there already, and "
        + ("has rules of its own" if found else "is not empty")
        + f". In a bucket of task logs everything expires after {TASK_LOGS_DAYS} days, so nothing "
        "was changed. Choose the name of a bucket that does not exist yet."
    )


def _known(bucket: Bucket, request: Any) -> Any:
    """As ``request``, with a plain sentence where the store has no such call."""
    from botocore.exceptions import ClientError

    try:
        return request()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NotImplemented", "MethodNotAllowed"}:
            raise StoreRefusedError(
                f"the store at {bucket.endpoint} cannot let objects expire, so it cannot keep the "
                "logs of tasks. Leave out --task-logs: the logs then stay with the workers."
            ) from error
        raise
