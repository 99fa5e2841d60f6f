"""What a night costs after years of nights, compared with the same night after ten.

    python -m benchmarks.bench_years --json results/years.json

Nights of small deliveries are laid down straight in the form that an ingest leaves, and put into
the folder of an S3 server. The world of ten nights that years are compared with has as many
reviews: all others were delivered in one file before. So what differs is the number of deliveries
and nights.

The first night after them reads everything once and rolls it up; it is measured, too, but the night
after it counts: its requests and processor time, step by step, and its peak of memory. Training
itself is left out: it costs what its reviews cost (`make bench-growth`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks.measuring import (
    Figures,
    bare_parser,
    high_water_bytes,
    in_own_process,
    machine_facts,
    markdown_table,
    tree_cpu_seconds,
    write_report,
)
from ops.services.stack import environment

if TYPE_CHECKING:
    from benchmarks.years import Years
    from tests.support.in_memory import InMemory

SETTINGS = {"3 x 10": (3, 10), "3 x 1,100": (3, 1100), "20 x 10": (20, 10), "20 x 365": (20, 365)}
ROWS = 3  # of each delivery
ACCESS_KEY = "local"
PARTS = ("ingest", "alerts", "snapshot and plan", "evaluation and card", "pages")
MOST_REQUESTS, MOST_CPU = 1.5, 2.0  # times those of the night after ten


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.measure:
        print(json.dumps(_measured(arguments.measure)))
        return
    results = {name: _once(name) for name in arguments.only}
    report = {"machine": machine_facts(), "nights": results}
    write_report(arguments.json, report, as_markdown(results))
    if arguments.json is not None and len(results) == len(SETTINGS):
        arguments.json.with_suffix(".svg").write_text(as_plot(results), encoding="utf-8")
    sys.exit(1 if any(_over(results)) else 0)


def _parser() -> argparse.ArgumentParser:
    made = bare_parser("benchmarks.bench_years", __doc__)
    names = list(SETTINGS)
    made.add_argument("--only", nargs="+", choices=names, default=names, help="only these")
    made.add_argument("--measure", choices=names, help=argparse.SUPPRESS)
    made.add_argument("--reviews", help=argparse.SUPPRESS)  # what other benchmarks read
    return made


def _once(name: str) -> Figures:
    """Lay the nights down and measure two nights after them, each in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-years-") as name_of_folder:
        folder = Path(name_of_folder)
        config, laid = folder / "bench.toml", folder / "s3"
        config.write_text(_config(*SETTINGS[name]))
        seed = {"LOOP_CONFIG": str(config), "LOOP_SIGNING_KEY": "11" * 32}
        with environment(seed):
            _fill(name, laid)
            _say("starting the S3 server")
            with server_on(laid) as address, environment(surroundings(address)):
                with environment({"BENCH_NIGHT": "1"}):
                    first = in_own_process("benchmarks.bench_years", name, Path())
                with environment({"BENCH_NIGHT": "2"}):
                    second = in_own_process("benchmarks.bench_years", name, Path())
    return second | {f"first_{key}": value for key, value in first.items()}


def surroundings(address: str) -> dict[str, str]:
    """Variables that lead to the server at an address."""
    return {
        "AWS_ENDPOINT_URL_S3": address, "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "local-only", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


# ── The world before the night ───────────────────────────────────────────────────────────────


@contextlib.contextmanager
def server_on(laid: Path) -> Iterator[str]:
    """An S3 server on the folder of what was laid down; its address."""
    command = [sys.executable, "-m", "ops.services.s3_folder", "--no-sync", "--until-end-of-input"]
    with subprocess.Popen(
        [*command, str(laid)], env=os.environ | {"AWS_ACCESS_KEY_ID": ACCESS_KEY},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as server:  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = next(line for line in server.stdout if line.startswith("port ")).split()[1]
            yield f"http://127.0.0.1:{port}"
        finally:
            server.stdin.close()


def _config(sources: int, _nights: int) -> str:
    """The smallest limits that let a night of a few reviews be trained on."""
    lines = ["[validation]", "min_rows = 1", "[training]", "min_training_rows = 2"]
    for number in range(sources):
        lines += [f"[sources.source-{number:02d}]", "expected_every_days = 1"]
    return "\n".join([*lines, ""])


def _years(name: str) -> Years:
    from benchmarks.years import Years

    sources, nights = SETTINGS[name]
    most = max(other for same, other in SETTINGS.values() if same == sources)
    archive_rows = (most - nights) * sources * ROWS
    return Years(sources, nights, rows=ROWS, archive_rows=archive_rows)


def _fill(name: str, laid: Path) -> None:
    """Lay the nights down, train and promote a champion on them, and store it all in a folder."""
    from pipelines.core import config
    from pipelines.core.store import stores as module
    from pipelines.core.store.stores import Stores
    from pipelines.steps import retrain
    from tests.support.in_memory import InMemory

    years, names = _years(name), config.load().store
    reviews, models = InMemory(), InMemory()
    reviews.name, models.name = names.reviews_bucket, names.models_bucket
    stores = Stores(reviews, models)
    with mock.patch.object(module, "open_stores", return_value=stores):
        _say(f"laying down {years.sources} x {years.nights} deliveries")
        years.lay_down(reviews)
        _say("training a champion on them")
        _promote(retrain.evaluate(_trained()), times=years.nights)
    for bucket in (reviews, models):
        write_down(bucket, laid)


def write_down(bucket: InMemory, laid: Path) -> None:
    """Store a bucket in the folder of an S3 server."""
    for key, data in bucket.objects.items():
        path = laid / bucket.name / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _trained() -> str:
    from pipelines.steps import retrain

    plan = retrain.plan(retrain.take_snapshot())
    retrain.featurize(plan)
    return retrain.train(plan)


def _promote(evaluation_uri: str, times: int) -> None:
    """Put the version into the log, whatever its verdict: these few reviews decide nothing."""
    from pipelines.core.record import sha256_of
    from pipelines.records.succession import LogEntry
    from pipelines.steps import retrain
    from pipelines.steps.context import open_loop

    registry = open_loop().registry
    decision_uri = retrain.decide(evaluation_uri)
    decision = registry.decisions.decision(open_loop().key(decision_uri))
    holdout = registry.decisions.evaluation_of(decision).holdout.challenger
    assert holdout is not None, "the model was not evaluated"
    before = None
    for generation in range(1, times + 1):
        entry = LogEntry(
            model_name=decision.model_name, generation=generation, kind="promotion",
            version=decision.version, manifest_sha256=decision.manifest_sha256,
            reference=decision.version, reference_manifest_sha256=decision.manifest_sha256,
            decision_key=decision.object_key, decision_sha256=decision.digest(),
            previous_entry_sha256=before.digest() if before else None,
            holdout_accuracy=holdout.accuracy, holdout_log_loss=holdout.log_loss,
            actor="benchmark", reason="for the benchmark", at="2026-01-01T00:00:00+00:00",
            token=sha256_of(b"%d" % generation),
        )  # fmt: skip
        before = registry.log.append(entry)


# ── One night ────────────────────────────────────────────────────────────────────────────────


class _Measuring:
    """Requests and processor time by part of the night."""

    def __init__(self) -> None:
        self.figures: Figures = {}

    def __call__(self, part: str, step: Callable[..., Any], *arguments: Any) -> Any:
        from benchmarks.years import counted_requests

        cpu = tree_cpu_seconds()
        with counted_requests() as requests:
            result = step(*arguments)
        for what, value in (
            ("requests", requests.total),
            ("lists", sum(n for kind, n in requests.counted.items() if kind.startswith("LIST"))),
            ("cpu_seconds", tree_cpu_seconds() - cpu),
        ):
            for key in (f"{part}_{what}", what):
                self.figures[key] = self.figures.get(key, 0) + value
        self.figures["peak_mb_so_far"] = high_water_bytes(os.getpid()) / 1e6
        return result


def _measured(name: str) -> Figures:
    """A night as its tasks do it; libraries are loaded by a night before that is not counted."""
    from pipelines.core.store.stores import open_stores

    years, reviews = _years(name), open_stores().reviews
    number = years.nights + int(os.environ["BENCH_NIGHT"])
    _warm_up()
    years.deliver(reviews, number)
    measuring = _Measuring()
    _night(measuring, years.night(number))
    return measuring.figures


def _warm_up() -> None:
    """Import what the steps import, and use it once."""
    from pipelines.steps import ingest

    for module in _modules():
        __import__(module)
    ingest.find_deliveries("2022-01-01")


def _modules() -> Iterator[str]:
    yield "great_expectations"
    for name in (
        "validation.validate", "validation.pinned_history", "intake.nights", "intake.arrivals",
        "serving.labeller", "training.train", "evaluation.evaluate", "gate.card.card",
        "gate.decide", "pages.app", "features.packs",
    ):  # fmt: skip
        yield f"pipelines.{name}"


def _night(measure: _Measuring, night: str) -> None:
    from pipelines.alerts.alert import Run
    from pipelines.steps import incidents, ingest, retrain
    from pipelines.steps.context import open_loop

    due = measure("ingest", ingest.find_deliveries, night)
    history = measure("ingest", ingest.pin_history, night, due)
    for uri in due:
        arrival = measure("ingest", ingest.land, uri, night)
        validation = measure("ingest", ingest.validate, arrival, history)
        measure("ingest", ingest.accept, arrival, validation)
    measure("ingest", ingest.summarize_night, night)
    measure("ingest", ingest.check_night, night, due)
    run = Run(dag_id="reviews_ingest", run_id=night)
    loop = open_loop("ingest")
    measure("alerts", lambda: list(incidents.night_alerts(loop, run, night, due)))
    snapshot = measure("snapshot and plan", retrain.take_snapshot)
    plan = measure("snapshot and plan", retrain.plan, snapshot)
    measure("snapshot and plan", retrain.has_work, plan)
    retrain.featurize(plan)
    manifest = retrain.train(plan)
    evaluation = measure("evaluation and card", retrain.evaluate, manifest)
    decision = measure("evaluation and card", retrain.decide, evaluation)
    measure("evaluation and card", retrain.write_card, decision)
    measure("pages", look_at, "/champion", "/decisions", "/incidents")


def look_at(*paths: str) -> None:
    """Open pages, as a reader does who may read all of them."""
    from fastapi.testclient import TestClient

    from pipelines.core.store.stores import open_stores
    from pipelines.pages.app import build
    from pipelines.pages.site import Reply, Site, Viewer

    async def ask(*_arguments: object) -> Reply:
        return Reply(404, {})

    viewer = Viewer(name="benchmark", may_start=lambda _dag: True, may_read=lambda _dag: True)
    site = Site(
        reads=lambda _dag: lambda: None, view_as=lambda: viewer, ask=ask, stores=open_stores,
        secret=lambda: "secret",
    )  # fmt: skip
    client = TestClient(build(site))
    for path in paths:
        reply = client.get(path)
        assert reply.status_code == 200, (path, reply.text)


# ── What it says ─────────────────────────────────────────────────────────────────────────────


def _pairs(results: dict[str, Figures]) -> Iterator[tuple[str, str]]:
    """The names of each measurement after years, and of the one after ten nights."""
    for name in results:
        few = f"{name.partition(' ')[0]} x 10"
        if name != few and few in results:
            yield name, few


def _ratio(results: dict[str, Figures], name: str, few: str, what: str) -> float:
    return results[name][what] / results[few][what]


def _over(results: dict[str, Figures]) -> Iterator[str]:
    """What costs more than it may."""
    for name, few in _pairs(results):
        for what, most in (("requests", MOST_REQUESTS), ("cpu_seconds", MOST_CPU)):
            if (ratio := _ratio(results, name, few, what)) > most:
                _say(f"{name}: {ratio:.2f} times the {what}, at most {most} are allowed")
                yield name


def as_markdown(results: dict[str, Figures]) -> str:
    heads = ["sources x nights before", "requests", "of these listings", "CPU s", "peak MB"]
    heads += [f"{part}: requests, CPU s" for part in PARTS]
    rows = [
        [name, *(f"{each[key]:,.0f}" for key in ("requests", "lists")),
         f"{each['cpu_seconds']:.1f}", f"{each['peak_mb_so_far']:,.0f}",
         *(f"{each[f'{part}_requests']:,.0f}, {each[f'{part}_cpu_seconds']:.1f}" for part in PARTS)]
        for name, each in results.items()
    ]  # fmt: skip
    for name, few in _pairs(results):
        ratios = [_ratio(results, name, few, what) for what in ("requests", "cpu_seconds")]
        memory = _ratio(results, name, few, "peak_mb_so_far")
        parts = [
            ", ".join(
                f"{_ratio(results, name, few, f'{part}_{what}'):.2f}"
                for what in ("requests", "cpu_seconds")
            )
            for part in PARTS
        ]
        rows.append(
            [f"{name} / {few}", f"{ratios[0]:.2f}", "", f"{ratios[1]:.2f}", f"{memory:.2f}", *parts]
        )
    return markdown_table(heads, rows)


def as_plot(results: dict[str, Figures]) -> str:
    """Bars of requests and processor time as multiples of those after ten nights, with limits."""
    bars = [
        (f"{name}: {label}", _ratio(results, name, few, what), most)
        for name, few in _pairs(results)
        for label, what, most in (
            ("requests", "requests", MOST_REQUESTS), ("CPU", "cpu_seconds", MOST_CPU),
        )
    ]  # fmt: skip
    left, unit, step = 190, 180, 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 {len(bars) * step + 40}"',
        'font-family="sans-serif" font-size="13" role="img">',
        "<title>A night after years, as a multiple of the night after ten nights</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for place, (label, ratio, most) in enumerate(bars):
        y = 12 + place * step
        lines += [
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{label}</text>',
            f'<rect x="{left}" y="{y}" width="{ratio * unit:.0f}" height="20" fill="#4477aa"/>',
            f'<text x="{left + ratio * unit + 6:.0f}" y="{y + 15}">{ratio:.2f}</text>',
            f'<line x1="{left + most * unit:.0f}" x2="{left + most * unit:.0f}" y1="{y - 4}"',
            f'y2="{y + 24}" stroke="#cc3311" stroke-width="2"/>',
        ]
    lines.append(
        f'<text x="{left}" y="{len(bars) * step + 32}">times the night after ten; '
        "red: the limit</text></svg>"
    )
    return "\n".join(lines) + "\n"


def _say(step: str) -> None:
    sys.stderr.write(f"bench-years: {step}\n")


if __name__ == "__main__":
    main()
