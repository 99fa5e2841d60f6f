"""A night of 5,000 reviews on top of 45,000: through Airflow, beside the same steps in one process.

    python -m benchmarks.bench_night --reviews imdb_reviews.parquet --json results/night.json

Both work on one S3 test server, in buckets of their own, and both find yesterday's caches. Wall
seconds of Airflow's night run from the start of the ingest to the end of the retraining. What it
takes longer than one process is its share: scheduling, starting processes, imports, XComs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import (
    Figures,
    machine_facts,
    markdown_table,
    medians,
    parser,
    timed,
    write_report,
)
from ops.services.airflow_api import AirflowApi
from ops.services.stack import PROJECT, LocalStack, environment

if TYPE_CHECKING:
    from pipelines.simulation.film_site import DroppedFile

INGEST, RETRAIN = "reviews_ingest", "sentiment_retrain"
ROWS = (45_000, 5_000)
NIGHT_SECONDS = 300.0
NAMES = ["plain"]


def main() -> None:
    arguments = parser("benchmarks.bench_night", __doc__, NAMES).parse_args()
    if arguments.measure:
        print(json.dumps(_plain_night(os.environ["BENCH_NIGHT"])))
        return
    nights = [_both_ways(arguments.reviews) for _ in range(arguments.repeats)]
    results = {name: medians([night[name] for night in nights]) for name in nights[0]}
    report = {"machine": machine_facts(), "nights": results}
    write_report(arguments.json, report, as_markdown(results))


def _both_ways(reviews: Path) -> dict[str, Figures]:
    with tempfile.TemporaryDirectory(prefix="bench-night-") as folder:
        config = PROJECT / "config" / "demo.toml"
        with LocalStack(Path(folder) / "stack", config, on_step=_say) as stack:
            plain = Path(folder) / "plain.toml"
            plain.write_text(_other_buckets(config), encoding="utf-8")
            with environment(stack.s3_environment):
                _make_buckets(config, plain)
                deliveries = _deliveries(reviews)
                through_airflow = _through_airflow(stack, config, deliveries)
                for delivery in deliveries:
                    _say(f"{delivery.rows:,} reviews in one process")
                    _land(delivery, plain)
                    figures = _in_one_process(delivery.night, reviews, plain)
    return {"airflow": through_airflow, "plain": figures}


def _other_buckets(config: Path) -> str:
    """Settings that are laid over others, and lead to buckets of their own."""
    buckets = '[store]\nreviews_bucket = "reviews-plain"\nmodels_bucket = "models-plain"\n'
    return f"extends = {json.dumps(str(config))}\n\n{buckets}"


def _make_buckets(*configs: Path) -> None:
    from pipelines.core import config
    from pipelines.core.store.stores import open_stores

    for path in configs:
        stores = open_stores(config.load(path))
        stores.reviews.create_if_missing()
        stores.models.create_if_missing()


def _deliveries(reviews: Path) -> list[DroppedFile]:
    """One per night."""
    from pipelines.simulation import film_site, sources
    from pipelines.simulation import plans as simulation_plans

    nights = [datetime.now(UTC).date() - timedelta(days=days) for days in (4, 3)]
    plans = [
        simulation_plans.NightPlan(night, (simulation_plans.DeliveryPlan("web", rows, "parquet"),))
        for night, rows in zip(nights, ROWS, strict=True)
    ]
    source = sources.open_source(str(reviews), cache_dir=reviews.parent, made_up_rows=0, seed=0)
    return list(film_site.simulate(source.table, plans, seed=7))


def _land(delivery: DroppedFile, path: Path) -> None:
    """Deliver, just before its own night: the scheduler's earlier run would take it up, too."""
    from pipelines.core import config
    from pipelines.core.store.stores import open_stores

    open_stores(config.load(path)).reviews.put(delivery.key, delivery.body)


def _through_airflow(stack: LocalStack, config: Path, deliveries: list[DroppedFile]) -> Figures:
    api = AirflowApi(stack.ui_url, username="admin", password=stack.password)
    api.wait_for_dags([INGEST, RETRAIN], timeout_seconds=240, on_poll=stack.check_alive)
    for dag_id in (RETRAIN, INGEST):
        api.unpause(dag_id)
    while not (runs := api.runs(INGEST)):  # the scheduler's own, for the night that has passed
        time.sleep(0.3)
    api.wait(INGEST, runs[0]["dag_run_id"], timeout_seconds=NIGHT_SECONDS)
    for delivery in deliveries:
        _say(f"{delivery.rows:,} reviews through Airflow")
        _land(delivery, config)
        figures = _airflow_night(api, delivery.night)
    return figures


def _airflow_night(api: AirflowApi, night: date) -> Figures:
    started = time.perf_counter()
    ingest = api.trigger_night(INGEST, night)
    if (state := api.wait(INGEST, ingest, timeout_seconds=NIGHT_SECONDS)) != "success":
        sys.exit(f"the ingest {ingest} ended as {state}")
    while not (retrain := api.run_caused_by(RETRAIN, ingest)):
        if time.perf_counter() - started > NIGHT_SECONDS:
            sys.exit(f"no retraining was started by {ingest}")
        time.sleep(0.1)
    state = api.wait(RETRAIN, retrain, timeout_seconds=NIGHT_SECONDS)
    wall_seconds = time.perf_counter() - started
    if state != "success":
        sys.exit(f"the retraining {retrain} ended as {state}")
    tasks = [*api.tasks(INGEST, ingest), *api.tasks(RETRAIN, retrain)]
    ran = [task for task in tasks if task["state"] == "success"]
    return {
        "wall_seconds": wall_seconds,
        "tasks": float(len(ran)),
        "in_tasks_seconds": sum(float(task["duration"] or 0) for task in ran),
    }


def _in_one_process(night: date, reviews: Path, config: Path) -> Figures:
    command = [sys.executable, "-m", "benchmarks.bench_night", "--measure", "plain"]
    variables = {
        **os.environ, "LOOP_CONFIG": str(config), "BENCH_NIGHT": night.isoformat(),
        "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*command, "--reviews", str(reviews)], env=variables, check=True, capture_output=True
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def _plain_night(night: str) -> Figures:
    """Do what the tasks of both DAGs do, one after the other."""
    seconds = {}
    for name, stage in {"ingest": _ingest, "retrain": _retrain}.items():
        seconds[name] = timed(partial(stage, night))[1]
    return {
        "wall_seconds": sum(each["wall_seconds"] for each in seconds.values()),
        "cpu_seconds": sum(each["cpu_seconds"] for each in seconds.values()),
    }


def _ingest(night: str) -> None:
    from pipelines.steps import ingest as steps_ingest

    due = steps_ingest.find_deliveries(night)
    for uri in due:
        arrival = steps_ingest.land(uri, night)
        steps_ingest.accept(arrival, steps_ingest.validate(arrival))
    steps_ingest.summarize_night(night)
    steps_ingest.check_night(night, due)


def _retrain(_night: str) -> None:
    from pipelines.steps import promote
    from pipelines.steps import retrain as steps_retrain

    plan = steps_retrain.plan(steps_retrain.take_snapshot())
    steps_retrain.featurize(plan)
    decision = steps_retrain.decide(
        steps_retrain.verify(steps_retrain.evaluate(steps_retrain.train(plan)))
    )
    steps_retrain.write_card(decision)
    if promote.next_step(decision, is_dry_run=False) == "promote":
        promoted = promote.promote(decision, "bench", "")
        if promoted is not None:
            promote.confirm(promoted)


def _say(step: str) -> None:
    sys.stderr.write(f"bench-night: {step}\n")


def as_markdown(results: dict[str, Figures]) -> str:
    airflow, plain = results["airflow"], results["plain"]
    share = airflow["wall_seconds"] - plain["wall_seconds"]
    rows = [
        ["the night through Airflow's scheduler", f"{airflow['wall_seconds']:.1f}",
         f"{airflow['tasks']:.0f}"],
        ["the same steps in one process", f"{plain['wall_seconds']:.1f}", "-"],
        ["Airflow's share", f"{share:.1f}", "-"],
    ]  # fmt: skip
    return markdown_table(["5,000 reviews on top of 45,000", "wall s", "tasks"], rows)


if __name__ == "__main__":
    main()
