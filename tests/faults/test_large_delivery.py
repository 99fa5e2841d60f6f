"""A delivery with more rows than the limits allow as they are takes no gigabyte of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.core import config

ROOT = Path(__file__).resolve().parents[2]
INGEST = Path(__file__).with_name("ingest_large_delivery.py")
GIB = 1024**3
ROWS = 300_000
# Else libraries reserve more memory per thread than they ever use, and the limit counts it.
NO_RESERVES = {
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system",
}  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_delivery_of_many_rows_is_accepted_within_a_gibibyte(tmp_path):
    partition_rows = config.load().intake.partition_rows

    said = subprocess.run(
        [sys.executable, str(INGEST), str(ROWS), str(GIB), str(tmp_path)],
        cwd=ROOT, env={**os.environ, **NO_RESERVES}, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout  # fmt: skip

    found = json.loads(said)
    assert found["accepted_rows"] == ROWS, found["why"]
    assert found["partitions"] == [partition_rows] * (ROWS // partition_rows)
    assert found["peak_bytes"] < GIB
    assert found["decoder_peak_bytes"] < GIB
