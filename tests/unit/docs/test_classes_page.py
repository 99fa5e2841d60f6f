"""docs/classes.md prints the beginning of config/stars.toml and says what the loop does."""

from __future__ import annotations

import json
import re
import tomllib

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.errors import ConfigError
from pipelines.evaluation.golden import load_golden
from pipelines.serving.http.contract import Prediction
from pipelines.training.candidates import build, check_classes
from tests.support.made.made_searches import STARS, a_plan

PAGE = (CONFIG_FOLDER.parent / "docs" / "classes.md").read_text(encoding="utf-8")


def fenced(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_page_prints_what_is_in_the_file():
    printed = tomllib.loads(fenced("toml"))
    file = tomllib.loads((CONFIG_FOLDER / "stars.toml").read_text(encoding="utf-8"))

    assert {name: file[name] for name in printed} == printed


def test_the_configuration_of_stars_has_a_golden_set_of_its_classes():
    settings = load(CONFIG_FOLDER / "stars.toml")

    golden = load_golden(settings.evaluation.golden_file, settings.model.class_names)

    assert len(golden.texts) == 60
    assert sorted(golden.labels.tolist()) == [0] * 20 + [1] * 20 + [2] * 20


def test_the_printed_answer_is_one_of_the_service():
    answer = Prediction.model_validate(json.loads(fenced("json")))

    assert list(answer.probabilities) == ["poor", "middling", "great"]
    assert answer.probability == answer.probabilities[answer.label]


def test_the_candidates_that_are_said_to_be_refused_are_and_the_others_are_not():
    candidates = load(CONFIG_FOLDER / "stars.toml").candidates
    refused = set()
    for name, candidate in candidates.items():
        setting = {"factory": candidate.factory, "parameters": candidate.parameters}
        plan = a_plan({name: setting}, classes=STARS)
        try:
            check_classes(plan, name, build(plan, name))
        except ConfigError:
            refused.add(name)

    row = next(line for line in PAGE.splitlines() if "| refused" in line)
    assert set(re.findall(r"`(\w+)`", row.split("|")[1])) == refused
