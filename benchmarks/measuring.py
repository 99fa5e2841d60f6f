"""Measure a piece of work in a process tree of its own: processor time, wall time, peak memory.

    figures = in_own_process("benchmarks.bench_search", "ours", reviews)

runs ``python -m benchmarks.bench_search --measure ours --reviews ...``, whose last line of output
is a JSON object of its own figures, and adds what the system says of it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIBRARIES = ("numpy", "scipy", "scikit-learn", "skops", "pyarrow")
SAMPLE_SECONDS = 0.02
_END = "BENCHMARK_END_OF_WORK"
_TICKS, _PAGE_BYTES = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")

Figures = dict[str, float]


def in_own_process(
    module: str, name: str, reviews: Path, *options: str, python: str = sys.executable
) -> Figures:
    """Run one measurement; what its processes share counts once.

    The peak of the process itself is the system's own; of a tree it is the largest sample. Both end
    where the process says `end_of_work`, if it does.
    """
    command = [python, "-m", module, "--measure", name, "--reviews", str(reviews), *options]
    started, peak_bytes = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(prefix="measuring-") as folder:
        end, output = Path(folder) / "end", Path(folder) / "output"
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
            "ARROW_DEFAULT_MEMORY_POOL": "system",  # gives back what the reading of a file took
            _END: str(end),
        }  # fmt: skip
        with output.open("w") as stdout:
            child = subprocess.Popen(command, stdout=stdout, env=environment)
        while child.poll() is None:
            tree_bytes = _resident_bytes(_descendants(child.pid))
            sample_bytes = max(tree_bytes, high_water_bytes(child.pid))
            peak_bytes = peak_bytes if end.exists() else max(peak_bytes, sample_bytes)
            time.sleep(SAMPLE_SECONDS)
        wall_seconds = time.perf_counter() - started
        if child.returncode:
            sys.exit(f"measuring {name} failed with exit code {child.returncode}; see above")
        if end.exists():
            peak_bytes = max(peak_bytes, int(end.read_text()))
        figures: Figures = json.loads(output.read_text().splitlines()[-1])
    return {"process_wall_seconds": wall_seconds, "peak_mb": peak_bytes / 1e6, **figures}


def end_of_work() -> None:
    """Say, in the process that is measured, that its peak is not to be looked for any longer."""
    if _END in os.environ:
        Path(os.environ[_END]).write_text(str(high_water_bytes(os.getpid())))


def split(reviews: Path, name: str) -> tuple[list[str], NDArray[np.int8], NDArray[np.str_]]:
    """Texts, labels and films of the official train or test split."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    texts: list[str] = []
    labels: list[int] = []
    films: list[str] = []
    columns = ["text", "label", "movie_id", "split"]
    with pq.ParquetFile(reviews) as file:
        for batch in file.iter_batches(batch_size=1_000, columns=columns, use_threads=False):
            rows = batch.filter(pc.equal(batch["split"], name))
            texts += rows["text"].to_pylist()
            labels += rows["label"].to_pylist()
            films += rows["movie_id"].to_pylist()
    return texts, np.array(labels, np.int8), np.array(films, np.str_)


def timed(work: Callable[[], Any]) -> tuple[Any, Figures]:
    """Do the work; returns its result and the seconds it took, helper processes included."""
    wall, cpu = time.perf_counter(), tree_cpu_seconds()
    result = work()
    seconds = time.perf_counter() - wall, tree_cpu_seconds() - cpu
    return result, {"wall_seconds": seconds[0], "cpu_seconds": seconds[1]}


def tree_cpu_seconds() -> float:
    """Processor time of this process and of its helpers, those that ended included."""
    return sum(map(_cpu_seconds, _descendants(os.getpid())))


def machine_facts() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{library: importlib.metadata.version(library) for library in LIBRARIES},
    }


def bare_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """The options that also benchmarks without reviews have."""
    made = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", type=Path, help="also write the figures to this file")
    return made


def parser(
    module: str, description: str | None, names: Iterable[str], *, only_if_named: Iterable[str] = ()
) -> argparse.ArgumentParser:
    """The options that all benchmarks have; some measurements may be left out unless named."""
    by_default = list(names)
    names = [*by_default, *only_if_named]
    made = bare_parser(module, description)
    made.add_argument("--reviews", type=Path, required=True, help="the reviews, as Parquet")
    made.add_argument("--only", nargs="+", choices=names, default=by_default, help="only these")
    made.add_argument("--repeats", type=int, default=1, help="medians of so many runs (default: 1)")
    made.add_argument("--measure", choices=names, help=argparse.SUPPRESS)
    return made


def medians(runs: list[Figures]) -> Figures:
    """Median of each figure over the runs."""
    return {key: float(np.median([run[key] for run in runs])) for key in runs[0]}


def write_report(path: Path | None, report: dict[str, Any], markdown: str) -> None:
    """Print the table; write the figures, and the table beside them, if a path is given."""
    print(markdown)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        path.with_suffix(".md").write_text(markdown, encoding="utf-8")


def markdown_table(heads: list[str], rows: list[list[str]]) -> str:
    """A table with the first column to the left, the others to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _descendants(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / _TICKS  # own, and of reaped children


def _resident_bytes(pids: list[int]) -> int:
    """Memory of a tree: what each process has to itself, and the largest of the shared parts."""
    own, shared = 0, 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/statm").read_text().split()
        except OSError:
            continue
        own += (int(fields[1]) - int(fields[2])) * _PAGE_BYTES
        shared = max(shared, int(fields[2]) * _PAGE_BYTES)
    return own + shared


def high_water_bytes(pid: int) -> int:
    """The most that a process has held so far, by the system's own account."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
