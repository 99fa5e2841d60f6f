import json
import re
from pathlib import Path

import pytest

from pipelines.core.config import CONFIG_FOLDER
from pipelines.core.errors import ConfigError
from pipelines.evaluation.golden import MIN_ROWS_PER_LABEL, load_golden


def a_review(number: int, **changes) -> dict:
    label = "negative" if number % 2 else "positive"
    values = {
        "id": f"g{number:03}", "text": f"Film {number}.", "label": label, "note": "plain",
    }  # fmt: skip
    return values | changes


def some_reviews(count: int = 40) -> list[dict]:
    return [a_review(number) for number in range(count)]


def a_file(folder: Path, reviews: list[dict]) -> Path:
    path = folder / "golden.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in reviews), encoding="utf-8")
    return path


def test_texts_and_labels_come_in_the_order_of_the_file(tmp_path):
    golden = load_golden(a_file(tmp_path, some_reviews()))

    assert golden.texts[:3] == ("Film 0.", "Film 1.", "Film 2.")
    assert golden.labels.tolist() == [1, 0] * 20
    assert str(golden.labels.dtype) == "int8"


@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        pytest.param({"text": "Film 7!"}, True, id="text"),
        pytest.param({"label": "positive"}, True, id="label"),
        pytest.param({"note": "another reason"}, False, id="note"),
        pytest.param({"id": "g777"}, False, id="id"),
    ],
)
def test_the_digest_names_texts_and_labels_and_nothing_else(tmp_path, change, is_other):
    reviews = some_reviews(42)
    before = load_golden(a_file(tmp_path, reviews)).digest
    reviews[7] = a_review(7, **change)

    after = load_golden(a_file(tmp_path, reviews)).digest

    assert (before != after) is is_other
    assert re.fullmatch("[0-9a-f]{64}", after)


def test_the_digest_depends_on_the_order(tmp_path):
    reviews = some_reviews()
    before = load_golden(a_file(tmp_path, reviews)).digest

    assert load_golden(a_file(tmp_path, reviews[::-1])).digest != before


def test_empty_lines_do_not_count_but_are_counted(tmp_path):
    path = a_file(tmp_path, some_reviews())
    path.write_text("\n\n" + path.read_text(encoding="utf-8") + "{", encoding="utf-8")

    with pytest.raises(ConfigError, match="line 43 cannot be used"):
        load_golden(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param({"label": "good"}, r"line 6 cannot be used: label: .*'positive'", id="label"),
        pytest.param({"label": 1}, "line 6 cannot be used: label", id="number-as-label"),
        pytest.param({"text": " \n"}, "line 6 cannot be used: text", id="blank-text"),
        pytest.param({"text": None}, "line 6 cannot be used: text", id="no-text"),
        pytest.param({"text": "\ud800"}, "line 6 cannot be used", id="half-a-character"),
        pytest.param({"note": ""}, "line 6 cannot be used: note", id="no-reason"),
        pytest.param({"id": "5"}, "line 6 cannot be used: id", id="id-of-another-form"),
        pytest.param({"rating": 9}, "line 6 cannot be used: rating: Extra inputs", id="unknown"),
        pytest.param({"id": "g004"}, "has the id 'g004' more than once", id="id-twice"),
        pytest.param({"text": "Film 4."}, "has the text 'Film 4.' more than once", id="text-twice"),
        pytest.param({"label": "positive"}, "has 19 negative reviews; .* 20", id="too-few"),
    ],
)
def test_a_review_that_cannot_be_meant_is_refused_with_its_line(tmp_path, change, complaint):
    reviews = some_reviews()
    reviews[5] |= change

    with pytest.raises(ConfigError, match=rf"golden\.jsonl.*{complaint}"):
        load_golden(a_file(tmp_path, reviews))


@pytest.mark.parametrize("line", ["[]", "null", "positive", '{"id": "g001"'])
def test_a_line_that_is_no_review_is_refused_with_an_example(tmp_path, line):
    path = tmp_path / "golden.jsonl"
    path.write_text(line + "\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=r'line 1 cannot be used.*"id": "g001"'):
        load_golden(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_without_reviews_is_an_error_and_no_pass(tmp_path, content):
    path = tmp_path / "golden.jsonl"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"has 0 positive reviews|is not UTF-8"):
        load_golden(path)


def test_a_missing_file_is_named_with_the_setting_to_correct(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.jsonl.* Set evaluation\.golden_file"):
        load_golden(tmp_path / "nowhere.jsonl")


# The golden set that is shipped

SHIPPED = CONFIG_FOLDER / "golden.jsonl"


def test_the_shipped_set_is_balanced_and_large_enough():
    golden = load_golden(SHIPPED)

    assert len(golden.texts) >= 160 >= 8 * MIN_ROWS_PER_LABEL
    assert golden.labels.sum() * 2 == len(golden.texts)


def test_the_shipped_texts_differ_in_more_than_letters_and_are_of_all_lengths():
    texts = load_golden(SHIPPED).texts
    lengths = sorted(len(text) for text in texts)

    assert len({" ".join(re.findall(r"\w+", text.lower())) for text in texts}) == len(texts)
    assert (lengths[0] >= 60, lengths[-1] <= 900) == (True, True)
    assert (lengths[len(lengths) // 4] < 150, lengths[-5] > 600) == (True, True)


def test_the_shipped_ids_have_no_gaps():
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()

    ids = [json.loads(line)["id"] for line in lines]

    assert ids == [f"g{number:03}" for number in range(1, len(ids) + 1)]
