"""What upstream calls its columns and labels, and how it writes a day: from names to our own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from pipelines.core.date_forms import EPOCH
from pipelines.core.errors import ConfigError, UnreadableDeliveryError
from pipelines.intake.files.ids import as_written, canonical

if TYPE_CHECKING:
    from pipelines.core.settings.data import IntakeSettings
    from pipelines.core.settings.settings import Settings

REQUIRED_COLUMNS = ("review_id", "text", "label", "written_on")
OPTIONAL_COLUMNS = ("movie_id", "rating")
COLUMNS = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
POSITIVE, NEGATIVE, NEUTRAL = "positive", "negative", "neutral"

# A day, perhaps with a time and a zone: "2026-11-20 10:00:00.000 UTC", "2026-11-20T10:00+02:00".
_DAY = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ][0-9:.,+Zz-]{1,30}|[Tt ][0-9]{1,2}:[0-9]{2}[0-9:.,]{0,20} ?[\w/+:\[\]-]{0,40})?"
)
_MOST_DATE_CHARS = 60
_FIRST_EPOCH_SECOND, _LAST_EPOCH_SECOND = 1e8, 1e11  # of 1973, and of a time far beyond dates


@dataclass(frozen=True)
class Reading:
    """How a source's files are read. The default is the agreed form.

    Parameters
    ----------
    columns : dict
        For each column of ours the names it may have, the best first; empty: files lack it.
    needed : tuple of str
        The columns that a file must have.
    day : str
        Stands for ``written_on`` where files lack it, ``YYYY-MM-DD``.
    date_formats : tuple of str
        For ``strptime``, or ``"epoch"``; ``YYYY-MM-DD`` is always understood.
    labels : dict
        What upstream writes, in the form of `ids.canonical`, and the label that it means.
    positive_from, negative_to : float
        In stars; 0 where labels are not stars.
    """

    columns: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {name: (name,) for name in COLUMNS}
    )
    needed: tuple[str, ...] = REQUIRED_COLUMNS
    day: str = ""
    date_formats: tuple[str, ...] = ()
    labels: dict[str, str] = field(
        default_factory=lambda: {name: name for name in (POSITIVE, NEGATIVE, NEUTRAL)}
    )
    positive_from: float = 0.0
    negative_to: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def label_of(self, written: str) -> str | None:
        """The label that a text means, in the form of `ids.canonical`; None if it means none."""
        label = self.labels.get(written)
        if label is not None or not self.positive_from:
            return label
        try:
            stars = float(written)
        except ValueError:
            return None
        if stars >= self.positive_from:
            return POSITIVE
        return NEGATIVE if stars <= self.negative_to else NEUTRAL

    def day_of(self, value: Any) -> date | None:
        """The day that a value of any type means; None if it means none."""
        if isinstance(value, date):  # a datetime is a date
            return value.date() if isinstance(value, datetime) else value
        try:
            text = (as_written(value) or "").strip()
            match = _DAY.fullmatch(text)
            if match:
                return date.fromisoformat(match[1])
        except (TypeError, ValueError):
            return None  # such as 2026-02-30
        if not text or len(text) > _MOST_DATE_CHARS:
            return None
        # As it stands, then without the signs that programs put around a value.
        spellings = [text, canonical(text) or ""]
        days = (_by_format(one, form) for one in spellings for form in self.date_formats)
        return next((day for day in days if day is not None), None)


def _by_format(text: str, form: str) -> date | None:
    try:
        if form == EPOCH:
            return _of_epoch(float(text))
        return datetime.strptime(text, form).date()  # noqa: DTZ007 - only the day is used
    except (ValueError, OverflowError):
        return None


def _of_epoch(number: float) -> date | None:
    for unit in (1.0, 1e3, 1e6, 1e9):
        if _FIRST_EPOCH_SECOND <= number / unit < _LAST_EPOCH_SECOND:
            return datetime.fromtimestamp(number / unit, UTC).date()
    return None


AGREED = Reading()


def reading_of(settings: Settings, source: str, day: str) -> Reading:
    """How the files of a source are read that were delivered for a day, ``YYYY-MM-DD``."""
    columns, labels = settings.columns_of(source), settings.labels_of(source)
    names = {column: tuple(getattr(columns, column)) for column in COLUMNS}
    lists = {POSITIVE: labels.positive, NEGATIVE: labels.negative, NEUTRAL: labels.neutral}
    return Reading(
        columns=names,
        needed=tuple(column for column in REQUIRED_COLUMNS if names[column]),
        day=day,
        date_formats=tuple(columns.date_formats),
        labels=_labels(lists),
        positive_from=labels.positive_from_stars,
        negative_to=labels.negative_to_stars,
    )


def _labels(lists: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The label of each text in the form of `ids.canonical`.

    Raises
    ------
    ConfigError
        If one form stands for two labels, such as "1" and "1.0".
    """
    labels: dict[str, str] = {}
    for label, texts in lists.items():
        for text in texts:
            other = labels.setdefault(canonical(text) or text, label)
            if other != label:
                raise ConfigError(
                    f"[labels] of the configuration: {text!r} stands for {label}, and another way "
                    f"to write it for {other}. Take one of the two out."
                )
    return labels


def of_texts(names: Sequence[str]) -> Reading:
    """How a file is read of which only the text matters."""
    return Reading(columns={"text": tuple(names)}, needed=("text",))


# ── Names of columns ─────────────────────────────────────────────────────────────────────────


def located(
    names: Sequence[str], count_rows: Callable[[], int], intake: IntakeSettings, reading: Reading
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The place of each column of ours among a file's, and the names of all others.

    Raises
    ------
    UnreadableDeliveryError
        If a needed column is missing, or one of ours stands there twice.
    """
    if len(names) > intake.max_columns:
        raise UnreadableDeliveryError(
            "too_many_columns",
            f"the file has more columns than intake.max_columns={intake.max_columns}.",
            rows=count_rows(),
        )
    places = {column: _places(names, reading.columns[column]) for column in reading.columns}
    missing = [column for column in reading.needed if not places[column]]
    doubled = [column for column, found in places.items() if len(found) > 1]
    if missing or doubled:
        raise UnreadableDeliveryError(
            "wrong_columns", _wrong(names, missing, doubled, reading), rows=count_rows()
        )
    taken = {found[0] for found in places.values() if found}
    others = (name for place, name in enumerate(names) if place not in taken)
    extra = tuple(name for name in others if name.strip())  # spreadsheets leave unnamed ones
    return {column: found[0] for column, found in places.items() if found}, extra


def _places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where the first of the wanted names stands: as it is written, else in other letters."""
    for name in wanted:
        exact = [place for place, found in enumerate(names) if found == name]
        if exact:
            return exact
    plain = [found.strip("\ufeff\u200b \t").casefold() for found in names]
    for name in wanted:
        alike = [place for place, found in enumerate(plain) if found == name.casefold()]
        if alike:
            return alike
    return []


def _wrong(names: Sequence[str], missing: list[str], doubled: list[str], reading: Reading) -> str:
    shown = [name[:40] for name in names[:20]]
    others = [name for column in missing for name in reading.columns[column] if name != column]
    called = f" (by the configuration one of {others})" if others else ""
    separated = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    hint = f" A comma must separate the columns, not {separated!r}." if separated else ""
    return (
        f"missing columns {missing}{called}, doubled columns {doubled}; found {shown}, "
        f"expected {list(reading.columns)}. If upstream calls them something else, say so in "
        f"[columns] of the configuration.{hint}"
    )
