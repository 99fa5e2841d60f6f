"""Write and read model files; nothing else in the project does.

A file is a skops archive. Reading one builds only types that skops trusts or that `OWN_TYPES`
names, so a file can describe a model but cannot run code. Equal models give equal bytes.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import lzma
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from sklearn.pipeline import Pipeline

from pipelines.core.errors import ModelFormatError

# When it is imported, skops looks through every loaded module for each of hundreds of names, and
# Airflow's modules say a thousand times that they would have moved.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import skops.io

OWN_TYPES = (
    "pipelines.models.blend.Blend",
    "pipelines.models.hashed_columns.HashedColumns",
    "pipelines.models.vectorizer.FingerprintVectorizer",
    "pipelines.models.log_count_ratio.LogCountRatio",
    "pipelines.models.nbsvm.NaiveBayesSvm",
    "pipelines.models.one_vs_rest.OneVsRest",
)
"""Types a model file may hold in addition to those that skops trusts."""

MAX_MODEL_BYTES = 1 << 29
"""Largest model, unpacked: 512 MiB, thirty times the default candidate on 50,000 reviews."""

_SCHEMA = "schema.json"
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_MALFORMED = (
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


def dump_model(model: Pipeline) -> bytes:
    """Write a fitted model; equal models give equal bytes, in any process.

    skops names arrays and objects by memory address and stamps the time. Here an array is named
    by the hash of its content, addresses are dropped and the date is fixed.

    Raises
    ------
    ModelFormatError
        If the model is larger, or holds another type, than `load_model` accepts.
    """
    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(_without_caches(model)))) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(contents.pop(_SCHEMA))
    names = {name: _content_name(name, content) for name, content in contents.items()}
    members = {names[name]: content for name, content in contents.items()}
    canonical = _without_addresses(schema, names)
    members[_SCHEMA] = json.dumps(canonical, separators=(",", ":")).encode()
    blob = _write_zip(members)
    _refuse_oversize(blob)
    _refuse_foreign_types(blob)
    return blob


def load_model(blob: bytes) -> Pipeline:
    """Read a model written by `dump_model`.

    Checks size and types first, so nothing is imported or built from a file that is refused.

    Raises
    ------
    ModelFormatError
        If the bytes are not a model file, are damaged, unpack to more than `MAX_MODEL_BYTES`, or
        hold a type that neither skops nor `OWN_TYPES` trusts.
    """
    try:
        _refuse_oversize(blob)
        _refuse_foreign_types(blob)
        model = skops.io.loads(blob, trusted=OWN_TYPES)
    except _MALFORMED as error:
        raise ModelFormatError(
            f"not a readable model file ({len(blob)} bytes, starting {blob[:4]!r}): "
            f"{type(error).__name__}: {error}. Train a model, or restore the file."
        ) from error
    if not isinstance(model, Pipeline):
        raise ModelFormatError(f"expected a Pipeline, the file holds a {type(model).__name__}")
    return model


def _without_caches(model: Pipeline) -> Pipeline:
    """Copy the pipeline without the memory address that scikit-learn's text vectorizers keep."""
    slim = copy.copy(model)
    slim.steps = [(name, copy.copy(step)) for name, step in model.steps]
    for _, step in slim.steps:
        if hasattr(step, "_stop_words_id"):
            del step._stop_words_id
    return slim


def _content_name(name: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() + PurePath(name).suffix


def _without_addresses(node: Any, names: dict[str, str]) -> Any:
    """Copy the schema without object ids, array names replaced.

    A dictionary's own keys, e.g. the words of a vocabulary, lead to nodes; an id is a number and
    an array's name a str, so the word "file" is not mistaken for one.
    """
    if isinstance(node, list):
        return [_without_addresses(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    clean = {key: _without_addresses(item, names) for key, item in node.items()}
    if isinstance(clean.get("__id__"), int):
        del clean["__id__"]
    if isinstance(clean.get("file"), str):
        clean["file"] = names[clean["file"]]
    return clean


def _write_zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _FIXED_DATE)
            info.create_system = 3
            # Text shrinks tenfold; arrays of floats hardly shrink and load faster as they are.
            info.compress_type = zipfile.ZIP_DEFLATED if name == _SCHEMA else zipfile.ZIP_STORED
            archive.writestr(info, members[name])
    return buffer.getvalue()


def _refuse_oversize(blob: bytes) -> None:
    """Bound what reading would unpack: each member once, and once more per use in the schema."""
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        _refuse_size(sum(info.file_size for info in archive.infolist()))
        schema = json.loads(archive.read(_SCHEMA))
    _refuse_size(sum(sizes[name] for name in _arrays_used(schema)))


def _refuse_size(unpacked_bytes: int) -> None:
    if unpacked_bytes > MAX_MODEL_BYTES:
        raise ModelFormatError(
            f"the model file is not used: it unpacks to {unpacked_bytes} bytes, and the limit is "
            f"{MAX_MODEL_BYTES}."
        )


def _arrays_used(node: Any) -> Iterator[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("file"), str):
        yield node["file"]
    for child in children:
        yield from _arrays_used(child)


def _refuse_foreign_types(blob: bytes) -> None:
    foreign = sorted(set(skops.io.get_untrusted_types(data=blob)) - set(OWN_TYPES))
    if foreign:
        raise ModelFormatError(
            f"the model holds types that are not allowed: {', '.join(foreign)}. Nothing was built. "
            "If a type of this project is needed in models, add it to OWN_TYPES in "
            "pipelines/models/artefacts.py"
        )
