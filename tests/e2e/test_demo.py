"""`make demo` as a newcomer without network runs it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from ops.services.airflow_api import AirflowApi
from ops.services.stack import PROJECT
from tests.support.leftovers import processes_with
from tests.support.timing import HANG_SECONDS

pytestmark = [pytest.mark.long, pytest.mark.e2e, pytest.mark.timeout(3 * HANG_SECONDS)]


def test_on_a_terminal_the_demo_stays_up_until_ctrl_c_and_then_leaves_nothing_running(tmp_path):
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "ops.demo", "--reviews", "made-up", "--nights", "0"]
    terminal, inside = pty.openpty()
    demo = subprocess.Popen(
        [*command, "--folder", str(folder)],
        cwd=PROJECT, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509
    )  # fmt: skip
    os.close(inside)

    shown = _read_until(terminal, b"champion history")
    ui = json.loads((folder / "summary.json").read_text())["ui"]
    api = AirflowApi(ui, username="admin", password="admin")
    paused = [dag["dag_id"] for dag in api.get("/dags")["dags"] if dag["is_paused"]]
    os.write(terminal, b"\x03")
    _read_until(terminal, b"", is_over=lambda: demo.poll() is not None)

    # What a person may press works; these two would run at once, by their own schedule.
    assert set(paused) == {"sentiment_housekeeping", "sentiment_monitor"}
    assert b"login admin / admin" in shown
    assert demo.returncode == 0
    assert processes_with(str(folder)) == []


def _take_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # A shell that started the tests in its background had them ignore Ctrl-C; a terminal does not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read_until(terminal, words, is_over=lambda: False):
    shown, deadline = b"", time.monotonic() + HANG_SECONDS
    while (not words or words not in shown) and not is_over():
        assert time.monotonic() < deadline, shown[-3000:]
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                time.sleep(0.1)
    return shown


def test_the_demo_ends_well_on_made_up_reviews_and_leaves_nothing_running(tmp_path):
    folder = tmp_path / "demo"

    reply = subprocess.run(
        [sys.executable, "-m", "ops.demo", "--reviews", "made-up", "--folder", str(folder)],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * HANG_SECONDS,
        check=False,
    )

    assert reply.returncode == 0, reply.stdout[-3000:] + reply.stderr[-3000:]
    assert "MADE-UP" in reply.stdout
    summary = json.loads((folder / "summary.json").read_text())
    nights = summary["nights"]
    assert summary["is_made_up"]
    assert [night["ingest_state"] for night in nights] == [
        "success", "success", "success", "failed", "failed", "failed", "success",
        "success", "success", "success",
    ]  # fmt: skip
    assert nights[0]["verdict"] == nights[1]["verdict"] == "PROMOTE"
    assert_the_sabotaged_champion_is_put_back(before=nights[0], sabotaged=nights[1])
    assert_visitors_were_answered(nights)
    assert nights[2]["quarantined"] == round(0.03 * nights[2]["delivered"])
    assert nights[3]["held_deliveries"] == 2
    assert nights[3]["accepted"] > 0
    assert_the_poison_is_held_and_changes_nothing(before=nights[3], poisoned=nights[4])
    assert_the_repaired_file_counts_once_it_is_released(broken=nights[3], repaired=nights[5])
    assert nights[6]["verdict"] == "NO_NEW_DATA"
    assert_the_monitor_asks_once_and_is_quiet_again(*nights[6:])
    assert summary["monitoring"] in reply.stdout
    assert summary["metrics"] in reply.stdout
    for night in nights:
        assert night["accepted"] + night["quarantined"] + night["held"] == night["delivered"]
    assert processes_with(str(folder)) == []


def assert_the_sabotaged_champion_is_put_back(*, before, sabotaged):
    assert sabotaged["retrain_state"] == "failed"
    assert "sha256" in sabotaged["put_back"]
    assert (sabotaged["champion"], sabotaged["generation"]) == (before["champion"], 3)


def assert_the_monitor_asks_once_and_is_quiet_again(before, fading, asking, quiet):
    watches = [night["watch"] for night in (fading, asking, quiet)]
    assert [watch["verdict"] for watch in watches] == ["FADING", "FADING", "QUIET"]
    assert [watch["asked_by"] for watch in watches] == ["", "fading", ""]
    assert watches[1]["why_asked"].startswith("FADING in 2 of the last 2 windows")
    assert [night["retrain_state"] for night in (fading, asking, quiet)] == [None, "success", None]
    assert asking["verdict"] == "PROMOTE"
    generations = [night["generation"] for night in (before, fading, asking, quiet)]
    assert [each - generations[0] for each in generations] == [0, 0, 1, 1]


def assert_visitors_were_answered(nights):
    """Nobody went unanswered, and whoever was champion in between was the one that answered."""
    assert [night["failed_requests"] for night in nights] == [0] * len(nights)
    assert all(night["requests"] > 0 for night in nights[1:])
    assert all(night["answered_by"][-1] == night["generation"] for night in nights[1:])
    assert 1 in nights[1]["answered_by"]


def assert_the_poison_is_held_and_changes_nothing(*, before, poisoned):
    (alarm,) = poisoned["alarms"]
    assert alarm["source"] == "web"
    assert "label_agreement" in alarm["why"]
    assert "is usual for web" in alarm["why"]
    assert poisoned["held"] == poisoned["delivered"] > 0
    assert (poisoned["verdict"], poisoned["retrain_state"]) == ("ALL_HELD", None)
    champion = ("champion", "generation", "holdout_accuracy")
    assert [poisoned[name] for name in champion] == [before[name] for name in champion]


def assert_the_repaired_file_counts_once_it_is_released(*, broken, repaired):
    (alarm,) = repaired["alarms"]
    assert "known_share" in alarm["why"]
    assert f"landing/app/{broken['night']}/" in alarm["landing_key"]
    replay = repaired["replay"]
    assert (replay["action"], replay["delivery"]) == ("release", alarm["delivery"])
    assert replay["reason"].startswith("night 4's file repaired")
    assert "airflow reviews_replay " in replay["actor"]
    assert replay["accepted_rows"] == repaired["accepted"] > 0
    assert repaired["held"] == 0
    assert repaired["retrain_state"] == "success"
