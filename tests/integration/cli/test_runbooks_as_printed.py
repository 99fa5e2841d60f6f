"""The commands of every runbook, typed as printed, in buckets where everything has happened."""

from __future__ import annotations

import shlex

import pytest
from typer.testing import CliRunner

from pipelines.cli.app import app
from tests.support.made.builders import deliver, landing_key, listing
from tests.support.printed import ROOT, blocks

pytestmark = pytest.mark.long

ELSEWHERE = {"compose.md", "tutorial.md"}  # tests/e2e/test_docs_as_printed.py follows them
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "runbooks").glob("*.md")]
    if "-m pipelines" in path.read_text(encoding="utf-8") and path.name not in ELSEWHERE
)
# These do something only where that is possible now; otherwise they say why not.
ACTS = {
    "at", "approve", "reject", "release", "revalidate", "discard", "rollback", "pin", "check",
    "export",
}  # fmt: skip


# Runs until it is stopped: tests/faults/test_serving.py starts and stops it.
NEVER_ENDS = {"serve"}


def typed(page: str) -> list[list[str]]:
    """The words behind `python -m pipelines` in each line of a page's blocks."""
    lines = [line for block in blocks(page) for line in block if " -m pipelines " in line]
    return [shlex.split(line.partition(" -m pipelines ")[2], comments=True) for line in lines]


def test_there_are_runbooks_with_commands():
    assert sum(len(typed(page)) for page in PAGES) >= 15


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works_as_printed(
    page, whole_world, stores, registry, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    champion = registry.log.champion()
    held = next(key for key in whole_world.reviews if key.endswith("/outcome.json")).split("/")[1]
    for words in typed(page):
        if words[0] in NEVER_ENDS:
            continue
        given = [{"VERSION": champion.version, "DELIVERY": held}.get(word, word) for word in words]

        reply = CliRunner().invoke(app, given)

        assert isinstance(reply.exception, SystemExit | None), given
        if set(words[:2]) & ACTS:
            assert reply.exit_code == 0 or reply.stderr.startswith("error: "), (given, reply.stderr)
        else:
            assert reply.exit_code == 0, (given, reply.stderr)


def test_looking_at_a_held_delivery_changes_nothing(whole_world, stores, tmp_path, monkeypatch):
    """The page says so of its commands, up to what to do."""
    page = "docs/runbooks/held-delivery.md"
    before, _, _ = (ROOT / page).read_text(encoding="utf-8").partition("## What to do")
    looks = [words for words in typed(page) if shlex.join(words) in before]
    monkeypatch.chdir(tmp_path)
    held = next(key for key in whole_world.reviews if key.endswith("/outcome.json")).split("/")[1]
    deliver(stores, landing_key("newer.csv"), b"which no look takes up")
    there = [listing(bucket) for bucket in (stores.reviews, stores.models)]

    for words in looks:
        CliRunner().invoke(app, [held if word == "DELIVERY" else word for word in words])

    assert len(looks) >= 5
    assert [listing(bucket) for bucket in (stores.reviews, stores.models)] == there
