"""Champions in a real MLflow, whose own client loads and asks them."""

import json
import os
import subprocess

import pytest

from pipelines.core import config
from pipelines.models.prediction import positive_probability
from pipelines.registry.registry import Registry
from pipelines.steps import exports
from pipelines.steps.context import open_loop
from tests.support.services.mlflow_server import installed, mlflow_server

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_clean_room_per_model")]

TEXTS = ["A wonderful film, I loved it.", "Dull, and far too long.", "größer", "ok"]

# What somebody with MLflow alone does.
CLIENT = """
import json, sys
import mlflow, pandas as pd
url, texts = sys.argv[1], json.loads(sys.argv[2])
mlflow.set_tracking_uri(url)
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias("sentiment", "champion")
run = client.get_run(version.run_id)
model = mlflow.pyfunc.load_model("models:/sentiment@champion")
answers = model.predict(pd.DataFrame({"text": texts}))
json.dump({
    "number": version.version, "tags": version.tags, "status": run.info.status,
    "params": run.data.params, "metrics": run.data.metrics,
    "card": sorted(one.path for one in client.list_artifacts(version.run_id, "card")),
    "numbers": len(client.search_model_versions("name='sentiment'")),
    "probability": answers["probability"].tolist(), "version": answers["version"][0],
    "code": sys.modules["pipelines.models.artefacts"].__file__,
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def python():
    return installed()


@pytest.fixture
def server(python, tmp_path):
    with mlflow_server(python, tmp_path) as url:
        yield url


def seen(python, server, folder):
    """What MLflow's own client sees, in a process that cannot import this project."""
    done = subprocess.run(
        [python, "-c", CLIENT, server, json.dumps(TEXTS)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_mlflows_own_client_finds_the_champion_and_it_answers_as_ours(
    stores, champions, configure, python, server, tmp_path
):
    entries = {entry.generation: entry for entry in champions(2)}
    configure(exports={"mlflow_url": server})
    registry = Registry(stores.models, "sentiment")

    exports.champion(open_loop(), entries[1])
    exports.champion(open_loop(), entries[2])
    (said,) = exports.champion(open_loop(), entries[2])
    found = seen(python, server, tmp_path)

    assert said == f"MLflow: {entries[2].version} is version 2 of sentiment, and champion"
    assert (found["number"], found["numbers"], found["status"]) == ("2", 2, "FINISHED")
    assert found["tags"]["loop.version"] == found["version"] == entries[2].version
    manifest = registry.versions.champion_manifest(entries[2])
    assert found["params"]["candidate"] == manifest.candidate
    assert found["params"]["training_rows"] == str(manifest.training_rows)
    assert found["metrics"]["holdout.accuracy"] == entries[2].holdout_accuracy
    assert found["card"] == [
        "card/calibration.svg", "card/card.md", "card/history.svg", "card/slices.svg",
    ]  # fmt: skip
    ours = positive_probability(registry.versions.load(manifest), TEXTS)
    assert found["probability"] == pytest.approx(ours.tolist(), abs=1e-9)
    assert "/code/pipelines/models/" in found["code"]

    # A rollback puts the alias back, and exports nothing twice.
    exports.champion(open_loop(), entries[1])
    assert (seen(python, server, tmp_path)["number"], config.load().exports.mlflow_url) == (
        "1", server,
    )  # fmt: skip
