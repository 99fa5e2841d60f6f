"""The one form in which ids of films and reviews are kept, whatever format and type they came in.

One film under two keys could be trained on under one and held out under the other. So the number
1000 is ``1000`` whether it came as an integer, a float, a decimal, ``"1000.0"`` or ``"1e3"``; and
what a tool writes where there is no value is no id. `docs/deliveries.md` states the form.
"""

from __future__ import annotations

import functools
import html
import re
import unicodedata
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

LONGEST_MISSING = 40  # characters; no tool writes more of them where there is no value
MOST_CHARS = 500  # of an id; a longer one is no id, and stays as it is written
MOST_ROUNDS = 10  # of bringing an id into its form; one that still changes stays as it is written
MOST_DIGITS = 40  # of a number; a longer one stays as it is written
# Letters by their category that no font draws: the Hangul fillers. And a blank Braille pattern.
FILLERS = "\u115f\u1160\u3164\uffa0\u2800"

# What tools write where there is no value, by its letters and digits alone, in small letters:
# "NaN", "<NA>", "#N/A", "(null)", "-1.#IND".
_MISSING = frozenset(
    {
        "nan", "null", "none", "na", "nil", "nat", "undefined", "unknown", "missing",
        "unspecified", "1ind", "1qnan", "1snan", "inf", "infinity", "novalue", "nodata",
        "notavailable", "notapplicable", "notset", "pdna", "npnan", "nullptr",
        "nul", "hivedefaultpartition",
    }
)  # fmt: skip
# Of Hive, MySQL and Redshift; without its backslash it is a letter. And of spreadsheets.
_MISSING_MARKS = frozenset({r"\n", r"\\n", "#nv", "#nd"})
_BRACKETED = frozenset({"blank", "empty", "unset", "void"})  # a film may be called so
_PLAIN = re.compile(r"[a-z][a-z0-9_-]*[0-9]", re.IGNORECASE)  # the usual id, and never a number
_NUMBER = re.compile(r"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:e([+-]?[0-9]{1,4}))?")
# Thousands and decimals, where they cannot be mistaken: "1,000.00", "1 000,00", "1\u2019000". The
# dot of "1.000" is a decimal one; with decimals after a comma it is not.
_GROUPED = re.compile(
    r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?"
    r"|[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]*)?|[+-]?[0-9]{1,3}(?:['\u2019][0-9]{3})+(?:\.[0-9]*)?"
)
_DECIMAL_COMMA = re.compile(
    r"([+-]?[0-9]+|[+-]?[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+),0{1,2}"
)
_NO_DIGITS = re.compile("[^0-9+-]")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}.{0,24}")
_HEX_UUID = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# A spreadsheet's ="1000", Python's b'1000', and what quoting twice leaves.
_WRAPPED = re.compile(
    r"""(?:=|b(?=['"]))?["'`{\u201c-\u201e\u2018-\u201a\xab\xbb\u2039\u203a](.*?)"""
    r"""["'`}\u201c-\u201e\u2018-\u201a\xab\xbb\u2039\u203a]""",
    re.DOTALL,
)
_SETTLED = re.compile(r"[\w ,.:;!?/#-]*", re.ASCII)  # in which nothing is wrapped or escaped
_AMPERSANDS = re.compile("&(?:amp;)+", re.IGNORECASE)
# Not a number, as C of Windows and the libraries of Python write it: "-1.#IND00", "numpy.nan".
_NOT_A_NUMBER = re.compile(
    r"[+-]?1\.#(?:ind|inf|[qs]nan)0*|-?(?:np|numpy|math|pd|pandas)\.(?:nan|na|nat|inf)"
)
_TYPED = re.compile(r"(?:np\.\w+|numpy\.\w+|Decimal|UUID)\(([^()]*)\)")  # as Python shows it
_WORDS = re.compile(r"[^\W_]+")


def film_id(value: str | None) -> str | None:
    """The id of a film without its case; None if it means that there is none."""
    return canonical(value, folds_case=True)


def review_id(value: str | None) -> str | None:
    """The id of a review, whose case counts; None if it means that there is none."""
    return canonical(value, folds_case=False)


def canonical(value: str | None, *, folds_case: bool = True) -> str | None:
    """The one spelling of an id, or None if there is none.

    Parameters
    ----------
    value : str or None
        As `as_written` gives it.
    folds_case : bool
        Whether capital and small letters are the same.
    """
    if value is None:
        return None
    as_it_is = value.strip().casefold() if folds_case else value
    if len(value) > MOST_CHARS or _PLAIN.fullmatch(value):
        return as_it_is
    for _ in range(MOST_ROUNDS):
        text = _unwrapped(_printable(value))
        small = text.casefold()
        if is_missing(small):
            return None
        if by_meaning := _number(small) or _moment(small) or _uuid(small):
            return by_meaning
        form = small if folds_case else text
        if form == value or (text == value and _SETTLED.fullmatch(text)):
            return form
        value = form
    return as_it_is


def as_written(value: Any) -> str | None:
    """A value of any plain type as text; None for null, and for what is not a number.

    Raises
    ------
    TypeError
        If it is a list, an object or of another type without one spelling.
    """
    if hasattr(value, "item"):
        value = value.item()  # a half-precision number of numpy
    if value is None or value != value:  # noqa: PLR0124 - NaN stands for null, and so does NaT
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "surrogateescape")
    if isinstance(value, bool | int | float | Decimal) or type(value).__module__ == "uuid":
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    raise TypeError(type(value).__name__)


def is_missing(small: str) -> bool:
    """Whether a text in small letters means that there is no value: blank, signs alone, "n/a",
    or the error of a spreadsheet such as "#ref!".
    """
    if small in _MISSING_MARKS or _NOT_A_NUMBER.fullmatch(small):
        return True
    if small[:1] == "#" and small[-1:] in {"!", "?"}:
        return True
    if small[:1] + small[-1:] in {"()", "<>", "[]", "{}"} and small[1:-1].strip() in _BRACKETED:
        return True
    if len(small) > LONGEST_MISSING:
        return not _WORDS.search(small)
    words = ["".join(_WORDS.findall(part)) for part in small.split()]
    named = [word for word in words if word]
    return "".join(named) in _MISSING or all(word in _MISSING for word in named)


def _printable(value: str) -> str:
    """Entities resolved, compatible characters and digits as their usual ones, invisible ones cut.

    White space is one blank, and none at the ends.
    """
    if "&" in value:
        value = html.unescape(html.unescape(_AMPERSANDS.sub("&", value)))
    if not value.isascii():
        value = "".join(_usual(char) for char in unicodedata.normalize("NFKC", value))
    if not value.isprintable():
        value = "".join(char if char.isprintable() else _blank(char) for char in value)
    return " ".join(value.split())


def _blank(char: str) -> str:
    return " " if char.isspace() else ""


@functools.lru_cache(maxsize=4096)
def _usual(char: str) -> str:
    """An invisible character as nothing, and a digit of any script as one of 0 to 9."""
    if is_invisible(char):
        return ""
    return str(unicodedata.decimal(char)) if char.isdecimal() else char


def is_invisible(char: str) -> bool:
    """Whether a character draws nothing and takes no room: format characters, fillers, controls."""
    if unicodedata.category(char) in {"Cf", "Cc"}:
        return not char.isspace()
    return char in FILLERS or "\ufe00" <= char <= "\ufe0f" or char == "\u034f"


def _unwrapped(text: str) -> str:
    while match := _WRAPPED.fullmatch(text):
        text = match[1].strip()
    if typed := _TYPED.fullmatch(text):
        return typed[1].strip("'\" ")
    # An apostrophe at the front alone is a spreadsheet's mark for text.
    return text[1:].strip() if text.startswith("'") else text


def _number(small: str) -> str | None:
    """A number without exponent, leading and trailing zeros; None if it is none, or is endless."""
    if not small.isalnum():
        small = _without_groups(small.replace("\u2212", "-"))
    match = _NUMBER.fullmatch(small)
    if match is None or len(match[2]) + abs(int(match[3] or 0)) > MOST_DIGITS:
        return None
    number = Decimal(small)
    digits = format(abs(number), "f").lstrip("0")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    digits = f"0{digits}" if digits[:1] in {"", "."} else digits
    return f"-{digits}" if number < 0 else digits


def _without_groups(small: str) -> str:
    """A number without marks between its thousands, and without zeros after a comma."""
    if comma := _DECIMAL_COMMA.fullmatch(small):
        return _NO_DIGITS.sub("", comma[1])
    return re.sub("[, '\u2019]", "", small) if _GROUPED.fullmatch(small) else small


def _moment(small: str) -> str | None:
    """A day with a time as ``2026-11-20 10:00:00`` in UTC, without the time if it is midnight."""
    if not _MOMENT.fullmatch(small):
        return None
    try:
        moment = datetime.fromisoformat(small.removesuffix("utc").strip().upper())
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return moment.isoformat(" ").removesuffix(" 00:00:00")


def _uuid(small: str) -> str | None:
    match = _HEX_UUID.fullmatch(small)
    return match[1] if match else None
