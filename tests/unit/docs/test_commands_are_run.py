"""Every command that a page prints is run by a test, or is named here with the reason why not."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.integration.cli.test_runbooks_as_printed import PAGES as TYPED_PAGES
from tests.unit.docs.test_readme import is_test_there

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^( *)```sh\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^ {4,}(?P<line>(?:make|bash|docker|aws|mc|radosgw-admin|printf|curl|python|"
                      r"\.venv/bin/\w+) .*)", re.MULTILINE)  # fmt: skip

# Pages whose blocks of commands a test follows, one after the other.
FOLLOWED = {
    "docs/tutorial.md": "tests/e2e/test_docs_as_printed.py::"
    "test_the_tutorial_leads_to_each_result_that_it_states",
    "docs/guides/": "tests/e2e/test_guides_as_printed.py::test_a_guide_leads_to_what_it_shows",
}
TYPED = "tests/integration/cli/test_runbooks_as_printed.py"
PRINTED = "tests/e2e/test_docs_as_printed.py"

# What else runs a command, by how its line begins. The first that fits counts.
RUN_BY = {
    r"(python|\.venv/bin/python) -m pipelines serve\b": "tests/faults/test_serving.py",
    r"\.venv/bin/python -m pipelines retrain --candidate": FOLLOWED["docs/guides/"],
    r"\.venv/bin/python -m ops\.config_docs": "tests/unit/docs/test_docs.py",
    r"\.venv/bin/python -m ops\.reference": "tests/unit/docs/test_reference.py",
    r"\.venv/bin/python -m ops\.behaviour": "tests/unit/ops/test_behaviour_report.py",
    r"export ": PRINTED,
    r"make local\b": "tests/e2e/test_local.py",
    r"\. ~/\.local/state": "tests/e2e/test_local.py",
    r"make demo\b": "tests/e2e/test_demo.py",
    r"curl -s localhost:8090/v1/score| +-d ": "tests/unit/serving/http/test_routes.py",
    r"curl -s ADDRESS/status": "tests/unit/serving/http/test_routes.py",
    r"make stack": "tests/e2e/test_full_stack.py",
    r"docker compose (run --rm upstream|exec \w+ python -m pipelines)": PRINTED,
    r"make (up|down)\b|docker compose ": "tests/compose/test_compose_as_printed.py",
    r"aws iam |mc admin |printf .*\| mc |radosgw-admin ": "tests/integration/core/test_grants.py",
}
NOT_RUN = {
    r"git clone|cd retraining-loop|git pull": "the address is the reader's own",
    r"make install\b": "the tests run in what it made; `.ci/run` runs it in a fresh clone",
    r"make (test|check|unit|integration|faults|dags|e2e|browser)\b|bash \.ci/run": "runs the tests",
    r"make lock\b": "resolves what the network offers on that day",
    r"aws s3api ": "needs a store that keeps versions; those of the tests do not",
    r"curl -s http://localhost:8080/api/v2/": "Airflow's own address, which those tests wait for",
}


def commands(page: Path) -> list[str]:
    """Lines of shell blocks, and indented lines that call a program; continued lines are joined."""
    text = page.read_text(encoding="utf-8")
    blocks = [textwrap.dedent(body) for _, body in FENCED.findall(text)]
    rest = FENCED.sub("", text)
    lines = "\n".join([*blocks, *INDENTED.findall(rest)]).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def run_by(page: str, line: str) -> str | None:
    """The test that runs a line, or the reason why none does."""
    for place, test in FOLLOWED.items():
        if page.startswith(place) and not fits(NOT_RUN, line):
            return test
    if " -m pipelines " in line and not fits(RUN_BY, line):
        return TYPED if page in TYPED_PAGES else PRINTED if page == "README.md" else None
    return fits(RUN_BY, line) or fits(NOT_RUN, line)


def fits(table: dict[str, str], line: str) -> str | None:
    return next((name for begin, name in table.items() if re.match(begin, line)), None)


EVERY = [(str(page.relative_to(ROOT)), line) for page in PAGES for line in commands(page)]


def test_every_command_that_a_page_prints_is_run_by_a_test_or_named_with_a_reason() -> None:
    assert len(EVERY) > 100
    assert [(page, line) for page, line in EVERY if not run_by(page, line)] == []


@pytest.mark.parametrize("test", sorted({*FOLLOWED.values(), *RUN_BY.values(), TYPED, PRINTED}))
def test_what_runs_a_command_exists(test: str) -> None:
    assert is_test_there(test)


@pytest.mark.parametrize("begin", [*RUN_BY, *NOT_RUN])
def test_no_line_of_these_tables_is_left_over(begin: str) -> None:
    assert any(re.match(begin, line) for _, line in EVERY)


def test_a_command_that_nothing_runs_is_found() -> None:
    assert run_by("docs/gate.md", "rm -rf everything") is None
    assert run_by("docs/adr/README.md", "python -m pipelines champion show") is None


LOOKS = re.compile(r"\.venv/bin/python -m pipelines delivery (list|show|rows|report)\b")


def test_what_is_printed_before_a_held_delivery_is_dealt_with_only_looks(tmp_path):
    """The page says that none of these commands changes anything."""
    text = (ROOT / "docs" / "runbooks" / "held-delivery.md").read_text(encoding="utf-8")
    before, heading, _ = text.partition("\n## What to do\n")
    page = tmp_path / "before.md"
    page.write_text(before, encoding="utf-8")

    lines = commands(page)

    assert heading
    assert len(lines) >= 5
    assert [line for line in lines if not LOOKS.match(line)] == []
