"""The documentation as a site: every page is in the navigation, and no link is dead."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from ops.site import __main__ as site
from ops.site.conf import groups
from tests.support.timing import HANG_SECONDS

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = {path for kind in ("md", "ipynb") for path in DOCS.rglob(f"*.{kind}")}
# What a browser would fetch by itself.
FETCHED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"(https?:[^\"]*)")


def test_every_page_is_in_the_navigation() -> None:
    indexes = [path for path in PAGES if path.name == "README.md"]

    entries = {
        (index.parent / page).resolve()
        for index in indexes
        for pages in groups(index).values()
        for page in pages
    }
    assert {
        path for path in PAGES if path.with_suffix("") not in entries
    } == {DOCS / "README.md"}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documentation") / "site"
    done = site.build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
@pytest.mark.timeout(2 * HANG_SECONDS)
def test_the_site_is_built_without_a_warning_and_has_every_page(built: Path) -> None:
    assert (built / "index.html").is_file()
    assert (built / "searchindex.js").is_file()
    assert [
        path
        for path in PAGES
        if not (built / path.relative_to(ROOT)).with_suffix(".html").is_file()
    ] == []


@pytest.mark.long
@pytest.mark.timeout(2 * HANG_SECONDS)
def test_no_page_of_the_site_fetches_anything_from_elsewhere(built: Path) -> None:
    pages = list(built.rglob("*.html"))

    fetched = {url for page in pages for url in FETCHED.findall(page.read_text(encoding="utf-8"))}
    assert fetched == set()
    assert not any("url(http" in path.read_text() for path in built.rglob("*.css"))


@pytest.mark.long
@pytest.mark.timeout(2 * HANG_SECONDS)
@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[gone](gate.md#no-such-heading)", "no-such-heading"),
        ("a page that no index links", "lost"),
    ],
)
def test_a_dead_link_or_a_lost_page_is_an_error(
    written: str, complaint: str, tmp_path: Path
) -> None:
    for path in ("README.md", "ops/site/conf.py", "ops/site/index.html"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "ops" / "site", tmp_path / "ops" / "site", dirs_exist_ok=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("# The project\n")
    (tmp_path / "docs" / "README.md").write_text("# Pages\n\n## Try it\n\n- [gate](gate.md)\n")
    (tmp_path / "docs" / "gate.md").write_text(f"# Gate\n\n{written}\n")
    if complaint == "lost":
        (tmp_path / "docs" / "lost.md").write_text("# Lost\n")

    done = site.build(tmp_path / "out" / "site", tmp_path)

    assert done.returncode != 0
    assert complaint in done.stderr
