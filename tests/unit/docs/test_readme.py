"""What the documents name exists: tests, commands and their options, make targets, links."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pipelines.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
PROMISES = ROOT / "docs" / "promises.md"
COMMANDS = ROOT / "docs" / "commands.md"
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / ".github").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TEST = re.compile(r"\btests/[\w/]+\.py(?:::\w+)?")
COMMAND = re.compile(r"(?:python|\.venv/bin/python) -m pipelines ([^`\n#|]*)")
TARGET = re.compile(r"(?:`|^ *)make ((?:[a-z][a-z0-9]*)(?:-[a-z]+)*)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def is_test_there(named: str) -> bool:
    path, _, function = named.partition("::")
    return (ROOT / path).is_file() and (not function or function in functions_of(ROOT / path))


def unknown_words(line: str) -> list[str]:
    """Subcommands and options of one call of the command line that do not exist."""
    command: Any = typer.main.get_command(app)
    unknown = []
    for word in shlex.split(line):
        if word.startswith("-"):
            known = {option for one in command.params for option in one.opts} | {"--help"}
            unknown += [] if word in known else [word]
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return [word]
            command = command.commands[word]
    return unknown


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    lines = re.findall(r"^([a-z][a-z0-9 -]*):(?!=)", makefile, re.MULTILINE)
    return {target for line in lines for target in line.split()}


@each_document
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = TEST.findall(document.read_text(encoding="utf-8"))

    assert [name for name in named if not is_test_there(name)] == []


@each_document
def test_every_command_that_is_named_exists(document: Path) -> None:
    lines = COMMAND.findall(document.read_text(encoding="utf-8"))

    assert {line: words for line in lines if (words := unknown_words(line))} == {}


@each_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    named = set(TARGET.findall(document.read_text(encoding="utf-8")))

    assert named - targets() == set()


@each_document
def test_no_relative_link_is_dead(document: Path) -> None:
    links = LINK.findall(document.read_text(encoding="utf-8"))
    paths = [link.partition("#")[0] for link in links if not re.match(r"https?:|#", link)]

    assert [path for path in paths if not (document.parent / path).exists()] == []


def test_the_readme_names_the_two_commands_to_start_with() -> None:
    text = README.read_text(encoding="utf-8")

    assert {"demo", "test"} <= set(TARGET.findall(text))


def test_each_promise_names_the_test_that_proves_it() -> None:
    lines = PROMISES.read_text(encoding="utf-8").splitlines()
    promises = [line for line in lines if re.match(r"\| (?!promise )", line)]

    assert len(promises) > 100
    assert [line for line in promises if not TEST.search(line)] == []


def every_command() -> set[str]:
    loop: Any = typer.main.get_command(app)
    return {
        f"{name} {inner}".strip()
        for name, command in loop.commands.items()
        for inner in getattr(command, "commands", [""])
    }


def test_the_page_of_commands_has_every_command_and_no_other() -> None:
    lines = COMMAND.findall(COMMANDS.read_text(encoding="utf-8"))
    groups = {name.split()[0] for name in every_command() if " " in name}
    named = {" ".join(line.split()[: 2 if line.split()[0] in groups else 1]) for line in lines}

    assert named == every_command()


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("champion show --json", []),
        ("champion pull --to served/", []),
        ("champion demote", ["demote"]),
        ("ingest --nights 3", ["--nights"]),
        ("destroy", ["destroy"]),
    ],
)
def test_an_unknown_command_or_option_is_found(line: str, unknown: list[str]) -> None:
    assert unknown_words(line) == unknown


def test_an_unknown_test_is_found() -> None:
    here = "tests/unit/docs/test_readme.py"

    assert is_test_there(f"{here}::test_an_unknown_test_is_found")
    assert not is_test_there(f"{here}::test_that_is_not_there")
    assert not is_test_there("tests/unit/test_nothing.py")


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    picture = (ROOT / "docs" / "loop.svg").read_text(encoding="utf-8")

    addresses = set(re.findall(r"https?://[^\s\"']+", picture))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of the format, never fetched
    assert "<script" not in picture
    assert "prefers-color-scheme: dark" in picture
