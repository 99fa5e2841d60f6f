"""The rules and dashboards, by promtool and a real Prometheus that scrapes what the loop writes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from ops import dashboards, prometheus_tools
from pipelines.core import config
from pipelines.core.store.stores import Stores
from pipelines.monitoring import facts, metrics
from pipelines.records.decisions import GateRule
from tests.support.made.registry_builders import promoted
from tests.support.made.window_builders import a_trigger, a_window, an_answered_day
from tests.support.page_site import Bucket, Pages
from tests.support.timing import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "ops" / "prometheus"
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
ALERTS = [rule for group in RULES for rule in group["rules"] if "alert" in rule]
QUERIES = [
    (name, panel.title, dashboards.of_models(query).replace("$model", ".*"))
    for name, (_, panels) in dashboards.DASHBOARDS.items()
    for panel in panels
    for _, query in panel.queries
]


@pytest.fixture(scope="module")
def tools():
    try:
        return prometheus_tools.find()
    except prometheus_tools.NoPrometheusError as error:
        pytest.skip(str(error))


def test_every_alert_has_a_severity_a_summary_and_a_runbook_that_exists():
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert (ROOT / rule["annotations"]["runbook"]).is_file(), rule["alert"]


def test_the_page_of_runbooks_lists_every_alert_with_its_severity_and_runbook():
    page = (ROOT / "docs" / "runbooks" / "README.md").read_text()
    rows = re.findall(
        r"^\| `((?:Loop|Scoring)\w+)` \| (\w+) \| .+ \| .*\((.+)\) \|$", page, re.MULTILINE
    )

    assert rows == [
        (rule["alert"], rule["labels"]["severity"], Path(rule["annotations"]["runbook"]).name)
        for rule in ALERTS
    ]


def test_every_alert_is_tested_to_fire_and_to_be_silent():
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}

    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_the_dashboards_are_as_their_panels_say_and_each_panel_has_a_unit_and_a_sentence():
    for name, (_, panels) in dashboards.DASHBOARDS.items():
        path = dashboards.FOLDER / f"{name}.json"
        assert path.read_text() == dashboards.text(name), "run: python -m ops.dashboards"
        for panel in panels:
            assert panel.unit
            assert panel.says.endswith("."), panel.title


@pytest.mark.long
def test_promtool_finds_no_fault_and_every_alert_fires_on_its_cause_and_resolves(tools):
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(
            [tools / "promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


# As the service says it, for the dashboard about it.
SERVICE = """
loop_scoring_requests_total{model="sentiment",route="/v1/score",status="200"} 40
loop_scoring_requests_total{model="sentiment",route="/v1/score",status="503"} 1
loop_scoring_seconds_bucket{model="sentiment",route="/v1/score",le="0.01"} 30
loop_scoring_seconds_bucket{model="sentiment",route="/v1/score",le="+Inf"} 41
loop_scoring_generation{model="sentiment"} 1
loop_scoring_is_ready{model="sentiment"} 1
loop_scoring_swaps_total{model="sentiment"} 1
loop_scoring_refused_total{model="sentiment"} 0
"""


RULE = GateRule(
    rule="min_accuracy", group="floor", is_passed=True, observed=0.9, limit=0.85, sentence="Fine."
)  # fmt: skip


def a_watched_loop():
    """A champion that the gate promoted, a judged night and day of answers, a look at triggers."""
    now = datetime.now(UTC).replace(microsecond=0)
    stores = Stores(Bucket(), Bucket())
    registry = Pages(models=stores.models, reviews=stores.reviews).registry
    promoted(registry, "one")
    today = now.date().isoformat()
    stores.reviews.put_record(a_window(today, "DRIFT", accuracy=0.85))
    stores.reviews.put_record(a_trigger(today))
    found = facts.read(stores, config.load())
    found.answers = an_answered_day(today, "FADING")
    found.decision = found.decision.model_copy(update={"rules": (RULE,)})
    return found


class Target:
    """Serves the loop's metrics, and a service's counters that grow."""

    def __init__(self, text: bytes) -> None:
        outer = self
        self.scrapes = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.scrapes += 1
                grown = re.sub(
                    r" (\d+)$", lambda found: f" {int(found[1]) * outer.scrapes}", SERVICE,
                    flags=re.MULTILINE,
                )  # fmt: skip
                self.send_response(200)
                self.send_header("Content-Type", metrics.CONTENT_TYPE)
                self.end_headers()
                self.wfile.write(text + grown.encode())

            def log_message(self, *_args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"


def ask(address, path, **query):
    with urlopen(f"http://{address}/api/v1/{path}?{urlencode(query)}", timeout=30) as reply:
        return json.load(reply)["data"]


def wait_for(attempt):
    deadline = time.monotonic() + HANG_SECONDS
    while time.monotonic() < deadline:
        try:
            if found := attempt():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    return pytest.fail("nothing came in time")


@pytest.fixture
def prometheus(tools, tmp_path):
    text = metrics.render([a_watched_loop()])
    target = Target(text)
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
        "scrape_configs:\n- job_name: retraining\n  static_configs:\n"
        f"  - targets: ['{target.address}']\n"
    )
    with Target(b"").server as free:
        port = free.server_port
        free.shutdown()
    process = subprocess.Popen(
        [tools / "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}",
         f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)
        target.server.shutdown()


@pytest.mark.long
def test_a_real_prometheus_scrapes_the_loop_alerts_on_it_and_answers_every_query(prometheus):
    def firing():
        alerts = ask(prometheus, "alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    wait_for(lambda: firing() >= {"LoopInputDrift", "LoopAnswersFade"})

    def rates_are_there():
        return ask(prometheus, "query", query="rate(loop_scoring_requests_total[5m]) > 0")["result"]

    wait_for(rates_are_there)
    answers = {one: ask(prometheus, "query", query=one[2])["result"] for one in QUERIES}

    assert {one for one, result in answers.items() if not result} == set()
    values = [float(series["value"][1]) for result in answers.values() for series in result]
    assert not any(math.isnan(value) for value in values)
    assert "LoopChampionFades" not in firing()
