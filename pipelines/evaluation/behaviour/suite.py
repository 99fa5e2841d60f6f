"""Read the behavioural suite: one TOML file per capability, templates expanded into cases.

docs/behaviour.md describes the files. Anything unclear in a file is an error that names the file
and the block, counted from 1, because a case that silently tests nothing is worse than no case.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from pipelines.core.errors import ConfigError
from pipelines.core.record import canonical_json, sha256_of
from pipelines.core.settings.section import faults
from pipelines.evaluation.behaviour.templates import Words, fill, fillings, placeholders, swap
from pipelines.records.evaluations import CapabilityKind

MIN_CASES, MAX_CASES = 20, 500
"""Cases of one capability: with fewer a share means little, more are probably a mistake."""

Expected = Literal["positive", "negative", "same", "up", "down"]

_FILE_NAME = re.compile(r"[a-z][a-z0-9_]*\.toml")


@dataclass(frozen=True)
class Case:
    """One text and its label, or a text before and after a change and the expected effect."""

    text: str
    changed: str | None
    expected: Expected

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.text,) if self.changed is None else (self.text, self.changed)


@dataclass(frozen=True)
class Capability:
    """One file of the suite. ``tolerance`` is a change of probability, in [0, 1)."""

    name: str
    kind: CapabilityKind
    tests: str
    max_failure_share: float
    tolerance: float
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Suite:
    """All capabilities by name, and the digest of their files."""

    capabilities: tuple[Capability, ...]
    digest: str

    def texts(self) -> list[str]:
        """Every text to score, each once, in an order that depends only on the files."""
        cases = itertools.chain.from_iterable(part.cases for part in self.capabilities)
        return list(dict.fromkeys(text for case in cases for text in case.texts))


_Text = Annotated[str, Field(pattern=r"\S")]
_Texts = Annotated[tuple[_Text, ...], Field(min_length=1)]
_Share = Annotated[float, Field(ge=0, lt=1, strict=True)]  # with 1 everything would pass
_Swap = Annotated[dict[_Text, str], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Labelled(_Part):
    texts: _Texts
    label: Literal["positive", "negative"]

    @property
    def templates(self) -> tuple[str, ...]:
        return self.texts


class _Changed(_Part):
    texts: _Texts
    variants: tuple[_Text, ...] = ()
    swaps: tuple[_Swap, ...] = ()

    @property
    def templates(self) -> tuple[str, ...]:
        return self.texts + self.variants

    def expected(self) -> Expected:
        return "same"

    @model_validator(mode="after")
    def _has_a_change(self) -> Self:
        if not self.variants and not self.swaps:
            raise ValueError("a block needs variants = [...] or swaps = [...]")
        alone = [text for text in self.variants if "text" not in placeholders(text)]
        if alone and len(self.texts) > 1:
            raise ValueError(
                f"the variant {alone[0]!r} does not contain {{text}}, so it is the changed form of "
                f"one text, but its block has {len(self.texts)}. Give it a block of its own"
            )
        return self


class _Moved(_Changed):
    direction: Literal["up", "down"]

    def expected(self) -> Expected:
        return self.direction


class _File(_Part):
    tests: _Text
    max_failure_share: _Share
    tolerance: _Share = 0.0
    words: dict[str, _Texts] = Field(default_factory=dict)

    @field_validator("words")
    @classmethod
    def _text_is_no_list(cls, words: dict[str, _Texts]) -> dict[str, _Texts]:
        if "text" in words:
            raise ValueError("{text} is reserved for the text that is changed. Use another name")
        return words


class _MinimumFunctionality(_File):
    kind: Literal["minimum_functionality"]
    cases: tuple[_Labelled, ...]


class _Invariance(_File):
    kind: Literal["invariance"]
    tolerance: _Share
    cases: tuple[_Changed, ...]


class _Direction(_File):
    kind: Literal["direction"]
    tolerance: _Share
    cases: tuple[_Moved, ...]


_AnyFile = _MinimumFunctionality | _Invariance | _Direction
_READER: TypeAdapter[_AnyFile] = TypeAdapter(Annotated[_AnyFile, Field(discriminator="kind")])


def load_suite(folder: Path) -> Suite:
    """Read every capability of a folder.

    Returns
    -------
    suite : Suite
        Capabilities by name. Its digest covers the name and the bytes of each file.

    Raises
    ------
    ConfigError
        If the folder has no capability, or other files; a file cannot be read, or its content is
        not valid; a capability has too few or too many cases.
    """
    contents = {path: _content(path) for path in _files(folder)}
    digests = [[path.name, sha256_of(content)] for path, content in contents.items()]
    return Suite(
        capabilities=tuple(_capability(path, content) for path, content in contents.items()),
        digest=sha256_of(canonical_json(digests)),
    )


def _files(folder: Path) -> list[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(
            f"cannot read the behavioural suite {folder}: {error.strerror}. "
            "Set evaluation.behaviour_folder to a folder of capabilities, e.g. config/behaviour"
        ) from error
    for path in paths:
        if not _FILE_NAME.fullmatch(path.name):
            raise ConfigError(
                f"{path} is not a capability: files of the suite have names like negation.toml, in "
                "small letters, digits and _. Rename it, or move it elsewhere"
            )
    if not paths:
        raise ConfigError(
            f"the behavioural suite {folder} is empty, so it would pass anything. "
            "Copy config/behaviour/*.toml there, or set evaluation.behaviour_folder"
        )
    return paths


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the capability {path}: {error.strerror}") from error


def _capability(path: Path, content: bytes) -> Capability:
    try:
        file = _READER.validate_python(tomllib.loads(content.decode("utf-8")))
    except ValidationError as error:
        raise ConfigError(
            f"{path} cannot be used: {faults(error)}. The format is described in docs/behaviour.md"
        ) from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return Capability(
        name=path.stem,
        kind=file.kind,
        tests=file.tests,
        max_failure_share=file.max_failure_share,
        tolerance=file.tolerance,
        cases=_cases(file, path),
    )


def _cases(file: _AnyFile, path: Path) -> tuple[Case, ...]:
    blocks: Sequence[_Labelled | _Changed] = file.cases
    cases: dict[tuple[str, ...], Case] = {}
    for number, block in enumerate(blocks, start=1):
        try:
            for case in _expanded(block, file.words):
                _check(case, cases)
                cases[case.texts] = case
        except ValueError as error:
            raise ConfigError(f"{path} cannot be used: cases[{number}]: {error}") from error
    used = {name for block in blocks for text in block.templates for name in placeholders(text)}
    if unused := sorted(set(file.words) - used):
        raise ConfigError(
            f"{path} cannot be used: words.{unused[0]}: no text has {{{unused[0]}}}. "
            "Use it, or remove the list"
        )
    if len(cases) < MIN_CASES:
        raise ConfigError(
            f"{path} cannot be used: it has {len(cases)} cases and needs at least {MIN_CASES}, or "
            "the share that fails would mean little. Add texts, variants or words"
        )
    return tuple(cases.values())


def _check(case: Case, others: Mapping[tuple[str, ...], Case]) -> None:
    if case.texts in others:
        raise ValueError(f"{' -> '.join(case.texts)!r} occurs twice. Remove one of them")
    if case.changed == case.text:
        raise ValueError(f"the change does not change {case.text!r}. Remove it")
    if case.changed is not None and not case.changed.strip():
        raise ValueError(f"the change leaves nothing of {case.text!r}. Correct it")
    if len(others) == MAX_CASES:
        raise ValueError(
            f"with it there are more than {MAX_CASES} cases. Shorten the lists of words: a text "
            "is expanded to every combination of them"
        )


def _expanded(block: _Labelled | _Changed, words: Words) -> Iterator[Case]:
    for template in block.texts:
        for values in fillings([template], words):
            text = fill(template, values)
            if isinstance(block, _Labelled):
                yield Case(text, None, block.label)
            else:
                yield from (
                    Case(text, changed, block.expected())
                    for changed in _changed(block, words, {**values, "text": text})
                )


def _changed(block: _Changed, words: Words, values: Mapping[str, str]) -> Iterator[str]:
    """The text of ``values`` after each change; words already chosen stay the same."""
    own = {name: [value] for name, value in values.items()}
    for variant in block.variants:
        for chosen in fillings([variant], {**words, **own}):
            yield fill(variant, chosen)
    for replacements in block.swaps:
        yield swap(values["text"], replacements)
