"""`make install` makes a virtual environment once, with the Python that it should."""

from __future__ import annotations

import subprocess

import pytest

from ops.pythons import PROJECT

# A Python that fits, makes environments with itself in them, and notes what it is asked.
INTERPRETER = """#!/bin/sh
case "$*" in
  -c*) echo fits ;;
  "-m venv --clear "*) rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" \\
    && cp "$0" "$4/bin/uv" && echo "made with ${0##*/}" >> FOLDER/done ;;
  *install*) echo "installed" >> FOLDER/done ;;
esac
"""


@pytest.fixture
def install(tmp_path):
    """`make install` where python3.13 is on the path; returns what was done."""
    for name in ("python3.13", "another"):
        (tmp_path / name).write_text(INTERPRETER.replace("FOLDER", str(tmp_path)))
        (tmp_path / name).chmod(0o755)

    def install(**environment):
        (tmp_path / "done").write_text("")
        subprocess.run(
            ["make", "install", f"VENV={tmp_path}/venv"],
            cwd=PROJECT, env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment}, check=True,
            capture_output=True,
        )  # fmt: skip
        return (tmp_path / "done").read_text().splitlines()

    return install


def test_installing_makes_an_environment_once_and_keeps_it(install, tmp_path):
    assert install() == ["made with python3.13", "installed", "installed"]
    assert install() == []

    (tmp_path / "venv" / ".installed").unlink()
    assert install() == ["installed", "installed"]


def test_an_environment_is_made_again_where_its_python_is_gone(install, tmp_path):
    install()

    (tmp_path / "venv" / "bin" / "python").unlink()

    assert install() == ["made with python3.13", "installed", "installed"]


def test_the_python_that_the_caller_names_makes_the_environment(install, tmp_path):
    install()
    (tmp_path / "venv" / ".installed").unlink()

    assert install(PYTHON="another") == ["made with another", "installed", "installed"]
