"""The rules and dashboards, by promtool and a real Prometheus that scrapes pages and service."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import httpx
import pytest
import yaml

from ops import dashboards, prometheus_tools
from ops.services.processes import free_port
from pipelines.core.keys import arrival_key
from pipelines.records.decisions import GateRule
from tests.support.made.nights import a_receipt
from tests.support.made.registry_builders import promoted
from tests.support.made.served_builders import a_service
from tests.support.made.window_builders import a_trigger, a_window, an_answered_day
from tests.support.page_site import Pages
from tests.support.services.served_app import running, served
from tests.support.settings_file import write_settings
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


RULE = GateRule(
    rule="min_accuracy", group="floor", is_passed=True, observed=0.9, limit=0.85, sentence="Fine."
)  # fmt: skip


def a_watched_loop() -> Pages:
    """A champion that the gate promoted, a judged night and day of answers, a look at triggers."""
    pages = Pages()
    promoted(pages.registry, "one", rules=(RULE,))
    now = datetime.now(UTC)
    today = now.date().isoformat()
    receipt = a_receipt(today)
    arrival = arrival_key(today, receipt.landing_key, receipt.version_tag, receipt.delivery)
    pages.reviews.put_record(receipt)
    pages.reviews.put(arrival, b"only its moment counts")
    for bucket in (pages.reviews, pages.models):
        bucket.moments = dict.fromkeys(bucket.objects, now)
    pages.reviews.put_record(a_window(today, "DRIFT", accuracy=0.85))
    pages.reviews.put_record(an_answered_day(today, "FADING"))
    pages.reviews.put_record(a_trigger(today))
    return pages


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
def watched(tmp_path, monkeypatch):
    """The addresses of the loop's pages and of a scoring service, both running."""
    log_is_on = {"serving": {"prediction_log": {"is_enabled": True}}}
    monkeypatch.setenv("LOOP_CONFIG", str(write_settings(tmp_path / "loop.toml", log_is_on)))
    with running(a_watched_loop().app) as pages, served(a_service()) as service:
        yield pages, service


@pytest.fixture
def prometheus(tools, tmp_path, watched):
    """The address of a Prometheus with our rules, which scrapes both each second."""
    pages, service = (address.removeprefix("http://") for address in watched)
    (tmp_path / "rules.yml").write_text((FOLDER / "rules.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n"
        "scrape_configs:\n"
        f"- {{job_name: retraining, static_configs: [{{targets: ['{pages}']}}]}}\n"
        f"- {{job_name: scoring, static_configs: [{{targets: ['{service}']}}]}}\n"
    )
    port = free_port()
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


@pytest.mark.long
def test_a_real_prometheus_scrapes_pages_and_service_alerts_and_answers_every_query(
    prometheus, watched
):
    _, service = watched

    def firing():
        alerts = ask(prometheus, "alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    wait_for(lambda: firing() >= {"LoopInputDrift", "LoopAnswersFade"})

    def rates_are_there():
        httpx.post(f"{service}/v1/score", json={"text": "A fine film."}, timeout=30)
        return ask(prometheus, "query", query="rate(loop_scoring_requests_total[5m]) > 0")["result"]

    wait_for(rates_are_there)
    answers = {one: ask(prometheus, "query", query=one[2])["result"] for one in QUERIES}

    assert {one for one, result in answers.items() if not result} == set()
    values = [float(series["value"][1]) for result in answers.values() for series in result]
    assert not any(math.isnan(value) for value in values)
    assert "LoopChampionFades" not in firing()
