"""Measure once, for each row, what the rules need; the text itself is not kept.

One pass computes yes/no columns, lengths and word fingerprints. Great Expectations sees the frame;
the signatures and the fingerprints are for comparing texts and deliveries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipelines.core.settings.data import ValidationSettings
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


@dataclass(frozen=True, eq=False)
class Bins:
    """The last bits of each text's n-grams, enough to compare vocabularies.

    Parameters
    ----------
    low_bits : ndarray of uint8, shape (n_ngrams,)
        Text after text.
    lengths : ndarray of int64, shape (n_rows,)
        How many n-grams belong to each text.
    """

    low_bits: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    def counts(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """How many n-grams of the texts at ``rows``, none of them twice, fall into each bin."""
        is_counted = np.zeros(len(self.lengths), np.bool_)
        is_counted[rows] = True
        counted_bits = self.low_bits[np.repeat(is_counted, self.lengths)]
        return np.bincount(counted_bits, minlength=VOCABULARY_BINS)


@dataclass(frozen=True, eq=False)
class Measured:
    """A delivery's rows as numbers.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        With a fresh RangeIndex: positions in the delivery. The only part that the rules see.
    text_ids : list of str or None
        Null where there is no text.
    grams : Bins
        Word n-grams of each text, none where it is missing or too long.
    signatures : ndarray of uint16, shape (n_rows, 32)
    """

    frame: pd.DataFrame
    text_ids: list[str | None]
    grams: Bins
    signatures: NDArray[np.uint16]


def measure(
    rows: Rows, *, night: date, settings: ValidationSettings, known: Known = NOTHING_KNOWN
) -> Measured:
    """Measure every row of a delivery.

    Parameters
    ----------
    rows : Rows
        As decoded.
    night : date
        The day the delivery was made for.
    settings : ValidationSettings
        The limits; some columns depend on them.
    known : Known
        Texts of earlier deliveries that count.
    """
    import pandas as pd

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
    ids = [None if gone else digest for gone, digest in zip(are_missing, digests, strict=True)]
    grams, signatures, english_words = _read_words(texts)
    columns = {
        "text_chars": pd.Series(chars, dtype="float64"),
        "label": pd.Series(rows.label, dtype="str"),
        "text_missing": are_missing,
        **_row_columns(rows, night, settings),
        **_text_columns(texts, rows.faults, chars, grams.lengths, english_words),
        **_repeat_columns(ids, signatures, known),
    }
    return Measured(pd.DataFrame(columns), ids, grams, signatures)


def _read_words(
    texts: list[str | None],
) -> tuple[Bins, NDArray[np.uint16], NDArray[np.int64]]:
    """Bins, signatures and the number of English words of each text, some hundred texts at a time.

    The fingerprints are never all in memory at once: they take more than the texts.
    """
    low_bits, lengths = bytearray(), [np.empty(0, np.int64)]
    signatures, english = [features_signatures.NOTHING_KNOWN.signatures], [np.empty(0, np.int64)]
    parts = fingerprint_parts((text or "" for text in texts), features_signatures.VIEW)
    for part in parts:
        rows = np.repeat(np.arange(len(part)), part.lengths)
        is_english = np.isin(part.ids, _ENGLISH)
        low_bits += part.ids.astype(np.uint8).tobytes()
        lengths.append(part.lengths)
        signatures.append(features_signatures.signatures(part))
        english.append(np.bincount(rows[is_english], minlength=len(part)))
    bins = Bins(np.frombuffer(low_bits, np.uint8), np.concatenate(lengths))
    return bins, np.concatenate(signatures), np.concatenate(english)


def _row_columns(rows: Rows, night: date, settings: ValidationSettings) -> dict[str, list[bool]]:
    """Columns that are true where a row is broken, regardless of its text."""
    last_day = night + timedelta(days=settings.max_future_days)
    first_day = night - timedelta(days=settings.late_window_days)
    faults = {
        code: [code in faults_of_row for faults_of_row in rows.faults]
        for code in (MALFORMED_ROW, INVALID_UTF8, RATING_INVALID, DATE_INVALID)
    }
    return {
        **faults,
        "review_id_missing": [not (name and name.strip()) for name in rows.review_id],
        "review_id_repeated": _repeats(rows.review_id),
        "label_neutral": [label == NEUTRAL for label in rows.label],
        "label_contradicts_rating": [
            _contradicts(label, rating)
            for label, rating in zip(rows.label, rows.rating, strict=True)
        ],
        "written_in_future": [bool(day and day > last_day) for day in rows.written_on],
        "written_too_long_ago": [bool(day and day < first_day) for day in rows.written_on],
    }  # fmt: skip


def _text_columns(
    texts: list[str | None],
    faults: list[tuple[str, ...]],
    chars: list[int | None],
    ngrams: NDArray[np.int64],
    english_words: NDArray[np.int64],
) -> dict[str, list[bool] | NDArray[np.bool_]]:
    words = np.array([len(text.split()) if text else 0 for text in texts])
    is_repetitive = (words >= _WORDS_TO_REPEAT) & (ngrams < _LEAST_NGRAMS_PER_WORD * words)
    # Long enough to recognize the language, with almost no English word. A repetitive text is not
    # also reported as foreign.
    is_long = np.array([(count or 0) >= _CHARS_TO_SEE_LANGUAGE for count in chars], np.bool_)
    is_foreign = is_long & (ngrams > 0) & (english_words < _ENGLISH_WORDS) & ~is_repetitive
    return {
        "text_html": [bool(text and is_marked_up(text)) for text in texts],
        "text_escaped": [  # what is not UTF-8 was spelled out while decoding
            bool(text and INVALID_UTF8 not in codes and is_escaped(text))
            for text, codes in zip(texts, faults, strict=True)
        ],
        "text_mojibake": [bool(text and is_damaged(text)) for text in texts],
        "text_repetitive": is_repetitive,
        "text_other_language": is_foreign,
    }


def _repeat_columns(
    ids: list[str | None], signatures: NDArray[np.uint16], known: Known
) -> dict[str, NDArray[np.bool_]]:
    """Report each repeat once: exact before near, within this delivery before earlier ones."""
    keys = features_signatures.text_keys(ids)
    repeated = np.array(_repeats(ids), np.bool_)
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


def _repeats(values: Iterable[str | None]) -> list[bool]:
    seen: set[str | None] = {None, ""}
    repeated = []
    for value in values:
        repeated.append(bool(value) and value in seen)
        seen.add(value)
    return repeated


def _contradicts(label: str | None, rating: int | None) -> bool:
    if rating is None:
        return False
    too_low = label == POSITIVE and rating <= HIGHEST_NEGATIVE_RATING
    too_high = label == NEGATIVE and rating >= LOWEST_POSITIVE_RATING
    return too_low or too_high
