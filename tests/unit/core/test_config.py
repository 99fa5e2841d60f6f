import re
import textwrap
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.core import config
from pipelines.core.config import (
    CONFIG_FOLDER,
    load,
    with_candidates,
    with_seed,
)
from pipelines.core.errors import ConfigError
from pipelines.core.settings.settings import Settings


def a_file(folder: Path, text: str, name: str = "site.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_file_in_config_can_be_used(path):
    settings = load(path)

    assert isinstance(settings, Settings)


def test_an_environment_says_only_what_differs(tmp_path):
    path = a_file(tmp_path, "[intake]\nmax_rows = 7\n")

    settings, default = load(path), load(CONFIG_FOLDER / "default.toml")

    assert settings.intake == default.intake.model_copy(update={"max_rows": 7})
    assert settings.validation == default.validation
    assert settings.gate == default.gate


def test_a_file_may_extend_another_one_beside_it(tmp_path):
    a_file(tmp_path, "[intake]\nmax_rows = 7\nmax_columns = 8\n", "base.toml")
    a_file(tmp_path, 'extends = "base.toml"\n', "middle.toml")
    path = a_file(tmp_path, 'extends = "middle.toml"\n[intake]\nmax_rows = 9\n')

    intake = load(path).intake

    assert (intake.max_rows, intake.max_columns) == (9, 8)


@pytest.mark.parametrize(
    ("base", "complaint"),
    [('"site.toml"', "extends itself"), ('"gone.toml"', "cannot read.*gone"), ("7", "the name of")],
)
def test_a_file_that_extends_what_it_cannot_is_refused(tmp_path, base, complaint):
    path = a_file(tmp_path, f"extends = {base}\n")

    with pytest.raises(ConfigError, match=complaint):
        load(path)


def test_a_candidate_of_an_environment_is_added_to_the_default_ones(tmp_path):
    path = a_file(tmp_path, '[candidates.mine]\nfactory = "my.models:build"\n')

    settings = load(path)

    assert set(settings.candidates) == {*load(CONFIG_FOLDER / "default.toml").candidates, "mine"}
    assert settings.candidates["mine"].parameters == {}


def test_the_variable_names_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOP_CONFIG", str(a_file(tmp_path, "[model]\nseed = 41\n")))

    assert load().model.seed == 41


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_the_defaults_hold(value, monkeypatch):
    if value is None:
        monkeypatch.delenv("LOOP_CONFIG", raising=False)
    else:
        monkeypatch.setenv("LOOP_CONFIG", value)

    assert load() == load(CONFIG_FOLDER / "default.toml")


def test_defaults_beside_the_file_go_before_the_built_in_ones(tmp_path):
    default = (CONFIG_FOLDER / "default.toml").read_text(encoding="utf-8")
    seed = tomllib.loads(default)["model"]["seed"]
    a_file(tmp_path, default.replace(f"seed = {seed}", "seed = 17"), "default.toml")

    settings = load(a_file(tmp_path, "[intake]\nmax_rows = 7\n"))

    assert (settings.model.seed, settings.intake.max_rows) == (17, 7)


def test_without_files_of_its_own_an_environment_is_judged_by_the_shipped_ones(tmp_path):
    settings = load(a_file(tmp_path, "[intake]\nmax_rows = 7\n"))

    assert settings.evaluation.golden_file == CONFIG_FOLDER / "golden.jsonl"
    assert settings.evaluation.behaviour_folder == CONFIG_FOLDER / "behaviour"


def test_files_beside_the_settings_go_before_the_shipped_ones(tmp_path):
    (tmp_path / "golden.jsonl").touch()
    (tmp_path / "own").mkdir()

    settings = load(a_file(tmp_path, '[evaluation]\nbehaviour_folder = "own"\n'))

    assert settings.evaluation.golden_file == tmp_path / "golden.jsonl"
    assert settings.evaluation.behaviour_folder == tmp_path / "own"


def test_an_absolute_path_is_taken_as_it_is(tmp_path):
    elsewhere = a_file(tmp_path, "", "elsewhere.jsonl")
    (tmp_path / "site").mkdir()

    settings = load(a_file(tmp_path / "site", f'[evaluation]\ngolden_file = "{elsewhere}"\n'))

    assert settings.evaluation.golden_file == elsewhere


def test_the_paths_do_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    path = a_file(tmp_path, '[evaluation]\ngolden_file = "mine.jsonl"\n')
    (tmp_path / "mine.jsonl").touch()
    monkeypatch.chdir(tmp_path)

    assert load(Path(path.name)).evaluation.golden_file == tmp_path / "mine.jsonl"


def test_a_golden_set_that_is_nowhere_is_named_with_the_places_that_were_looked_at(tmp_path):
    path = a_file(tmp_path, '[evaluation]\ngolden_file = "mine.jsonl"\n')

    with pytest.raises(ConfigError, match=r"evaluation\.golden_file is 'mine\.jsonl'") as raised:
        load(path)

    assert f"nothing is at {tmp_path}/mine.jsonl and {CONFIG_FOLDER}/mine.jsonl" in str(
        raised.value
    )


def test_a_fault_in_a_list_is_counted_from_one(tmp_path):
    path = a_file(tmp_path, f'[trust]\ntrusted_keys = ["{"0" * 64}", "short"]\n')

    with pytest.raises(ConfigError, match=r"trust\.trusted_keys\[2\]: "):
        load(path)


def test_a_missing_file_is_named_with_the_variable_to_set(tmp_path):
    missing = tmp_path / "nowhere.toml"

    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file.* Set LOOP_CONFIG"):
        load(missing)


@pytest.mark.parametrize("content", [b"[intake\n", b"\xff\xfe[intake]\n"])
def test_what_is_not_toml_is_named(tmp_path, content):
    path = tmp_path / "torn.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"torn\.toml is not valid TOML"):
        load(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("[intake]\nmax_row = 7\n", r"intake\.max_row: Extra inputs", id="misspelt"),
        pytest.param("[intakes]\nmax_rows = 7\n", r"intakes: Extra inputs", id="unknown-section"),
        pytest.param("[intake]\nmax_rows = 0\n", r"intake\.max_rows: .*greater than 0", id="zero"),
        pytest.param(
            "[validation]\nmax_quarantined_share = 5\n",
            r"validation\.max_quarantined_share: .*less than or equal to 1",
            id="percent-for-share",
        ),
        pytest.param(
            '[intake]\nmax_rows = "many"\n', r"intake\.max_rows: .*valid integer", id="not-a-number"
        ),
        pytest.param(
            '[candidates.mine]\nfactory = "import os"\n',
            r"candidates\.mine\.factory: .*pattern",
            id="factory-that-is-no-name",
        ),
        *(
            pytest.param(
                f'[exports]\nopenlineage = "{name}"\n', r"exports\.openlineage: .*pattern", id=name
            )
            for name in ("htp://collector:5000", "file:///events", "https://me:secret@collector")
        ),
        pytest.param(
            '[training]\ncandidates = ["mine"]\n', r"\['mine'\]; it must name", id="no-such-model"
        ),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(tmp_path, text, complaint):
    path = a_file(tmp_path, text)

    with pytest.raises(ConfigError, match=complaint):
        load(path)


def test_settings_cannot_be_changed_once_read():
    settings = load(CONFIG_FOLDER / "test.toml")

    with pytest.raises(ValidationError, match="frozen"):
        settings.intake.max_rows = 1


def test_other_candidates_leave_the_settings_they_came_from_alone():
    settings = load(CONFIG_FOLDER / "test.toml")

    other = with_candidates(settings, ("tfidf_logistic", "fingerprint_sgd"))

    assert other.training.candidates == ("tfidf_logistic", "fingerprint_sgd")
    assert load(CONFIG_FOLDER / "test.toml").training.candidates == ("fingerprint_svm",)


@pytest.mark.parametrize("names", [(), ("nobody",), ("fingerprint_sgd", "fingerprint_sgd")])
def test_candidates_must_be_known_and_named_once(names):
    settings = load(CONFIG_FOLDER / "test.toml")

    with pytest.raises(ConfigError, match="must name at least one of"):
        with_candidates(settings, names)


def test_another_seed_changes_nothing_else():
    settings = load(CONFIG_FOLDER / "test.toml")

    other = with_seed(settings, 2**32 - 1)

    assert other.model.seed == 4_294_967_295
    assert other.model_copy(update={"model": settings.model}) == settings


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed):
    settings = load(CONFIG_FOLDER / "test.toml")

    with pytest.raises(ConfigError, match=f"seed is {seed}"):
        with_seed(settings, seed)


def test_each_test_has_its_own_file_and_buckets(configure):
    first = load(configure(intake={"max_rows": 10}))

    second = load(configure(intake={"max_row_chars": 20}))

    assert first.store.reviews_bucket == second.store.reviews_bucket
    assert (second.intake.max_rows, second.intake.max_row_chars) == (10, 20)
    assert config.load() == second


def test_the_two_lines_that_name_own_buckets_can_be_used(tmp_path):
    page = (CONFIG_FOLDER.parent / "docs" / "own-store.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^ *```toml\n(.*?)^ *```", page, re.MULTILINE | re.DOTALL)
    for name in ("default.toml", "try-out.toml"):
        a_file(tmp_path, (CONFIG_FOLDER / name).read_text(encoding="utf-8"), name)

    settings = load(a_file(tmp_path, textwrap.dedent(block)))

    names = (settings.store.reviews_bucket, settings.store.models_bucket)
    assert names == ("my-company-reviews", "my-company-models")
    assert settings.gate == load(CONFIG_FOLDER / "try-out.toml").gate


STARS = """[model]
target = "rating"
classes = { poor = [1, 2], middling = [3, 8], great = [9, 10] }
"""


def test_classes_of_stars_are_in_the_order_of_the_file(tmp_path):
    model = load(a_file(tmp_path, STARS)).model

    assert model.class_names == ("poor", "middling", "great")
    assert model.classes["middling"] == (3, 8)


def test_a_model_of_labels_has_two_classes():
    assert load(CONFIG_FOLDER / "default.toml").model.class_names == ("negative", "positive")


def test_another_seed_leaves_the_classes_as_they_are(tmp_path):
    settings = load(a_file(tmp_path, STARS))

    model = with_seed(settings, 7).model

    assert model == settings.model.model_copy(update={"seed": 7})


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ('target = "rating"', "needs at least two classes"),
        ('target = "rating"\nclasses = { all = [1, 10] }', "needs at least two classes"),
        ("classes = { poor = [1, 5], great = [6, 10] }", 'classes need target = "rating"'),
        ('target = "rating"\nclasses = { poor = [1, 5], great = [5, 10] }', "begin above"),
        ('target = "rating"\nclasses = { great = [6, 10], poor = [1, 5] }', "begin above"),
        ('target = "rating"\nclasses = { poor = [5, 1], great = [6, 10] }', "begin above"),
        ('target = "rating"\nclasses = { poor = [0, 5], great = [6, 10] }', "greater than or"),
        ('target = "rating"\nclasses = { poor = [1, 5], great = [6, 11] }', "less than or"),
        ('target = "rating"\nclasses = { "A b" = [1, 5], great = [6, 10] }', "match pattern"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused(tmp_path, model, complaint):
    path = a_file(tmp_path, f"[model]\n{model}\n")

    with pytest.raises(ConfigError, match=complaint):
        load(path)
