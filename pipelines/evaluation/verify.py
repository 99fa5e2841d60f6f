"""Check, before a decision, that a consumer can use exactly this model file.

The file is fetched from the store and its digest checked. Then a process with nothing but the
installed package (`evaluation.clean_room`) loads it, and must answer the check rows and the golden
set as the evaluation did. The measurements are a separate record, because they differ from run to
run and decisions must not. A process that was ended from outside, or that got no answer out in time
on a busy machine, says nothing about the model: nothing is recorded, and the task is tried again.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core import bare_process
from pipelines.core.errors import CleanRoomGoneError
from pipelines.core.settings.model import VerificationSettings
from pipelines.core.settings.settings import Settings
from pipelines.core.store.bucket import Bucket
from pipelines.evaluation.check_rows import LARGEST_DIFFERENCE, largest_difference, questions
from pipelines.records.evaluations import Answer, ArtefactCheck, Evaluation
from pipelines.records.versions import Manifest
from pipelines.registry.registry import Registry

logger = logging.getLogger(__name__)

# The kernel ends a process with SIGKILL when the machine has no memory left. A limit of the
# process's own is a MemoryError or SIGXCPU.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def verify(
    reviews: Bucket, registry: Registry, evaluation: Evaluation, settings: Settings
) -> ArtefactCheck:
    """Check a version's file in a clean process; a failed check is also a result.

    The first check of an evaluation is kept and not repeated.
    """
    earlier = registry.decisions.find_check(evaluation)
    if earlier is not None:
        return earlier
    manifest = registry.versions.manifest(evaluation.version)
    texts, expected = questions(reviews, manifest, evaluation, settings)
    try:
        answer = ask_clean_room(
            registry.versions.model_bytes(manifest), texts, settings.verification
        )
    except CleanRoomError as error:
        check = _failed(evaluation, manifest, str(error))
    else:
        check = _compared(evaluation, manifest, expected, answer)
    logger.info(
        "version=%s answers_alike=%s scoring_cpu_ms=%s peak_bytes=%s",
        check.version, check.answers_alike, check.scoring_cpu_milliseconds, check.peak_bytes,
    )  # fmt: skip
    return registry.decisions.add_check(check)


class CleanRoomError(Exception):
    """The clean process cannot use this file: it refused it, crashed, or exceeded a limit."""


def ask_clean_room(
    model: bytes, texts: list[str], settings: VerificationSettings
) -> dict[str, Any]:
    """What `pipelines.evaluation.clean_room.answer` returns in a process of its own.

    Raises
    ------
    CleanRoomError
        If it ends without an answer, and would again.
    CleanRoomGoneError
        If it is ended from outside, or gives no answer in time.
    """
    with tempfile.TemporaryDirectory(prefix="clean-room-") as folder:
        model_file = Path(folder) / "model.skops"
        model_file.write_bytes(model)
        empty = Path(folder) / "empty"
        empty.mkdir()
        request = {
            "model_file": str(model_file),
            "texts": texts,
            "max_address_bytes": settings.max_address_bytes,
            "max_cpu_seconds": settings.max_cpu_seconds,
        }
        return _run(json.dumps(request), empty, settings)


def _run(request: str, folder: Path, settings: VerificationSettings) -> dict[str, Any]:
    try:
        reply = subprocess.run(  # noqa: S603 - our own interpreter, our own program
            bare_process.command("pipelines.evaluation.clean_room"),
            input=request,
            cwd=folder,
            env=bare_process.ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=settings.max_wall_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CleanRoomGoneError(
            "gave no answer within "
            f"verification.max_wall_seconds={settings.max_wall_seconds:,.0f} s"
        ) from error
    if -reply.returncode in _FROM_OUTSIDE:
        raise CleanRoomGoneError(f"was ended by {signal.Signals(-reply.returncode).name}")
    if reply.returncode != 0:
        last = reply.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CleanRoomError(f"ended with exit code {reply.returncode}: {last[0][:300]}")
    try:
        answer: dict[str, Any] = json.loads(reply.stdout)
    except ValueError as error:
        raise CleanRoomError("its answer cannot be read") from error
    return answer


def _failed(evaluation: Evaluation, manifest: Manifest, why: str) -> ArtefactCheck:
    return ArtefactCheck(
        **_about(evaluation, manifest),
        answers_alike=False,
        why=f"The model could not be used in a clean process: {why}",
        rows=0,
        largest_difference=None,
        scoring_cpu_milliseconds=None,
        load_seconds=None,
        peak_bytes=None,
    )


def _compared(
    evaluation: Evaluation, manifest: Manifest, expected: list[Answer], answer: dict[str, Any]
) -> ArtefactCheck:
    worst = largest_difference(answer["probabilities"], expected)
    is_alike = worst <= LARGEST_DIFFERENCE
    return ArtefactCheck(
        **_about(evaluation, manifest),
        answers_alike=is_alike,
        why=f"The {len(expected)} answers of a clean process "
        f"{'equal' if is_alike else 'differ from'} those of the evaluation.",
        rows=len(expected),
        largest_difference=worst if math.isfinite(worst) else None,
        scoring_cpu_milliseconds=float(np.percentile(answer["cpu_milliseconds"], 95))
        if answer["cpu_milliseconds"]
        else None,
        load_seconds=answer["load_seconds"],
        peak_bytes=answer["peak_bytes"],
    )


def _about(evaluation: Evaluation, manifest: Manifest) -> dict[str, Any]:
    """The fields that name what was checked: one evaluation and one model file."""
    return {
        "model_name": evaluation.model_name,
        "version": evaluation.version,
        "champion_generation": evaluation.champion_generation,
        "policy": evaluation.policy,
        "evaluation_sha256": evaluation.digest(),
        "model_sha256": manifest.model_sha256,
    }
