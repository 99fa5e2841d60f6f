"""Links of the pages. They start at Airflow's root; templates put its prefix before them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from pipelines.core import config, errors
from pipelines.core.record import canonical_json
from pipelines.core.settings.settings import FIRST

ROOT = "/retraining"

INGEST, REPLAY = "reviews_ingest", "reviews_replay"
RETRAIN, ROLLBACK = "sentiment_retrain", "sentiment_rollback"
RELEASE, MONITOR = "sentiment_release", "sentiment_monitor"
DAGS = (INGEST, REPLAY, RETRAIN, ROLLBACK, RELEASE, MONITOR)
_OF_A_MODEL = re.compile(r"[a-z][a-z0-9_-]{0,62}_(retrain|rollback|release|monitor)")


def of_first(dag_id: str) -> str:
    """The DAG of the first model that does the same as this one of any model."""
    match = _OF_A_MODEL.fullmatch(dag_id)
    return f"{FIRST}_{match[1]}" if match else dag_id


def of_model(dag_id: str, dags: str) -> str:
    """The DAG of another model that does the same as one of the first model's.

    ``dags`` is what the ids of its DAGs begin with. Any other DAG stays as it is.
    """
    kind = dag_id.removeprefix(f"{FIRST}_")
    return dag_id if kind == dag_id else f"{dags}_{kind}"


VALIDATION_KEY = re.compile(r"reports/([0-9a-f]{64})/([0-9a-f]{16,64})/validation\.json")
_DECISION_KEY = re.compile(
    r"([^/]+)/versions/([0-9a-f]{20})/gates/([0-9]{8}-[0-9a-f]{16})/decision\.json"
)

_ACTOR = re.compile(r"(?:(.+) on )?airflow (\S+) (\S+)")
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
RUNBOOK = re.compile(r"docs/runbooks/[a-z-]+\.md(?:#[a-z-]+)?")  # as texts of ours name them
_WEB = re.compile(r"https?://[^\s]+")

FormValue = str | int | bool | None | list[int] | list[str]


# The characters that are part of a query as it stands.
_QUERY = "%&=+:/?@!$'()*,;"


def login_link(path: str, query: bytes = b"") -> str:
    """Airflow's login, and from there to a path of this site, as the browser sees it.

    Airflow itself leads nowhere else after a login; so does this, as the path has no host.
    """
    address = quote(path) + (f"?{quote(query, safe=_QUERY)}" if query else "")
    return f"/api/v2/auth/login?{urlencode({'next': address})}"


def form_link(dag_id: str, params: Mapping[str, FormValue] | None = None) -> str:
    """The form that starts a run of a DAG, with these fields filled in.

    Airflow 3.3.2 cannot open its own form with values from a link, so the form is one of our pages.
    A text goes into the link as it is, anything else as JSON.
    """
    filled = {
        name: value if isinstance(value, str) else canonical_json(value).decode().strip()
        for name, value in (params or {}).items()
        if value is not None
    }
    return f"{ROOT}/forms/{quote(dag_id, safe='')}" + (f"?{urlencode(filled)}" if filled else "")


def quoted(name: str) -> str:
    """A foreign name as one part of a path."""
    return quote(name, safe="")


def run_link(dag_id: str, run_id: str) -> str:
    """A run in Airflow's own pages."""
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def report_of_run_link(dag_id: str, run_id: str) -> str:
    """Our report on what a run did."""
    return f"{ROOT}/runs/{quote(dag_id, safe='')}/{quote(run_id, safe='')}"


class Actor(NamedTuple):
    """Who did something: in words, and the Airflow run in which it was done, if any."""

    words: str
    run: str | None


def actor(recorded: str) -> Actor:
    """The actor that a record names, e.g. ``vera on airflow <dag> <run>``."""
    match = _ACTOR.fullmatch(recorded)
    if match is None or of_first(match[2]) not in DAGS:
        return Actor(recorded, None)
    person, dag_id, run_id = match.groups()
    return Actor(f"{person}, {dag_id}" if person else dag_id, run_link(dag_id, run_id))


_NAMED = re.compile(r"[?&]model=")


def about(link: str, model: str) -> str:
    """A page as it is about a model; the first one's needs no parameter."""
    if not model or model == config.load().model.name or _NAMED.search(link):
        return link
    return f"{link}{'&' if '?' in link else '?'}model={quoted(model)}"


def champion_link(model: str = "") -> str:
    return about(f"{ROOT}/champion", model)


def decisions_link(model: str = "") -> str:
    return about(f"{ROOT}/decisions", model)


def decision_link(decision_key: str) -> str:
    """One decision, by its key ``<model>/versions/<version>/gates/<folder>/decision.json``.

    Empty when it is not such a key: a stored key may hold anything.
    """
    match = _DECISION_KEY.fullmatch(decision_key)
    return about(f"{ROOT}/decisions/{match[2]}/{match[3]}", match[1]) if match else ""


def card_link(decision_key: str) -> str:
    """The model card of a decision; empty when the key is not a decision's."""
    match = _DECISION_KEY.fullmatch(decision_key)
    return about(f"{ROOT}/decisions/{match[2]}/{match[3]}/card", match[1]) if match else ""


def choice_of(decision_key: str) -> str:
    """A decision as the page that compares names it; empty when the key is not a decision's."""
    match = _DECISION_KEY.fullmatch(decision_key)
    return f"{match[2]}/{match[3]}" if match else ""


def compare_link(decision_key: str = "", other_key: str = "", model: str = "") -> str:
    """Two decided versions of a model side by side; the champion's where one is not given."""
    given = (("one", choice_of(decision_key)), ("other", choice_of(other_key)))
    chosen = {name: choice for name, choice in given if choice}
    model = model or (decision_key.partition("/")[0] if chosen else "")
    return about(f"{ROOT}/compare" + (f"?{urlencode(chosen)}" if chosen else ""), model)


def report_link(validation_key: str) -> str:
    """A validation report, by the key of its ``validation.json``; empty for any other key."""
    match = VALIDATION_KEY.fullmatch(validation_key)
    return f"{ROOT}/reports/{match[1]}/{match[2]}" if match else ""


def monitoring_link(night: str = "", model: str = "") -> str:
    """All windows of a model, or the newest one of a night."""
    return about(f"{ROOT}/monitoring" + (f"/{quote(night, safe='')}" if night else ""), model)


def incidents_link(delivery: str = "") -> str:
    return f"{ROOT}/incidents" + (f"/{quote(delivery, safe='')}" if delivery else "")


def missing_link(night: str, source: str) -> str:
    """A source that was overdue on a night."""
    return f"{incidents_link()}/missing/{quote(night, safe='')}/{quote(source, safe='')}"


def source_link(source: str) -> str:
    """How a source did over time; empty for a name that no source can have."""
    return f"{ROOT}/sources/{source}" if _SOURCE.fullmatch(source) else ""


def models_link() -> str:
    """All models, with their champions."""
    return f"{ROOT}/models"


def sources_link() -> str:
    return f"{ROOT}/sources"


def task_link(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """A task of a run in Airflow's own pages, with its log."""
    task = f"{run_link(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"
    return task if map_index < 0 else f"{task}/mapped/{map_index}"


def question_link(dag_id: str, run_id: str) -> str:
    """Where a person answers a run's question: the tab *Required Actions* of its task ``ask``."""
    return f"{task_link(dag_id, run_id, 'ask')}/required_actions"


def address(airflow_url: str, link: str) -> str:
    """The whole address of a page; empty where Airflow's address is not known."""
    return f"{airflow_url.rstrip('/')}{link}" if _WEB.fullmatch(airflow_url) else ""


def runbooks_link() -> str:
    """The list of all runbooks."""
    return f"{ROOT}/runbooks"


def runbook_link(path: str) -> str:
    """A runbook by its path in the project, ``docs/runbooks/<name>.md``, or a section of it."""
    name, _, heading = path.rpartition("/")[2].partition("#")
    page = f"{ROOT}/runbooks/{quote(name.removesuffix('.md'), safe='')}"
    return f"{page}#{quote(heading, safe='')}" if heading else page


def error_runbook(described: str) -> str:
    """The runbook that an error's text names, else the section on its class.

    ``described`` is the name of the class, then perhaps a colon and the text.
    """
    if named := RUNBOOK.search(described):
        return named[0]
    name = described.partition(":")[0]
    kind = getattr(errors, name, None)
    is_ours = isinstance(kind, type) and issubclass(kind, errors.LoopError)
    return f"docs/runbooks/retrain-failed.md#{name.lower() if is_ours else 'any-other-error'}"
