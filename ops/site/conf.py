"""How Sphinx builds the documentation as a site: `make docs`.

The pages are read as they are. Their indexes are the navigation: each heading of `docs/README.md`
is a group, each page that it links an entry, and so in the indexes of the folders below it.
A page that no index links, and a link or anchor that leads nowhere, is an error.
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_ENTRY = re.compile(r"^[-|].*", re.MULTILINE)
_PAGE = re.compile(r"\]\((?P<page>[^)#:]+)\.(?:md|ipynb)\)")
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<path>[^)#:\s]+)\)")

project = html_title = "retraining-loop"
copyright = "the retraining-loop authors, Apache License 2.0"  # noqa: A001
root_doc = "README"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".ipynb": "markdown"}
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*"]
myst_heading_anchors = 4
html_theme = "furo"
html_extra_path = ["index.html"]
html_copy_source = False
html_show_sphinx = False
html_theme_options: dict[str, Any] = {"top_of_page_buttons": []}


def groups(index: Path) -> dict[str, list[str]]:
    """The pages that the lists and tables of an index link, by the heading above them.

    Relative to the index, and without their suffix.
    """
    _, *parts = re.split(r"^#+ (.+)\n", index.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {
        title: list(dict.fromkeys(_PAGE.findall("\n".join(_ENTRY.findall(text)))))
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: pages for title, pages in found.items() if pages}


def _toctree(pages: list[str], *options: str) -> str:
    return "\n".join(["", "```{toctree}", ":hidden:", *options, "", *pages, "```", ""])


def _with_navigation(page: str, text: str) -> str:
    if page == root_doc:
        found = groups(ROOT / "docs" / "README.md")
        lists = [_toctree(["docs/README"])] + [
            _toctree([f"docs/{one}" for one in pages], f":caption: {title}")
            for title, pages in found.items()
        ]
    elif page.endswith("/README") and page != "docs/README":
        lists = [_toctree(pages) for pages in groups(ROOT / f"{page}.md").values()]
    else:
        lists = []
    return "".join([text, *lists])


def _without_folders(page: str, text: str) -> str:
    """A forge shows a folder that is linked; a site cannot."""
    here = (ROOT / page).parent
    return _LINK.sub(lambda link: link["text"] if (here / link["path"]).is_dir() else link[0], text)


def _as_markdown(notebook: str) -> str:
    """The cells of a notebook; it is kept without what they printed."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(notebook)["cells"]]
    return "\n\n".join(
        f"```python\n{text}\n```" if kind == "code" else text for kind, text in cells
    )


def _prepare(_app: object, page: str, source: list[str]) -> None:
    if (ROOT / f"{page}.ipynb").is_file():
        source[0] = _as_markdown(source[0])
    source[0] = _without_folders(page, _with_navigation(page, source[0]))


def setup(app: Any) -> None:
    app.connect("source-read", _prepare)
