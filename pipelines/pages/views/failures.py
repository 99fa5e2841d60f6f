"""How a run stands: what was asked of it, and what failed in it.

A failed task is named by its file, with its own error in words and the way to its log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.core import links
from pipelines.core.errors import NightIncompleteError
from pipelines.core.escaping import plain
from pipelines.pages.frame import View

MOST_FAILURES = 5
_MOST_ERROR_CHARS = 1200
_MOST_ASKED_CHARS = 600  # more than a form takes
# What the form of a run that follows a plan asks for.
_ASKED: Final = ("to", "version", "delivery", "action", "rows", "reason")
_NO_ERROR = "Its log says why."
# Tasks that only repeat what the failure of another task says; the last sums up the night.
_LAST: Final = ("alert", "check_night")


class Fact(View):
    """One line of a report; ``link`` leads to one of our pages."""

    name: str
    value: str
    link: str | None = None


class Failure(View):
    """A failed task."""

    task: str
    about: str  # which of the mapped tasks: the file
    error: str
    log: str  # link in Airflow
    runbook: str  # link to what it says of the error; empty when the error is not known


class Task(View):
    """A failed task, and where its log is asked for."""

    task_id: str
    name: str
    map_index: int
    about: str
    log_path: str


def failed_tasks(where: str, listed: Any) -> tuple[Task, ...]:
    """The failed tasks in Airflow's answer, the telling ones first; ``where`` is the run's path.

    Of too many the first are kept, and the very last.
    """
    instances = listed.get("task_instances") if isinstance(listed, Mapping) else None
    tasks = [
        task
        for one in (instances if isinstance(instances, list) else ())
        if (task := _task(where, one))
    ]
    tasks.sort(key=lambda task: _LAST.index(task.task_id) + 1 if task.task_id in _LAST else 0)
    return (*tasks[: MOST_FAILURES - 1], *tasks[MOST_FAILURES - 1 :][-1:])


def _task(where: str, instance: Any) -> Task | None:
    task_id = instance.get("task_id") if isinstance(instance, Mapping) else None
    if not isinstance(task_id, str) or links.quoted(task_id) in {".", ".."}:
        return None
    index, tries = instance.get("map_index"), instance.get("try_number")
    index = index if isinstance(index, int) else -1
    number = tries if isinstance(tries, int) and tries > 0 else 1
    return Task(
        task_id=task_id,
        name=str(instance.get("task_display_name") or task_id),
        map_index=index,
        about=str(instance.get("rendered_map_index") or ("" if index < 0 else index)),
        log_path=f"{where}/taskInstances/{links.quoted(task_id)}/logs/{number}?map_index={index}",
    )


def failure(dag_id: str, run_id: str, task: Task, log: Any) -> Failure:
    """A failed task and the last error in its log; a log that is gone is no fault of the page."""
    error = next(_errors(log), "")
    return Failure(
        task=task.name,
        about=task.about,
        error=error or _NO_ERROR,
        runbook=links.runbook_link(links.error_runbook(error)) if error else "",
        log=links.task_link(dag_id, run_id, task.task_id, task.map_index),
    )


def _errors(log: Any) -> Iterator[str]:
    """What a log holds of errors, the last one first."""
    lines = log.get("content") if isinstance(log, Mapping) else None
    for line in reversed(lines if isinstance(lines, list) else []):
        details = line.get("error_detail") if isinstance(line, Mapping) else None
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, Mapping) and detail.get("exc_value"):
                said = f"{detail.get('exc_type') or 'Error'}: {detail['exc_value']}"
                yield plain(said, most=_MOST_ERROR_CHARS)


def in_one_sentence(failures: tuple[Failure, ...]) -> str:
    """The first failure, for the first line of a report."""
    if not failures:
        return "see the log of its failed task."
    first = failures[0]
    about = f" ({first.about})" if first.about else ""
    return f"{first.task}{about}. {first.error}"


@dataclass(frozen=True)
class End:
    """How a run stands: its state, what it was started with, and what failed in it."""

    state: str = ""
    conf: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    @property
    def is_dry_run(self) -> bool:
        return self.conf.get("dry_run") is not False

    @property
    def is_incomplete(self) -> bool:
        """Whether files of a night were due that the run did not process."""
        name = NightIncompleteError.__name__
        return any(failure.error.startswith(name) for failure in self.failures)

    @property
    def is_going_on(self) -> bool:
        return self.state in {"queued", "running"}

    def before(self, what: str) -> str:
        """The sentence on a run that has not got so far."""
        if self.state == "failed":
            return f"Failed before it had {what}: {in_one_sentence(self.failures)}"
        if self.is_going_on:
            return f"It has no {what.removeprefix('a ')} yet: it is {self.state}."
        return f"It ended without {what}."

    def without_plan(self) -> tuple[str, tuple[Fact, ...]]:
        """The sentence on a run that has no plan, and what was asked of it."""
        asked = [(name, self.conf[name]) for name in _ASKED if self.conf.get(name) is not None]
        facts = [
            Fact(name=name, value=plain(_in_words(value), most=_MOST_ASKED_CHARS))
            for name, value in asked
        ]
        dry_run = Fact(name="dry run", value="yes" if self.is_dry_run else "no")
        return self.before("a plan"), (*facts, dry_run)

    def without_files(self) -> str:
        """The sentence on a night of which no file was processed."""
        if self.is_incomplete:
            return "None of the delivered files was processed. Nothing is lost: they are due again."
        return "Nothing was delivered, so this night starts no retraining."


def _in_words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
