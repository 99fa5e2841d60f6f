"""The estimators against hand counts; the files against damage, foreign types and chance."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from pipelines import models
from pipelines.errors import ModelFormatError
from pipelines.fingerprints import fingerprint
from pipelines.models import (
    FingerprintVectorizer,
    LogCountRatio,
    dump_model,
    fingerprint_parameters,
    fingerprint_sgd,
    lecture_notebook,
    load_model,
    reads_fingerprints,
    tfidf_logistic,
)

ROOT = Path(__file__).parents[2]

GOOD = ("a great film, truly great", "great fun and a lovely cast", "lovely, warm and funny")
BAD = ("a dull film, truly dull", "no fun and a dreadful cast", "dreadful, cold and dull")
TEXTS = (GOOD + BAD) * 5
LABELS = np.array(([1] * 3 + [0] * 3) * 5)

FIT_AND_HASH = """
import hashlib, sys
sys.path.insert(0, "tests/unit")
from test_models import LABELS, TEXTS
from pipelines import models
for factory in ("fingerprint_sgd", "tfidf_logistic", "lecture_notebook"):
    model = getattr(models, factory)(seed=7).fit(TEXTS, LABELS)
    print(hashlib.sha256(models.dump_model(model)).hexdigest())
"""


def a_model(seed: int = 7) -> Pipeline:
    return fingerprint_sgd(seed=seed, ngram_max=2).fit(TEXTS, LABELS)


def members_of(blob: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# ------------------------------------------------------------------ estimators


def test_scikit_learn_finds_no_fault_with_the_ratio():
    check_estimator(LogCountRatio(), on_skip=None)


@pytest.mark.parametrize(
    "estimator", [FingerprintVectorizer(ngram_max=2, min_df=3, bits=32), LogCountRatio(alpha=0.5)]
)
def test_a_clone_has_the_same_settings_and_nothing_learned(estimator):
    copy = clone(estimator)

    assert copy.get_params() == estimator.get_params()
    assert vars(copy) == estimator.get_params()


def test_settings_can_be_changed_through_the_pipeline():
    model = fingerprint_sgd(seed=1).set_params(fingerprints__ngram_max=1, ratio__alpha=2.0)

    assert fingerprint_parameters(model) == (1, 40)
    assert model["ratio"].alpha == 2.0


@pytest.mark.parametrize("estimator", [FingerprintVectorizer(), LogCountRatio()])
def test_transforming_before_fitting_says_so(estimator):
    with pytest.raises(NotFittedError):
        estimator.transform(["a film"])


# ------------------------------------------------------------------ vectorizer, by hand


def test_the_vocabulary_is_what_occurs_in_two_of_three_reviews():
    texts = ["good film", "good cast", "good good film"]

    vectorizer = FingerprintVectorizer(ngram_max=2).fit(texts)

    # good (3 reviews), film (2) and "good film" (2) stay; cast, "good cast", "good good" go.
    expected = fingerprint(["good film"], ngram_max=2).ids
    assert vectorizer.vocabulary_.tolist() == expected.tolist()


@pytest.mark.parametrize(("min_df", "kept"), [(1, 4), (2, 2), (3, 1)])
def test_min_df_counts_reviews_not_repeats(min_df, kept):
    # good in 3 reviews, film in 2, cast and cast's neighbour in 1 each
    texts = ["good film", "good film cast cast", "good plot"]

    vectorizer = FingerprintVectorizer(ngram_max=1, min_df=min_df).fit(texts)

    assert len(vectorizer.vocabulary_) == kept


def test_transforming_marks_the_known_ngrams_of_each_review():
    vectorizer = FingerprintVectorizer(ngram_max=1, min_df=1).fit(["good film"])

    presence = vectorizer.transform(["film film", "unknown", "good film", ""])

    assert presence.dtype == np.float32
    assert presence.format == "csr"
    assert presence.sum(axis=1).tolist() == [1, 0, 2, 0]
    assert presence.max() == 1


def test_fitting_and_transforming_at_once_equals_one_after_the_other():
    at_once = FingerprintVectorizer().fit_transform(TEXTS)

    in_turn = FingerprintVectorizer().fit(TEXTS).transform(TEXTS)

    assert (at_once != in_turn).nnz == 0


def test_refitting_forgets_the_old_vocabulary():
    vectorizer = FingerprintVectorizer(ngram_max=1, min_df=1).fit(["old"])
    vectorizer.transform(["old"])

    assert vectorizer.fit(["new"]).transform(["old", "new"]).toarray().tolist() == [[0], [1]]


def test_reviews_with_nothing_in_common_leave_no_vocabulary():
    with pytest.raises(ValueError, match="2 reviews occurs in min_df=2"):
        FingerprintVectorizer().fit(["good film", "dull plot"])


def test_min_df_must_be_positive():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        FingerprintVectorizer(min_df=0).fit(TEXTS)


@pytest.mark.parametrize("setting", [{"ngram_max": 2}, {"bits": 32}])
def test_fingerprints_made_for_another_model_are_refused(setting):
    foreign = fingerprint(TEXTS, **setting)

    with pytest.raises(ValueError, match=r"this model reads \(3, 40\). Make them again"):
        FingerprintVectorizer().fit(foreign)
    with pytest.raises(ValueError, match=r"this model reads \(3, 40\). Make them again"):
        FingerprintVectorizer().fit(TEXTS).transform(foreign)


# ------------------------------------------------------------------ ratio, by hand


def test_the_ratio_equals_a_hand_count():
    # columns: great, dull, film; two positive reviews, one negative
    presence = sparse.csr_array(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]], np.float32))

    ratio = LogCountRatio(alpha=1.0).fit(presence, [1, 1, 0]).ratio_

    # positive counts 2,0,1 -> 3,1,2 of 6; negative counts 0,1,1 -> 1,2,2 of 5
    expected = np.log([(3 / 6) / (1 / 5), (1 / 6) / (2 / 5), (2 / 6) / (2 / 5)])
    np.testing.assert_allclose(ratio, expected, rtol=1e-6)
    assert ratio.dtype == np.float32


def test_weighted_rows_have_length_one_and_unknown_rows_length_zero():
    presence = FingerprintVectorizer().fit(TEXTS).transform([*TEXTS[:6], "unknown"])

    weighted = LogCountRatio().fit(presence, [1, 1, 1, 0, 0, 0, 1]).transform(presence)

    lengths = np.sqrt(weighted.power(2).sum(axis=1))
    np.testing.assert_allclose(lengths, [1] * 6 + [0], rtol=1e-6)
    assert weighted.dtype == np.float32


def test_weighting_leaves_its_input_alone():
    presence = FingerprintVectorizer().fit_transform(TEXTS)

    LogCountRatio().fit(presence, LABELS).transform(presence)

    assert presence.data.min() == presence.data.max() == 1


@pytest.mark.parametrize(("labels", "found"), [([1, 1, 1], "1 class"), ([0, 1, 2], "3 classes")])
def test_a_ratio_needs_two_classes(labels, found):
    presence = sparse.csr_array(np.eye(3, dtype=np.float32))

    with pytest.raises(ValueError, match=f"reviews of two classes, found {found}"):
        LogCountRatio().fit(presence, labels)


def test_a_night_of_one_class_cannot_be_fitted():
    with pytest.raises(ValueError, match=r"two classes, found 1 class: \[1\]"):
        fingerprint_sgd(seed=1).fit(TEXTS, np.ones(len(TEXTS), int))


@pytest.mark.parametrize("alpha", [0, -1, float("nan")])
def test_smoothing_must_be_positive(alpha):
    with pytest.raises(ValueError, match="alpha must be above 0"):
        LogCountRatio(alpha=alpha).fit(sparse.csr_array(np.eye(2)), [0, 1])


def test_another_number_of_features_is_refused():
    ratio = LogCountRatio().fit(sparse.csr_array(np.eye(2)), [0, 1])

    with pytest.raises(ValueError, match="3 features, but LogCountRatio is expecting 2"):
        ratio.transform(sparse.csr_array(np.eye(3)))


# ------------------------------------------------------------------ whole models


@pytest.mark.parametrize("factory", [fingerprint_sgd, tfidf_logistic])
def test_a_model_tells_good_from_bad(factory):
    model = factory(seed=3).fit(TEXTS, LABELS)

    assert model.predict(["great and lovely", "dull and dreadful"]).tolist() == [1, 0]


def test_the_lecture_model_has_the_notebook_settings():
    model = lecture_notebook(seed=3)

    assert model["words"].stop_words == "english"
    assert model["linear"].max_iter == 5


def test_fitting_on_fingerprints_equals_fitting_on_texts():
    prints = fingerprint(TEXTS, ngram_max=2)

    from_prints = fingerprint_sgd(seed=7, ngram_max=2).fit(prints, LABELS)

    assert dump_model(from_prints) == dump_model(a_model())


def test_predictions_do_not_depend_on_company_or_form():
    model, texts = a_model(), [*TEXTS, "", "nothing known", "a great, dull film"]

    batch = model.predict_proba(texts)

    alone = np.vstack([model.predict_proba([text]) for text in texts])
    from_prints = model.predict_proba(fingerprint(texts, ngram_max=2))
    np.testing.assert_allclose(alone, batch, rtol=0, atol=1e-12)
    np.testing.assert_allclose(from_prints, batch, rtol=0, atol=1e-12)


def test_a_model_says_which_fingerprints_it_reads():
    model = fingerprint_sgd(seed=1, ngram_max=2)

    assert reads_fingerprints(model)
    assert fingerprint_parameters(model) == (2, 40)


def test_a_model_of_texts_reads_no_fingerprints():
    assert not reads_fingerprints(tfidf_logistic(seed=1))
    assert not reads_fingerprints(None)
    with pytest.raises(TypeError, match="reads texts"):
        fingerprint_parameters(tfidf_logistic(seed=1))


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("factory", [fingerprint_sgd, tfidf_logistic, lecture_notebook])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_read_back_predicts_the_same(factory):
    model = factory(seed=3).fit(
        [*TEXTS, "file __id__ content", "file __id__ content"], [*LABELS, 0, 1]
    )

    copy = load_model(dump_model(model))

    assert np.array_equal(copy.predict_proba(TEXTS), model.predict_proba(TEXTS))
    assert dump_model(copy) == dump_model(model)


def test_using_a_model_does_not_change_its_file():
    model = a_model()
    before = dump_model(model)

    model.predict(["a film"])

    assert dump_model(model) == before


def test_two_processes_write_the_same_bytes():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", FIT_AND_HASH],
            cwd=ROOT,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]

    assert len(set(outputs[0].split())) == 3  # three models, three hashes
    assert outputs[0] == outputs[1]


def test_a_seed_is_the_only_difference_between_two_fits():
    assert dump_model(a_model(seed=1)) == dump_model(a_model(seed=1))
    assert dump_model(a_model(seed=1)) != dump_model(a_model(seed=2))


def test_a_file_holds_no_date_and_no_address():
    blob = dump_model(a_model())

    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"__id__" not in archive.read("schema.json")


def test_the_lookup_table_is_not_stored():
    copy = load_model(dump_model(a_model()))

    assert set(vars(copy["fingerprints"])) == {"ngram_max", "min_df", "bits", "vocabulary_"}


class Canary:
    """Creates a file when skops builds it: the test then knows that it was built."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()


class PickledCanary(Canary):
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path(self.path),)


def test_a_foreign_type_is_refused_before_anything_is_built(tmp_path):
    blob = skops.io.dumps(Pipeline([("canary", Canary(tmp_path / "built"))]))

    with pytest.raises(ModelFormatError, match=r"not allowed: .*Canary\. Nothing was built"):
        load_model(blob)

    assert not (tmp_path / "built").exists()
    skops.io.loads(blob, trusted=[Canary])
    assert (tmp_path / "built").exists()  # the canary does sing when it is built


def test_a_foreign_module_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "foreign_module.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('imported').touch()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    members = members_of(dump_model(a_model()))
    ours, theirs = b'"__module__":"pipelines.models"', b'"__module__":"foreign_module"'
    members["schema.json"] = members["schema.json"].replace(ours, theirs)

    with pytest.raises(ModelFormatError, match=r"foreign_module\.FingerprintVectorizer"):
        load_model(packed(members))

    assert not (tmp_path / "imported").exists()


def test_a_function_is_a_foreign_type_too():
    sneaky = Pipeline([("call", FunctionTransformer(print))])

    with pytest.raises(ModelFormatError, match=r"builtins\.print"):
        load_model(skops.io.dumps(sneaky))


def test_a_model_that_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(ModelFormatError, match="Canary"):
        dump_model(Pipeline([("canary", Canary(tmp_path / "built"))]))


def test_a_model_too_large_to_be_read_is_not_written(monkeypatch):
    monkeypatch.setattr(models, "MAX_MODEL_BYTES", 1000)

    with pytest.raises(ModelFormatError, match="1000 are allowed"):
        dump_model(a_model())


def test_a_pickle_is_refused_without_being_run(tmp_path):
    blob = pickle.dumps(PickledCanary(tmp_path / "built"))

    with pytest.raises(ModelFormatError, match="not a readable model file"):
        load_model(blob)

    assert not (tmp_path / "built").exists()
    pickle.loads(blob)  # noqa: S301
    assert (tmp_path / "built").exists()


@pytest.mark.parametrize("blob", [b"", b"PK\x03\x04", b"{}", b"\x00" * 100, packed({})])
def test_bytes_that_are_no_model_are_refused(blob):
    with pytest.raises(ModelFormatError, match="not a readable model file"):
        load_model(blob)


@pytest.mark.parametrize(
    "schema", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"protocol": 99}', b"\xff"]
)
def test_a_schema_that_is_none_is_refused(schema):
    with pytest.raises(ModelFormatError, match="not a readable model file"):
        load_model(packed({"schema.json": schema}))


def test_a_changed_byte_is_noticed():
    blob = bytearray(dump_model(a_model()))
    coefficients = blob.index(b"NUMPY") + 200
    blob[coefficients] ^= 1

    with pytest.raises(ModelFormatError, match="Bad CRC-32"):
        load_model(bytes(blob))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(share):
    blob = dump_model(a_model())

    with pytest.raises(ModelFormatError, match="not a readable model file"):
        load_model(blob[: int(len(blob) * share)])


def test_a_file_without_one_of_its_arrays_is_refused():
    members = members_of(dump_model(a_model()))
    del members[next(name for name in members if name.endswith(".npy"))]

    with pytest.raises(ModelFormatError, match="not a readable model file"):
        load_model(packed(members))


def test_an_array_that_is_a_pickle_is_refused(tmp_path):
    canary = PickledCanary(tmp_path / "built")
    members = members_of(dump_model(a_model()))
    members = {
        name: content if name == "schema.json" else pickle.dumps(canary)
        for name, content in members.items()
    }

    with pytest.raises(ModelFormatError, match="not a readable model file"):
        load_model(packed(members))

    assert not (tmp_path / "built").exists()


def test_an_object_that_is_no_pipeline_is_refused():
    with pytest.raises(ModelFormatError, match="expected a Pipeline, the file holds a list"):
        load_model(skops.io.dumps([1, 2]))


def test_a_zip_bomb_is_refused_unopened(monkeypatch):
    monkeypatch.setattr(models, "MAX_MODEL_BYTES", 8_000_000)
    zeros = {f"{number}.npy": b"\0" * 1_000_000 for number in range(9)}
    bomb = packed({**zeros, "schema.json": b"{}"}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000

    with pytest.raises(ModelFormatError, match="unpacks to 9000002 bytes, 8000000 are allowed"):
        load_model(bomb)


def test_one_array_used_a_thousand_times_is_a_bomb_too(monkeypatch):
    monkeypatch.setattr(models, "MAX_MODEL_BYTES", 100_000)
    arrays = [{"file": "a.npy"}] * 1000
    members = {"a.npy": b"\0" * 1000, "schema.json": json.dumps(arrays).encode()}

    with pytest.raises(ModelFormatError, match="unpacks to 1000000 bytes, 100000 are allowed"):
        load_model(packed(members))
