"""The model in MLflow is loaded only if it is the exported one, and without unpickling."""

import json
import pickle

import pandas as pd
import pytest

from pipelines.core.errors import ModelFormatError
from pipelines.core.record import sha256_of
from pipelines.exports import mlflow_model, pyfunc
from pipelines.features.fingerprints import FEATURIZER_VERSION
from pipelines.models.artefacts import OWN_TYPES, dump_model
from pipelines.models.factories import fingerprint_svm
from tests.support.made.served_builders import model_of_stars

VERSION = "a" * 20
TEXTS = ["a great film", "a dull film", "great fun", "dull and long"] * 20


@pytest.fixture(scope="module")
def model():
    return fingerprint_svm(seed=1).fit(TEXTS, [1, 0, 1, 0] * 20)


@pytest.fixture
def folder(tmp_path, model):
    put(tmp_path, dump_model(model))
    return tmp_path


def put(folder, data, **changes):
    facts = {"version": VERSION, "model_sha256": sha256_of(data),
             "featurizer": FEATURIZER_VERSION, "generation": 1}  # fmt: skip
    (folder / pyfunc.MODEL).write_bytes(data)
    (folder / pyfunc.FACTS).write_text(json.dumps(facts | changes))


def test_it_answers_a_table_or_a_list_of_texts(folder, model):
    loaded = pyfunc._load_pyfunc(str(folder))

    answers = loaded.predict(pd.DataFrame({"text": ["a great film", "dull"], "other": [1, 2]}))

    assert answers["label"].tolist() == ["positive", "negative"]
    assert set(answers["version"]) == {VERSION}
    assert answers.equals(loaded.predict(["a great film", "dull"]))


@pytest.mark.attack
def test_a_changed_file_other_features_and_a_pickle_are_refused(folder, model):
    data = dump_model(model)
    (folder / pyfunc.MODEL).write_bytes(data + b"x")
    with pytest.raises(ModelFormatError, match="was exported"):
        pyfunc._load_pyfunc(str(folder))

    put(folder, data, featurizer="fp0")
    with pytest.raises(ModelFormatError, match="needs features 'fp0'"):
        pyfunc._load_pyfunc(str(folder))

    put(folder, pickle.dumps(model))
    with pytest.raises(ModelFormatError, match="not a readable model file"):
        pyfunc._load_pyfunc(str(folder))


def test_the_code_beside_the_model_holds_every_type_that_a_model_may_hold():
    code = mlflow_model.code()

    for name in OWN_TYPES:
        assert f"{name.rpartition('.')[0].replace('.', '/')}.py" in code
    assert not any(name.startswith(("pipelines/core/store", "pipelines/registry")) for name in code)
    assert sum(map(len, code.values())) < 300_000


def test_a_model_of_three_classes_answers_with_each(tmp_path):
    model = model_of_stars()
    put(tmp_path, dump_model(model), classes=["poor", "middling", "great"])

    answers = pyfunc._load_pyfunc(str(tmp_path)).predict(["superb and moving", "dreadful"])

    columns = ["probability_poor", "probability_middling", "probability_great"]
    assert answers["label"].tolist() == ["great", "poor"]
    assert answers[columns].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert answers["probability"].tolist() == answers[columns].max(axis=1).tolist()
