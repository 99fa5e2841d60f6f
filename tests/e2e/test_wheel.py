"""A wheel has all that the package needs: its shell answers, its pages and cards are drawn."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from pipelines.core.config import PROJECT

SOURCES = ("pipelines", "config", "docs", "pyproject.toml", "requirements.in", "README.md",
           "LICENSE")  # fmt: skip


CHECKOUT = ("tests", "plugins", "ops", "config", "docs", "pyproject.toml", "docker-compose.yaml")


def copied(names: tuple[str, ...], to: Path) -> Path:
    """A copy, because a build leaves folders in its project."""
    for name in names:
        if (PROJECT / name).is_dir():
            shutil.copytree(
                PROJECT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
            )
        else:
            to.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, to / name)
    return to


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The interpreter of an environment with the wheel, and with the locked requirements."""
    folder = tmp_path_factory.mktemp("wheel")
    source, environment = copied(SOURCES, folder / "source"), folder / "environment"
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
             "--no-build-isolation", "--wheel-dir", folder, source]  # fmt: skip
    subprocess.run(build, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (wheel,) = folder.glob("*.whl")
    python = environment / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps",
         "--no-index", wheel],
        check=True,
    )  # fmt: skip
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "locked.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return python


def test_the_wheel_holds_every_module_template_and_default(python):
    (wheel,) = python.parents[2].glob("*.whl")
    there = {name.partition(".data/data/share/retraining-loop/")[2] or name
             for name in zipfile.ZipFile(wheel).namelist()}  # fmt: skip

    needed = [
        path.relative_to(PROJECT).as_posix()
        for pattern in ("pipelines/**/*.py", "pipelines/**/templates/*", "pipelines/**/*.toml",
                        "config/default.toml",
                        "config/golden.jsonl", "config/behaviour/*.toml", "docs/runbooks/*.md")
        for path in PROJECT.glob(pattern)
    ]  # fmt: skip
    assert len(needed) > 200
    assert set(needed) - there == set()


def test_its_shell_answers_where_no_checkout_is(python, tmp_path):
    shell = [python, "-I", "-m", "pipelines"]

    help_text = subprocess.run(
        [*shell, "--help"], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    keys = subprocess.run(
        [*shell, "keys", "new", "key.pem"], check=False, cwd=tmp_path, capture_output=True
    )

    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert "retrain" in help_text.stdout
    assert (keys.returncode, keys.stderr) == (0, b"")


@pytest.mark.timeout(600)
def test_its_pages_and_cards_are_drawn_as_those_of_a_checkout(python, tmp_path):
    """The tests of pages, cards, mails and reports pass where `pipelines` is the wheel's alone."""
    copied(CHECKOUT, tmp_path / "checkout")

    own_options = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    result = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", tmp_path / "tmp",
         "tests/unit/gate", "tests/unit/pages/test_pages.py", "tests/unit/pages/test_views.py",
         "tests/unit/alerts/test_mail.py", "tests/unit/validation/test_report.py"],
        check=False, cwd=tmp_path / "checkout", env=own_options, capture_output=True, text=True,
    )  # fmt: skip

    assert result.returncode == 0, result.stdout[-3000:]
    assert "passed" in result.stdout
