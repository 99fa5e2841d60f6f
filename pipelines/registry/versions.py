"""The versions of a model: planned, trained, and read only if they are unchanged."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

from pipelines.core import keys
from pipelines.core.errors import (
    DigestMismatchError,
    ModelFormatError,
    ObjectMissingError,
    TrustError,
)
from pipelines.core.record import ModelRecord, sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.core.store.sealed import AnyRecord
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest, Plan

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def load_version(manifest: Manifest, model: bytes) -> Pipeline:
    """Read a version's model, if this code computes the features that it was trained on.

    Raises
    ------
    ModelFormatError
        If the bytes are not a model of ours, or it needs features of another kind.
    """
    from pipelines.features.fingerprints import FEATURIZER_VERSION
    from pipelines.models.artefacts import load_model

    if manifest.featurizer not in {None, FEATURIZER_VERSION}:
        raise ModelFormatError(
            f"version {manifest.version} was trained on features {manifest.featurizer!r}; this "
            f"code computes {FEATURIZER_VERSION!r}, on which its answers would be random. Use the "
            "release of this project that trained it."
        )
    return load_model(model)


def checked_own(record: AnyRecord, name: str) -> AnyRecord:
    """A record that was asked for by its key, if it is about this model."""
    if not isinstance(record, ModelRecord) or record.model_name != name:
        raise TrustError(f"{record.object_key} is about another model than {name!r}")
    return record


def check_digest(bucket: Bucket, record: ModelRecord, expected: str) -> None:
    """Check that a record is the one that another record names by its digest."""
    if record.digest() != expected:
        raise DigestMismatchError(
            uri=bucket.uri(record.object_key), expected=expected, found=record.digest()
        )


# What a page about the champion needs: its file now, and some that were replaced.
@functools.lru_cache(maxsize=16)
def _sha256_in(bucket: Bucket, key: str, _version_tag: str) -> str:
    """The digest of an object. It is read once for each version tag that a listing gives."""
    digest = hashlib.sha256()
    for chunk in bucket.stream(key)[1]:
        digest.update(chunk)
    return digest.hexdigest()


class Versions:
    """All versions of one model."""

    def __init__(self, models: Bucket, name: str) -> None:
        self.models = models
        self.name = name

    def key(self, version: str) -> str:
        return keys.manifest_key(self.name, version)

    def add_version(self, manifest: Manifest, model: bytes) -> Manifest:
        """Store a trained model, then its manifest, which makes it exist. The first one stands."""
        self.models.put_once(manifest.model_key, model)
        return self.models.put_first(manifest)

    def find_version(self, version: str) -> Manifest | None:
        try:
            return self.manifest(version)
        except ObjectMissingError:
            return None

    def manifest(self, version: str) -> Manifest:
        """The manifest of a version.

        Raises
        ------
        ObjectMissingError
            If the version does not exist.
        TrustError
            If it is not proven, or names the model file of another version.
        """
        manifest = self.models.get_record(self.key(version), Manifest)
        own_file = keys.model_file_key(self.name, version, manifest.model_sha256)
        identity = (manifest.plan.model_name, manifest.plan.version, manifest.model_key)
        if identity != (self.name, version, own_file):
            raise TrustError(f"the manifest of version {version} belongs to another version")
        return manifest

    def add_plan(self, plan: Plan) -> str:
        self.models.put_record(plan)
        return plan.object_key

    def plan(self, key: str) -> Plan:
        """A plan by its key."""
        return checked_own(self.models.get_record(key, Plan), self.name)

    def model_bytes(self, manifest: Manifest) -> bytes:
        """A version's model file, after checking that its bytes are the recorded ones.

        Raises
        ------
        DigestMismatchError
            If the object was changed after it was recorded.
        """
        data = self.models.get(manifest.model_key, max_bytes=manifest.model_size_bytes)
        actual = sha256_of(data)
        if actual != manifest.model_sha256:
            raise DigestMismatchError(
                uri=self.models.uri(manifest.model_key),
                expected=manifest.model_sha256,
                found=actual,
            )
        return data

    def file_fault(self, manifest: Manifest) -> str:
        """What is wrong with a version's model file, as words after it; empty if nothing is.

        Costs one line of a listing, and a process reads the file once, unless it changes.
        """
        info = self.models.find(manifest.model_key)
        if info is None:
            return "does not exist"
        if info.size_bytes != manifest.model_size_bytes:
            return f"has {info.size_bytes:,} bytes, not {manifest.model_size_bytes:,}"
        try:
            found = _sha256_in(self.models, manifest.model_key, info.version_tag)
        except ObjectMissingError:
            return "does not exist"
        return "" if found == manifest.model_sha256 else "was changed after it was recorded"

    def load(self, manifest: Manifest) -> Pipeline:
        """A version's model, verified, and read with the allow-list in our code."""
        return load_version(manifest, self.model_bytes(manifest))

    def champion_manifest(self, entry: LogEntry) -> Manifest:
        """The manifest that a log entry names, after checking that it is unchanged."""
        return self.manifest_as(entry.version, entry.manifest_sha256)

    def reference_manifest(self, entry: LogEntry) -> Manifest:
        """The manifest of the reference that a log entry names, if it is unchanged."""
        return self.manifest_as(entry.reference, entry.reference_manifest_sha256)

    def manifest_as(self, version: str, expected: str) -> Manifest:
        """The manifest of a version, if its digest is the expected one."""
        manifest = self.manifest(version)
        check_digest(self.models, manifest, expected)
        return manifest
