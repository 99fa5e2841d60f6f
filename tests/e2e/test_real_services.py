"""`python -m ops.services.real` starts services for a command and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ops.services.real import RealServices, main
from ops.services.real_s3 import CephGateway
from ops.services.stack import PROJECT
from tests.support.leftovers import processes_with

pytestmark = [pytest.mark.e2e, pytest.mark.long]

# Takes MinIO's arguments and variables and is healthy, which is all that is asked of it here.
STAND_IN = """#!{python}
import http.server, os, sys
assert sys.argv[1] == "server" and sys.argv[3] == "--address", sys.argv
assert os.environ["MINIO_ROOT_USER"] and os.environ["MINIO_ROOT_PASSWORD"]
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/minio/health/live" else 403)
        self.end_headers()
host, port = sys.argv[4].split(":")
http.server.HTTPServer((host, int(port)), Healthy).serve_forever()
"""


@pytest.fixture
def folder():
    """A folder that PostgreSQL's own user can get into, with a short name for its socket."""
    path = Path(tempfile.mkdtemp(prefix="loop-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(folder, monkeypatch):
    """Run a Python script beside services: ``start("print(1)")``."""
    minio = folder / "minio"
    minio.write_text(STAND_IN.format(python=sys.executable))
    minio.chmod(minio.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("MINIO", str(minio))
    monkeypatch.setenv("TMPDIR", str(folder))  # where the services keep their data
    for name in [*filter(lambda name: name.startswith("LOOP_TEST_"), os.environ)]:
        monkeypatch.delenv(name)  # these tests may run beside real services themselves
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)

    def started(script, *options):
        command = [
            sys.executable,
            "-m",
            "ops.services.real",
            *options,
            "--",
            sys.executable,
            "-uc",
            script,
        ]
        return subprocess.Popen(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            # A job that a shell started in the background hears no Ctrl-C, nor do its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )  # fmt: skip

    return started


def leftovers(folder):
    return [*folder.glob("loop-real-*"), *processes_with(str(folder))]


def test_a_command_is_told_where_the_services_are_and_its_exit_code_is_passed_on(start, folder):
    child = start("import os; print(os.environ['LOOP_TEST_S3_ENDPOINT']); raise SystemExit(7)")

    shown, said = child.communicate()

    assert shown.startswith("http://127.0.0.1:")
    assert child.returncode == 7
    assert "FAILED with exit code 7 on MinIO and " in said
    assert leftovers(folder) == []


@pytest.mark.parametrize("variable", ["LOOP_TEST_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3"])
def test_a_server_that_is_given_is_used_and_nothing_is_started(
    start, folder, monkeypatch, variable
):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LOOP_TEST_DATABASE", "postgresql://127.0.0.1:9/mine")

    child = start(
        "import os; print(*map(os.environ.get, ('LOOP_TEST_S3_ENDPOINT', 'AWS_ACCESS_KEY_ID',"
        " 'LOOP_TEST_DATABASE', 'LOOP_TEST_KEEP_BUCKETS')))"
    )
    shown, said = child.communicate()

    assert shown.split() == ["http://127.0.0.1:9", "mine", "postgresql://127.0.0.1:9/mine", "None"]
    assert said.splitlines()[-1] == (
        "real services: passed on the S3 server at http://127.0.0.1:9 and the database given"
    )
    assert child.returncode == 0


def test_what_was_skipped_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("LOOP_TEST_DATABASE", raising=False)
    services = RealServices()
    services.s3 = CephGateway(tmp_path)

    assert services.names == "Ceph RGW and SQLite"
    assert services.skipped == [
        "MinIO: its program is not on this machine",
        "PostgreSQL: it is not installed, so Airflow's database was SQLite",
    ]


def test_without_a_command_only_what_is_missing_is_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOP_TEST_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LOOP_TEST_DATABASE", "postgresql://127.0.0.1:9/mine")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)

    code = main(["--install"])
    signal.signal(signal.SIGTERM, before)

    assert code == 0
    assert list(tmp_path.iterdir()) == []  # no service was started
    with pytest.raises(SystemExit):
        main([])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_lets_the_command_clean_up_first_and_leaves_nothing(start, folder, number):
    child = start(
        "import time\n"
        "try:\n"
        "    print('up'); time.sleep(1200)\n"
        "except KeyboardInterrupt:\n"
        "    time.sleep(0.5); print('cleaned up')\n"
    )
    assert child.stdout.readline() == "up\n"

    child.send_signal(number)
    shown, _ = child.communicate()

    assert shown == "cleaned up\n"
    assert child.returncode == 130
    assert leftovers(folder) == []


def test_a_stop_reaches_what_the_command_started(start, folder):
    """As `make` starts pytest, and does not pass an interrupt on."""
    child = start(
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "inner = '''\n"
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "try:\n"
        "    print('up', flush=True); time.sleep(1200)\n"
        "except KeyboardInterrupt:\n"
        "    print('cleaned up')\n"
        "'''\n"
        "subprocess.run([sys.executable, '-c', inner])\n"
    )
    assert child.stdout.readline() == "up\n"

    child.send_signal(signal.SIGTERM)
    shown, _ = child.communicate()

    assert shown == "cleaned up\n"
    assert child.returncode == 130
    assert leftovers(folder) == []


@pytest.mark.parametrize(
    ("options", "code", "word", "printed"),
    [
        ([], 1, "FAILED", ""),
        (["--or-skip"], 0, "SKIPPED", ""),
        (["--or-doubles"], 0, "SKIPPED", "run\n"),
    ],
)
def test_without_a_real_server_nothing_is_run_on_one_and_that_is_said(
    start, folder, monkeypatch, options, code, word, printed
):
    monkeypatch.setenv("MINIO", "/nowhere")
    monkeypatch.setenv("PATH", str(folder / "empty"))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    if (PROJECT / ".local" / "tools" / "minio").exists() or CephGateway.is_installed():
        pytest.skip("this machine has a real server where everybody finds it")

    child = start("print('run')", *options)
    shown, said = child.communicate()

    assert (shown, child.returncode) == (printed, code)
    assert f"{word} the tests on real services: no real S3 server" in said
    assert leftovers(folder) == []
