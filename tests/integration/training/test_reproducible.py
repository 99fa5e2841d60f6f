"""The same inputs give the same bytes: in another folder, process, time zone and hash seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core.config import CONFIG_FOLDER
from pipelines.core.store import keyring
from pipelines.core.store.stores import Stores, open_stores
from tests.support.made.builders import listing

pytestmark = pytest.mark.long

PROJECT = CONFIG_FOLDER.parent
# Measured afresh (a card shows the scoring time), or with a clock in it; all else must be the same.
MEASURED = ("artefact_check.json", "card.md", "card.json", "/log/", "champion.json", "probes/")


def copied_project(folder: Path) -> Path:
    for name in ("pipelines", "config"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def retrain(project: Path, config: Path, key: Path, **environment: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pipelines", "retrain", "--reason", "again"],
        cwd=project,
        env={
            **os.environ,
            "LOOP_CONFIG": str(config),
            "LOOP_SIGNING_KEY_FILE": str(key),
            **environment,
        },
        check=True,
        capture_output=True,
    )


def another_world(stores: Stores, configure, name: str) -> tuple[Path, Stores]:
    """Two more buckets with the same accepted reviews, and the configuration that names them."""
    buckets = {f"{kind}_bucket": f"{kind}-{name}-{os.urandom(4).hex()}"
               for kind in ("reviews", "models")}  # fmt: skip
    config = configure(store=buckets)
    opened = open_stores()
    for bucket in (opened.reviews, opened.models):
        bucket.create_if_missing()
    return config, opened


def copy_accepted(source: Stores, target: Stores) -> None:
    for key in listing(source.reviews):
        if key.startswith(("accepted/", "deliveries/", "reports/")):
            target.reviews.put(key, source.reviews.get(key))


def decided_bytes(stores: Stores) -> dict[str, bytes]:
    return {
        key: stores.models.get(key)
        for key in listing(stores.models)
        if not any(part in key for part in MEASURED)
    }


def test_the_same_inputs_give_identical_models_and_decisions_in_two_folders(
    stores, ingest_night, configure, tmp_path, monkeypatch
):
    key = tmp_path / "key.pem"
    keyring.write_new_key(key)
    monkeypatch.setenv(keyring.KEY_VARIABLE, str(key))  # the ledger is signed, too
    surroundings = (
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo", "OMP_NUM_THREADS": "1"},
        {"PYTHONHASHSEED": "2", "TZ": "America/Lima", "OMP_NUM_THREADS": "2"},
    )
    worlds = [
        (copied_project(tmp_path / f"folder-{number}"), *another_world(stores, configure, number))
        for number in ("one", "two")
    ]
    configure(store={"reviews_bucket": stores.reviews.name, "models_bucket": stores.models.name})

    for night in (1, 2):
        ingest_night(night)
        for (project, config, world), around in zip(worlds, surroundings, strict=True):
            copy_accepted(stores, world)
            retrain(project, config, key, **around)

    first, second = (decided_bytes(world) for _, _, world in worlds)
    names = [name.rpartition("/")[2] for name in first]
    assert names.count("decision.json") == names.count("manifest.json") == 2
    assert sum(name.startswith("model-") for name in names) == 2
    assert first == second
