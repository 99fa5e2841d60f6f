"""The two buckets, opened by the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.core import config
from pipelines.core.errors import (
    ConfigError,
)
from pipelines.core.grants import Role
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.client import make_client
from pipelines.core.store.keyring import Keyring


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
