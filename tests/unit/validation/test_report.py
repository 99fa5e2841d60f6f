"""The page on a delivery: complete, whole in itself, and safe to open whatever a review says."""

import re
from html.parser import HTMLParser

import pytest

from pipelines.validation import report
from tests.support.made.made_validations import a_delivery, a_profile, a_validation

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</td></table><iframe src='javascript:alert(1)'>",
    '"><svg/onload=alert(1)>',
    "{{ 7 * 7 }} {% include '/etc/passwd' %}",
    "lone \ud800 surrogate and \x00 NUL",
]
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "tr", "th", "td",
    "svg", "rect", "text",
}  # fmt: skip


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes.update(name for name, _ in attrs)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_becomes_markup(text):
    page = report.render(a_validation(text), a_delivery(text), a_validation(text))

    tags = Tags()
    tags.feed(page)
    assert tags.found <= TAGS
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert "49" not in page


def test_the_page_asks_nobody_for_anything():
    page = report.render(a_validation(), a_delivery(), a_validation())

    assert not re.search(r"[\s\"](src|href)=|url\(|https?:", page)
    assert "default-src 'none'" in page


def test_the_page_says_what_failed_which_rows_and_what_to_do():
    page = report.render(a_validation("<b>odd</b>"), a_delivery(), None)

    assert "1 of 40 rows is odd: &lt;b&gt;odd&lt;/b&gt;" in page
    assert '<td>7<td class="words">' in page
    assert "docs/runbooks/held-delivery.md" in page
    assert "This source has no good delivery within the trailing nights." in page


def test_only_a_column_that_is_wide_enough_for_words_may_break_them():
    page = report.render(a_validation(), a_delivery(), None)

    style = page.partition("<style>")[2].partition("</style>")[0]
    rules = dict(re.findall(r"([^{}]+?) *\{([^}]*)\}", style))
    breaking = {name.strip() for name, kept in rules.items() if "anywhere" in kept}
    assert breaking == {"body", ".words", ".text"}
    assert all("min-width" in rules[f"\n{name}"] for name in (".words", ".text"))
    assert "white-space: nowrap; overflow-wrap: normal" in rules["\nth, td"]


def test_the_difference_to_the_last_good_delivery_is_shown():
    before = a_validation(
        delivered_rows=80, reasons={"text_missing": 2}, profile=a_profile(80, positive=40)
    )

    page = report.render(a_validation(), a_delivery(), before)

    assert "<tr><td>rows delivered<td>40<td>80" in page
    assert "<tr><td>rows with text_html<td>1<td>0" in page
    assert "<tr><td>rows with text_missing<td>0<td>2" in page
    assert "<tr><td>share of positive reviews<td>25.0%<td>50.0%" in page


def test_how_far_chance_alone_would_move_it_stands_beside_the_drift_of_now():
    lines = report.differences(a_validation(), a_validation())

    # 40 and 40 texts in 16 bins: (16 - 1) * (1/40 + 1/40); 256 and 256 n-grams in 256 bins
    assert ("drift of text lengths", "0.000 (chance alone: 0.750)", "-") in lines
    assert ("drift of words", "0.000 (chance alone: 1.992)", "-") in lines


def test_a_file_that_could_not_be_read_has_a_page_without_a_chart():
    page = report.render(a_validation(profile=None, reference=None), a_delivery(), None)

    assert "<rect" not in page


def test_the_same_findings_give_the_same_page():
    pages = {report.render(a_validation(), a_delivery(), a_validation()) for _ in range(2)}

    assert len(pages) == 1


def test_what_hides_or_turns_a_line_round_in_a_review_is_spelled_out():
    page = report.render(a_validation("good\u202e\u2066\x07 film"), a_delivery(), None)

    assert not {"\u202e", "\u2066", "\x07"} & set(page)
    assert "good\\u202e\\u2066\\x07 film" in page
