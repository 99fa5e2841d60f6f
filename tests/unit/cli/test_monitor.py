"""`monitor` and `metrics` in a shell, on buckets in memory."""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from pipelines.cli import monitor as cli_monitor
from pipelines.cli.app import app
from pipelines.core import config
from pipelines.core.store.stores import Stores
from pipelines.steps import monitor as steps_monitor
from pipelines.steps.context import Loop
from tests.support.made.window_builders import a_window
from tests.support.page_site import Bucket


@pytest.fixture
def loop(monkeypatch):
    opened = Loop(config.load(), Stores(Bucket(), Bucket()))
    for module in (cli_monitor, steps_monitor):
        monkeypatch.setattr(module, "open_loop", lambda *_: opened)
    return opened


def test_without_a_champion_nothing_is_judged_and_nothing_is_decided(loop):
    shown = CliRunner().invoke(app, ["monitor", "--json"])

    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout) == {"windows": [], "answers": [], "decision": None}
    assert "Nothing new." in CliRunner().invoke(app, ["monitor"]).output


def test_metrics_are_written_whole_to_a_file_or_to_standard_output(loop, tmp_path):
    loop.reviews.put_record(a_window())
    file = tmp_path / "folder" / "loop.prom"

    shown = CliRunner().invoke(app, ["metrics"])
    written = CliRunner().invoke(app, ["metrics", "--output", str(file)])

    assert shown.exit_code == written.exit_code == 0
    names = {family.name for family in text_string_to_metric_families(shown.stdout)}
    assert {family.name for family in text_string_to_metric_families(file.read_text())} == names
    assert "loop_champion_generation" in names
    assert [path.name for path in file.parent.iterdir()] == ["loop.prom"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_file_that_cannot_be_written_is_an_error_in_words(loop, tmp_path):
    (tmp_path / "taken").write_text("a file")

    refused = CliRunner().invoke(app, ["metrics", "--output", str(tmp_path / "taken" / "x")])

    assert refused.exit_code == 1
    assert "Choose another file" in refused.stderr
