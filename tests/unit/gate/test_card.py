"""The model card: complete, honest, the same every time, and no place for anybody's markup."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipelines.core.escaping import code, escaped, table
from pipelines.core.record import sha256_of
from pipelines.gate.card import card
from pipelines.gate.card.sentences import Evidence, Signers
from pipelines.gate.card.tables import MOST_DELIVERIES
from pipelines.records.data import Partition, Snapshot
from pipelines.records.decisions import GateRule
from pipelines.records.deliveries import Outcome
from pipelines.records.versions import Manifest, Plan, StarClass
from tests.support.made.judgement_builders import (
    CHAMPION,
    DIGEST,
    VERSION,
    a_check,
    a_decision_on,
    a_first_model,
    a_set_of_classes,
    an_evaluation,
    an_evaluation_of_classes,
    some_behaviour,
    some_metrics,
    some_set,
    some_slice,
)

HOSTILE = (
    "<script>x</script> [a](http://evil.example) ![b](c) `d` | *e* _f_ @g\n# h \x1b[31m \u202e"
)
OURS = {"calibration.svg", "slices.svg", "history.svg"}


def a_partition(number: int) -> Partition:
    day = f"2026-01-{number:02d}"
    digest = sha256_of(day.encode())
    return Partition(
        key=f"accepted/date={day}/{digest}.parquet", sha256=digest, rows=10, size_bytes=1
    )


def an_outcome(partition: Partition, **changes: object) -> Outcome:
    """Ten rows accepted and two in quarantine."""
    values = {
        "delivery": partition.sha256,
        "source": "web",
        "night": partition.night,
        "landing_key": "landing/web/file.csv",
        "version_tag": "",
        "counted_in": partition.night,
        "verdict": "PARTLY_ACCEPTED",
        "why": "Some rows break rules.",
        "delivered_rows": 12,
        "accepted_rows": 10,
        "quarantined_rows": 2,
        "held_rows": 0,
        "accepted": partition,
        "quarantined": None,
        "validation_key": "reports/validation.json",
    }
    return Outcome(**(values | changes))


def some_evidence(evaluation=None, *, nights=2, candidate=None, **changes) -> Evidence:
    partitions = tuple(a_partition(number) for number in range(1, nights + 1))
    snapshot = Snapshot(
        partitions=partitions, rows=10 * nights, holdout_share=0.2, selection_share=0.1, salt="x"
    )
    plan = Plan(
        model_name="sentiment",
        snapshot=snapshot.digest(),
        candidates={"some": candidate or {"factory": "pipelines.models.factories:fingerprint_sgd",
                                          "parameters": {"ngram_max": 3, "alpha": 1e-06}}},
        folds=3,
        keep_share=0.5,
        min_training_rows=2,
        seed=7,
        code="1" * 64,
        environment="2" * 64,
    )  # fmt: skip
    manifest = Manifest(
        model_name="sentiment",
        version=VERSION,
        plan=plan,
        candidate="some",
        selection=(),
        featurizer="fp1",
        training_rows=15,
        holdout_rows=4,
        duplicate_rows=1,
        training_digest="3" * 64,
        model_key="model.skops",
        model_sha256="4" * 64,
        model_size_bytes=12_000_000,
    )
    evaluation = evaluation or an_evaluation()
    values = {
        "decision": a_decision_on(evaluation),
        "evaluation": evaluation,
        "manifest": manifest,
        "snapshot": snapshot,
        "outcomes": tuple(an_outcome(part) for part in partitions),
        "history": (),
        "check": a_check(),
        "signers": Signers(manifest="5" * 64, decision="6" * 64),
    }
    return Evidence(**(values | changes))


def rows_of(text: str, heading: str) -> list[list[str]]:
    """Cells of all table lines between a heading and the next one."""
    section = text.partition(f"# {heading}\n")[2].partition("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_a_card_says_who_was_compared_and_what_was_decided():
    text = card.render(some_evidence())

    assert text.startswith(f"# sentiment {VERSION}\n\n**PROMOTE**: Because.\n")
    assert f"compared with the champion `{CHAMPION}` of generation 3" in text


def test_a_card_of_a_first_model_compares_with_nobody():
    text = card.render(some_evidence(a_first_model()))

    assert "There was no champion to compare it with" in text
    assert [row[2] for row in rows_of(text, "Scores")[2:]] == ["challenger"] * 3
    assert "It was not compared with another model." in text


def test_a_reference_that_is_the_champion_is_shown_once():
    text = card.render(some_evidence(an_evaluation(reference_version=CHAMPION)))

    assert "the same one." in text
    assert "reference" not in [row[2] for row in rows_of(text, "Scores")]


def test_the_nights_rows_and_quarantine_counts_add_up():
    text = card.render(some_evidence())

    assert "20 accepted reviews, delivered for the nights from 2026-01-01 to 2026-01-02" in text
    assert "15 were trained on, 4 are held out by film, and 1 repeat another review" in text
    assert [row[0:2] + row[3:] for row in rows_of(text, "Data")[2:]] == [
        ["2026-01-02", "`web`", "12", "10", "2"],
        ["2026-01-01", "`web`", "12", "10", "2"],
    ]
    assert "4 of 24 delivered rows (16.67%) are in quarantine" in text


def test_a_long_list_of_deliveries_ends_in_a_sum():
    text = card.render(some_evidence(nights=MOST_DELIVERIES + 3))

    rows = rows_of(text, "Data")[2:]
    assert len(rows) == MOST_DELIVERIES + 1
    assert rows[-1] == ["earlier", "-", "3 deliveries", "36", "30", "6"]


def test_partitions_of_rows_that_were_released_later_are_counted():
    """No outcome names them: a replay added them."""
    evidence = some_evidence()

    text = card.render(some_evidence(outcomes=evidence.outcomes[:1]))

    assert "Partitions of rows that were released later: 1." in text


def test_every_score_of_every_model_is_there():
    challenger = some_metrics(accuracy=0.9123, log_loss=0.2101, true_positive=2280)
    text = card.render(some_evidence(an_evaluation(holdout=some_set(challenger=challenger))))

    scores = rows_of(text, "Scores")[2:11]
    assert [row[:3:2] for row in scores] == [
        [name, who]
        for name in ("holdout", "newest", "golden")
        for who in ("challenger", "champion", "reference")
    ]
    assert scores[0][3:] == ["91.23%", "91.00%", "91.00%", "0.9100", "0.9700", "0.2101", "1.00%"]
    assert rows_of(text, "Right and wrong on the holdout")[2] == [
        "challenger", "positive", "2,280", "225"
    ]  # fmt: skip


def test_a_missing_score_is_a_dash_and_nothing_is_left_to_fill_in():
    nothing = some_set(challenger=None, champion=None, reference=None,
                       against_champion=None, against_reference=None)  # fmt: skip
    evaluation = an_evaluation(
        holdout=nothing,
        slices=(some_slice(challenger_accuracy=None, champion_accuracy=None,
                           against_champion=None),),
        behaviour=None,
        champion_behaviour=None,
    )  # fmt: skip

    text = card.render(some_evidence(evaluation, check=None))

    assert rows_of(text, "Scores")[2][3:] == ["-"] * 7
    assert rows_of(text, "Slices of the holdout")[2] == ["`rating=mild`", "1,500", *["-"] * 4]
    assert "Its behaviour was not tested" in text
    assert not re.search(r"\bNone\b|\bnan\b|More Information|TODO|\{\{|\}\}", text)


def test_what_the_capabilities_say_it_cannot_do_is_among_its_limits():
    text = card.render(some_evidence(an_evaluation(behaviour=some_behaviour(negation=5))))

    limits = text.partition("## Limits")[2].partition("\n## ")[0]
    assert "It gets 5 of 20 cases of `negation` wrong (minimum functionality)." in limits
    assert "`vocabulary`" not in limits
    assert rows_of(text, "Behaviour")[2] == [
        "`negation`", "minimum functionality", "20", "5", "10.00%", "0"
    ]  # fmt: skip


def test_the_weakest_slice_is_among_its_limits():
    parts = (some_slice("rating=mild", challenger_accuracy=0.71), some_slice("rating=extreme"))

    text = card.render(some_evidence(an_evaluation(slices=parts)))

    assert "It is weakest on `rating=mild`: 71.00% of 1,500 reviews right." in text


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (None, "weighs runs of up to 3 words or marks and does not read sentences"),
        ({"factory": "theirs.models:deep", "parameters": {}},
         "The limits of `theirs.models:deep` are not known here."),
    ],
)  # fmt: skip
def test_a_model_is_called_a_bag_of_n_grams_only_if_it_is_one_of_ours(candidate, said):
    text = card.render(some_evidence(candidate=candidate))

    assert said in text
    assert ("bag of n-grams" in text) == (candidate is None)


def test_it_says_what_it_is_not_for():
    text = " ".join(card.render(some_evidence()).split())

    assert "not meant for decisions about people" in text
    assert "or for other languages" in text


def test_every_rule_is_there_with_its_sentence():
    rules = tuple(
        GateRule(rule=name, group=group, is_passed=is_passed, observed=None, limit=None,
                 sentence=f"It saw {name}.")
        for name, group, is_passed in (("overlap", "floor", True), ("mcnemar", "champion", False),
                                       ("log_loss_gain", "gain", False))
    )  # fmt: skip
    evidence = some_evidence()

    text = card.render(some_evidence(decision=a_decision_on(evidence.evaluation, rules=rules)))

    assert rows_of(text, "Rules of the gate")[2:] == [
        ["ok", "floor", "`overlap`", "It saw overlap."],
        ["FAIL", "champion", "`mcnemar`", "It saw mcnemar."],
        ["no", "gain", "`log_loss_gain`", r"It saw log\_loss\_gain."],
    ]


def test_every_digest_is_there():
    evidence = some_evidence()

    rows = rows_of(card.render(evidence), "Digests")

    names = {row[1].strip("`") for row in rows}

    plan = evidence.manifest.plan
    wanted = {str(digit) * 64 for digit in range(1, 7)}  # code ... key ids
    wanted |= {DIGEST, plan.digest(), plan.snapshot, evidence.decision.digest()}
    assert wanted <= names


def test_nothing_that_is_filled_in_becomes_markup():
    evaluation = an_evaluation(slices=(some_slice(f"source={HOSTILE}"),))
    partitions = some_evidence().snapshot.partitions
    rule = GateRule(rule=HOSTILE, group="floor", is_passed=True, observed=None, limit=None,
                    sentence=HOSTILE)  # fmt: skip
    evidence = some_evidence(
        evaluation,
        candidate={"factory": HOSTILE, "parameters": {HOSTILE: HOSTILE}},
        decision=a_decision_on(evaluation, why=HOSTILE, rules=(rule,)),
        outcomes=tuple(an_outcome(part, source=HOSTILE) for part in partitions),
    )

    text = card.render(evidence)

    assert not re.search(r"(?<!\\)<", text)
    assert set(re.findall(r"(?<!\\)\]\(([^)]*)\)", text)) == OURS
    assert not re.search(r"(?i)https?://|@g", text)
    assert re.findall(r"(?m)^# .*", text) == [f"# sentiment {VERSION}"]
    assert all(letter.isprintable() or letter in "\n\N{WORD JOINER}" for letter in text)
    for heading in ("Rules of the gate", "Data", "Model", "Slices of the holdout"):
        assert len({len(row) for row in rows_of(text, heading)}) == 1


def test_the_same_records_give_the_same_bytes_and_the_card_shows_every_plot():
    first, second = card.draw(some_evidence()), card.draw(some_evidence())

    assert first == second
    assert list(first) == [*card.FILES]
    shown = set(re.findall(r"!\[[^\]]+\]\(([^)]+)\)", first[card.CARD].decode()))
    assert shown == OURS == set(first) - {card.CARD}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, text: 5% (x) - y.", "plain, text: 5% (x) - y."),
        ("a_b*c", r"a\_b\*c"),
        ("a|b", r"a\|b"),
        ("two\nlines", r"two\\nlines"),
        ("http://x", "http:\N{WORD JOINER}//x"),
        ("www.x", "www\N{WORD JOINER}.x"),
        ("me@x", "me@\N{WORD JOINER}x"),
        ("<b>&amp;", r"\<b\>\&amp;"),
    ],
)
def test_text_is_escaped(text, shown):
    assert escaped(text) == shown
    assert escaped(escaped(text)) == shown


def test_what_cannot_be_in_a_code_span_is_plain_text():
    assert code("a_b=c") == "`a_b=c`"
    assert code("a`b") == r"a\`b"
    assert code("") == ""


def test_a_table_keeps_its_columns():
    assert table(("a", "b"), [("x|y", 1)], right=[1]) == (
        "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
    )


# ── More than two classes ────────────────────────────────────────────────────────────────────


def of_three_classes(**changes) -> Evidence:
    stars = (("poor", 1, 2), ("middling", 3, 8), ("great", 9, 10))
    classes = tuple(StarClass(name=name, low=low, high=high) for name, low, high in stars)
    evidence = some_evidence(an_evaluation_of_classes(**changes))
    manifest = evidence.manifest.model_copy(
        update={
            "plan": evidence.manifest.plan.model_copy(update={"classes": classes}),
            "classless_rows": 1234,
        }
    )
    return replace(evidence, manifest=manifest)


def test_a_card_of_classes_says_what_each_is_and_which_rows_have_none():
    text = card.render(of_three_classes())

    assert "`poor` (1 to 2), `middling` (3 to 8), `great` (9 to 10)" in text
    assert "Without stars of a class, and left out: 1,234." in text
    assert "F1 and area under the curve are means over the classes" in text
    assert "is positive. It is meant" not in text


def test_a_card_of_classes_has_the_recall_of_each_and_all_mistakes():
    text = card.render(of_three_classes())

    header, _, first = rows_of(text, "Scores")[:3]
    assert header[4:7] == ["recall poor", "recall middling", "recall great"]
    assert first[4:7] == ["80.00%", "70.00%", "80.00%"]
    assert rows_of(text, "Right and wrong on the holdout") == [
        ["model", "true label", "predicted poor", "predicted middling", "predicted great"],
        ["---", "---", "---:", "---:", "---:"],
        *(
            [who, *line]
            for who in ("challenger", "champion")
            for line in (
                ["poor", "800", "150", "50"],
                ["middling", "300", "1,400", "300"],
                ["great", "50", "150", "800"],
            )
        ),
    ]


def test_a_card_of_classes_without_scores_has_dashes():
    nothing = a_set_of_classes(challenger=None)

    text = card.render(of_three_classes(holdout=nothing))

    assert rows_of(text, "Scores")[2][3:] == ["-"] * 8
    assert rows_of(text, "Right and wrong on the holdout")[2] == ["challenger", "poor", *"---"]


def test_a_card_of_labels_says_that_it_is_about_positive_reviews():
    text = card.render(some_evidence())

    assert "It estimates the probability that an English film review is positive." in text
    assert "left out" not in text
    assert "means over the classes" not in text
    plot = card.draw(some_evidence())["calibration.svg"].decode()
    assert 'predicted probability of "positive", mean' in plot
    assert "true share of positive reviews" in plot


def test_a_calibration_plot_of_classes_is_about_the_predicted_one():
    drawn = {name: data.decode() for name, data in card.draw(of_three_classes()).items()}

    assert "probability of the predicted class" in drawn["calibration.svg"]
    assert "true share of right answers" in drawn["calibration.svg"]
