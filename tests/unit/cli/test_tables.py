"""What is printed for people can be copied, on a narrow terminal and in a pipe."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from pipelines.cli import deliveries, keys, tables
from pipelines.core.keys import report_key
from pipelines.core.store.keyring import Keyring
from pipelines.records.deliveries import Outcome
from tests.support.in_memory import InMemory
from tests.support.made.made_validations import a_validation

DIGEST = "0123456789abcdef" * 4
KEY = "landing/web-of-film-reviews/2026-01-05/reviews-of-the-night-part-0001.jsonl.gz"
SENTENCE = "12.5 % of rows break a row rule, and the limit is 5 %: see which in the report of it."


@pytest.fixture(params=[60, 80, 110, None], ids=lambda width: f"{width} columns")
def printed(request, monkeypatch, capsys):
    """What a terminal of this width shows; None: what is written to a pipe."""
    is_pipe = request.param is None
    console = Console() if is_pipe else Console(force_terminal=True, width=request.param)
    monkeypatch.setattr(tables, "out", console)

    def text() -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)

    return text


def test_no_id_or_key_is_cut_or_broken(printed):
    tables.print_table(
        "Deliveries", ("delivery", "landing key", "why"), [(DIGEST, KEY, SENTENCE)] * 2, if_empty=""
    )

    text = printed()
    assert text.count(DIGEST) == 2
    assert text.count(KEY) == 2
    assert "…" not in text


def test_an_id_inside_of_a_sentence_is_not_broken_either(printed):
    tables.print_table("Findings", ("", "what"), [("error", f"see {DIGEST}")], if_empty="")

    assert DIGEST in printed()


def test_a_sentence_is_broken_between_words_only(printed):
    tables.print_table("Rules", ("rule", "what it saw"), [("row_rules", SENTENCE)], if_empty="")

    words = re.findall(r"[^\s│┃]+", printed())
    assert set(SENTENCE.split()) <= set(words)


def test_facts_stand_in_a_line_each_and_so_does_each_item_of_a_list(printed):
    tables.print_facts({"trusted_keys": [DIGEST, DIGEST[::-1]], "landing_key": KEY, "replays": []})

    lines = [line.rstrip() for line in printed().splitlines()]
    assert lines == [
        f"trusted keys  {DIGEST}",
        f"              {DIGEST[::-1]}",
        f"landing key   {KEY}",
        "replays       -",
    ]


def test_an_empty_table_is_a_sentence(printed):
    tables.print_table("Champions", ("version",), [], if_empty="There is no champion yet.")

    assert printed().strip() == "There is no champion yet."


def test_control_characters_of_foreign_text_are_shown_and_not_obeyed(printed):
    tables.print_table("Findings", ("key", "what"), [("a\x1b[31mb", "c\rd")], if_empty="")

    text = printed()
    assert "\x1b" not in text
    assert "\r" not in text


def test_the_public_key_that_people_copy_is_whole(printed, s3_environment, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (key,) = Keyring(()).trusted_keys()

    keys.keys_show()

    assert key in printed()


def test_what_is_held_is_listed_and_shown_with_its_whole_digest_and_report_key(
    printed, monkeypatch
):
    reviews = InMemory()
    validation = a_validation(delivery=DIGEST)
    reviews.put_record(validation)
    reviews.put_record(Outcome(
        delivery=DIGEST, source="web", night="2026-01-09", landing_key=KEY, version_tag="1",
        counted_in="2026-01-09", verdict="HELD", why=SENTENCE, delivered_rows=40, accepted_rows=0,
        quarantined_rows=0, held_rows=40, accepted=None, quarantined=None,
        validation_key=validation.object_key,
    ))  # fmt: skip
    monkeypatch.setattr(deliveries, "_reviews", lambda: reviews)

    deliveries.delivery_list()
    listed = printed()
    deliveries.delivery_show(DIGEST[:8])
    shown = printed()

    assert DIGEST in listed
    assert KEY in listed
    assert f"delivery          {DIGEST}\n" in shown
    assert f"report            {report_key(validation.object_key)}\n" in shown
