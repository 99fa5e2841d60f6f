"""Identify a text by the digest of its normalized form."""

from __future__ import annotations

import hashlib
import re
import unicodedata

TAG = re.compile(r"<[^<>]{0,200}>")


def normalized(text: str) -> str:
    """NFKC, tags and white space folded to one space, case folded."""
    folded = unicodedata.normalize("NFKC", text)
    return " ".join(TAG.sub(" ", folded).split()).casefold()


def text_id(text: str) -> str:
    """sha256 of the normalized text, 64 hex digits."""
    return hashlib.sha256(normalized(text).encode("utf-8", "replace")).hexdigest()
