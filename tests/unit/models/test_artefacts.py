"""Model files against damage, foreign types and chance."""

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
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from benchmarks.compared.lecture_notebook import lecture_notebook
from pipelines.core.errors import ModelFormatError
from pipelines.models import artefacts
from pipelines.models.artefacts import dump_model, load_model
from pipelines.models.factories import (
    fingerprint_sgd,
    fingerprint_svm,
    tfidf_logistic,
)
from tests.support.made.made_models import LABELS, TEXTS, a_model

ROOT = Path(__file__).resolve().parents[3]

FIT_AND_HASH = """
import hashlib
from tests.support.made.made_models import LABELS, TEXTS
from pipelines.models import artefacts, factories
for factory in ("fingerprint_svm", "fingerprint_sgd", "tfidf_logistic"):
    model = getattr(factories, factory)(seed=7).fit(TEXTS, LABELS)
    print(hashlib.sha256(artefacts.dump_model(model)).hexdigest())
"""


def members_of(blob: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "factory", [fingerprint_svm, fingerprint_sgd, tfidf_logistic, lecture_notebook]
)
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


@pytest.mark.long
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


TALKATIVE = """
import sys, types, warnings
talkative, said = types.ModuleType("talkative"), []
def moved(name):
    said.append(name)
    warnings.warn(f"{name} has moved", FutureWarning)
    raise AttributeError(name)
talkative.__getattr__ = moved
sys.modules["talkative"] = talkative
import pipelines.models.artefacts
assert said, "nobody looked, so nothing was tested"
"""


def test_what_other_modules_say_when_they_are_looked_through_is_kept_quiet():
    ended = subprocess.run(
        [sys.executable, "-W", "always::FutureWarning", "-c", TALKATIVE],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_lookup_table_is_not_stored():
    copy = load_model(dump_model(a_model()))

    assert "_index" not in vars(copy["fingerprints"])


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
    ours, theirs = b'"__module__":"pipelines.models.vectorizer"', b'"__module__":"foreign_module"'
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
    monkeypatch.setattr(artefacts, "MAX_MODEL_BYTES", 1000)

    with pytest.raises(ModelFormatError, match="the limit is 1000"):
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
    coefficients = blob.index(b"NUMPY") + 140
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
    monkeypatch.setattr(artefacts, "MAX_MODEL_BYTES", 8_000_000)
    zeros = {f"{number}.npy": b"\0" * 1_000_000 for number in range(9)}
    bomb = packed({**zeros, "schema.json": b"{}"}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000

    with pytest.raises(ModelFormatError, match="to 9000002 bytes, and the limit is 8000000"):
        load_model(bomb)


def test_one_array_used_a_thousand_times_is_a_bomb_too(monkeypatch):
    monkeypatch.setattr(artefacts, "MAX_MODEL_BYTES", 100_000)
    arrays = [{"file": "a.npy"}] * 1000
    members = {"a.npy": b"\0" * 1000, "schema.json": json.dumps(arrays).encode()}

    with pytest.raises(ModelFormatError, match="to 1000000 bytes, and the limit is 100000"):
        load_model(packed(members))
