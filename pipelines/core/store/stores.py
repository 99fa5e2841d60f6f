"""The two buckets, opened by the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.core import config
from pipelines.core.errors import ConfigError
from pipelines.core.grants import Role
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.client import make_client
from pipelines.core.store.keyring import Keyring

TASK_LOGS_DAYS = 14
"""How long the logs of tasks are kept in their bucket."""


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


def make_task_logs_bucket(name: str, settings: Settings | None = None) -> bool:
    """Create the bucket of Airflow's task logs if it is missing; what lies in it expires.

    Returns
    -------
    is_new : bool
        Whether it was missing.

    Raises
    ------
    StoreRefusedError
        If the store knows no expiry, or these credentials may not set it.
    """
    settings = settings or config.load()
    client = make_client(settings.store, None)
    bucket = Bucket(name, client, settings.store, Keyring(settings.trust.trusted_keys))
    is_new = bucket.create_if_missing()
    rule = {
        "ID": "old-task-logs",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": TASK_LOGS_DAYS},
    }
    bucket.call(
        "set the expiry of", "",
        lambda: client.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": [rule]}
        ),
    )  # fmt: skip
    return is_new
