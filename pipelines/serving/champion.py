"""Find the champion in the log, verify it, and load it."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.core.errors import PromotionError, TrustError
from pipelines.core.keys import EVALUATION, manifest_key, sibling
from pipelines.core.record import sha256_of
from pipelines.core.settings.settings import command
from pipelines.core.store.keyring import Keyring
from pipelines.core.store.sealed import from_stored, named_key
from pipelines.records.decisions import Decision
from pipelines.records.evaluations import Evaluation
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry
from pipelines.registry.versions import load_version

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

logger = logging.getLogger(__name__)
MODEL_FILE, MANIFEST_FILE, ENTRY_FILE = "model.skops", "manifest.json", "champion.json"
DECISION_FILE, EVALUATION_FILE = "decision.json", "evaluation.json"


@dataclass(frozen=True)
class Champion:
    """A loaded champion, with the records that prove its origin."""

    entry: LogEntry
    manifest: Manifest
    model: Pipeline


def find_champion(registry: Registry) -> LogEntry:
    """The champion's log entry.

    Raises
    ------
    PromotionError
        If the log was read and is empty.
    """
    entry = registry.log.champion()
    if entry is None:
        raise PromotionError(
            f"model {registry.name!r} has no champion yet. Make one: "
            f"{command('retrain', registry.name)}"
        )
    return entry


def load_champion(registry: Registry) -> Champion:
    """Load the champion that the log names; digest and types are checked."""
    return loaded(registry, find_champion(registry))


def loaded(registry: Registry, entry: LogEntry) -> Champion:
    """Load the champion of a log entry; digest and types are checked."""
    manifest = registry.versions.champion_manifest(entry)
    return Champion(entry, manifest, registry.versions.load(manifest))


def evaluation_of(registry: Registry, entry: LogEntry) -> Evaluation:
    """What the gate measured of a champion, if the records that lead there are unchanged."""
    return registry.decisions.evaluation_of(registry.decisions.decision_of(entry))


def pull(registry: Registry, folder: Path) -> LogEntry:
    """Copy the champion to a folder: ``<version>/`` with its files, then ``champion.json``.

    The last file names the version and is replaced atomically: a reader of the folder gets either
    the old champion or the new one, even if the copying is interrupted.

    Raises
    ------
    TrustError
        If the folder has a later champion than the log: the log was cut back.
    """
    entry = find_champion(registry)
    if (folder / ENTRY_FILE).exists():
        _check_no_step_back(read_entry(folder, registry.models.keyring), entry, folder)
    manifest = registry.versions.champion_manifest(entry)
    model = registry.versions.model_bytes(manifest)
    evaluation = evaluation_of(registry, entry)
    try:
        version = folder / entry.version
        version.mkdir(parents=True, exist_ok=True)
        _replace(version / MODEL_FILE, model)
        _replace(version / MANIFEST_FILE, registry.models.stored(manifest.object_key))
        _replace(version / DECISION_FILE, registry.models.stored(entry.decision_key))
        _replace(version / EVALUATION_FILE, registry.models.stored(evaluation.object_key))
        _replace(folder / ENTRY_FILE, registry.models.stored(entry.object_key))
    except OSError as error:
        raise PromotionError(f"cannot write the champion to {folder}: {error}") from error
    return entry


def _check_no_step_back(before: LogEntry, entry: LogEntry, folder: Path) -> None:
    if before.model_name == entry.model_name and before.generation > entry.generation:
        raise TrustError(
            f"the champion log was cut back: {folder} has generation {before.generation}, but the "
            f"log ends with {entry.generation}. The folder was not changed. "
            "What to do: docs/runbooks/champion-log-broken.md"
        )


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".pull-", delete=False) as file:
        file.write(data)
    try:
        Path(file.name).chmod(0o644)
        os.replace(file.name, path)  # noqa: PTH105 - atomic
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise


def load_pulled(folder: Path, keyring: Keyring) -> Champion:
    """Load a champion that `pull` wrote, after checking every digest.

    Raises
    ------
    TrustError
        If a file is missing, or does not match the log entry in the folder.
    """
    entry = read_entry(folder, keyring)
    manifest_file = folder / entry.version / MANIFEST_FILE
    manifest = from_stored(
        _read(manifest_file, folder), Manifest,
        manifest_key(entry.model_name, entry.version), uri=str(manifest_file), keyring=keyring,
    )  # fmt: skip
    model = _read(folder / entry.version / MODEL_FILE, folder)
    digests = (manifest.digest(), sha256_of(model))
    if digests != (entry.manifest_sha256, manifest.model_sha256):
        raise TrustError(
            f"the files in {folder} do not belong together or were changed. "
            f"Pull again: {command(f'champion pull --to {folder}', entry.model_name)}"
        )
    return Champion(entry, manifest, load_version(manifest, model))


def pulled_evaluation(folder: Path, entry: LogEntry, keyring: Keyring) -> Evaluation:
    """What the gate measured of a champion that `pull` wrote.

    Raises
    ------
    TrustError
        If a file is missing, or is not the one that the log entry leads to.
    """
    version = folder / entry.version
    key = entry.decision_key
    decision = from_stored(
        _read(version / DECISION_FILE, folder), Decision,
        key, uri=str(version / DECISION_FILE), keyring=keyring,
    )  # fmt: skip
    evaluation = from_stored(
        _read(version / EVALUATION_FILE, folder), Evaluation,
        sibling(key, EVALUATION), uri=str(version / EVALUATION_FILE), keyring=keyring,
    )  # fmt: skip
    found = (decision.digest(), evaluation.digest())
    if found != (entry.decision_sha256, decision.evaluation_sha256):
        raise TrustError(
            f"{DECISION_FILE} and {EVALUATION_FILE} in {version} do not belong to generation "
            f"{entry.generation}. Pull again: "
            f"{command(f'champion pull --to {folder}', entry.model_name)}"
        )
    return evaluation


def read_entry(folder: Path, keyring: Keyring) -> LogEntry:
    """The log entry in the folder; the entry itself names its key in the log."""
    file = folder / ENTRY_FILE
    data = _read(file, folder)
    key = named_key(data, LogEntry, uri=str(file))
    return from_stored(data, LogEntry, key, uri=str(file), keyring=keyring)


def _read(path: Path, folder: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(
            f"cannot read {path}: {error.strerror}. "
            f"Pull the champion first: python -m pipelines champion pull --to {folder}"
        ) from error
