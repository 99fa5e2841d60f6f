"""Documents that are made from the code are up to date, and what they name exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from ops import config_docs
from pipelines.core import config, errors
from pipelines.gate import decide
from pipelines.records.decisions import Verdict
from tests.support.made.judgement_builders import CHAMPION, a_check, a_first_model, an_evaluation

ROOT = Path(__file__).resolve().parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
ADRS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))


def test_the_page_of_settings_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert page == config_docs.render(), (
        "run: .venv/bin/python -m ops.config_docs > docs/configuration.md"
    )


def test_every_setting_is_listed_and_has_a_comment() -> None:
    text = config_docs.DEFAULT.read_text(encoding="utf-8")

    settings = config_docs.read_settings(text)

    assert [f"{each.section}.{each.key}" for each in settings if not each.comment] == []
    assert {(each.section, each.key) for each in settings} == set(leaves(tomllib.loads(text)))


def leaves(values: dict[str, Any], section: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in values.items():
        is_section = isinstance(value, dict) and name not in ("parameters", "grid", "classes")
        inner = f"{section}.{name}".strip(".")
        found += leaves(value, inner) if is_section else [(section, name)]
    return found


def test_a_hash_sign_inside_a_value_starts_no_comment() -> None:
    (setting,) = config_docs.read_settings('[a]\nname = "x # y"  # what it is, # included\n')

    assert (setting.value, setting.comment) == ('"x # y"', "what it is, # included")


def test_a_comment_above_a_key_belongs_to_it_and_not_to_the_next() -> None:
    first, second = config_docs.read_settings("# of the first\na = 1\nb = 2\n")

    assert (first.comment, second.comment) == ("of the first", "")


def test_a_value_over_several_lines_is_refused_rather_than_left_out() -> None:
    with pytest.raises(ValueError, match="line 1"):
        config_docs.read_settings("a = [\n  1,\n]\n")


def test_the_runbook_has_a_section_for_every_error() -> None:
    runbook = (RUNBOOKS / "retrain-failed.md").read_text(encoding="utf-8")
    named = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.LoopError)
    }

    # The four roots of the tree are never raised as such.
    wanted = named - {"LoopError", "PermanentError", "TransientError", "DataError"}
    assert set(re.findall(r"^### `(\w+)`", runbook, re.MULTILINE)) == wanted


def test_the_page_on_the_gate_explains_every_rule_and_verdict() -> None:
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"`([\w]+)(?: <name>)?`", page))
    decisions = [
        decide.decide(build(**changes), config.load().gate, a_check())
        for build, changes in (
            (an_evaluation, {}),
            (an_evaluation, {"reference_version": CHAMPION}),
            (a_first_model, {}),
        )
    ]

    asked = {rule.rule.partition(" ")[0] for one in decisions for rule in one.rules}
    assert asked - explained == set()
    assert [verdict for verdict in get_args(Verdict) if f"| {verdict} |" not in page] == []


def test_every_runbook_that_is_named_exists() -> None:
    sources = [path for folder in ("pipelines", "dags", "plugins", "ops", "docs")
               for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md"}]  # fmt: skip
    named = {
        found
        for path in sources
        for found in re.findall(r"docs/runbooks/[\w-]+\.md", path.read_text(encoding="utf-8"))
    }

    assert named
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_runbook_has_its_reader_run_commands_and_paste_no_program(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert re.findall(r"^ *(?:```|~~~)py.*|python\S* -(?:c| |$).*", text, re.MULTILINE) == []


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_the_commands_of_a_runbook_work_as_printed_and_it_says_what_they_need(path: Path) -> None:
    """On a page that Airflow shows as well: no other page of the documentation is there."""
    text = path.read_text(encoding="utf-8")
    calls = re.findall(r"([\w./]*)python -m pipelines", text)

    assert set(calls) <= {".venv/bin/"}
    is_said = "(README.md#the-commands)" in text
    assert is_said == bool(calls) or path.stem == "README"
    assert "\n## The commands\n" in (RUNBOOKS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "screens").glob("*.png")),
                         ids=lambda path: path.stem)  # fmt: skip
def test_every_picture_of_a_page_is_one_that_make_screens_takes(picture: Path) -> None:
    taken = (ROOT / "tests" / "browser" / "screens.py").read_text(encoding="utf-8")

    assert f'"{picture.stem}"' in taken or f"{picture.name}" in taken


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(path.name[:4]) for path in ADRS]

    assert numbers == list(range(1, len(ADRS) + 1))


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.stem)
def test_a_decision_says_why_what_follows_and_what_was_rejected(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)

    assert headings == ["Context", "Decision", "Consequences", "Rejected"]


def test_the_full_licence_is_there() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")

    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "the retraining-loop authors" in text
