"""Templates of texts: ``"{name} gave a {good} performance."`` expands to many sentences."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

Words = Mapping[str, Sequence[str]]

FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "": str,
    "upper": str.upper,
    "lower": str.lower,
}
"""What may follow a placeholder's name, as in ``{text:upper}``."""


def placeholders(template: str) -> tuple[str, ...]:
    """The names in braces, each once, in the order in which they appear.

    Raises
    ------
    ValueError
        If a brace is open, or a placeholder is not ``{name}`` or ``{name:form}`` with a known form.
    """
    return tuple(dict.fromkeys(name for _, name, _ in _parts(template) if name is not None))


def fillings(templates: Sequence[str], words: Words) -> Iterator[dict[str, str]]:
    """Every way to choose one word for each placeholder, the last one changing fastest.

    Raises
    ------
    ValueError
        If a placeholder has no list of words.
    """
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(map(placeholders, templates))))
    for name in names:
        if name not in words:
            raise ValueError(
                f"the placeholder {{{name}}} has no list of words. Add {name} = [...] under "
                f"[words], or use one of {sorted(words)}"
            )
    for chosen in itertools.product(*(words[name] for name in names)):
        yield dict(zip(names, chosen, strict=True))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with each placeholder's value in its place."""
    return "".join(
        literal + ("" if name is None else FORMS[form](values[name]))
        for literal, name, form in _parts(template)
    )


def swap(text: str, replacements: Mapping[str, str]) -> str:
    """The text with every occurrence replaced in one pass, longer ones first.

    Raises
    ------
    ValueError
        If none of them occurs.
    """
    longest_first = sorted(replacements, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    swapped = re.sub(pattern, lambda match: replacements[match[0]], text)
    if swapped == text:
        raise ValueError(
            f"none of {sorted(replacements)} occurs in {text!r}, so this swap would change "
            "nothing. Correct the swap, or move the text to a block of its own"
        )
    return swapped


def _parts(template: str) -> Iterator[tuple[str, str | None, str]]:
    """Literal text, each followed by a placeholder's name and form, or by None at the end."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(
            f"{template!r}: {error}. Write {{name}} for a placeholder, {{{{ and }}}} for braces"
        ) from error
    for literal, name, form, conversion in parsed:
        if name is not None and (not name.isidentifier() or form not in FORMS or conversion):
            raise ValueError(
                f"{template!r} has a placeholder that is not {{name}}, {{name:upper}} or "
                "{name:lower}"
            )
        yield literal, name, form or ""
