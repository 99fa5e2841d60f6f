"""The scoring service compared with MLflow's scoring server and a plain FastAPI service.

    python -m benchmarks.bench_serving --reviews reviews.parquet --mlflow .local/mlflow/bin/python

All serve the same model to the same load on the same cores, one after the other: single texts over
eight connections, batches of 512 over two. An empty FastAPI handler with the same body shows what
the framework costs. Then the service is swapped under load, with spoilt champions among the others;
each request is counted. Figures of one run can be compared with each other, and with no other run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import joblib

from benchmarks.compared.models import default_candidate
from benchmarks.measuring import Figures, machine_facts, markdown_table, split, write_report
from ops.services.processes import free_port
from ops.services.stack import LocalStack, environment
from pipelines.core import config
from pipelines.core.config import PROJECT
from pipelines.core.store.stores import open_stores
from pipelines.records.succession import LogEntry
from pipelines.registry.registry import Registry
from tests.support.made.served_builders import (
    corrupt,
    nothing,
    served_champion,
    spoilt_champion,
    truncate,
    unsigned_entry,
)

TITLES = {
    "empty": "an empty FastAPI handler",
    "ours": "`python -m pipelines serve`",
    "plain": "FastAPI and joblib, as usually written",
    "mlflow": "`mlflow models serve`",
}
SINGLES, BATCH_TEXTS = 400, 512
WAIT_SECONDS = 600.0
LOWEST_PRIORITY = 19
MOST_LOAD_SECONDS = 86_400.0  # it is stopped after the last swap


@dataclass(frozen=True)
class Rival:
    """How to start a service, where to post, and in which form."""

    name: str
    command: list[str]
    port: int
    path: str
    one: Callable[[str], Any]
    many: Callable[[list[str]], Any]
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


@contextlib.contextmanager
def running(rival: Rival) -> Iterator[tuple[int, float]]:
    """Process id of a running service, and seconds from its start to its first answer."""
    started = time.perf_counter()
    process = subprocess.Popen(
        rival.command, env={**os.environ, **rival.environment}, cwd=PROJECT,
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: answers(rival) or process.poll() is not None)
        if process.poll() is not None:
            sys.exit(f"{rival.name} did not start: {' '.join(rival.command)}")
        yield process.pid, time.perf_counter() - started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(rival: Rival) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.post(rival.url, json=rival.one("a great film"), timeout=30).status_code == 200
    return False


def wait_until(is_so: Callable[[], Any]) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > ends:
            sys.exit("nothing happened")
        time.sleep(0.02)


def loaded(url: str, bodies: Path, *, connections: int, seconds: float) -> subprocess.Popen[bytes]:
    """Start a load in a process of its own; its output is one JSON object."""
    command = [sys.executable, "-m", "ops.load", url, "--bodies", str(bodies),
               "--connections", str(connections), "--seconds", str(seconds)]  # fmt: skip
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)


def facts_of(load: subprocess.Popen[bytes]) -> dict[str, Any]:
    output, _ = load.communicate()
    facts: dict[str, Any] = json.loads(output)
    return facts


def measure(rival: Rival, texts: list[str], folder: Path, seconds: float) -> Figures:
    """Requests per second and latencies of one service."""
    singles, batches = folder / f"{rival.name}-one", folder / f"{rival.name}-many"
    singles.write_text("".join(json.dumps(rival.one(text)) + "\n" for text in texts[:SINGLES]))
    batches.write_text(json.dumps(rival.many(texts[:BATCH_TEXTS])) + "\n")
    with running(rival) as (pid, start_seconds):
        facts_of(loaded(rival.url, singles, connections=8, seconds=2))  # warm
        one = facts_of(loaded(rival.url, singles, connections=8, seconds=seconds))
        lone = facts_of(loaded(rival.url, singles, connections=1, seconds=seconds))
        many = facts_of(loaded(rival.url, batches, connections=2, seconds=seconds))
        memory = sum(map(resident_bytes, [pid, *children_of(pid)]))
    for facts in (one, lone, many):
        if facts["failed"]:
            sys.exit(f"{rival.name} failed {facts['failed']} requests: {facts['statuses']}")
    return {
        "singles_per_second": one["requests_per_second"],
        "p50_milliseconds": one["p50_milliseconds"],
        "p99_milliseconds": one["p99_milliseconds"],
        "lone_p50_milliseconds": lone["p50_milliseconds"],
        "reviews_per_second": many["requests_per_second"] * BATCH_TEXTS,
        "memory_mb": memory / 1e6,
        "start_seconds": start_seconds,
    }


def resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        children = [int(child) for child in task.read_text().split()]
        found += [*children, *(inner for child in children for inner in children_of(child))]
    return found


# ── Swaps ────────────────────────────────────────────────────────────────────────────────────

# The swaps that are spoilt: one each of corrupt, truncated, unsigned, and with other answers.
SPOILT = {0.2: "corrupt", 0.4: "truncated", 0.6: "unsigned", 0.8: "other answers"}


def measure_swaps(
    rival: Rival, registry: Registry, model: Any, texts: list[str], folder: Path, swaps: int
) -> dict[str, Any]:
    """Swap the service so many times under load; what became of each request."""
    bodies = folder / "swaps"
    bodies.write_text("".join(json.dumps(rival.one(text)) + "\n" for text in texts[:SINGLES]))
    entry = registry.log.champion()
    assert entry is not None
    with running(rival) as (pid, _), httpx.Client(timeout=60) as client:
        calm = facts_of(loaded(rival.url, bodies, connections=4, seconds=20))
        load = loaded(rival.url, bodies, connections=4, seconds=MOST_LOAD_SECONDS)
        # What promotes is usually another machine: here it must not take the load's processor.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        took, memory = [], []
        spoilt = {round(swaps * share): kind for share, kind in SPOILT.items()}
        for number in range(1, swaps + 1):
            kind = spoilt.get(number, "")
            entry, seconds = swap(client, rival, registry, model, entry, number, kind)
            took.append(seconds)
            memory.append(resident_bytes(pid) / 1e6)
        load.send_signal(signal.SIGINT)
        busy = facts_of(load)
        status = client.get(f"http://127.0.0.1:{rival.port}/status").json()
    return {
        "swaps": swaps, "failed": busy["failed"], "requests": busy["requests"],
        "generations": len(busy["generations"]), "answers_now": status["champion"]["generation"],
        "calm_p99_milliseconds": calm["p99_milliseconds"],
        "swap_p99_milliseconds": busy["p99_milliseconds"],
        "median_seconds_to_first_answer": sorted(took)[len(took) // 2],
        "memory_mb_after_10": max(memory[9:20] or memory),
        "memory_mb_at_the_end": max(memory[-10:]),
    }  # fmt: skip


def swap(
    client: httpx.Client,
    rival: Rival,
    registry: Registry,
    model: Any,
    entry: LogEntry,
    number: int,
    spoilt: str,
) -> tuple[LogEntry, float]:
    """Promote another version; the new end of the log, and seconds until it answers.

    A spoilt one is refused by the service, which takes the good one after it.
    """
    service = f"http://127.0.0.1:{rival.port}/status"
    if spoilt:
        key = ""
        if spoilt == "unsigned":
            key = unsigned_entry(registry, entry)
        else:
            spoil = {"corrupt": corrupt, "truncated": truncate}.get(spoilt, nothing)
            answers = (0.5,) * 172 if spoilt == "other answers" else None
            entry = spoilt_champion(
                registry, -number, against=entry, spoil=spoil, answers=answers, model=model
            )
        wait_until(lambda: client.get(service).json()["refused"])
        if key:
            registry.models.delete(key)
    entry = served_champion(registry, number, against=entry, model=model)
    began = time.perf_counter()

    def is_there() -> bool:
        champion = client.get(service).json()["champion"]
        return bool(champion["generation"] == entry.generation)

    wait_until(is_there)
    return entry, time.perf_counter() - began


# ── All ──────────────────────────────────────────────────────────────────────────────────────


def rivals(
    folder: Path, model: Any, mlflow: Path | None, service: Mapping[str, str]
) -> list[Rival]:
    model_file = folder / "model.joblib"
    joblib.dump(model, model_file)
    ports = {name: free_port() for name in TITLES}

    def python(*arguments: str) -> list[str]:
        return [sys.executable, "-m", *arguments]

    def ours(one: Any) -> dict[str, Any]:
        return {"texts": one} if isinstance(one, list) else {"text": one}

    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    serve = python("pipelines", "serve", "--quiet", "--port", str(ports["ours"]))
    plain = python("benchmarks.compared.services", "plain", "--model", str(model_file))
    empty = python("benchmarks.compared.services", "empty")
    made = [
        Rival("empty", [*empty, "--port", str(ports["empty"])], ports["empty"], "/v1/score",
              ours, ours, one_thread),
        Rival("ours", serve, ports["ours"], "/v1/score", ours, ours, {**one_thread, **service}),
        Rival("plain", [*plain, "--port", str(ports["plain"])], ports["plain"], "/v1/score",
              ours, ours, one_thread),
    ]  # fmt: skip
    if mlflow is not None:
        save_for_mlflow(mlflow, model_file, folder / "mlflow")
        command = [str(mlflow), "-m", "mlflow", "models", "serve", "--model-uri",
                   str(folder / "mlflow"), "--env-manager", "local", "--port", str(ports["mlflow"]),
                   "--workers", "1"]  # fmt: skip
        made.append(
            Rival("mlflow", command, ports["mlflow"], "/invocations",
                  lambda text: {"inputs": [text]}, lambda texts: {"inputs": texts},
                  {**one_thread, "PYTHONPATH": str(PROJECT),
                   "PATH": f"{mlflow.parent}:{os.environ['PATH']}"})
        )  # fmt: skip
    return made


def save_for_mlflow(python: Path, model_file: Path, folder: Path) -> None:
    program = (
        "import sys, joblib, mlflow.sklearn\n"
        "mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2],\n"
        "    serialization_format='cloudpickle', pyfunc_predict_fn='predict_proba')\n"
    )
    subprocess.run(
        [python, "-c", program, str(model_file), str(folder)],
        check=True, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip


def as_markdown(figures: Mapping[str, Figures], swaps: Mapping[str, Any] | None) -> str:
    """Figures of one run, and their ratios to the empty handler."""
    heads = ["", "requests/s", "of the empty handler", "p50 ms", "p99 ms", "alone, p50 ms",
             "reviews/s in batches of 512", "memory MB", "s from start to answer"]  # fmt: skip
    most = figures.get("empty", {}).get("singles_per_second")
    rows = [
        [
            TITLES[name], f"{one['singles_per_second']:,.0f}",
            f"{one['singles_per_second'] / most:.2f}" if most else "-",
            f"{one['p50_milliseconds']:.1f}", f"{one['p99_milliseconds']:.1f}",
            f"{one['lone_p50_milliseconds']:.1f}",
            "-" if name == "empty" else f"{one['reviews_per_second']:,.0f}",
            f"{one['memory_mb']:.0f}", f"{one['start_seconds']:.1f}",
        ]
        for name, one in figures.items()
    ]  # fmt: skip
    table = markdown_table(heads, rows)
    if swaps is None:
        return table
    ratio = swaps["swap_p99_milliseconds"] / swaps["calm_p99_milliseconds"]
    return table + (
        f"\n{swaps['swaps']:,} swaps under load, and {len(SPOILT)} spoilt champions among them: "
        f"{swaps['failed']:,} of {swaps['requests']:,} requests failed. p99 was "
        f"{swaps['swap_p99_milliseconds']:.1f} ms during the swaps and "
        f"{swaps['calm_p99_milliseconds']:.1f} ms before ({ratio:.1f} times). From promotion to "
        f"first answer: {swaps['median_seconds_to_first_answer']:.2f} s (median). Memory: "
        f"{swaps['memory_mb_after_10']:.0f} MB after the tenth swap, "
        f"{swaps['memory_mb_at_the_end']:.0f} MB at the end.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bench_serving", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--reviews", type=Path, required=True, help="the reviews, as Parquet")
    parser.add_argument("--mlflow", type=Path, help="Python that has MLflow")
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--only", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    chosen = parser.parse_args()
    texts, labels, _ = split(chosen.reviews, "train")
    model = default_candidate(seed=1).fit(texts, labels)
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as name:
        figures, swaps = run(Path(name), model, texts, chosen)
    report = {"machine": machine_facts(), "services": figures, "swaps": swaps}
    write_report(chosen.json, report, as_markdown(figures, swaps))


def run(
    folder: Path, model: Any, texts: list[str], chosen: argparse.Namespace
) -> tuple[dict[str, Figures], dict[str, Any] | None]:
    settings = folder / "settings.toml"
    settings.write_text("[serving]\npoll_seconds = 0.5\nrefused_retry_seconds = 0.5\n")
    stack = LocalStack(folder, settings, has_airflow=False, s3_port=free_port())
    with stack, environment(stack.s3_environment):
        models = open_stores(config.load(settings)).models
        models.create_if_missing()
        registry = Registry(models, config.load(settings).model.name)
        served_champion(registry, 0, model=model)
        made = rivals(folder, model, chosen.mlflow, stack.s3_environment)
        figures = {
            rival.name: measure(rival, texts, folder, chosen.seconds)
            for rival in made if rival.name in chosen.only
        }  # fmt: skip
        if not chosen.swaps:
            return figures, None
        ours = next(rival for rival in made if rival.name == "ours")
        return figures, measure_swaps(ours, registry, model, texts, folder, chosen.swaps)


if __name__ == "__main__":
    main()
