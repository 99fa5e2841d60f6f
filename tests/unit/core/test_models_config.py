"""Several models in one configuration: what each inherits, what it may change, and errors."""

from pathlib import Path

import pytest

from pipelines.core.config import CONFIG_FOLDER, load
from pipelines.core.errors import ConfigError
from pipelines.core.settings.settings import OF_A_MODEL


def a_file(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_table_there_is_one_model_and_its_settings_are_the_whole(tmp_path):
    settings = load(a_file(tmp_path, ""))

    assert settings.model_names == ("sentiment",)
    assert settings.of("sentiment") is settings


def test_a_second_model_is_the_first_but_for_what_its_table_says(tmp_path):
    settings = load(
        a_file(tmp_path, "[models.stars]\nseed = 7\n[models.stars.gate]\nslices = []\n")
    )

    stars = settings.of("stars")

    assert settings.model_names == ("sentiment", "stars")
    assert (stars.model.name, stars.model.seed, stars.gate.slices) == ("stars", 7, ())
    assert stars.gate == settings.gate.model_copy(update={"slices": ()})
    changed = {name for name, _ in stars if getattr(stars, name) != getattr(settings, name)}
    assert changed == {"model", "gate", "models"}
    assert stars.model_names == ("stars",)


@pytest.mark.parametrize("section", OF_A_MODEL)
def test_every_table_of_a_model_can_be_its_own(tmp_path, section):
    changes = {
        "split": 'salt = "x"', "training": "folds = 7", "verification": "max_cpu_seconds = 7",
        "candidates": 'mine = { factory = "m:f" }', "gate": "newest_rows = 7",
        "monitoring": "min_rows = 77", "triggers": "windows = 7",
        "approval": "timeout_hours = 7.0", "serving": "max_texts = 7",
        "evaluation": f'golden_file = "{tmp_path}/site.toml"',
    }  # fmt: skip
    settings = load(a_file(tmp_path, f"[models.stars.{section}]\n{changes[section]}\n"))

    assert getattr(settings.of("stars"), section) != getattr(settings, section)
    assert getattr(settings, section) == getattr(load(CONFIG_FOLDER / "default.toml"), section)


def test_a_second_model_has_its_own_candidates_besides_those_of_the_first(tmp_path):
    text = (
        '[models.stars.training]\ncandidates = ["mine"]\n'
        '[models.stars.candidates.mine]\nfactory = "my.models:build"\n'
    )

    settings = load(a_file(tmp_path, text))

    assert settings.of("stars").training.candidates == ("mine",)
    assert "mine" not in settings.candidates
    assert set(settings.candidates) < set(settings.of("stars").candidates)


STARS = """
[model]
name = "stars"
target = "rating"
classes = { poor = [1, 3], middling = [4, 7], great = [8, 10] }
"""


def test_a_second_model_has_the_classes_of_the_first_its_own_or_none_if_it_learns_the_label(
    tmp_path,
):
    text = (
        f"{STARS}[models.same]\nseed = 7\n"
        "[models.halves]\nclasses = { poor = [1, 5], good = [6, 10] }\n"
        '[models.mood]\ntarget = "label"\n[models.again]\ntarget = "rating"\n'
    )

    settings = load(a_file(tmp_path, text))

    names = {name: settings.of(name).model.class_names for name in settings.model_names}
    assert names == {
        "stars": ("poor", "middling", "great"), "same": ("poor", "middling", "great"),
        "halves": ("poor", "good"), "mood": ("negative", "positive"),
        "again": ("poor", "middling", "great"),
    }  # fmt: skip


def test_no_other_model_is_baked_in_the_services_of_the_first(tmp_path):
    text = (
        '[serving]\naddresses = ["http://one:1"]\nshadow = { version = "0123456789abcdef0123" }\n'
        '[models.stars]\n[models.moods.serving]\naddresses = ["http://two:2"]\n'
    )

    settings = load(a_file(tmp_path, text))

    assert settings.of("stars").serving.addresses == ()
    assert settings.of("stars").serving.shadow.version == ""
    assert settings.of("moods").serving.addresses == ("http://two:2",)


def test_the_files_of_a_model_lie_where_those_of_the_first_do(tmp_path):
    (tmp_path / "mine.jsonl").touch()

    settings = load(a_file(tmp_path, '[models.stars.evaluation]\ngolden_file = "mine.jsonl"\n'))

    assert settings.of("stars").evaluation.golden_file == tmp_path / "mine.jsonl"
    assert settings.of("stars").evaluation.behaviour_folder == CONFIG_FOLDER / "behaviour"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[models.stars]\nsed = 1", r"models\.stars\.sed: a model has no such key"),
        ('[models.stars]\nname = "x"', r"models\.stars\.name: a model has no such key"),
        ("[models.stars.store]\nx = 1", r"models\.stars\.store: a model has no such key"),
        ("[models.stars]\nseed = -1", r"models\.stars\.seed: .* greater"),
        ("[models.stars.gate]\nmin_accuracy = 7", r"models\.stars\.gate\.min_accuracy: .* less"),
        ("[models.stars.gate]\nmin = 7", r"models\.stars\.gate\.min: Extra"),
        ("[models.stars]\ngate = 7", r"models\.stars\.gate: .* valid dictionary"),
        ("[models]\nstars = 7", r"models\.stars: .* valid dictionary"),
        ("[models.Stars]", r"models\.Stars\.name: "),
        ('[models."a/b"]', r"models\.a/b\.name: "),
        ("[models.probes]", r"models\.probes: the name is kept for"),
        ("[models.sentiment]", r"models\.sentiment: \[model\] has this name"),
        ('[model]\nname = "mine"\n[models.sentiment]', r"the DAGs of the first model"),
        ('[models.x.training]\ncandidates = ["no"]', r"models\.x\.training\.candidates is \['no"),
        ('[models.x.evaluation]\ngolden_file = "no"', r"models\.x\.evaluation\.golden_file is"),
        ("[models.x]\nclasses = { a = [1, 2], b = [3, 4] }", r"models\.x: .* need target"),
        ('[models.x]\nschedule = "60 * * * *"', r"models\.x\.schedule: .* no|not a cron"),
    ],
)  # fmt: skip
def test_an_error_names_the_key_of_the_model(tmp_path, text, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load(a_file(tmp_path, text))


@pytest.mark.parametrize("cron", ["", "0 5 * * 1", "*/15 0-3,7 1,15 */2 1-5"])
def test_a_schedule_is_a_cron_expression_of_numbers(tmp_path, cron):
    assert load(a_file(tmp_path, f'[model]\nschedule = "{cron}"\n')).model.schedule == cron


@pytest.mark.parametrize(
    "cron",
    ["daily", "0 5 * *", "0 24 * * *", "0 0 0 * *", "0 0 1 13 *", "0 0 * * 8", "5-3 * * * *",
     "0 5 * * 1 ", "*/0 * * * *", "a * * * *", ", * * * *"],
)  # fmt: skip
def test_what_airflow_could_not_schedule_is_refused(tmp_path, cron):
    with pytest.raises(ConfigError, match="is not a cron expression"):
        load(a_file(tmp_path, f'[model]\nschedule = "{cron}"\n'))


def test_an_unknown_model_is_named_with_those_that_exist(tmp_path):
    settings = load(a_file(tmp_path, "[models.stars]\n"))

    with pytest.raises(ConfigError, match=r"no model 'moods'.* are sentiment, stars"):
        settings.of("moods")


def test_a_dag_is_about_the_model_that_its_id_begins_with(tmp_path):
    settings = load(a_file(tmp_path, '[model]\nname = "mine"\n[models.stars]\n[models.s_t-2]\n'))

    assert settings.model_of("sentiment_retrain") == "mine"
    assert settings.model_of("stars_rollback") == "stars"
    assert settings.model_of("s_t-2_monitor") == "s_t-2"
    about_none = ["reviews_ingest", "sentiment_housekeeping", "mine_retrain", "x_retrain", "stars"]
    assert [settings.model_of(dag_id) for dag_id in about_none] == [None] * 5
    assert (settings.dags, settings.of("stars").dags) == ("sentiment", "stars")
