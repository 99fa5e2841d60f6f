"""A browser is found, or its absence is said: tests of pages must not vanish unnoticed."""

from __future__ import annotations

import sys

import pytest

from ops import browser
from ops.services import processes

COMMAND = [sys.executable, "-c", "import os, sys; sys.exit(int(os.environ['CHROMIUM'][-1]))"]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """An empty folder as the path, and no browser of playwright's."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(browser, "_playwrights", lambda: None)
    return tmp_path


def a_program(path):
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_the_named_browser_goes_before_the_one_on_the_path(programs, monkeypatch):
    a_program(programs / "chromium")
    named = a_program(programs / "mine")

    monkeypatch.setenv("CHROMIUM", named)

    assert browser.find() == named


@pytest.mark.parametrize("name", ["chromium", "google-chrome", "chromium-browser"])
def test_a_browser_on_the_path_is_found(programs, name):
    there = a_program(programs / name)

    assert browser.find() == there


def test_a_named_browser_that_is_not_there_is_no_reason_to_take_another(programs, monkeypatch):
    a_program(programs / "chromium")
    monkeypatch.setenv("CHROMIUM", "/no/such/browser")

    with pytest.raises(browser.NoBrowserError, match="CHROMIUM is '/no/such/browser'"):
        browser.find()


def test_without_a_browser_the_tests_fail_and_say_how_to_get_one(programs, capsys):
    assert browser.main(["--", *COMMAND]) == 1

    said = capsys.readouterr().err
    assert "FAILED the tests in a browser: no Chromium on this machine" in said
    assert "playwright install chromium" in said


def test_they_are_skipped_only_if_asked_for_and_loudly(programs, capsys):
    assert browser.main(["--or-skip", "--", *COMMAND]) == 0

    assert "SKIPPED the tests in a browser" in capsys.readouterr().err


def test_the_command_is_told_which_browser_and_its_answer_counts(programs, monkeypatch):
    monkeypatch.setenv("CHROMIUM", a_program(programs / "browser7"))

    assert browser.main(["--", *COMMAND]) == 7


def test_nothing_is_installed_beside_a_browser_that_is_there(programs, monkeypatch):
    a_program(programs / "chromium")
    monkeypatch.setattr(processes, "complaint_of", lambda *command: pytest.fail(f"ran {command}"))
    monkeypatch.setattr(browser, "complaint_of", processes.complaint_of)

    browser.install()


@pytest.mark.parametrize(("user", "first"), [(0, " update"), (1000, "playwright install chromium")])
def test_root_installs_debians_package_and_others_playwrights(programs, monkeypatch, user, first):
    a_program(programs / "apt-get")
    ran: list[str] = []
    monkeypatch.setattr(browser.os, "geteuid", lambda: user)
    monkeypatch.setattr(processes, "complaint_of", lambda *command: ran.append(" ".join(command)))
    monkeypatch.setattr(browser, "complaint_of", processes.complaint_of)

    browser.install()

    assert ran[0].startswith("apt-get") is (user == 0)
    assert ran[0].endswith(first)
    assert ran[-1].endswith("chromium")
