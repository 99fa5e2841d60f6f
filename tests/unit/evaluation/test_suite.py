"""What the files of the behavioural suite may hold, and how they become cases."""

import re
from pathlib import Path

import pytest

from pipelines.core.errors import ConfigError
from pipelines.evaluation.behaviour.suite import MAX_CASES, MIN_CASES, Case, load_suite

TWENTY = ", ".join(f'"w{number}"' for number in range(20))
LABELLED = f"""
kind = "minimum_functionality"
tests = "It can."
max_failure_share = 0.1

[words]
word = [{TWENTY}]

[[cases]]
texts = ["A {{word}} film."]
label = "positive"
"""
CHANGED = f"""
kind = "invariance"
tests = "It stays."
tolerance = 0.1
max_failure_share = 0.1

[words]
word = [{TWENTY}]

[[cases]]
texts = ["A {{word}} film."]
variants = ["{{text}} Seen at home."]
"""
VARIANTS = 'variants = ["{text} Seen at home."]'
MOVED = CHANGED.replace("invariance", "direction") + 'direction = "up"\n'


def a_folder(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "behaviour"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return folder


def cases_of(tmp_path: Path, content: str) -> tuple[Case, ...]:
    (capability,) = load_suite(a_folder(tmp_path, only=content)).capabilities
    return capability.cases


def test_a_file_becomes_a_capability_of_its_name(tmp_path):
    suite = load_suite(a_folder(tmp_path, plain_words=LABELLED))

    (capability,) = suite.capabilities
    assert (capability.name, capability.kind) == ("plain_words", "minimum_functionality")
    assert (capability.tests, capability.max_failure_share) == ("It can.", 0.1)
    assert len(capability.cases) == 20
    assert capability.cases[0] == Case("A w0 film.", None, "positive")


def test_each_changed_text_is_a_case_of_its_own(tmp_path):
    content = CHANGED + 'swaps = [{ "film" = "movie" }]\n'

    cases = cases_of(tmp_path, content)

    assert len(cases) == 40
    assert cases[:2] == (
        Case("A w0 film.", "A w0 film. Seen at home.", "same"),
        Case("A w0 film.", "A w0 movie.", "same"),
    )


def test_a_variant_keeps_the_words_of_its_text_and_is_filled_with_all_others(tmp_path):
    content = MOVED.replace("[words]", '[words]\npraise = ["Fine.", "Great."]')
    content = content.replace("{text} Seen at home.", "{text:upper} {praise} {word}!")

    cases = cases_of(tmp_path, content)

    assert len(cases) == 40
    assert cases[:2] == (
        Case("A w0 film.", "A W0 FILM. Fine. w0!", "up"),
        Case("A w0 film.", "A W0 FILM. Great. w0!", "up"),
    )


def test_capabilities_and_texts_come_in_the_order_of_names_whatever_the_order_of_writing(tmp_path):
    suite = load_suite(a_folder(tmp_path, b=CHANGED, a_b=MOVED, a=LABELLED))

    assert [each.name for each in suite.capabilities] == ["a", "a_b", "b"]
    assert suite.texts()[:3] == ["A w0 film.", "A w1 film.", "A w2 film."]
    assert suite.texts() == load_suite(tmp_path / "behaviour").texts()


def test_a_text_in_several_cases_is_scored_once(tmp_path):
    suite = load_suite(a_folder(tmp_path, a=LABELLED, b=CHANGED, c=MOVED))

    assert len(suite.texts()) == 40  # 20 texts, and each of them with its addition


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "b.toml").write_text(MOVED + "# a comment\n", encoding="utf-8"),
        lambda folder: (folder / "b.toml").rename(folder / "c.toml"),
        lambda folder: (folder / "b.toml").unlink(),
        lambda folder: (folder / "c.toml").write_text(MOVED, encoding="utf-8"),
    ],
    ids=["content", "name", "removed", "added"],
)
def test_whatever_changes_in_the_folder_changes_the_digest(tmp_path, change):
    folder = a_folder(tmp_path, a=LABELLED, b=MOVED)
    before = load_suite(folder)

    change(folder)

    assert before.digest == load_suite(a_folder(tmp_path / "x", b=MOVED, a=LABELLED)).digest
    assert before.digest != load_suite(folder).digest


def test_a_folder_that_is_missing_or_empty_is_an_error_and_no_pass(tmp_path):
    with pytest.raises(ConfigError, match=r"Set evaluation\.behaviour_folder"):
        load_suite(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is empty, so it would pass anything"):
        load_suite(a_folder(tmp_path))


def test_only_hidden_files_may_lie_beside_the_capabilities(tmp_path):
    folder = a_folder(tmp_path, a=LABELLED)
    (folder / ".a.toml.swp").write_bytes(b"\0")
    assert len(load_suite(folder).capabilities) == 1

    (folder / "negation.tom").write_text(LABELLED, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"negation\.tom is not a capability"):
        load_suite(folder)


def complaint_about(tmp_path: Path, content: str, old: str, new: str) -> str:
    """The error when ``old`` is written as ``new`` in a file that could be used."""
    assert old in content
    folder = a_folder(tmp_path, negation=content.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        load_suite(folder)
    return str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("minimum_", "maximum_", r"'maximum_functionality' found"),
        ('tests = "It can."', "", r"\.tests: Field required"),
        ('"It can."', '" "', r"\.tests: String should match"),
        ("0.1", "1.0", r"\.max_failure_share: Input should be less than 1"),
        ("0.1", "nan", r"\.max_failure_share: "),
        ("0.1", "true", r"\.max_failure_share: Input should be a valid number"),
        ('"positive"', '"good"', r"\.cases\[1\]\.label: Input should be 'positive'"),
        ("label", "labels", r"\.cases\[1\]\.label: Field required"),
        ('"A {word} film."', "", r"\.cases\[1\]\.texts: .* at least 1 item"),
        ('"A {word} film."', '" "', r"\.cases\[1\]\.texts\[1\]: String should match"),
        ("{word}", "{wrd}", r": cases\[1\]: .*\{wrd\} has no list of words"),
        ("{word}", "{word", r": cases\[1\]: .*\{\{ and \}\} for braces"),
        ('"w1"', '"w0"', r": cases\[1\]: 'A w0 film\.' occurs twice"),
        ('"w1", ', "", r": it has 19 cases and needs at least 20"),
        ("[words]", '[words]\nother = ["x"]', r": words\.other: no text has \{other\}"),
        ("word = [", "text = [", r"\.words: .*Use another name"),
        ('kind = "', "kind = ", "is not valid TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_file_and_place(tmp_path, old, new, complaint):
    message = complaint_about(tmp_path, LABELLED, old, new)

    assert re.search(rf"/negation\.toml (cannot be used)?.*{complaint}", message)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("tolerance = 0.1", "", r"\.tolerance: Field required"),
        ('direction = "up"', "", r"\.cases\[1\]\.direction: Field required"),
        (VARIANTS, "", r"\.cases\[1\]: .*needs variants = .* or swaps"),
        ("{text} Seen at home.", "{text}", r": cases\[1\]: the change does not change 'A w0 film"),
        (VARIANTS, 'swaps = [{ "flim" = "x" }]', r": cases\[1\]: none of \['flim'\] occurs in 'A"),
        (
            f'"]\n{VARIANTS}',
            '", "More."]\nvariants = ["No."]',
            r"\.cases\[1\]: .*'No\.' does not contain \{text\}.* block has 2",
        ),
    ],
)
def test_a_change_that_cannot_be_meant_is_refused_with_file_and_place(
    tmp_path, old, new, complaint
):
    message = complaint_about(tmp_path, MOVED, old, new)

    assert re.search(rf"/negation\.toml cannot be used.*{complaint}", message)


def test_a_text_with_two_labels_is_refused(tmp_path):
    again = '\n[[cases]]\ntexts = ["A w7 film."]\nlabel = "negative"\n'

    with pytest.raises(ConfigError, match=r"cases\[2\]: 'A w7 film\.' occurs twice"):
        load_suite(a_folder(tmp_path, a=LABELLED + again))


def test_a_change_that_leaves_nothing_is_refused(tmp_path):
    alone = 'texts = ["Bad."]\nswaps = [{ "Bad." = " " }]'
    content = f"{CHANGED}\n[[cases]]\n{alone}\n"

    with pytest.raises(ConfigError, match=r"cases\[2\]: the change leaves nothing of 'Bad\.'"):
        load_suite(a_folder(tmp_path, a=content))


def test_a_product_gone_wrong_is_stopped_before_it_is_made(tmp_path):
    words = "\n".join(f"word{number} = [{TWENTY}]" for number in range(9))  # 20**9 texts
    text = " ".join(f"{{word{number}}}" for number in range(9))
    content = LABELLED.replace("[words]", f"[words]\n{words}").replace("A {word}", text)

    with pytest.raises(ConfigError, match=rf"cases\[1\]: .*more than {MAX_CASES} cases"):
        load_suite(a_folder(tmp_path, a=content))


def test_the_smallest_capability_that_counts_has_twenty_cases():
    assert MIN_CASES == 20
