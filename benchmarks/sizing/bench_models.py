"""How processor time, memory, requests and texts grow with the models of one configuration.

    python -m benchmarks.sizing.bench_models --json results/models.json

Each model has a champion of a few bytes, which was never trained, with all its records, and
`NIGHTS` judged nights; all were put into the folder of an S3 server before. Each part is measured
in a process of its own, which has loaded what it needs and done the same for a single model before
the clock starts; so Airflow's own import is in no figure, and neither is the server. Airflow's
database is SQLite. The last table has straight lines through the counts, by least squares.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.bench_years import look_at, server_on, surroundings, write_down
from benchmarks.measuring import (
    Figures,
    bare_parser,
    high_water_bytes,
    in_own_process,
    machine_facts,
    markdown_table,
    timed,
    write_report,
)
from benchmarks.years import counted_requests
from ops.services.stack import environment

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

    from pipelines.core.store.stores import Stores

COUNTS = (1, 10, 100, 1_000)
NIGHTS = 30  # judged nights of each model: as many as a scrape counts
PROJECT = Path(__file__).resolve().parents[2]
RETRAIN = PROJECT / "dags" / "sentiment_retrain.py"
MANY = "BENCH_MODELS_CONFIG"  # names the configuration that is measured


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.measure:
        print(json.dumps(_measured(arguments.measure)))
        return
    results = {f"{count:,}": _once(count) for count in arguments.only}
    report = {"machine": machine_facts(), "models": results}
    write_report(arguments.json, report, as_markdown(results))


def _parser() -> argparse.ArgumentParser:
    made = bare_parser("benchmarks.sizing.bench_models", __doc__)
    made.add_argument("--only", nargs="+", type=int, default=COUNTS, help="numbers of models")
    made.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    made.add_argument("--reviews", help=argparse.SUPPRESS)  # what other benchmarks read
    return made


def _once(count: int) -> Figures:
    """Lay the models down, and measure each part of what they cost."""
    figures: Figures = {"models": count}
    with tempfile.TemporaryDirectory(prefix="bench-models-") as name:
        folder = Path(name)
        single, many = (_configured(folder / f"{each}.toml", each) for each in (1, count))
        with environment({"LOOP_CONFIG": str(many), "LOOP_SIGNING_KEY": "11" * 32}):
            _say(f"{count:,} models: laying down")
            _lay_down(folder / "s3")
            os.environ |= {"LOOP_CONFIG": str(single), MANY: str(many)}
            os.environ |= _of_airflow(folder / "airflow")
            with server_on(folder / "s3") as address, environment(surroundings(address)):
                for part in PARTS:
                    measured = in_own_process("benchmarks.sizing.bench_models", part, Path())
                    cpu, requests = measured["cpu_seconds"], measured["requests"]
                    _say(f"{count:,} models: {part}: {cpu:.2f} CPU s, {requests:,.0f} requests")
                    figures |= {f"{part}_{key}": value for key, value in measured.items()}
    return figures


def _configured(path: Path, count: int) -> Path:
    lines = [f"[models.m{number:04d}]\nseed = {number}\n" for number in range(1, count)]
    path.write_text("".join(lines))
    return path


def _of_airflow(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "3600",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
    }  # fmt: skip


# ── The models ───────────────────────────────────────────────────────────────────────────────


def _lay_down(laid: Path) -> None:
    """Store a champion and judged nights of each model in a folder, all of one snapshot."""
    from pipelines.core import config
    from pipelines.records.data import Snapshot
    from tests.support.page_site import Bucket

    settings = config.load()
    snapshot = Snapshot(
        partitions=(), rows=0, holdout_share=0.2, selection_share=0.2, salt=settings.split.salt
    )
    for name in settings.model_names:
        reviews, models = Bucket(), Bucket()
        reviews.name, models.name = settings.store.reviews_bucket, settings.store.models_bucket
        reviews.put_record(snapshot)
        _promote(models, name, snapshot.digest())
        _judge(reviews, name)
        write_down(reviews, laid)
        write_down(models, laid)


def _promote(models: Any, name: str, snapshot: str) -> None:
    from pipelines.registry.registry import Registry
    from tests.support.made.registry_builders import promoted

    promoted(Registry(models, name), "first", snapshot=snapshot)


def _judge(reviews: Any, name: str) -> None:
    """The newest nights, and the decision on a retraining after the last of them."""
    from tests.support.made.window_builders import a_trigger, a_window

    today = datetime.now(UTC).date()
    nights = [(today - timedelta(days=1 + ago)).isoformat() for ago in range(NIGHTS)]
    for night in nights:
        reviews.put_record(a_window(night, model_name=name))
    reviews.put_record(a_trigger(today.isoformat(), night=nights[0], model_name=name))


# ── What is measured ─────────────────────────────────────────────────────────────────────────


def _measured(part: str) -> Figures:
    """Do a part with a single model, then with all, and measure that."""
    os.chdir(PROJECT)
    work = PARTS[part]
    work()
    before = high_water_bytes(os.getpid())
    with environment({"LOOP_CONFIG": os.environ[MANY]}), counted_requests() as requests:
        figures, seconds = timed(work)
    return {
        **figures,
        "cpu_seconds": seconds["cpu_seconds"],
        "requests": requests.total,
        "lists": sum(n for kind, n in requests.counted.items() if kind.startswith("LIST")),
        "more_mb": (high_water_bytes(os.getpid()) - before) / 1e6,
    }


def _configuration() -> Figures:
    from pipelines.core import config

    return {"models": len(config.load().model_names)}


def _policies() -> Figures:
    """Characters of the largest policy as AWS counts them, without white space."""
    from pipelines.core import config, grants

    settings = config.load()
    made = grants.policies(
        reviews=settings.store.reviews_bucket, models=settings.store.models_bucket,
        names=settings.model_names,
    )  # fmt: skip
    sizes = [len(json.dumps(policy, separators=(",", ":"))) for policy in made.values()]
    written = sum(len(grants.as_file(policy)) for policy in made.values())
    return {"largest_chars": max(sizes), "written_bytes": written}


def _parse(path: Path) -> DagBag:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(path))
    assert not bag.import_errors, bag.import_errors
    return bag


def _retrain_file() -> Figures:
    """Parse the file of the retrainings and serialize its DAGs, as the dag-processor does."""
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    bag, parsing = timed(lambda: _parse(RETRAIN))
    _, serializing = timed(lambda: [*map(LazyDeserializedDAG.from_dag, bag.dags.values())])
    return {
        "dags": len(bag.dags),
        "parsing_cpu_seconds": parsing["cpu_seconds"],
        "serializing_cpu_seconds": serializing["cpu_seconds"],
    }


def _task_start() -> Figures:
    """Parse the same file, as each task does when it starts: for a DAG of the last model."""
    from airflow.sdk.definitions._internal.dag_parsing_context import (
        _airflow_parsing_context_manager,
    )

    from pipelines.core import config

    settings = config.load()
    dag_id = f"{settings.of(settings.model_names[-1]).dags}_retrain"
    with _airflow_parsing_context_manager(dag_id=dag_id, task_id="plan"):
        bag = _parse(RETRAIN)
    assert dag_id in bag.dags
    return {"dags": len(bag.dags)}


def _all_files() -> Figures:
    return {"dags": len(_parse(PROJECT / "dags").dags)}


def _serialize() -> Figures:
    """Parse all files, serialize all DAGs, and sync them into a database that has none of them."""
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG

    bag = _parse(PROJECT / "dags")
    _create_database()
    dags, serializing = timed(lambda: [*map(LazyDeserializedDAG.from_dag, bag.dags.values())])
    _, synced = timed(lambda: sync_bag_to_db(bag, "dags-folder", None))
    _, again = timed(lambda: sync_bag_to_db(bag, "dags-folder", None))
    return {
        "bytes": sum(len(json.dumps(dag.data)) for dag in dags),
        "serializing_cpu_seconds": serializing["cpu_seconds"],
        "sync_cpu_seconds": synced["cpu_seconds"], "again_cpu_seconds": again["cpu_seconds"],
        "database_bytes": (Path(os.environ["AIRFLOW_HOME"]) / "airflow.db").stat().st_size,
    }  # fmt: skip


def _create_database() -> None:
    from airflow.dag_processing.bundles import manager as bundles
    from airflow.utils.db import resetdb
    from airflow.utils.session import create_session

    resetdb()
    manager: Any = bundles.DagBundlesManager  # Airflow says nothing of its types
    with create_session() as session:
        manager().sync_bundles_to_db(session=session)


def _stores() -> Stores:
    from pipelines.core.store.stores import open_stores

    return open_stores()


def _scrape() -> Figures:
    from pipelines.core import config
    from pipelines.monitoring import facts, metrics

    text = metrics.render(facts.read_all(_stores(), config.load()))
    return {"bytes": len(text)}


def _page() -> Figures:
    look_at("/models")
    return {}


def _fsck() -> Figures:
    from pipelines.core import config
    from pipelines.registry.fsck import check
    from pipelines.registry.registry import Registry

    stores = _stores()
    found = check.check(stores.reviews, Registry(stores.models, config.load().model.name))
    errors = [each for each in found if each.kind == "error"]
    assert not errors, errors[0]
    return {"findings": len(found)}


def _housekeeping() -> Figures:
    from pipelines.steps import housekeeping

    return {"deletable": len(housekeeping.plan_housekeeping())}


PARTS: dict[str, Callable[[], Figures]] = {
    "configuration": _configuration, "policies": _policies, "retrain_file": _retrain_file,
    "task_start": _task_start, "all_files": _all_files, "serialize": _serialize,
    "scrape": _scrape, "page": _page, "fsck": _fsck, "housekeeping": _housekeeping,
}  # fmt: skip


def _say(step: str) -> None:
    sys.stderr.write(f"bench-models: {step}\n")


# ── What it says ─────────────────────────────────────────────────────────────────────────────

SHOWN: tuple[tuple[str, str, float], ...] = (
    ("loading the configuration, CPU s", "configuration_cpu_seconds", 1),
    ("loading the configuration, MB", "configuration_more_mb", 1),
    ("parsing `sentiment_retrain.py`, CPU s", "retrain_file_parsing_cpu_seconds", 1),
    ("serializing its DAGs, CPU s", "retrain_file_serializing_cpu_seconds", 1),
    ("parsing and serializing it, MB", "retrain_file_more_mb", 1),
    ("parsing it when a task starts, CPU s", "task_start_cpu_seconds", 1),
    ("parsing it when a task starts, MB", "task_start_more_mb", 1),
    ("parsing all DAG files, CPU s", "all_files_cpu_seconds", 1),
    ("parsing all DAG files, MB", "all_files_more_mb", 1),
    ("DAGs", "all_files_dags", 1),
    ("all DAGs serialized, kB", "serialize_bytes", 1e3),
    ("serializing all DAGs, CPU s", "serialize_serializing_cpu_seconds", 1),
    ("syncing them into an empty database, CPU s", "serialize_sync_cpu_seconds", 1),
    ("syncing them unchanged, CPU s", "serialize_again_cpu_seconds", 1),
    ("Airflow's database, kB", "serialize_database_bytes", 1e3),
    ("`/metrics`, requests", "scrape_requests", 1),
    ("`/metrics`, listings among them", "scrape_lists", 1),
    ("`/metrics`, CPU s", "scrape_cpu_seconds", 1),
    ("`/metrics`, kB", "scrape_bytes", 1e3),
    ("`/metrics`, MB", "scrape_more_mb", 1),
    ("page *Models*, requests", "page_requests", 1),
    ("page *Models*, listings among them", "page_lists", 1),
    ("page *Models*, CPU s", "page_cpu_seconds", 1),
    ("`champion fsck`, requests", "fsck_requests", 1),
    ("`champion fsck`, listings among them", "fsck_lists", 1),
    ("`champion fsck`, CPU s", "fsck_cpu_seconds", 1),
    ("`champion fsck`, peak MB of the process", "fsck_peak_mb", 1),
    ("housekeeping, requests", "housekeeping_requests", 1),
    ("housekeeping, listings among them", "housekeeping_lists", 1),
    ("housekeeping, CPU s", "housekeeping_cpu_seconds", 1),
    ("housekeeping, MB", "housekeeping_more_mb", 1),
    ("largest policy, characters", "policies_largest_chars", 1),
    ("all policies as written, kB", "policies_written_bytes", 1e3),
)


def as_markdown(results: dict[str, Figures]) -> str:
    """A line for each figure; with several counts, what each model more costs."""
    heads = ["with so many models", *results]
    rows = [
        [what, *(_short(each[key] / unit) for each in results.values())]
        for what, key, unit in SHOWN
    ]
    if len(results) > 1:
        heads += ["each 1 model more", "without any"]
        counts = [each["models"] for each in results.values()]
        for row, (_, key, unit) in zip(rows, SHOWN, strict=True):
            line = np.polyfit(counts, [each[key] / unit for each in results.values()], 1)
            row += [f"{part:.3g}" for part in line]
    return markdown_table(heads, rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
