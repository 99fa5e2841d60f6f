"""What newcomers meet first: README, index of the documents, files for forges and editors."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
MOST_WORDS_OF_THE_README = 1_300
LINK = re.compile(r"\]\(([^)\s#]+\.md)(?:#[^)]*)?\)")
YAML = [
    ROOT / ".pre-commit-config.yaml",
    *sorted((ROOT / ".github").rglob("*.y*ml")),
]
# What house style avoids, with the words to use instead.
WORDS = {
    "beside": "compared with, next to, in addition to",
    "anew": "again",
    "told": "reported, said",
    "untold": "unsent",
    "surely": "reliably (95 %)",
    "for good": "permanently",
    "but for": "except",
}

EVERY = [*sorted(ROOT.glob("*.md")), *PAGES]


def parametrized(pages: list[Path]) -> pytest.MarkDecorator:
    names = [str(path.relative_to(ROOT)) for path in pages]
    return pytest.mark.parametrize("page", pages, ids=names)


each_page = parametrized(EVERY)
# The others are made from the code and its comments.
written_by_hand = parametrized([
    page for page in EVERY if page.name != "configuration.md" and page.parent.name != "reference"
])  # fmt: skip


def linked_from(page: Path) -> set[Path]:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return {
        (page.parent / link).resolve() for link in links if not re.match(r"https?:", link)
    }  # fmt: skip


def anchors_of(page: Path) -> set[str]:
    """The names that forges give to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def reachable_from(start: Path) -> set[Path]:
    seen, waiting = {start}, [start]
    while waiting:
        page = waiting.pop()
        found = {path for path in linked_from(page) if path.is_file() and DOCS in path.parents}
        waiting += sorted(found - seen)
        seen |= found
    return seen


def first_column(text: str, heading: str) -> set[str]:
    """What stands between backticks in the first column of the table under this heading line."""
    table = text.split(heading, 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))


def test_the_readme_can_be_read_in_a_few_minutes():
    words = README.read_text(encoding="utf-8").split()

    assert len(words) <= MOST_WORDS_OF_THE_README


def test_the_readme_has_a_line_for_every_folder_and_no_other():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this copy is not a checkout")
    folders = {line.split("/")[0] + "/" for line in listed.stdout.splitlines() if "/" in line}

    named = first_column(README.read_text(encoding="utf-8"), "| path | holds |")
    assert named == {folder for folder in folders if not folder.startswith(".")}


def test_the_readme_has_a_line_for_every_package():
    packages = {path.parent.name for path in (ROOT / "pipelines").glob("*/__init__.py")}

    named = first_column(README.read_text(encoding="utf-8"), "| package | does |")
    assert packages - named == set()


def test_every_page_is_reached_from_the_index_by_links():
    reached = reachable_from(DOCS / "README.md")

    assert [path.relative_to(ROOT) for path in PAGES if path not in reached] == []


def test_the_index_itself_links_every_page_that_is_in_no_folder():
    linked = linked_from(DOCS / "README.md")

    assert {path for path in DOCS.glob("*.md") if path.name != "README.md"} - linked == set()


def test_the_list_of_decisions_has_each_of_them():
    decisions = DOCS / "adr"

    assert set(decisions.glob("[0-9]*.md")) <= linked_from(decisions / "README.md")


@written_by_hand
def test_a_page_uses_the_words_of_the_field(page: Path):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)|^ {4,}[^\s-].*$", "", text, flags=re.M | re.S)

    found = {
        word for word in WORDS if re.search(rf"\b{word}\b", " ".join(prose.split()), re.IGNORECASE)
    }
    assert {word: WORDS[word] for word in found} == {}


@each_page
def test_no_link_to_a_heading_is_dead(page: Path):
    links = re.findall(r"\]\(([^)\s#:]*)#([^)]+)\)", page.read_text(encoding="utf-8"))

    dead = [
        f"{path}#{anchor}"
        for path, anchor in links
        if anchor not in anchors_of(page.parent / path if path else page)
    ]
    assert dead == []


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_a_yaml_file_can_be_read(path: Path):
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))

    commands = [
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    ]
    assert "bash .ci/run" in commands
    assert (ROOT / ".ci/run").is_file()


def test_the_hooks_are_the_checks_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    own = [hook for repo in hooks["repos"] if repo["repo"] == "local" for hook in repo["hooks"]]
    entries = [hook["entry"].removeprefix(".venv/bin/").split(" --")[0] for hook in own]
    assert entries == ["ruff check", "ruff format", "lint-imports"]
    assert [entry for entry in entries if f"/{entry}" not in makefile] == []
    assert all(repo.get("rev") for repo in hooks["repos"] if repo["repo"] != "local")


def test_the_container_for_editors_has_the_projects_python():
    text = (ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8")
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    container = json.loads(text)
    python = pyproject["project"]["requires-python"].split(",")[0].removeprefix(">=")
    assert re.search(rf"\b{re.escape(python)}\b", container["image"])
    assert container["postCreateCommand"] == "make install"


def test_every_line_of_the_owners_names_a_team_and_a_path_that_exists():
    text = (ROOT / ".github/CODEOWNERS").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]

    assert lines
    assert all(owners and all("/" in owner for owner in owners) for _, *owners in lines)
    paths = [path.strip("/") for path, *_ in lines if path != "*"]
    assert [path for path in paths if not (ROOT / path).exists()] == []
