import pytest

from pipelines.evaluation.behaviour.templates import fill, fillings, placeholders, swap


def filled(template, words):
    return [fill(template, values) for values in fillings([template], words)]


def test_every_word_meets_every_other_and_the_last_changes_fastest():
    words = {"name": ["Ada", "Bo"], "good": ["fine", "great", "sweet"]}

    texts = filled("{name} is {good}.", words)

    assert texts == [
        "Ada is fine.", "Ada is great.", "Ada is sweet.",
        "Bo is fine.", "Bo is great.", "Bo is sweet.",
    ]  # fmt: skip


def test_a_placeholder_that_comes_twice_holds_the_same_word():
    assert filled("{a} and {a}", {"a": ["x", "y"]}) == ["x and x", "y and y"]


def test_a_text_without_placeholders_stands_for_itself():
    assert filled("No {{braces}} here.", {"a": ["x", "y"]}) == ["No {braces} here."]


def test_a_placeholder_can_ask_for_large_or_small_letters():
    assert filled("{a:upper} {a:lower} {a}", {"a": ["Não"]}) == ["NÃO não Não"]


def test_placeholders_are_named_once_in_their_order():
    assert placeholders("{b} {a} {b:upper}") == ("b", "a")


def test_an_unknown_placeholder_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"\{god\} has no list of words.*\['good', 'name'\]"):
        filled("It is {god}.", {"name": ["Ada"], "good": ["fine"]})


@pytest.mark.parametrize("template", ["{a:title}", "{a!r}", "{}", "{a.b}", "{a[0]}", "{0}"])
def test_a_placeholder_that_is_no_plain_name_is_refused(template):
    with pytest.raises(ValueError, match=r"placeholder that is not \{name\}"):
        placeholders(template)


@pytest.mark.parametrize("template", ["an open {brace", "a closed } brace"])
def test_a_lonely_brace_is_refused_with_the_way_to_write_it(template):
    with pytest.raises(ValueError, match=r"\{\{ and \}\} for braces"):
        placeholders(template)


def test_swaps_happen_in_one_pass_and_longer_ones_go_first():
    swapped = swap("is not, is", {"is": "was", "is not": "isn't", "was": "never"})

    assert swapped == "isn't, was"


def test_a_swap_that_would_change_nothing_is_refused():
    with pytest.raises(ValueError, match=r"none of \['movie'\] occurs in 'A film\.'"):
        swap("A film.", {"movie": "film"})
