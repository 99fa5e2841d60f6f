"""Who each accepted row is: its text, its film, and its label."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.core.errors import TrustError
from pipelines.core.store.bucket import Bucket
from pipelines.features.fingerprints import bounds_of
from pipelines.features.packs import Pack, foreign, read_pack
from pipelines.intake.files.ids import film_id
from pipelines.intake.partitions import ACCEPTED_SCHEMA
from pipelines.records.data import Partition
from pipelines.records.versions import StarClass

ID_BYTES = 32
TEXT_ID = np.dtype(f"S{ID_BYTES}")
NO_CLASS = -1
_NO_HEX = re.compile(r"[^0-9a-f]").search


@dataclass(frozen=True, eq=False)
class Identities:
    """Text ids, films (or text ids, without a film) and labels of a partition."""

    text_id: NDArray[np.bytes_]
    film: pa.Array
    label: NDArray[np.int8]

    @classmethod
    def read(
        cls, reviews: Bucket, pack: Pack, classes: tuple[StarClass, ...] = ()
    ) -> list[Identities]:
        """Read those of each partition of a pack.

        Raises
        ------
        TrustError
            If a partition was not written by this project.
        """
        names = ["text_id", "movie_id", "rating" if classes else "label"]
        table = read_pack(reviews, pack, names)
        text_id, film, label = (column.combine_chunks() for column in table.columns)
        types = [ACCEPTED_SCHEMA.field(name).type for name in names]
        has_gaps = text_id.null_count or (label.null_count and not classes)
        if table.schema.types != types or has_gaps:
            raise _foreign(reviews, pack, "columns of other types, or with gaps")
        digits = "".join(text_id.to_pylist())
        is_other = pc.any(pc.not_equal(pc.binary_length(text_id), 2 * ID_BYTES)).as_py()
        if is_other or _NO_HEX(digits):
            raise _foreign(reviews, pack, "a text id that is not a sha256 in hex")
        ids = np.frombuffer(bytes.fromhex(digits), TEXT_ID)
        films = pc.coalesce(_in_one_form(film), text_id)
        labels = class_of_stars(label, classes) if classes else label.to_numpy()
        return [
            cls(ids[start:stop], films[start:stop], labels[start:stop])
            for start, stop in pairwise(bounds_of_parts(pack.partitions).tolist())
        ]


def _in_one_form(film: pa.Array) -> pa.Array:
    """Films as ingest writes them today; null where there is none.

    Rows that were accepted before may have several keys for one film.
    """
    encoded = film.dictionary_encode()
    names = pa.array([film_id(name) for name in encoded.dictionary.to_pylist()], pa.string())
    return names.take(encoded.indices)


def _foreign(reviews: Bucket, pack: Pack, what: str) -> TrustError:
    """Names the partition of a pack that is meant, if it is one of several."""
    for partition in pack.partitions if len(pack.partitions) > 1 else ():
        Identities.read(reviews, Pack((partition,)))
    return foreign(reviews, pack.partitions[0], what)


def class_of_stars(rating: pa.Array, classes: Sequence[StarClass]) -> NDArray[np.int8]:
    """The number of the class of each rating; -1 where it is missing or in no class."""
    stars = pc.fill_null(rating, 0).to_numpy(zero_copy_only=False)
    numbers = np.full(len(stars), NO_CLASS, np.int8)
    for number, one in enumerate(classes):
        numbers[(stars >= one.low) & (stars <= one.high)] = number
    return numbers


def bounds_of_parts(parts: Sequence[Partition] | Sequence[Pack]) -> NDArray[np.int64]:
    return bounds_of(np.array([part.rows for part in parts], np.int64))
