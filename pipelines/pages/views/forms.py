"""Forms that start a run, made from the fields that the DAG itself declares.

Airflow 3.3.2 has no link that opens its own form with values in it, so this is one of our pages.
The run is started through Airflow's public API, as the person who presses the button.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pipelines.core import links
from pipelines.intake.standings import Standing
from pipelines.pages.frame import View

MOST_BYTES = 64 * 1024
SEAL_HOURS = 12
MANY = "delivery"  # the field that may hold several, between blanks: each gets a run of its own
MOST_AT_ONCE = 50
_MOST_EXAMPLES = 12
_DELIVERY = re.compile(r"[0-9a-f]{64}")
_SEAL = re.compile(r"([0-9]{1,12})\.[0-9a-f]{64}")

Kind = Literal["text", "number", "date", "choice", "check", "json"]
Values = Mapping[str, str]


class Field(View):
    """One field of the form, as filled in so far."""

    name: str
    label: str
    hint: str
    kind: Kind
    value: str
    choices: tuple[str, ...] = ()
    example: str = ""  # of a list
    is_required: bool = False
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    lines: int = 1  # of text that it holds


class Form(View):
    """A form, and what is wrong with it."""

    dag_id: str
    about: str
    is_paused: bool
    fields: tuple[Field, ...]
    problem: str | None = None

    @property
    def runs(self) -> int:
        """How many runs it starts."""
        return max((field.lines for field in self.fields if field.name == MANY), default=1)

    @property
    def is_dangerous(self) -> bool:
        """Whether what its run does cannot be taken back, once it is no dry run."""
        return links.of_first(self.dag_id) == links.ROLLBACK or any(
            field.name == "action" and field.value in {"discard", "release"}
            for field in self.fields
        )


class FieldError(ValueError):
    """A typed value does not have the type that the DAG needs."""


def form(details: Mapping[str, Any], filled: Values, problem: str | None = None) -> Form:
    """The form of a DAG, from Airflow's API.

    Parameters
    ----------
    details : mapping
        Airflow's answer to ``/dags/<dag>/details``.
    filled : mapping
        Texts by field; a field that is not named has the DAG's own default.
    problem : str or None
        Why it could not be sent.
    """
    params: Mapping[str, Any] = details.get("params") or {}
    about = str(details.get("doc_md") or "").strip().splitlines()
    return Form(
        dag_id=str(details["dag_id"]),
        about=about[0].lstrip("# ") if about else "",
        is_paused=bool(details.get("is_paused")),
        fields=tuple(_field(name, param, filled) for name, param in params.items()),
        problem=problem,
    )


def from_link(details: Mapping[str, Any], values: Values) -> dict[str, str]:
    """The fields that a link may fill in: never the reason, and it cannot untick a box."""
    params: Mapping[str, Any] = details.get("params") or {}
    return {
        name: text
        for name, text in values.items()
        if name in params
        and name != "reason"
        and (_kind(params[name].get("schema") or {}) != "check" or text == "true")
    }


class Concerned(View):
    """A delivery that the form decides on, as it stands."""

    delivery: str
    file: str
    night: str
    verdict: str
    delivered_rows: int
    accepted_rows: int
    quarantined_rows: int
    held_rows: int


def deliveries_of(form: Form) -> list[str]:
    """The deliveries that a form decides on, as far as its field names any."""
    written = " ".join(field.value for field in form.fields if field.name == MANY)
    return [name for name in written.split() if _DELIVERY.fullmatch(name)][:MOST_AT_ONCE]


def concerned(standing: Standing) -> Concerned:
    outcome, newest = standing.outcome, standing.newest
    return Concerned(
        delivery=outcome.delivery, file=outcome.landing_key, night=outcome.night,
        verdict=standing.verdict, delivered_rows=newest.delivered_rows,
        accepted_rows=standing.accepted_rows, quarantined_rows=newest.quarantined_rows,
        held_rows=newest.held_rows,
    )  # fmt: skip


def _field(name: str, param: Mapping[str, Any], filled: Values) -> Field:
    schema: Mapping[str, Any] = param.get("schema") or {}
    kind = _kind(schema)
    default = "" if param.get("value") is None else _text(param["value"])
    return Field(
        name=name,
        label=str(schema.get("title") or name),
        hint=str(param.get("description") or ""),
        kind=kind,
        value=filled.get(name, default),
        choices=tuple(map(str, schema.get("enum") or ())),
        example=_example(schema) if kind == "json" else "",
        is_required="null" not in _types(schema) and kind != "check",
        min_length=schema.get("minLength"),
        max_length=schema.get("maxLength"),
        pattern=schema.get("pattern"),
        lines=len(filled[name].split()) if name == MANY and name in filled else 1,
    )


def _example(schema: Mapping[str, Any]) -> str:
    """How a list is written, from the DAG's own examples if it has any."""
    examples, items = schema.get("examples"), schema.get("items")
    if isinstance(examples, list) and examples:
        return _text(examples[:_MOST_EXAMPLES])
    is_text = isinstance(items, Mapping) and items.get("type") == "string"
    return '["one", "two"]' if is_text else "[0, 7]"


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    types = schema.get("type") or "string"
    return (types,) if isinstance(types, str) else tuple(types)


def _kind(schema: Mapping[str, Any]) -> Kind:
    types = set(_types(schema)) - {"null"}
    if schema.get("enum"):
        return "choice"
    if types == {"boolean"}:
        return "check"
    if types <= {"integer", "number"}:
        return "number"
    if types == {"string"}:
        return "date" if schema.get("format") == "date" else "text"
    return "json"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def conf(details: Mapping[str, Any], sent: Values) -> dict[str, Any]:
    """The run's configuration. Airflow itself checks it against the DAG again.

    Raises
    ------
    FieldError
        If a text is not of its field's kind.
    """
    params: Mapping[str, Any] = details.get("params") or {}
    return {name: _value(name, param, sent) for name, param in params.items()}


def chosen(sent: Values) -> list[str]:
    """The deliveries in the field of that name, between blanks.

    Raises
    ------
    FieldError
        If they are more than `MOST_AT_ONCE`.
    """
    names = list(dict.fromkeys(sent.get(MANY, "").split()))
    if len(names) > MOST_AT_ONCE:
        raise FieldError(
            f"{len(names)} deliveries were chosen; at most {MOST_AT_ONCE} can be started at once."
        )
    return names


def confs(details: Mapping[str, Any], sent: Values) -> list[dict[str, Any]]:
    """The configuration of each run that the form starts: one per chosen delivery, or one.

    Raises
    ------
    FieldError
        If a text is not of its field's kind, or too many deliveries were chosen.
    """
    names = chosen(sent)
    if len(names) < 2:
        return [conf(details, sent)]
    return [conf(details, {**sent, MANY: name}) for name in names]


def _value(name: str, param: Mapping[str, Any], sent: Values) -> Any:
    schema: Mapping[str, Any] = param.get("schema") or {}
    kind, text = _kind(schema), sent.get(name, "").strip()
    if kind == "check":
        return text == "true"
    if not text and "null" in _types(schema):
        return None
    if kind in {"number", "json"}:
        try:
            return _parsed(text, kind)
        except (ValueError, RecursionError):
            label = schema.get("title") or name
            raise FieldError(f"{label}: {text[:80]!r} is not {_WANTED[kind]}.") from None
    return text


def _parsed(text: str, kind: Kind) -> Any:
    """A number or a flat list, as JSON that can be sent on.

    Raises
    ------
    ValueError
        If it is anything else, also NaN, an infinity or half a character, which JSON does not have.
    RecursionError
        If it is nested too deeply to be read.
    """
    value = json.loads(text)
    parts = value if kind == "json" and isinstance(value, list) else [value]
    if any(isinstance(part, list | dict) for part in parts):
        raise ValueError(text)
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


_WANTED = {"number": "a number", "json": 'a list such as [0, 7] or ["one", "two"]'}


def refusal(body: Any) -> str:
    """Why Airflow did not start the run, in its own words."""
    detail = body.get("detail") if isinstance(body, dict) else None
    if isinstance(detail, list):
        faults = (fault for fault in detail if isinstance(fault, dict))
        detail = "; ".join(str(fault.get("msg", fault)) for fault in faults)
    return f"Airflow did not start a run: {str(detail or 'it gave no reason')[:600]}"


def seal(secret: str, reader: str, dag_id: str, until: int) -> str:
    """A token that only our own form, shown to this reader for this DAG, can send back.

    ``until`` is when it expires, in seconds since 1970.
    """
    signed = "\n".join(("retraining form", reader, dag_id, str(until))).encode()
    return f"{until}.{hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


def is_sealed(sent: str, secret: str, reader: str, dag_id: str, now: float) -> bool:
    """Whether this reader was shown the form, and not too long ago."""
    match = _SEAL.fullmatch(sent)
    if match is None or int(match[1]) < now:
        return False
    return hmac.compare_digest(sent, seal(secret, reader, dag_id, int(match[1])))
