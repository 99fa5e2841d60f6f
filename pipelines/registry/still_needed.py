"""What housekeeping may not delete: what logs, plans and rollbacks name, at any moment."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from pipelines.core import keys
from pipelines.core.errors import ObjectMissingError, StoreRefusedError, TrustError
from pipelines.core.store.bucket import Bucket
from pipelines.records.data import Snapshot
from pipelines.records.housekeeping import Doomed
from pipelines.records.versions import Manifest, Plan
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)

Version = tuple[str, str]
"""Model and version: whoever can write may copy the version of one model to another's folder."""


def version_in(key: str) -> Version:
    """The model and version that an object of the models bucket is of."""
    model = key.partition("/")[0]
    return model, keys.version_in(key, model)


def named_by_log(registry: Registry) -> set[str]:
    """Every version that the log or a rollback plan names.

    Raises
    ------
    TrustError
        Also if the log was cut back: then it names too few.
    """
    registry.check_nothing_cut()
    log = registry.log.history()
    named = {version for entry in log for version in (entry.version, entry.reference)}
    named |= {entry.subject for entry in log if entry.subject is not None}
    for rollback in registry.rollback_plans():
        named |= {rollback.champion_version, rollback.target_version}
    return named


class Snapshots:
    """The snapshots that a kept version was planned with.

    Parameters
    ----------
    reviews, models : Bucket
        Where snapshots and plans are.
    doomed : set of Version
        Versions that are deleted, and so need none.

    Attributes
    ----------
    named : set of str or None
        Their keys; None where a plan cannot be read.
    """

    def __init__(self, reviews: Bucket, models: Bucket, doomed: set[Version]) -> None:
        self._reviews, self._models = reviews, models
        self.named: set[str] | None = set()
        # Of every model that the bucket holds, also one that the configuration does not name.
        listed = {info.key for info in models.list("")}
        self._planned = {key for key in listed if keys.is_plan(key)}
        trained = {key: version_in(key) for key in listed if keys.is_manifest(key)}
        lost = set(trained.values()) - set(map(version_in, self._planned)) - doomed
        self._name(key for key in self._planned if version_in(key) not in doomed)
        self._name((key for key in trained if trained[key] in lost), of_manifests=True)

    def _name(self, plans: Iterable[str], *, of_manifests: bool = False) -> None:
        """Read more plans, or plans in manifests; nothing is named for certain if one is torn."""
        for key in plans:
            try:
                plan = (
                    self._models.get_record(key, Manifest).plan
                    if of_manifests
                    else self._models.get_record(key, Plan)
                )
            except (TrustError, StoreRefusedError) as error:
                logger.warning("no snapshot is deleted: %s", error)
                self.named = None
            if self.named is None:
                return
            self.named.add(keys.snapshot_key(plan.snapshot))

    def is_named(self, key: str, registries: Iterable[Registry]) -> bool:
        """Whether one of the plans names a snapshot, or one that came since does, or may."""
        listed = {
            info.key
            for registry in registries
            for info in self._models.list(keys.plans_folder(registry.name))
        }
        self._name(sorted(listed - self._planned))
        self._planned |= listed
        return self.named is None or key in self.named

    def partitions(self) -> set[str] | None:
        """Digests of the partitions of every named snapshot; None where one cannot be read."""
        if self.named is None:
            return None
        try:
            return {
                part.sha256
                for key in self.named
                for part in self._reviews.get_record(key, Snapshot).partitions
            }
        except (TrustError, ObjectMissingError) as error:
            logger.warning("no features are deleted: %s", error)
            return None


class NeededNow:
    """Whether an object came to be needed since it was planned to be deleted.

    Parameters
    ----------
    reviews : Bucket
        Where the snapshots are.
    registries : sequence of Registry
        Of each model.
    doomed : sequence of Doomed
        All that was planned to be deleted.
    """

    def __init__(
        self, reviews: Bucket, registries: Sequence[Registry], doomed: Sequence[Doomed]
    ) -> None:
        self._reviews, self._registries = reviews, {each.name: each for each in registries}
        self._newest: dict[Version, str] = {}  # when the newest doomed object of each was stored
        for each in doomed:
            if each.bucket == "models" and (version := version_in(each.key))[1]:
                self._newest[version] = max(self._newest.get(version, ""), each.stored_at)
        self._kept: dict[Version, bool] = {}
        self._snapshots: Snapshots | None = None

    def __call__(self, each: Doomed) -> bool:
        if each.bucket == "reviews":
            return each.key.startswith(keys.SNAPSHOTS) and self._is_snapshot_needed(each)
        version = version_in(each.key)
        return bool(version[1]) and self._is_kept(version)

    def _is_kept(self, version: Version) -> bool:
        """Whether the log names it, or a later gate left something of it; asked once, at first."""
        if version not in self._kept:
            registry, folder = self._registries[version[0]], keys.versions_folder(version[0])
            stored = [info.stored_at for info in registry.models.list(f"{folder}{version[1]}/")]
            is_looked_at = any(at > self._newest[version] for at in stored)
            is_kept = is_looked_at or version[1] in named_by_log(registry)
            self._kept[version] = is_kept
            if is_kept:
                logger.warning("version=%s is kept: it came to be needed", version[1])
        return self._kept[version]

    def _is_snapshot_needed(self, each: Doomed) -> bool:
        """Whether a retraining took it again: it was stored anew, or a plan names it."""
        if self._snapshots is None:
            gone = {version for version in self._newest if not self._is_kept(version)}
            models = next(iter(self._registries.values())).models
            self._snapshots = Snapshots(self._reviews, models, gone)
        stored = {info.key: info.stored_at for info in self._reviews.list(each.key)}
        is_same = stored.get(each.key, each.stored_at) == each.stored_at
        return not is_same or self._snapshots.is_named(each.key, self._registries.values())
