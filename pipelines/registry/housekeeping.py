"""Delete what nothing needs any more; say first what, and record it.

Never deleted is what the champion log, the ledger, a snapshot of a kept version or an open question
names. Where a record that may name something cannot be read, nothing is deleted that it might name.

Objects are deleted in an order in which whatever is left is whole: a record goes before what it
names. So a run that is killed leaves nothing that `champion fsck` complains about, and the next one
deletes the rest. Two runs at once delete the same.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pipelines.core import keys
from pipelines.core.errors import ObjectMissingError, TrustError
from pipelines.core.settings.operation import RetentionSettings
from pipelines.core.store import clock
from pipelines.core.store.answers import ObjectInfo
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.rollups import trust_of
from pipelines.features import answer_cache, fingerprint_cache, packs, signature_cache
from pipelines.intake import standings
from pipelines.intake.standings import Standing
from pipelines.records.deliveries import Outcome, Replay, ReplayPlan
from pipelines.records.housekeeping import Doomed, Housekeeping
from pipelines.registry import approvals
from pipelines.registry.registry import Registry
from pipelines.registry.still_needed import NeededNow, Snapshots, Version, named_by_log, version_in

logger = logging.getLogger(__name__)

_SNAPSHOT_NAME = re.compile(r"[0-9a-f]{64}")  # a stranger's file stays, as everywhere

# In a version's folder a record is deleted before those that it names.
_ORDER = (
    keys.APPROVAL, "card.json", keys.CARD, ".svg", ".md", keys.DECISION, keys.CHECK,
    keys.EVALUATION, "manifest.json",
)  # fmt: skip


@dataclass(frozen=True)
class Ages:
    """How old objects are, by the store's clock."""

    now: datetime

    def is_over(self, info: ObjectInfo, days: int) -> bool:
        """Whether it was stored more than so many days ago; False where that is not known."""
        stored = clock.read(info.stored_at)
        return stored is not None and self.now - stored > timedelta(days=days)


def plan(
    reviews: Bucket,
    registries: Sequence[Registry],
    retention: RetentionSettings,
    *,
    sources: Sequence[Collection[str]] = ((),),
    now: datetime | None = None,
) -> list[Doomed]:
    """What would be deleted, in this order; nothing is changed.

    Parameters
    ----------
    reviews : Bucket
        Where ledger, features and roll-ups are.
    registries : sequence of Registry
        Log and versions of each model; all in one bucket.
    retention : RetentionSettings
        How long, and how many of each model, are kept.
    sources : sequence of collection of str
        Whose reviews each model learns from; an empty collection is all.
    now : datetime, optional
        For tests; the store's clock.

    Raises
    ------
    TrustError
        If the log or the ledger cannot be trusted: then nothing may be deleted.
    """
    ages = Ages(now or clock.now(reviews))
    every = standings.every(reviews)
    models = registries[0].models
    versions = [each for registry in registries for each in _versions(registry, retention, ages)]
    doomed_versions = {version_in(object_.key) for object_ in versions}
    snapshots = Snapshots(reviews, models, doomed_versions)
    doomed = [
        *versions,
        *(
            each
            for registry in registries
            for each in _plans(registry, retention, ages, doomed_versions)
        ),
        *_snapshots(reviews, snapshots, retention, ages),
        *_reports(reviews, every, retention, ages),
        *_features(reviews, (every, sources), snapshots, retention, ages),
        *_rollups(reviews, "reviews", keys.ROLLUPS, retention, ages),
        *(
            each
            for registry in registries
            for each in _rollups(
                models, "models", f"{registry.name}/{keys.ROLLUPS}", retention, ages
            )
        ),
    ]
    return doomed[: retention.most_objects]


def apply(
    reviews: Bucket, registries: Sequence[Registry], doomed: Sequence[Doomed], *, actor: str
) -> Housekeeping | None:
    """Record what is going to be deleted, then delete it; None when there is nothing.

    What came to be needed since it was planned is left alone: a version that was promoted or put
    back, with its plan and snapshot, and a snapshot that a retraining took again.
    """
    is_needed = NeededNow(reviews, registries, doomed)
    doomed = [each for each in doomed if not is_needed(each)]
    if not doomed:
        return None
    record = Housekeeping(objects=tuple(doomed), actor=actor, at=clock.written(clock.now(reviews)))
    reviews.put_record(record)
    buckets = {"reviews": reviews, "models": registries[0].models}
    is_needed = NeededNow(reviews, registries, doomed)
    for each in doomed:
        if not is_needed(each):
            buckets[each.bucket].delete(each.key)
    logger.info("housekeeping=%s objects=%d", record.object_key, len(doomed))
    return record


# ── The models bucket ────────────────────────────────────────────────────────────────────────


def _versions(registry: Registry, retention: RetentionSettings, ages: Ages) -> Iterator[Doomed]:
    """Every object of the versions that were never promoted, except the newest of them."""
    named = named_by_log(registry)
    objects: dict[str, list[ObjectInfo]] = defaultdict(list)
    for info in registry.models.list(keys.versions_folder(registry.name)):
        objects[keys.version_of(info.key)].append(info)
    unpromoted = {version: infos for version, infos in objects.items() if version not in named}
    newest_first = sorted(
        unpromoted.items(), key=lambda item: max(info.stored_at for info in item[1]), reverse=True
    )
    for version, infos in newest_first[retention.unpromoted_versions :]:
        is_old = all(ages.is_over(info, retention.unpromoted_days) for info in infos)
        if is_old and not _is_open(registry, version):
            why = f"version {version} was never promoted"
            yield from (_doomed("models", info, why) for info in sorted(infos, key=_place))


def _place(info: ObjectInfo) -> tuple[int, str]:
    """Where an object of a version comes in the order of deletion; its model file last."""
    fitting = (place for place, end in enumerate(_ORDER) if info.key.endswith(end))
    return next(fitting, len(_ORDER)), info.key


def _is_open(registry: Registry, version: str) -> bool:
    """Whether it may still become champion, or that cannot be told."""
    try:
        return any(
            approvals.is_open(registry, registry.decisions.decision(key))
            for key in registry.decisions.decision_keys(version)
            if registry.versions.find_version(version) is not None
        )
    except (TrustError, ObjectMissingError) as error:
        logger.warning("version=%s is kept, because a record cannot be read: %s", version, error)
        return True


def _plans(
    registry: Registry, retention: RetentionSettings, ages: Ages, doomed: set[Version]
) -> Iterator[Doomed]:
    """Plans of deleted versions, and old ones that were never trained."""
    trained = {
        keys.version_of(info.key)
        for info in registry.models.list(keys.versions_folder(registry.name))
    }
    for info in registry.models.list(keys.plans_folder(registry.name)):
        version = keys.name_of(info.key)
        is_idle = (registry.name, version) in doomed or version not in trained
        if is_idle and ages.is_over(info, retention.unpromoted_days):
            yield _doomed("models", info, f"version {version} is not kept")


# ── The reviews bucket ───────────────────────────────────────────────────────────────────────


def _snapshots(
    reviews: Bucket, snapshots: Snapshots, retention: RetentionSettings, ages: Ages
) -> Iterator[Doomed]:
    """Old snapshots that no plan of a kept version names."""
    for info in reviews.list(keys.SNAPSHOTS) if snapshots.named is not None else ():
        is_ours = _SNAPSHOT_NAME.fullmatch(keys.name_of(info.key)) is not None
        is_named = snapshots.named is None or info.key in snapshots.named
        if is_ours and not is_named and ages.is_over(info, retention.unpromoted_days):
            yield _doomed("reviews", info, "no version that is kept was trained on it")


def _reports(
    reviews: Bucket, every: Iterable[Standing], retention: RetentionSettings, ages: Ages
) -> Iterator[Doomed]:
    """Old reports of concluded deliveries that no ledger entry and no replay's plan names."""
    named: dict[str, set[str]] = {}
    for standing in every:
        entries: list[Outcome | Replay] = [standing.outcome, *standing.replays]
        named[standing.outcome.delivery] = {
            keys.folder_in(entry.validation_key) for entry in entries
        }
    for info in reviews.list(keys.DELIVERIES):
        if keys.is_replay_plan(info.key):
            delivery = keys.folder_of(info.key)
            planned = reviews.get_record(info.key, ReplayPlan).validation_key
            named.setdefault(delivery, set()).add(keys.folder_in(planned))
    for info in sorted(reviews.list(keys.REPORTS), key=lambda info: info.key, reverse=True):
        # In reverse, validation.json comes before the report.html that it names.
        delivery = keys.folder_of(info.key)
        is_concluded = delivery in named
        is_unnamed = is_concluded and keys.folder_in(info.key) not in named[delivery]
        if is_unnamed and ages.is_over(info, retention.report_days):
            yield _doomed("reviews", info, "no ledger entry names this report")


def _features(
    reviews: Bucket,
    ledger: tuple[Sequence[Standing], Sequence[Collection[str]]],
    snapshots: Snapshots,
    retention: RetentionSettings,
    ages: Ages,
) -> Iterator[Doomed]:
    """Old features that this release cannot read, or of rows that nothing uses."""
    every, sources = ledger
    packed: list[packs.Pack] = []
    for of_one in {frozenset(names) for names in sources}:
        learned = standings.of_sources(every, of_one)
        counted = {part.key: part for standing in learned for part in standing.accepted}
        packed += packs.packed(counted[key] for key in sorted(counted))
    used = {part.sha256 for standing in every for part in standing.accepted}
    used |= {pack.sha256 for pack in packed}
    pinned = snapshots.partitions()
    used_packs = {pack.key for pack in packed}
    for info in reviews.list(keys.FEATURES):
        if ages.is_over(info, retention.feature_days):
            why = _why_unused(info.key, used_packs, None if pinned is None else used | pinned)
            if why is not None:
                yield _doomed("reviews", info, why)


def _why_unused(key: str, used_packs: set[str], used: set[str] | None) -> str | None:
    """Why nothing reads an object below ``features/``; None if something does, or may."""
    if key.startswith(packs.FOLDER):
        return None if key in used_packs else "nothing is read from this pack any more"
    if key.startswith(answer_cache.FOLDER):
        return "these answers are old, and are computed again if they are needed"
    if not key.startswith(fingerprint_cache.CURRENT_PREFIX):
        is_ours = key.endswith((".npz", ".corpus", ".bundle"))
        return "this release cannot read these features" if is_ours else None
    sha256, _, kind = key.rpartition("/")[2].rpartition(".")
    is_unused = kind in ("npz", signature_cache.SUFFIX) and used is not None and sha256 not in used
    return "no rows that count have these features" if is_unused else None


def _rollups(
    bucket: Bucket,
    name: Literal["reviews", "models"],
    folder: str,
    retention: RetentionSettings,
    ages: Ages,
) -> Iterator[Doomed]:
    """Old roll-ups of keys that are trusted no more, and old histories of nights."""
    current = trust_of(bucket.keyring)
    for info in bucket.list(folder):
        of = info.key.removeprefix(folder).partition("/")[0]
        is_current = of.endswith(f"-{current}") and not of.startswith("histories-")
        if not is_current and ages.is_over(info, retention.rollup_days):
            yield _doomed(name, info, "it is a roll-up that is not read any more")


def _doomed(bucket: Literal["reviews", "models"], info: ObjectInfo, why: str) -> Doomed:
    return Doomed(
        bucket=bucket, key=info.key, size_bytes=info.size_bytes, stored_at=info.stored_at, why=why
    )
