"""Write the references that the code can give: fields of records, metrics, the HTTP interface.

    python -m ops.reference

writes `docs/reference/`. What a field means is its comment in the code, as for settings.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.config_docs import cell

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
RECORDS = [
    *sorted((ROOT / "pipelines" / "records").glob("*.py")),
    ROOT / "pipelines" / "alerts" / "alert.py",
    ROOT / "pipelines" / "alerts" / "records.py",
]
METRICS = {
    "The loop": (ROOT / "pipelines" / "monitoring" / "metrics.py", "loop_"),
    "The scoring service": (
        ROOT / "pipelines" / "serving" / "http" / "metrics.py",
        "loop_scoring_",
    ),
}
_MADE = """\
This page is made from the code. Do not edit it. Change the code, then run:

    .venv/bin/python -m ops.reference
"""
_ON_RECORDS = """\
[Every record and file](../records.md) says where each lies and what covers it. Records are JSON
without unknown fields. A field with a default may be missing.
"""
_ON_METRICS = """\
[The loop's metrics](../monitoring.md#metrics) are made from records when somebody asks. [The
service's](../serving.md#metrics) count its own requests; that page has those that depend on its
settings. Prometheus adds `_total` to counters, and `_bucket`, `_sum` and `_count` to histograms.
"""
_ON_HTTP = """\
[The scoring service](../serving.md) says how to use it. `GET /openapi.json` of a service is the
same for programs.
"""
_COMMENT = re.compile(r"  # (?!noqa|fmt|type:)(?P<text>.+)$")


def records() -> str:
    """Every record, its fields, and what the code says of them."""
    parts = [f"# Fields of every record\n\n{_MADE}", _ON_RECORDS]
    for path in RECORDS:
        found = list(_classes(path))
        if found:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            parts += [f"## `{module}`\n", f"{_first_line(ast.parse(path.read_text()))}\n", *found]
    return "\n".join(parts)


def _classes(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        rows = [
            _field(field, lines)
            for field in node.body
            if isinstance(field, ast.AnnAssign) and not _is_class_variable(field)
        ]
        if rows:
            head = ["| field | type | default | meaning |", "|---|---|---|---|"]
            bases = ", ".join(f"`{ast.unparse(base)}`" for base in node.bases)
            yield "\n".join([
                f"### `{node.name}`", "", f"{_first_line(node)} Based on {bases}.", "",
                *head, *rows, "",
            ])  # fmt: skip


def _is_class_variable(field: ast.AnnAssign) -> bool:
    return ast.unparse(field.annotation).startswith("ClassVar") or not isinstance(
        field.target, ast.Name
    )


def _field(field: ast.AnnAssign, lines: list[str]) -> str:
    default = f"`{cell(ast.unparse(field.value))}`" if field.value else ""
    found = _COMMENT.search(lines[(field.end_lineno or field.lineno) - 1])
    kind = cell(ast.unparse(field.annotation))
    name = ast.unparse(field.target)
    return f"| `{name}` | `{kind}` | {default} | {cell(found['text']) if found else ''} |"


def _first_line(node: ast.Module | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").split("\n\n", maxsplit=1)[0].replace("\n", " ")


def metrics() -> str:
    """Every metric with its labels."""
    parts = [f"# Every metric\n\n{_MADE}", _ON_METRICS]
    for title, (path, prefix) in METRICS.items():
        rows = [
            f"| `{name}` | {labels} | {text} |" for name, labels, text in _measured(path, prefix)
        ]
        parts += [f"## {title}\n", "| metric | labels | meaning |", "|---|---|---|", *rows, ""]
    return "\n".join(parts)


def _measured(path: Path, prefix: str) -> list[tuple[str, str, str]]:
    """Each call that names a metric: two texts, the name and what it means."""
    calls = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and len(node.args) > 1
    ]
    found: dict[str, tuple[str, str]] = {}
    for call in sorted(calls, key=lambda call: call.lineno):
        first, second = call.args[:2]
        if _is_text(first) and _is_text(second):
            name = ast.literal_eval(first)
            name = name if name.startswith(prefix) else prefix + name
            found.setdefault(name, (_labels(call), ast.literal_eval(second)))
    return [(name, labels, cell(text)) for name, (labels, text) in found.items()]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _labels(call: ast.Call) -> str:
    listed = [*call.args[2:3], *(one.value for one in call.keywords if one.arg == "labels")]
    names = [
        str(element.value)
        for node in listed
        if isinstance(node, ast.List | ast.Tuple)
        for element in node.elts
        if isinstance(element, ast.Constant)
    ] or [str(one.arg) for one in call.keywords if one.arg not in ("buckets", "registry")]
    if isinstance(call.func, ast.Attribute) and call.func.attr in {"set", "_gauge", "_counter"}:
        names = ["model", *names]
    return ", ".join(f"`{name}`" for name in names)


def http_api() -> str:
    """The routes of the scoring service, from its own description."""
    api = _openapi()
    parts = [f"# The scoring service's HTTP interface\n\n{_MADE}", _ON_HTTP]
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            parts += [
                f"## `{method.upper()} {path}`\n",
                f"{route['description']}\n",
                *_route(route),
            ]
    parts += ["## What is sent and answered\n"]
    for name, schema in api["components"]["schemas"].items():
        parts += [f"### `{name}`\n", *_schema(schema)]
    return "\n".join(parts)


def _openapi() -> dict[str, Any]:
    from pipelines.core import config
    from pipelines.core.store.keyring import Keyring
    from pipelines.evaluation.golden import load_golden
    from pipelines.serving.http.app import make_app
    from pipelines.serving.http.service import Service
    from pipelines.serving.sources import FolderSource
    from pipelines.serving.swap import Champions

    settings = config.load()
    nowhere = FolderSource(Path("nowhere"), Keyring(), settings.model.name)
    golden = load_golden(settings.evaluation.golden_file, settings.model.class_names)
    champions = Champions(nowhere, golden, retry_seconds=60)  # nobody looks
    return make_app(Service(champions, settings.serving, threads=1)).openapi()


def _route(route: dict[str, Any]) -> Iterator[str]:
    for given in route.get("parameters", []):
        yield f"- {given['in']} `{given['name']}`: {given.get('description', 'see the address.')}"
    for kind, body in route.get("requestBody", {}).get("content", {}).items():
        yield f"- body, `{kind}`: {body['schema'].get('description', 'see below.')}\n"
        yield from _schema(body["schema"])
    if route.get("parameters") and not route.get("requestBody"):
        yield ""
    yield "| status | means |\n|---:|---|"
    for status, answer in sorted(route["responses"].items()):
        shape = answer.get("content", {}).get("application/json", {}).get("schema", {})
        name = f" (`{shape['$ref'].rsplit('/', 1)[1]}`)" if "$ref" in shape else ""
        said = "Done" if answer["description"] == "Successful Response" else answer["description"]
        yield f"| {status} | {said}{name} |"
    yield ""


def _schema(schema: dict[str, Any]) -> Iterator[str]:
    required = schema.get("required", [])
    yield "| field | type | needed | meaning |\n|---|---|---|---|"
    for name, field in schema.get("properties", {}).items():
        needed = "yes" if name in required else ""
        yield f"| `{name}` | {_kind(field)} | {needed} | {cell(field.get('description', ''))} |"
    yield ""
    for example in schema.get("examples", []):
        yield f"```json\n{json.dumps(example)}\n```\n"


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return f"`{field['$ref'].rsplit('/', 1)[1]}`"
    if "anyOf" in field:
        return " or ".join(_kind(one) for one in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    return f"`{field.get('type', field.get('const', 'any'))}`"


PAGES = {"records.md": records, "metrics.md": metrics, "http.md": http_api}


if __name__ == "__main__":
    for name, render in PAGES.items():
        (FOLDER / name).write_text(render(), encoding="utf-8")
