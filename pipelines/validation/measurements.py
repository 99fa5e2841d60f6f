"""Measure once, for each row, what the rules need; the text itself is not kept.

One pass over the texts computes yes/no columns, lengths and word fingerprints. Great Expectations
sees the frame; the signatures and the fingerprints are for comparing texts and deliveries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.data import ValidationSettings
from pipelines.core.spool import Spool
from pipelines.features import signatures as features_signatures
from pipelines.features.fingerprints import fingerprint, fingerprint_parts
from pipelines.features.signatures import NOTHING_KNOWN, Known
from pipelines.features.text_id import text_id
from pipelines.intake.files.decoding import (
    DATE_INVALID,
    INVALID_UTF8,
    MALFORMED_ROW,
    RATING_INVALID,
    Rows,
)
from pipelines.intake.files.reading import NEGATIVE, NEUTRAL, POSITIVE
from pipelines.intake.files.rows import LABEL_UNKNOWN
from pipelines.intake.files.spooled_rows import SpooledRows
from pipelines.validation.text_forms import (
    has_letters,
    is_damaged,
    is_escaped,
    is_marked_up,
    visible_chars,
)

if TYPE_CHECKING:
    import pandas as pd

VOCABULARY_BINS = 256  # word n-grams, by the last bits of their fingerprint
LOWEST_POSITIVE_RATING, HIGHEST_NEGATIVE_RATING = 7, 4

# The frame's column of labels; those that are none of ours are one and the same there.
_LABEL_NAMES: Final = (NEGATIVE, POSITIVE, NEUTRAL, LABEL_UNKNOWN, None)
_LABEL_PLACES = {name: place for place, name in enumerate(_LABEL_NAMES) if name != LABEL_UNKNOWN}
_OTHER = _LABEL_NAMES.index(LABEL_UNKNOWN)
_ROWS_AT_ONCE = 4096

_NO_TEXT = text_id("")  # of blanks and line breaks alone, too

# Frequent in English, and not words of related languages. Of real reviews of 200 characters, one in
# six thousand has fewer than three different ones of these.
_ENGLISH_TEXT = (
    "the and that this with but they you are not from which would there their what been were when "
    "who because about his its it than just very them of to for"
)
_ENGLISH = fingerprint([_ENGLISH_TEXT], replace(features_signatures.VIEW, ngram_max=1)).ids
_CHARS_TO_SEE_LANGUAGE, _ENGLISH_WORDS = 200, 3
_WORDS_TO_REPEAT, _LEAST_NGRAMS_PER_WORD = 40, 0.25


class Bins:
    """The last bits of each text's n-grams, enough to compare vocabularies; a few are in memory.

    Parameters
    ----------
    lengths : ndarray of int64, shape (n_rows,)
        How many n-grams belong to each text.
    low_bits : Spool
        One byte for each of them, text after text.
    """

    def __init__(self, lengths: NDArray[np.int64], low_bits: Spool) -> None:
        self.lengths = lengths
        self._low_bits = low_bits

    def counts(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """How many n-grams of the texts at ``rows``, none of them twice, fall into each bin."""
        is_counted = np.zeros(len(self.lengths), np.bool_)
        is_counted[rows] = True
        counts, place = np.zeros(VOCABULARY_BINS, np.int64), 0
        for start in range(0, len(self.lengths), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            size = int(self.lengths[part].sum())
            bits = np.frombuffer(self._low_bits.read(place, size), np.uint8)
            counted_bits = bits[np.repeat(is_counted[part], self.lengths[part])]
            counts += np.bincount(counted_bits, minlength=VOCABULARY_BINS)
            place += size
        return counts


@dataclass(frozen=True, eq=False)
class Measured:
    """A delivery's rows as numbers.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        With a fresh RangeIndex: positions in the delivery. The only part that the rules see.
    text_ids : ndarray of uint8, shape (n_rows, 32)
        All zero where there is no text.
    days : ndarray of int32, shape (n_rows,)
        When each review was written, as `date.toordinal`; 0 where that is not known.
    grams : Bins
        Word n-grams of each text, none where it is missing or too long.
    signatures : ndarray of uint16, shape (n_rows, 32)
    """

    frame: pd.DataFrame
    text_ids: NDArray[np.uint8]
    days: NDArray[np.int32]
    grams: Bins
    signatures: NDArray[np.uint16]


def measure(
    rows: Rows | SpooledRows,
    *,
    night: date,
    settings: ValidationSettings,
    known: Known = NOTHING_KNOWN,
) -> Measured:
    """Measure every row of a delivery, block by block.

    Parameters
    ----------
    rows : Rows or SpooledRows
        As decoded.
    night : date
        The day the delivery was made for.
    settings : ValidationSettings
        The limits; some columns depend on them.
    known : Known
        Texts of earlier deliveries that count.
    """
    import pandas as pd

    low_bits = Spool()
    blocks = [_measured(block, night, settings, low_bits) for block in rows.blocks()]
    blocks = blocks or [_measured(Rows(), night, settings, low_bits)]
    whole = {name: np.concatenate([block.pop(name) for block in blocks]) for name in [*blocks[0]]}
    ids, days, lengths, cells, names = (
        whole.pop(name) for name in ("text_id", "day", "lengths", "signatures", "review_name")
    )
    label = pd.Series(_LABEL_NAMES, dtype="str").take(whole.pop("label")).reset_index(drop=True)
    columns = {
        **whole,
        "label": label,
        "review_id_repeated": _repeats(names),
        **_repeat_columns(ids, cells, known),
    }
    return Measured(pd.DataFrame(columns), ids, days, Bins(lengths, low_bits), cells)


def _measured(
    rows: Rows, night: date, settings: ValidationSettings, low_bits: Spool
) -> dict[str, NDArray[Any]]:
    """The columns of some rows, and what the others are made of; adds to ``low_bits``."""
    chars = [visible_chars(text) if text else None for text in rows.text]
    # A text that is too long is quarantined for that. Reading all of it could take hours.
    texts = [
        text if count is not None and count <= settings.max_text_chars else None
        for text, count in zip(rows.text, chars, strict=True)
    ]
    digests = [None if text is None else text_id(text) for text in texts]
    are_missing = [
        not text or digest == _NO_TEXT or (kept is not None and not has_letters(kept))
        for text, kept, digest in zip(rows.text, texts, digests, strict=True)
    ]
    chars = [None if gone else count for gone, count in zip(are_missing, chars, strict=True)]
    ids = ["" if gone else digest or "" for gone, digest in zip(are_missing, digests, strict=True)]
    lengths, signatures, english_words = _read_words(texts, low_bits)
    return {
        "text_chars": np.array(chars, np.float64),
        "label": np.array([_LABEL_PLACES.get(label, _OTHER) for label in rows.label], np.int8),
        "text_missing": np.array(are_missing, np.bool_),
        **_row_columns(rows, night, settings),
        **_text_columns(texts, rows.faults, chars, lengths, english_words),
        "text_id": _as_bytes(bytes.fromhex(digest).ljust(32, b"\0") for digest in ids),
        "review_name": _as_bytes(_name_digest(name) for name in rows.review_id),
        "day": np.array([day.toordinal() if day else 0 for day in rows.written_on], np.int32),
        "lengths": lengths,
        "signatures": signatures,
    }


def _as_bytes(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    """One line of 32 bytes for each digest."""
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def _name_digest(name: str | None) -> bytes:
    """Stands for a name, so that names of any length take the same memory; zeros for none."""
    return sha256(name.encode("utf-8", "surrogatepass")).digest() if name else bytes(32)


def _read_words(
    texts: list[str | None], low_bits: Spool
) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.int64]]:
    """How many n-grams each text has, its signature and the number of its English words.

    The fingerprints are never all in memory at once: they take more than the texts.
    """
    lengths, english = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    signatures = [features_signatures.NOTHING_KNOWN.signatures]
    parts = fingerprint_parts((text or "" for text in texts), features_signatures.VIEW)
    for part in parts:
        rows = np.repeat(np.arange(len(part)), part.lengths)
        is_english = np.isin(part.ids, _ENGLISH)
        low_bits.append(part.ids.astype(np.uint8).tobytes())
        lengths.append(part.lengths)
        signatures.append(features_signatures.signatures(part))
        english.append(np.bincount(rows[is_english], minlength=len(part)))
    return np.concatenate(lengths), np.concatenate(signatures), np.concatenate(english)


def _row_columns(
    rows: Rows, night: date, settings: ValidationSettings
) -> dict[str, NDArray[np.bool_]]:
    """Columns that are true where a row is broken, regardless of its text and of other rows."""
    last_day = night + timedelta(days=settings.max_future_days)
    first_day = night - timedelta(days=settings.late_window_days)
    columns = {
        code: [code in faults_of_row for faults_of_row in rows.faults]
        for code in (MALFORMED_ROW, INVALID_UTF8, RATING_INVALID, DATE_INVALID)
    } | {
        "review_id_missing": [not (name and name.strip()) for name in rows.review_id],
        "label_neutral": [label == NEUTRAL for label in rows.label],
        "label_contradicts_rating": [
            _contradicts(label, rating)
            for label, rating in zip(rows.label, rows.rating, strict=True)
        ],
        "written_in_future": [bool(day and day > last_day) for day in rows.written_on],
        "written_too_long_ago": [bool(day and day < first_day) for day in rows.written_on],
    }
    return {name: np.array(column, np.bool_) for name, column in columns.items()}


def _text_columns(
    texts: list[str | None],
    faults: list[tuple[str, ...]],
    chars: list[int | None],
    ngrams: NDArray[np.int64],
    english_words: NDArray[np.int64],
) -> dict[str, NDArray[np.bool_]]:
    words = np.array([len(text.split()) if text else 0 for text in texts], np.int64)
    is_repetitive = (words >= _WORDS_TO_REPEAT) & (ngrams < _LEAST_NGRAMS_PER_WORD * words)
    # Long enough to recognize the language, with almost no English word. A repetitive text is not
    # also reported as foreign.
    is_long = np.array([(count or 0) >= _CHARS_TO_SEE_LANGUAGE for count in chars], np.bool_)
    is_foreign = is_long & (ngrams > 0) & (english_words < _ENGLISH_WORDS) & ~is_repetitive
    is_marked = [bool(text and is_marked_up(text)) for text in texts]
    is_spelled = [  # what is not UTF-8 was spelled out while decoding
        bool(text and INVALID_UTF8 not in codes and is_escaped(text))
        for text, codes in zip(texts, faults, strict=True)
    ]
    return {
        "text_html": np.array(is_marked, np.bool_),
        "text_escaped": np.array(is_spelled, np.bool_),
        "text_mojibake": np.array([bool(text and is_damaged(text)) for text in texts], np.bool_),
        "text_repetitive": is_repetitive,
        "text_other_language": is_foreign,
    }


def _repeat_columns(
    ids: NDArray[np.uint8], signatures: NDArray[np.uint16], known: Known
) -> dict[str, NDArray[np.bool_]]:
    """Report each repeat once: exact before near, within this delivery before earlier ones."""
    keys = features_signatures.text_keys(ids)
    repeated = _repeats(ids)
    is_known = np.isin(keys, known.text_keys) & (keys != 0)
    near = features_signatures.near_repeats(signatures) & ~repeated & ~is_known
    near_known = features_signatures.near_known(signatures, known.signatures) & ~(
        repeated | is_known | near
    )
    return {
        "text_repeated": repeated,
        "text_near_repeated": near,
        "text_known": is_known & ~repeated,
        "text_near_known": near_known,
    }


def _repeats(digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which digests stand there before; zeros are none."""
    _, first = np.unique(digests.view("S32").ravel(), return_index=True)
    is_repeated: NDArray[np.bool_] = (digests != 0).any(axis=1)
    is_repeated[first] = False
    return is_repeated


def _contradicts(label: str | None, rating: int | None) -> bool:
    if rating is None:
        return False
    too_low = label == POSITIVE and rating <= HIGHEST_NEGATIVE_RATING
    too_high = label == NEGATIVE and rating >= LOWEST_POSITIVE_RATING
    return too_low or too_high
