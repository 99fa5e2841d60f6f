"""What the demo does when a night goes wrong."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import ClassVar

import pytest
import typer

from ops.demo import run as demo
from ops.display import Display
from ops.services.processes import StackError
from pipelines.core import config


@pytest.fixture
def looks(monkeypatch):
    """Has every demo fail in its first night; holds what was still up when somebody looked."""
    up, looked = [], []

    def fail(*_arguments):
        raise StackError("Airflow did not answer GET /dags")

    class Stack:
        s3_environment: ClassVar[dict[str, str]] = {}
        ui_url, password = "http://here", "admin"
        service_url = "http://there"

        def __init__(self, *_arguments, **_options):
            up.append("airflow")

        def __enter__(self):
            return self

        def __exit__(self, *_error):
            up.clear()

    monkeypatch.setattr(demo, "LocalStack", Stack)
    monkeypatch.setattr(demo, "Visitors", lambda _url: contextlib.nullcontext())
    monkeypatch.setattr(demo, "_write_config", lambda _stack: None)
    monkeypatch.setattr(demo, "Nights", lambda *_: SimpleNamespace(run=fail))
    monkeypatch.setattr(demo, "watch", lambda *_: looked.append(list(up)))
    return looked


def play(folder, *, is_once):
    demo._play(Display(demo.console), None, folder, nights=1, is_once=is_once, started=0.0)


def test_on_a_terminal_airflow_stays_up_for_a_look_and_the_demo_fails_afterwards(
    tmp_path, looks, capsys
):
    with pytest.raises(typer.Exit) as end:
        play(tmp_path, is_once=False)

    assert end.value.exit_code == 1
    assert looks == [["airflow"]]
    assert "error: Airflow did not answer GET /dags" in capsys.readouterr().out


def test_elsewhere_it_fails_at_once(tmp_path, looks):
    with pytest.raises(StackError, match="did not answer"):
        play(tmp_path, is_once=True)

    assert looks == []


def test_its_settings_can_be_read_from_its_own_folder(tmp_path):
    stack = SimpleNamespace(config=tmp_path / "config.toml", service_url="http://there:1")

    demo._write_config(stack)

    settings = config.load(stack.config)
    assert settings.serving.addresses == ("http://there:1",)
    assert not settings.gate.ask_for_first_model  # of config/demo.toml
    assert settings.gate.min_holdout_rows == 500  # of config/try-out.toml, on which it is based
