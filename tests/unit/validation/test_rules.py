from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from great_expectations import expectations as gxe

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.features import signatures
from pipelines.features.fingerprints import fingerprint
from pipelines.features.signatures import Known
from pipelines.features.text_id import text_id
from pipelines.intake.files.decoding import Rows
from pipelines.intake.files.rows import RawRow
from pipelines.simulation.made_up import make_reviews
from pipelines.validation.checks import Checked, check_rows
from pipelines.validation.gx_runner import run_rules
from pipelines.validation.history import History, empty
from pipelines.validation.measurements import measure
from pipelines.validation.rules import Rule
from tests.support.made.builders import some_rows
from tests.support.timing import cpu_seconds

NIGHT = date(2026, 1, 5)
LIMITS = load(CONFIG_FOLDER / "default.toml").validation.model_copy(
    update={"max_text_chars": 2_000, "balance_min_rows": 40}
)
PROSE = " ".join(make_reviews(40, seed=3)["text"].to_pylist())  # reads like a review of any length
GERMAN = (
    "Der Film war leider viel zu lang und die Geschichte hat mich nicht begeistert, obwohl die "
    "Schauspieler sich sichtlich anstrengen und die Musik stellenweise gut ist. Nach einer Stunde "
    "habe ich nur noch auf die Uhr geschaut und gehofft, dass es bald vorbei ist."
)
ALREADY_COUNTED = (PROSE[20_000:20_900], PROSE[24_000:24_900])


def decoded(rows: list[dict[str, Any]]) -> Rows:
    decoded_rows = Rows()
    for row in rows:
        decoded_rows.append(RawRow(row, None, 0))
    return decoded_rows


def checked(rows: list[dict[str, Any]]) -> Checked:
    known = knowing(ALREADY_COUNTED)
    return check_rows(decoded(rows), night=NIGHT, settings=LIMITS, history=known)


def knowing(texts: Sequence[str]) -> History:
    """As if these texts had been accepted before."""
    grams = fingerprint(texts, signatures.VIEW)
    keys = signatures.text_keys(
        np.array([[*bytes.fromhex(text_id(text))] for text in texts], np.uint8)
    )
    return replace(empty("2026-01-05"), known=Known(np.sort(keys), signatures.signatures(grams)))


def failed(result: Checked, severity: str) -> list[str]:
    return [
        finding.rule.name
        for finding in result.findings
        if finding.rule.severity == severity and not finding.is_passed
    ]


def with_positive(positive: int, *, of: int) -> list[dict[str, Any]]:
    """Good rows, the first ``positive`` of which praise."""
    return [
        row
        | ({"label": "positive", "rating": 9} if number < positive else
           {"label": "negative", "rating": 2})
        for number, row in enumerate(some_rows(of))
    ]  # fmt: skip


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────

FAULTS = [
    ("malformed_row", {"movie_id": ["tt0000001"]}),
    ("invalid_utf8", {"text": "A caf\udce9 with twenty letters."}),
    ("text_missing", {"text": None}),
    ("text_missing", {"text": ""}),
    ("text_missing", {"text": "<br /><br />  <br /><br />\n<br />"}),
    ("text_html", {"text": "Good <script>alert(1)</script> film, all in all."}),
    ("text_html", {"text": "Good < / DIV > film, all in all."}),
    ("text_html", {"text": 'Good <a href="x">film</a>, all in all.'}),
    ("text_html", {"text": "A <b>bold</b> word, all in all."}),
    ("text_mojibake", {"text": "A cafÃ© in which nothing happens."}),
    ("text_mojibake", {"text": "Itâ€™s a film in which nothing happens."}),
    ("text_mojibake", {"text": "A caf\ufffd in which nothing happens."}),
    ("text_repeated", {"text": some_rows(4)[3]["text"]}),
    ("text_repeated", {"text": f"  {some_rows(4)[3]['text'].upper()}<br />"}),
    ("label_contradicts_rating", {"label": "positive", "rating": 4}),
    ("label_contradicts_rating", {"label": "negative", "rating": 7}),
    ("rating_invalid", {"rating": 11}),
    ("rating_invalid", {"rating": "a lot"}),
    ("date_invalid", {"written_on": "yesterday"}),
    ("date_invalid", {"written_on": None}),
    ("written_in_future", {"written_on": "2026-01-07"}),
    ("text_length", {"text": "Nineteen letters..."}),
    ("text_length", {"text": PROSE[:2_001]}),
    ("text_escaped", {"text": "Good &lt;i&gt;film&lt;/i&gt;, all things considered."}),
    ("text_escaped", {"text": "Good &amp;quot;film&amp;quot;, all things considered."}),
    ("text_repetitive", {"text": "What a great film! " * 20}),
    ("text_other_language", {"text": GERMAN}),
    ("review_id_missing", {"review_id": None}),
    ("review_id_missing", {"review_id": "  "}),
    ("review_id_repeated", {"review_id": some_rows(4)[3]["review_id"]}),
    ("text_near_repeated", {"text": PROSE[4_000:4_900] + " Not bad."}),
    ("text_known", {"text": f"<br />{ALREADY_COUNTED[0].upper()} "}),
    ("text_near_known", {"text": ALREADY_COUNTED[1] + " Not bad."}),
    ("written_too_long_ago", {"written_on": "2025-12-05"}),
    ("label_missing", {"label": None}),
    ("label_unknown", {"label": "maybe"}),
    ("label_unknown", {"label": 1}),
    ("label_missing", {"label": ""}),
    ("label_neutral", {"label": "neutral"}),
]


HARMLESS = [
    {"text": "Good.<br /><br />A line break is how the site sends paragraphs."},
    {"text": "I <3 this film, and 1 < 2 and 3 > 2 and a bold word."},
    {"text": "Größe, naïve, déjà vu, São Paulo, Ästhetik, 日本語, \N{GRINNING FACE}"},
    {"text": "Twenty letters here."},
    {"text": PROSE[:2_000].strip()},
    {"text": "  " + PROSE[10_000:12_000].strip() + "\n"},
    {"text": "Zzz. " * 39},
    {"text": GERMAN[:190]},
    {"text": "NUL \0 and bell \a are odd, but they can be read."},
    {"rating": None},
    {"movie_id": None},
    {"label": "Positive", "rating": None},
    {"label": "positive", "rating": 5},
    {"label": "negative", "rating": 6},
    {"written_on": "2026-01-06"},
    {"written_on": "2025-12-06"},
]


@pytest.fixture(scope="module")
def one_of_each() -> Checked:
    """A delivery whose first rows have one fault each; harmless oddities and good rows follow."""
    oddities = [fault for _, fault in FAULTS] + HARMLESS
    first = some_rows(4)
    first[2]["text"] = PROSE[4_000:4_900]
    originals = first + some_rows(len(oddities) + 40, first=4)
    changed = [row | oddity for row, oddity in zip(originals[4:], oddities, strict=False)]
    return checked([*originals[:4], *changed, *originals[4 + len(changed) :]])


@pytest.mark.parametrize(
    ("place", "rule"),
    [(4 + number, rule) for number, (rule, _) in enumerate(FAULTS)],
    ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(FAULTS)],
)
def test_a_fault_breaks_its_own_rule_and_no_other(one_of_each, place, rule):
    assert one_of_each.reasons[place] == [rule]


def test_what_is_unusual_but_right_breaks_no_rule(one_of_each):
    assert sorted(one_of_each.reasons) == list(range(4, 4 + len(FAULTS)))


def test_every_row_rule_is_broken_by_some_fault_here(one_of_each):
    names = {rule for rule, _ in FAULTS}

    assert set(failed(one_of_each, "row")) == names
    assert {f.rule.name for f in one_of_each.findings if f.rule.severity == "row"} == names


def test_a_row_with_several_faults_carries_every_reason():
    rows = some_rows(40)
    rows[7] = rows[7] | {"label": "maybe", "rating": 99, "written_on": "2999-01-01"}

    result = checked(rows)

    assert {row: sorted(codes) for row, codes in result.reasons.items()} == {
        7: ["label_unknown", "rating_invalid", "written_in_future"]
    }


def test_of_three_equal_texts_the_first_one_counts():
    rows = some_rows(60)
    for row in (5, 20):
        rows[row] = rows[row] | {"text": rows[2]["text"]}

    result = checked(rows)

    assert result.reasons == {5: ["text_repeated"], 20: ["text_repeated"]}


def test_the_reviews_themselves_are_not_shown_to_the_rules():
    rows = some_rows(2)

    frame = measure(decoded(rows), night=NIGHT, settings=LIMITS).frame

    seen = {value for column in frame for value in frame[column].tolist()}
    assert not seen & {row["text"] for row in rows}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("<" + " " * 2_000_000 + "x", id="a-bracket-and-blanks"),
        pytest.param("< / " * 500_000, id="brackets-that-never-close"),
        pytest.param("a" + "\u0300\u0316" * 1_000_000, id="accents-on-one-letter"),
        pytest.param("<" + " " * 1_997 + ".x", id="blanks-within-the-allowed-length"),
    ],
)
def test_a_text_made_to_stall_the_rules_does_not(text):
    plain = ("a word or two, " * (len(text) // 15 + 1))[: len(text)]
    hostile, harmless = (
        decoded([row | {"text": given} for row in some_rows(1)]) for given in (text, plain)
    )

    stalled, usual = (
        cpu_seconds(lambda rows=rows: measure(rows, night=NIGHT, settings=LIMITS))
        for rows in (hostile, harmless)
    )

    assert stalled < 50 * usual


# ── The delivery as a whole ──────────────────────────────────────────────────────────────────


def test_a_delivery_of_the_smallest_size_passes_and_one_row_less_is_held():
    enough, too_few = checked(some_rows(20)), checked(some_rows(19))

    assert failed(enough, "critical") == []
    assert failed(too_few, "critical") == ["row_count"]


def test_a_delivery_at_the_quarantine_limit_passes_and_one_row_more_is_held():
    two_of_forty, three_of_forty = some_rows(40), some_rows(40)
    for row in (0, 1):
        two_of_forty[row] = two_of_forty[row] | {"label": None}
    for row in (0, 1, 2):
        three_of_forty[row] = three_of_forty[row] | {"label": None}

    assert failed(checked(two_of_forty), "critical") == []  # 2 / 40 = 5 %
    assert failed(checked(three_of_forty), "critical") == ["quarantined_share"]  # 7.5 %


@pytest.mark.parametrize(
    ("positive", "critical", "warning"),
    [
        (0, ["class_balance"], ["class_balance_unusual"]),
        (3, ["class_balance"], ["class_balance_unusual"]),  # 7.5 %
        (4, [], ["class_balance_unusual"]),  # 10 %
        (13, [], ["class_balance_unusual"]),  # 32.5 %
        (14, [], []),  # 35 %
        (26, [], []),  # 65 %
        (27, [], ["class_balance_unusual"]),  # 67.5 %
        (36, [], ["class_balance_unusual"]),  # 90 %
        (37, ["class_balance"], ["class_balance_unusual"]),  # 92.5 %
        (40, ["class_balance"], ["class_balance_unusual"]),
    ],
)
def test_the_share_of_positive_reviews_is_judged_at_its_limits(positive, critical, warning):
    result = checked(with_positive(positive, of=40))

    assert failed(result, "critical") == critical
    assert failed(result, "warning") == warning


def test_a_small_delivery_may_be_one_sided():
    result = checked(with_positive(39, of=39))

    assert failed(result, "critical") == []
    assert "class_balance" not in {finding.rule.name for finding in result.findings}


def test_quarantined_rows_have_no_say_in_the_class_balance():
    rows = with_positive(5, of=41)
    rows[0] = rows[0] | {"written_on": "2999-01-01"}

    (balance,) = [
        finding for finding in checked(rows).findings if finding.rule.name == "class_balance"
    ]

    assert balance.observed == pytest.approx(4 / 40)
    assert balance.is_passed


def test_an_empty_delivery_never_passes():
    result = checked([])

    assert "row_count" in failed(result, "critical")
    assert result.reasons == {}


def test_a_delivery_of_nothing_but_null_never_passes():
    result = checked([dict.fromkeys(some_rows(1)[0])] * 40)

    assert sorted(result.reasons) == list(range(40))
    assert set(result.reasons[0]) == {
        "text_missing", "label_missing", "date_invalid", "review_id_missing",
    }  # fmt: skip
    assert "quarantined_share" in failed(result, "critical")


# ── Checks that crash ────────────────────────────────────────────────────────────────────────


def in_set(column: str, **common: Any) -> Any:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[False], **common)


def at_most_one(column: str, **common: Any) -> Any:
    return gxe.ExpectColumnMeanToBeBetween(column=column, max_value=1.0, **common)


@pytest.mark.parametrize(
    "rule",
    [
        Rule("row_check", "row", "no_such_column", "no", "are odd", in_set),
        Rule("batch_check", "critical", "no_such_column", "no", "the share", at_most_one),
        Rule("odd_type", "critical", "label", "no", "the share", at_most_one),
    ],
    ids=lambda rule: rule.name,
)
def test_a_check_that_crashes_has_not_passed_and_harms_no_other(rule):
    frame = measure(decoded(some_rows(20)), night=NIGHT, settings=LIMITS).frame
    sound = Rule("sound", "row", "text_html", "no", "are odd", in_set)

    crashed, passed = run_rules(frame, [rule, sound])

    assert (crashed.has_crashed, crashed.is_passed) == (True, False)
    assert (passed.has_crashed, passed.is_passed) == (False, True)
