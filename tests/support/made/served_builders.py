"""Champions for tests of the scoring service: in a registry, or made up without a store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from sklearn.pipeline import Pipeline

from pipelines.core import config, keys
from pipelines.core.settings.operation import ServingSettings
from pipelines.evaluation.check_rows import as_answers
from pipelines.evaluation.golden import GoldenSet, load_golden
from pipelines.models.artefacts import dump_model
from pipelines.models.factories import fingerprint_svm
from pipelines.models.prediction import positive_probability, probabilities
from pipelines.records.decisions import Decision
from pipelines.records.evaluations import Evaluation
from pipelines.records.succession import LogEntry
from pipelines.records.versions import Manifest, StarClass
from pipelines.registry.promotion import promote
from pipelines.registry.registry import Registry
from pipelines.serving.champion import Champion
from pipelines.serving.http.service import Service
from pipelines.serving.swap import Champions
from tests.support.made.judgement_builders import (
    a_decision_on,
    a_first_model,
    an_evaluation,
    an_evaluation_of_classes,
)
from tests.support.made.made_models import a_model, made_texts
from tests.support.made.made_searches import STARS, a_plan
from tests.support.made.registry_builders import DIGEST, a_log_entry, a_version


@functools.cache
def golden_set() -> GoldenSet:
    return load_golden(config.load().evaluation.golden_file)


@functools.cache
def model_of(number: int) -> Pipeline:
    """A small model; other numbers are other models, with other answers."""
    return a_model(seed=number)


def answers_of(model: Pipeline) -> tuple[float, ...]:
    """What the gate would have recorded of a model on the golden set."""
    return tuple(positive_probability(model, list(golden_set().texts)).tolist())


def served_champion(
    registry: Registry,
    number: int,
    *,
    against: LogEntry | None = None,
    answers: tuple[float, ...] | None = None,
    model: Pipeline | None = None,
) -> LogEntry:
    """Promote a model that can be loaded, with its answers on the golden set as the gate has them.

    ``answers`` are recorded in place of the true ones. Without a model it is `model_of` the number.
    """
    _, decision = _decided(registry, number, against, answers, model)
    return promote(registry, decision, policy=decision.policy, actor="test", reason="")


Spoil = Callable[[Registry, LogEntry, Manifest], None]


def spoilt_champion(
    registry: Registry,
    number: int,
    *,
    against: LogEntry,
    spoil: Spoil,
    answers: tuple[float, ...] | None = None,
    model: Pipeline | None = None,
) -> LogEntry:
    """Append a champion to the log that something was done to before, which no promotion does."""
    manifest, decision = _decided(registry, number, against, answers, model)
    entry = against.model_copy(
        update={
            "generation": against.generation + 1,
            "previous_entry_sha256": against.digest(),
            "version": manifest.version,
            "manifest_sha256": manifest.digest(),
            "decision_key": decision.object_key,
            "decision_sha256": decision.digest(),
            "token": decision.digest(),
        }
    )
    spoil(registry, entry, manifest)
    return registry.append(entry)


def unsigned_entry(registry: Registry, against: LogEntry) -> str:
    """Put an entry without a signature at the end of the log; returns its key."""
    entry = against.model_copy(
        update={"generation": against.generation + 1, "previous_entry_sha256": against.digest()}
    )
    registry.models.put(entry.object_key, entry.to_bytes())
    return entry.object_key


def corrupt(registry: Registry, _entry: LogEntry, manifest: Manifest) -> None:
    """Change one bit of the model file."""
    data = bytearray(registry.models.get(manifest.model_key))
    data[len(data) // 2] ^= 1
    registry.models.put(manifest.model_key, bytes(data))


def truncate(registry: Registry, _entry: LogEntry, manifest: Manifest) -> None:
    """Cut the model file."""
    registry.models.put(manifest.model_key, registry.models.get(manifest.model_key)[:-100])


def remove(registry: Registry, _entry: LogEntry, manifest: Manifest) -> None:
    """Delete the model file."""
    registry.models.delete(manifest.model_key)


def forge_evaluation(registry: Registry, entry: LogEntry, _manifest: Manifest) -> None:
    """Change what the gate recorded."""
    key = keys.sibling(entry.decision_key, keys.EVALUATION)
    data = registry.models.get(key)
    registry.models.put(key, data.replace(b'"rows":5000', b'"rows":5001'))


def nothing(_registry: Registry, _entry: LogEntry, _manifest: Manifest) -> None:
    """Leave everything as it is; for other answers than the gate's."""


def _decided(
    registry: Registry,
    number: int,
    against: LogEntry | None,
    answers: tuple[float, ...] | None,
    model: Pipeline | None,
) -> tuple[Manifest, Decision]:
    """A stored version with the decision to promote it."""
    model = model_of(number) if model is None else model
    file, recorded = _file_and_answers(model)
    manifest = a_version(registry, f"served {number}", file)
    evaluation = _evaluation(registry, manifest, against, answers or recorded)
    evaluation = registry.decisions.add_evaluation(evaluation)
    decision = a_decision_on(evaluation, evaluation_sha256=evaluation.digest())
    return manifest, registry.decisions.add_decision(decision)


@functools.lru_cache(maxsize=4)
def _file_and_answers(model: Pipeline) -> tuple[bytes, tuple[float, ...]]:
    return dump_model(model), answers_of(model)


def _evaluation(
    registry: Registry, manifest: Manifest, against: LogEntry | None, answers: tuple[float, ...]
) -> Evaluation:
    build = an_evaluation if against else a_first_model
    evaluation = build(
        model_name=registry.name, version=manifest.version, manifest_sha256=manifest.digest(),
        policy=DIGEST, golden_probabilities=answers,
    )  # fmt: skip
    changes: dict[str, object] = {
        "golden": evaluation.golden.model_copy(update={"set_id": golden_set().digest})
    }
    if against:
        changes |= {
            "champion_generation": against.generation,
            "champion_version": against.version,
            "reference_version": against.reference,
        }
    return evaluation.model_copy(update=changes)


class MadeUpSource:
    """Champions without a store: ``promote`` adds one, ``error`` is raised by the next look."""

    model_name = "sentiment"

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.error: Exception | None = None

    def promote(self, number: int) -> None:
        self.numbers.append(number)

    def newest_generation(self) -> int:
        if self.error is not None:
            raise self.error
        return len(self.numbers)

    def load(self, generation: int) -> tuple[Champion, Evaluation]:
        model = model_of(self.numbers[generation - 1])
        entry = a_log_entry(generation, version=f"{generation:020x}")
        evaluation = an_evaluation(golden_probabilities=answers_of(model))
        golden = evaluation.golden.model_copy(update={"set_id": golden_set().digest})
        evaluation = evaluation.model_copy(update={"golden": golden})
        return Champion(entry, a_planned(()), model), evaluation


@functools.cache
def model_of_stars() -> Pipeline:
    """A small model with three classes."""
    texts, labels = made_texts(300, seed=1)
    return fingerprint_svm(seed=3, classes=3, ngram_max=1, epochs=2).fit(texts, labels)


@functools.cache
def golden_set_of_stars() -> GoldenSet:
    texts, labels = made_texts(60, seed=9)
    return GoldenSet(tuple(texts), labels.astype("int8"), digest="e" * 64)


class StarsSource:
    """One champion with three classes; ``answers`` are what its gate recorded."""

    model_name = "stars"

    def __init__(self) -> None:
        found = probabilities(model_of_stars(), list(golden_set_of_stars().texts))
        self.answers = as_answers(found)

    def newest_generation(self) -> int:
        return 1

    def load(self, generation: int) -> tuple[Champion, Evaluation]:
        entry = a_log_entry(generation, version=f"{generation:020x}", model_name=self.model_name)
        evaluation = an_evaluation_of_classes(golden_probabilities=self.answers)
        golden = evaluation.golden.model_copy(update={"set_id": golden_set_of_stars().digest})
        evaluation = evaluation.model_copy(update={"golden": golden})
        return Champion(entry, a_planned(STARS), model_of_stars()), evaluation


def a_service_of_stars(source: StarsSource | None = None) -> Service:
    champions = Champions(source or StarsSource(), golden_set_of_stars(), retry_seconds=60)
    champions.look()
    return Service(champions, serving_settings())


def a_planned(classes: tuple[StarClass, ...]) -> Manifest:
    """As much of a manifest as a service reads."""
    return cast("Manifest", SimpleNamespace(plan=a_plan({}, classes=classes)))


def serving_settings(**changes: object) -> ServingSettings:
    return config.load().serving.model_copy(update=changes)


def a_service(source: MadeUpSource | None = None, **settings: object) -> Service:
    """A service that has looked once; it answers with the champion of the source."""
    champions = Champions(source or MadeUpSource(1), golden_set(), retry_seconds=60)
    champions.look()
    return Service(champions, serving_settings(**settings))
