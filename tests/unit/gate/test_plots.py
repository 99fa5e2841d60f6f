"""Plots: well-formed, self-contained, the same every time, and each number where it belongs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from pipelines.gate.card import history_plot, plots
from pipelines.gate.card import svg as card_svg
from pipelines.records.decisions import GateRule
from pipelines.records.evaluations import CalibrationBin
from tests.support.made.judgement_builders import (
    CHAMPION,
    VERSION,
    a_decision_on,
    a_first_model,
    an_evaluation,
    some_comparison,
    some_metrics,
    some_set,
    some_slice,
)
from tests.support.made.registry_builders import a_log_entry

SVG = "{http://www.w3.org/2000/svg}"
BINS = (
    CalibrationBin(rows=1200, mean_probability=0.05, positive_share=0.1),
    CalibrationBin(rows=300_000, mean_probability=0.95, positive_share=0.9),
)
BROKEN = GateRule(
    rule="slice rating=mild", group="slice", is_passed=False, observed=-0.06, limit=-0.03,
    sentence="Worse.",
)  # fmt: skip


def parsed(svg):
    return ET.fromstring(svg)  # noqa: S314 - drawn by us a moment ago


def marks(svg, kind):
    """Centres of all symbols of a kind that carry a tooltip: (x, y, tooltip)."""
    found = []
    for group in parsed(svg).iter(f"{SVG}g"):
        tooltip = group.find(f"{SVG}title")
        if group.get("class") != kind or tooltip is None:
            continue
        circle, path = group.find(f"{SVG}circle"), group.find(f"{SVG}path")
        place = (
            (circle.get("cx"), circle.get("cy"))
            if circle is not None
            else re.match(r"M(\S+) ([^m]+)m", path.get("d")).groups()
        )
        found.append((float(place[0]), float(place[1]), tooltip.text))
    return found


def words(svg):
    return ["".join(text.itertext()) for text in parsed(svg).iter(f"{SVG}text")]


def a_calibration(**changes):
    sets = {"challenger": some_metrics(calibration=BINS), "champion": some_metrics()}
    return plots.calibration(an_evaluation(holdout=some_set(**(sets | changes))))


def some_slices(**changes):
    part = some_slice("rating=mild", against_champion=some_comparison(**changes))
    evaluation = an_evaluation(slices=(part,))
    return plots.slices(evaluation, a_decision_on(evaluation, rules=(BROKEN,)))


def all_plots(evaluation):
    entries = [a_log_entry(number) for number in range(1, evaluation.champion_generation + 1)]
    return [
        plots.calibration(evaluation),
        plots.slices(evaluation, a_decision_on(evaluation)),
        history_plot.history(evaluation, entries),
    ]


NO_SCORES = some_set(challenger=None, champion=None, reference=None, against_champion=None)
SITUATIONS = {
    "all is well": an_evaluation(),
    "a first model": a_first_model(),
    "no scores": an_evaluation(
        holdout=NO_SCORES, slices=(some_slice(against_champion=None, challenger_accuracy=None),)
    ),
    "no slices": an_evaluation(slices=()),
    "not a number": an_evaluation(
        holdout=some_set(
            challenger=some_metrics().model_copy(
                update={
                    "accuracy": float("nan"),
                    "log_loss": float("inf"),
                    "calibration_error": float("nan"),
                    "calibration": (
                        CalibrationBin.model_construct(
                            rows=1, mean_probability=float("nan"), positive_share=0.5
                        ),
                    ),
                }
            )
        ),
        slices=(
            some_slice(
                against_champion=some_comparison().model_copy(
                    update={"accuracy_change_low": float("nan")}
                )
            ),
        ),
    ),
    "a hostile name": an_evaluation(
        slices=(some_slice('source=</text><script>x("&")'),), model_name="<script>"
    ),
}


@pytest.mark.parametrize("evaluation", SITUATIONS.values(), ids=SITUATIONS)
def test_every_plot_is_an_image_that_needs_nothing_and_runs_nothing(evaluation):
    for svg in all_plots(evaluation):
        root = parsed(svg)
        tags = {element.tag.removeprefix(SVG) for element in root.iter()}
        attributes = {name.lower() for element in root.iter() for name in element.attrib}

        assert root.get("role") == "img"
        title, description = root.get("aria-labelledby").split()
        assert {each.get("id") for each in root[:2]} == {title, description}
        assert all(each.text for each in root[:2])
        assert not tags & {"script", "foreignObject", "image", "use", "a", "animate", "set"}
        assert not [name for name in attributes if "href" in name or name.startswith("on")]
        assert set(re.findall(r"\w+://[^\s\"'<]+", svg)) == {"http://www.w3.org/2000/svg"}
        assert "url(" not in svg
        assert "@import" not in svg
        assert "prefers-color-scheme: dark" in svg


@pytest.mark.parametrize("evaluation", SITUATIONS.values(), ids=SITUATIONS)
def test_no_plot_shows_what_is_not_a_number(evaluation):
    for svg in all_plots(evaluation):
        shown = " ".join([*words(svg), *re.findall(r'="([^"]*)"', svg)]).lower()

        assert not re.search(r"\b(nan|inf|none)\b", shown)


def test_the_same_records_give_the_same_bytes():
    assert all_plots(an_evaluation()) == all_plots(an_evaluation())


def test_everything_is_within_the_picture():
    for evaluation in SITUATIONS.values():
        for svg in all_plots(evaluation):
            _, _, width, height = map(float, parsed(svg).get("viewBox").split())
            for kind in ("one", "other", "fault"):
                for x, y, _ in marks(svg, kind):
                    assert 0 <= x <= width
                    assert 0 <= y <= height


def test_a_calibration_point_is_where_promise_and_truth_say():
    svg = a_calibration()

    # The square of 0 to 1 reaches from x 78 to 618, and from y 372 up to 72.
    assert [mark[:2] for mark in marks(svg, "one")] == [(105.0, 342.0), (591.0, 102.0)]
    # 78 + 0.05 * 540 and 372 - 0.1 * 300; 78 + 0.95 * 540 and 372 - 0.9 * 300


def test_the_reviews_of_every_tenth_are_told():
    svg = a_calibration()

    assert words(svg)[-10:] == ["1,200", *["0"] * 8, "300k"]


def test_the_legend_names_both_models_and_how_far_they_are_off():
    svg = a_calibration()

    assert f"challenger {VERSION[:8]}: off by 1.0%" in words(svg)
    assert f"champion {CHAMPION[:8]}: off by 1.0%" in words(svg)


def test_a_first_model_has_no_champion_beside_it():
    assert not [text for text in words(plots.calibration(a_first_model())) if "champion" in text]


def test_a_model_without_scores_says_so_and_has_no_points():
    svg = a_calibration(challenger=None)

    assert f"challenger {VERSION[:8]}: no scores" in words(svg)
    assert marks(svg, "one") == []


def test_a_slice_is_drawn_at_its_change_and_between_its_bounds():
    svg = some_slices(accuracy_change=0.01, accuracy_change_low=0.0, accuracy_change_high=0.02)

    # From -3 points (the limit) to +2, and 8 % of these 5 as air: -3.4 to 2.4 on x 196 to 452.
    at = {point: 196 + (point + 3.4) / 5.8 * 256 for point in (-3, 0, 1, 2)}
    ((x, _, tooltip),) = marks(svg, "fault")
    assert x == pytest.approx(at[1], abs=0.06)
    assert tooltip == "rating=mild: +1.00 [+0.00, +2.00]"
    drawn = re.search(r'class="fault line" d="M(\S+) \S+H(\d+\.\d)', svg)
    assert [float(end) for end in drawn.groups()] == pytest.approx([at[0], at[2]], abs=0.06)
    zero, limit = (
        float(re.search(rf'class="{kind}" d="M(\S+) \d+V', svg)[1]) for kind in ("zero", "limit")
    )
    assert (zero, limit) == (pytest.approx(at[0], abs=0.06), pytest.approx(at[-3], abs=0.06))


def test_a_broken_slice_has_another_shape_and_not_only_another_colour():
    svg = some_slices()

    groups = [each for each in parsed(svg).iter(f"{SVG}g") if each.get("class") == "fault"]
    assert len(groups) == 2  # in the legend and in its row
    assert not [group for group in groups if group.find(f"{SVG}circle") is not None]


def test_without_a_champion_the_slices_say_why_there_is_nothing():
    svg = plots.slices(a_first_model(), a_decision_on(a_first_model()))

    assert any("there was no champion" in text for text in words(svg))


def test_a_long_name_of_a_slice_is_cut_and_told_in_full_on_it():
    name = "source=" + "+".join(["partner"] * 9)
    evaluation = an_evaluation(slices=(some_slice(name),))

    svg = plots.slices(evaluation, a_decision_on(evaluation))

    assert max(map(len, [text for text in words(svg) if text.startswith("source=")])) <= 17
    assert marks(svg, "one")[0][2].startswith(name)


def test_the_challenger_stands_after_the_generation_it_was_decided_against():
    evaluation = an_evaluation(champion_generation=3)
    entries = [a_log_entry(number, holdout_accuracy=0.9, holdout_log_loss=0.22)
               for number in (1, 2, 3)]  # fmt: skip

    svg = history_plot.history(evaluation, entries)

    # Generations 1 to 4 in four equal columns of 135 pixels from x 78: middles 145.5, 280.5, ...
    assert [x for x, _, _ in marks(svg, "one")] == [550.5, 550.5]
    assert [x for x, _, _ in marks(svg, "other")] == [145.5, 280.5, 415.5, 550.5] * 2
    # Accuracy 90 % and 91 %, with 0.2 points of air: 89.8 at y 240, 91.2 at y 100.
    assert marks(svg, "one")[0][1] == 120.0
    assert marks(svg, "other")[0][1] == 220.0


def test_a_rollback_is_told_from_a_promotion():
    evaluation = an_evaluation(champion_generation=2)

    svg = history_plot.history(evaluation, [a_log_entry(1), a_log_entry(2, kind="rollback")])

    assert "put back by a rollback" in words(svg)
    assert len([mark for mark in marks(svg, "other") if ", rollback of" in mark[2]]) == 2


def test_a_long_history_shows_its_end():
    evaluation = an_evaluation(champion_generation=500)
    entries = [a_log_entry(number) for number in range(1, 501)]

    svg = history_plot.history(evaluation, entries)

    assert "Holdout scores, generations 441 to 501" in words(svg)
    assert len(marks(svg, "other")) == 2 * (60 + 1)


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.0, 1.0, 5, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3.4, 2.4, 7, [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0]),
        (89.8, 91.2, 5, [90.0, 90.5, 91.0]),
        (0.196, 0.244, 5, [0.2, 0.21, 0.22, 0.23, 0.24]),
        (-400.0, 900.0, 7, [-400.0, -200.0, 0.0, 200.0, 400.0, 600.0, 800.0]),
    ],
)
def test_ticks_are_round_numbers(low, high, most, expected):
    assert card_svg.ticks(low, high, most) == expected


def test_a_legend_that_is_too_long_goes_on_below():
    lines = card_svg.legend_lines([(card_svg.Mark("circle", "one"), "x" * 50)] * 2)

    assert [line["mark"].x for line in lines] == [20.0, 20.0]
    assert lines[1]["mark"].y - lines[0]["mark"].y == 20


def test_a_domain_is_never_empty():
    assert card_svg.around([], at_least=0.5) == (-0.5, 0.5)
    assert card_svg.around([2.0, float("nan")], at_least=0.5) == (1.5, 2.5)


def test_ids_of_two_versions_do_not_clash_on_one_page():
    other = an_evaluation(version="e" * 20)

    page = "".join([*all_plots(other), *all_plots(an_evaluation())])

    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) == 12


# The succession alone


def test_the_succession_shows_the_newest_sixty_generations_and_what_was_rolled_back():
    entries = [a_log_entry(number) for number in range(1, 62)]
    entries[-1] = a_log_entry(61, kind="rollback", holdout_accuracy=0.875)

    drawn = history_plot.succession(entries)

    texts = [text for _, _, text in marks(drawn, "other")]
    assert len(texts) == 2 * 60
    assert "generations 2 to 61" in drawn
    assert "put back by a rollback" in drawn
    assert "generation 61, rollback of cccccccc: accuracy, % 87.5" in texts
    assert not any("challenger" in text for text in texts)


def test_nothing_is_drawn_of_an_empty_log():
    with pytest.raises(ValueError, match="the champion log is empty"):
        history_plot.succession([])


def test_a_plot_within_a_page_takes_the_pages_style():
    drawn = history_plot.succession([a_log_entry(1)])

    bare = card_svg.without_style(drawn)

    assert "<style>" not in bare
    assert f"<style>{card_svg.plot_style()}</style>" in drawn
    assert parsed(bare).get("role") == "img"
