"""What a person is asked: complete, worst first, bounded, and nothing in it is obeyed."""

from __future__ import annotations

import pytest

from pipelines.gate import question
from pipelines.records.decisions import Decision, GateRule


def a_rule(name="accuracy", *, is_passed=True, group="floor", sentence="It is well."):
    return GateRule(
        rule=name, group=group, is_passed=is_passed, observed=None, limit=None, sentence=sentence
    )


def a_decision(*rules, **changes):
    values = {
        "model_name": "sentiment",
        "version": "a" * 20,
        "manifest_sha256": "0" * 64,
        "evaluation_sha256": "0" * 64,
        "champion_generation": 3,
        "champion_version": "c" * 20,
        "reference_version": "c" * 20,
        "policy": "0" * 64,
        "verdict": "INCONCLUSIVE",
        "approval": "needed",
        "becomes_reference": False,
        "why": "Too few rows.",
        "rules": rules,
    }
    return Decision(**(values | changes))


def described(decision):
    return question.describe(decision, timeout_hours=20.0)


def test_the_question_says_who_asks_against_whom_why_and_until_when():
    text = described(a_decision())

    assert "a" * 20 in text
    assert f"in place of **{'c' * 20}** (generation 3)" in text
    assert "because the scores do not decide it (verdict **INCONCLUSIVE**)." in text
    assert "> Too few rows." in text
    assert "within 20 hours" in text


def test_the_first_line_tells_one_decision_from_another_and_nothing_else():
    def first_line(hours=20.0, **changes):
        return question.describe(a_decision(**changes), timeout_hours=hours).partition("\n")[0]

    assert first_line() == first_line(hours=1.0)
    assert len({first_line(), first_line(champion_generation=4), first_line(policy="1" * 64)}) == 3


@pytest.mark.parametrize(
    ("verdict", "because"),
    [
        ("PROMOTE", "there is no champion to compare it with (verdict"),
        ("INCONCLUSIVE", "there is no champion to compare it with and the scores do not decide it"),
    ],
)
def test_without_a_champion_the_question_says_so(verdict, because):
    text = described(a_decision(verdict=verdict, champion_generation=0, champion_version=None))

    assert because in text
    assert text.count("there is still no champion") == 2
    assert "in place of" not in text


def test_the_rules_that_decided_are_rows_floors_first_and_the_others_are_counted():
    rules = (
        a_rule("fine"),
        a_rule("too_few_rows", group="sufficiency", is_passed=False, sentence="9 of 20."),
        a_rule("broken", is_passed=False, sentence="7 of 10."),
        a_rule("log_loss_gain", is_passed=False, group="gain"),
    )

    text = described(a_decision(*rules))

    assert [line for line in text.splitlines() if line.startswith("| ")][1:] == [
        "| **FAIL** | broken | 7 of 10. |",
        "| **FAIL** | too\\_few\\_rows | 9 of 20. |",
    ]
    assert text.endswith("1 other rule passed.")


def test_where_nothing_failed_the_gain_decides():
    rules = (a_rule("fine"), a_rule("log_loss_gain", is_passed=False, group="gain"))

    text = described(a_decision(*rules, verdict="HOLD"))

    assert "| no | log\\_loss\\_gain | It is well. |" in text
    assert "1 other rule passed." in text


def test_a_question_leads_to_the_decision_the_card_and_the_runbook():
    decision = a_decision()
    page = f"/retraining/decisions/{'a' * 20}/00000003-{'0' * 16}"

    below, known = (
        described(decision),
        question.describe(decision, timeout_hours=20.0, airflow_url="https://airflow.example/"),
    )

    assert f"[All rules, scores and plots]({page}), [model card]({page}/card)" in below
    assert "[how to decide](/retraining/runbooks/approval)." in below
    assert f"](https://airflow.example{page}/card)" in known


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<b>x</b>", r"\<b\>x\</b\>"),
        ("a | b", r"a \| b"),
        ("[x](http://y)", "\\[x\\](http:\u2060//y)"),
        ("![x](y)", r"!\[x\](y)"),
        ("`x` *y* _z_ ~w~", r"\`x\` \*y\* \_z\_ \~w\~"),
        ("&lt;script&gt;", r"\&lt;script\&gt;"),
        ("\\|", r"\\\|"),
        ("one\n| two\t\u202e\x1b[31m", r"one \| two \[31m"),
        ("{{ 7 * 7 }}", r"{{ 7 \* 7 }}"),
    ],
)
def test_nothing_in_a_sentence_is_obeyed(hostile, shown):
    assert question.escape(hostile) == shown


def test_a_sentence_cannot_add_a_row_or_a_column_to_the_table():
    forged = a_rule(sentence="x |\n| ok | forged | all is well |", is_passed=False)

    text = described(a_decision(forged))

    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2  # the head and the rule
    assert rows[1].replace(r"\|", "").count("|") == 4


def test_the_question_is_bounded_and_counts_the_rules_that_it_leaves_out():
    rules = [
        a_rule(f"rule_{number}", sentence="*" * 1000, is_passed=False) for number in range(500)
    ]

    text = described(a_decision(*rules, why="_" * 100_000))

    shown = sum(line.startswith("| **FAIL**") for line in text.splitlines())
    assert len(text) <= question.MAX_CHARS
    assert shown == question.MAX_ROWS
    assert f"{500 - shown:,} more rules that failed are not shown" in text
    assert f"decision show {'a' * 20}" in text
