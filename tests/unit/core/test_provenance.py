"""A version's name changes with the code that can change the model, and with no other code."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from pipelines.core import provenance
from pipelines.core.config import PROJECT

STAGES = {
    "training": provenance.TRAINING,
    "validation": provenance.VALIDATION,
    "gate": provenance.GATE,
    "monitoring": provenance.MONITORING,
    "answers": provenance.ANSWERS,
}
SOURCES = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in (PROJECT / "pipelines").rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("pipelines", cache_dir=None)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(
        PROJECT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("*.pyc")
    )
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    return tmp_path


def digest_in(checkout: Path, stage: str) -> str:
    program = (
        f"from pipelines.core import provenance as p; print(p.code_digest(*p.{stage.upper()}))"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, check=True, capture_output=True, text=True
    ).stdout.strip()


def digest_here(stage: str) -> str:
    return provenance.code_digest(*STAGES[stage])


def change(checkout: Path, path: str) -> None:
    with (checkout / path).open("a", encoding="utf-8") as file:
        file.write("\n# another line\n")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_covers_just_what_it_imports_near_or_far(stage, imports):
    reached = set(STAGES[stage]).union(*map(imports.find_upstream_modules, STAGES[stage]))

    covered = provenance.imported(STAGES[stage], PROJECT)

    as_paths = {f"{name.replace('.', '/')}.py" for name in reached}
    assert set(covered) == {path for path in as_paths if (PROJECT / path).is_file()}
    assert 30 < len(covered) < len(SOURCES) / 2


def test_packages_hold_no_code_of_their_own():
    texts = [
        path.read_text(encoding="utf-8") for path in (PROJECT / "pipelines").rglob("__init__.py")
    ]

    assert all(text.startswith('"""') and text.count('"""') == 2 for text in texts)
    assert all(text.endswith('"""\n') for text in texts)


@pytest.mark.parametrize(
    "path",
    ["pipelines/pages/app.py", "pipelines/core/links.py", "pipelines/registry/fsck/ledger.py",
     "pipelines/gate/card/plots.py", "pipelines/validation/rules.py"],
)  # fmt: skip
def test_code_that_training_does_not_import_leaves_its_version_as_it_is(checkout, path):
    change(checkout, path)

    assert digest_in(checkout, "training") == digest_here("training")


@pytest.mark.parametrize(
    "path",
    ["pipelines/training/folds.py", "pipelines/models/nbsvm.py",
     "pipelines/features/tokens.py", "pipelines/core/store/sealed.py"],
)  # fmt: skip
def test_code_that_training_imports_in_any_subfolder_gives_another_version(checkout, path):
    change(checkout, path)

    assert digest_in(checkout, "training") != digest_here("training")


def test_a_module_that_only_its_name_starts_is_part_of_the_policy():
    assert "pipelines/evaluation/clean_room.py" in provenance.imported(provenance.GATE, PROJECT)


def test_a_module_that_moves_gives_another_version(checkout):
    assert digest_in(checkout, "gate") == digest_here("gate")

    for path in ("pipelines/gate/decide.py", "pipelines/evaluation/scores.py"):
        (checkout / path).rename(checkout / path.replace(".py", "_now.py"))

    assert digest_in(checkout, "gate") != digest_here("gate")
