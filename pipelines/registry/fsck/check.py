"""Verify that every object in both buckets exists and matches what the records say about it.

Read-only; a fault becomes a finding that names the object, and does not stop the check. First
every object is checked by itself: is it the record, or the file, that belongs under its key
(`registry.fsck.places`)? Then the records are compared with each other: do they agree, and does
everything exist that they name? So the remaining records reveal an object that was removed.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.core.store.bucket import Bucket
from pipelines.registry.fsck import contents as fsck_contents
from pipelines.registry.fsck import files as fsck_files
from pipelines.registry.fsck import ledger, models
from pipelines.registry.fsck.contents import Finding, Progress
from pipelines.registry.fsck.places import BucketName
from pipelines.registry.registry import Registry

_ORDER = {"error": 0, "warning": 1, "note": 2}


def check(
    reviews: Bucket,
    registry: Registry,
    *,
    is_deep: bool = False,
    on_object: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Finding]:
    """All findings on both buckets: errors first, and a changed object before its consequences.

    Costs a request per object. Raises if nothing can be checked: the store does not answer, a
    bucket does not exist, or the keys are missing.

    Parameters
    ----------
    reviews : Bucket
        Where deliveries, ledger and snapshots are.
    registry : Registry
        Whose bucket to check, with all models in it.
    is_deep : bool
        Also read the bytes of raw deliveries, partitions and caches; else only their sizes.
    on_object : callable
        Called with the number of objects read and their total.

    Raises
    ------
    TransientError
        If the store gives no conclusive answer.
    """
    buckets: dict[BucketName, Bucket] = {"reviews": reviews, "models": registry.models}
    contents, findings = fsck_contents.look(buckets)
    files = fsck_files.count(contents, is_deep=is_deep)
    progress = Progress(on_object, total=len(fsck_contents.records_to_read(contents)) + files)
    findings += fsck_contents.read_records(contents, progress)
    findings += fsck_files.check(contents, progress, is_deep=is_deep)
    findings += models.check(contents)
    findings += ledger.check(contents)
    return sorted(dict.fromkeys(findings), key=lambda finding: _ORDER[finding.kind])
