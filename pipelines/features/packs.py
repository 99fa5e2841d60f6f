"""Small partitions that are read together: the rows of a quarter of a year in one object.

    features/packs/<sha256>.pack           the rows, as one Parquet file, sealed
    features/<view>/<sha256>.npz           their fingerprints (`features.fingerprint_cache`)
    features/<view>/<sha256>.signatures    their signatures (`features.signature_cache`)

After years of nights, thousands of partitions hold a few rows each. To open a file costs as much
as to read thousands of rows, so a retraining reads packs. A partition that is not small is a pack
of its own, and is read from its own key.

Partitions are packed in the order of the snapshot, which is that of the nights. So a night changes
the last pack only, which is made of the pack of the night before and of what the night brought.

A pack is a cache, named by the digests of its partitions. It is made of partitions that were proven
by their digests, is sealed as features are, and may be deleted at any time.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.core.errors import TrustError
from pipelines.core.parallel import in_parallel
from pipelines.core.record import sha256_of
from pipelines.core.store.bucket import Bucket
from pipelines.intake.partitions import ACCEPTED_SCHEMA, read_partition
from pipelines.records.data import Partition

logger = logging.getLogger(__name__)

FOLDER, KIND = "features/packs/", "Pack"
LARGEST_BYTES = 1024 * 1024  # a larger partition is a pack of its own
MOST_BYTES = 8 * 1024 * 1024  # of the partitions of one pack
MOST_SHARES = 1000  # Airflow maps over at most 1,024

Share = tuple[int, int]
"""Which of how many shares of the packs, from 0: (1, 3) has the packs 1, 4, 7 and so on."""


@dataclass(frozen=True)
class Pack:
    """Partitions whose rows are read together, in their order."""

    partitions: tuple[Partition, ...]

    @property
    def is_several(self) -> bool:
        return len(self.partitions) > 1

    @cached_property
    def sha256(self) -> str:
        """Names its content; that of a single partition is the partition's own."""
        if not self.is_several:
            return self.partitions[0].sha256
        lines = [f"{part.key} {part.sha256} {part.rows}" for part in self.partitions]
        return sha256_of("\n".join(lines).encode())

    @cached_property
    def rows(self) -> int:
        return sum(part.rows for part in self.partitions)

    @cached_property
    def size_bytes(self) -> int:
        """Of its partitions, as they are stored."""
        return sum(part.size_bytes for part in self.partitions)

    @property
    def key(self) -> str:
        """Where its rows are."""
        return f"{FOLDER}{self.sha256}.pack" if self.is_several else self.partitions[0].key

    @property
    def before(self) -> Pack | None:
        """Itself without its newest night; None if nothing is left."""
        newest = self.partitions[-1].night
        earlier = tuple(part for part in self.partitions if part.night != newest)
        return Pack(earlier) if earlier else None


def packed(partitions: Iterable[Partition]) -> Iterator[Pack]:
    """The partitions of a snapshot in packs."""
    members: list[Partition] = []
    together, size_bytes = None, 0
    for partition in partitions:
        size_bytes += partition.size_bytes
        quarter = _quarter(partition.night) if partition.size_bytes <= LARGEST_BYTES else None
        if members and (quarter is None or quarter != together or size_bytes > MOST_BYTES):
            yield Pack(tuple(members))
            members, size_bytes = [], partition.size_bytes
        together = quarter  # None: it is large, and stays alone
        members.append(partition)
    if members:
        yield Pack(tuple(members))


def shares(packs: int, per_task: int) -> list[Share]:
    """How so many packs are shared out over tasks; at least one share."""
    of = min(max(math.ceil(packs / per_task), 1), MOST_SHARES)
    return [(number, of) for number in range(of)]


def _quarter(night: str) -> tuple[str, int]:
    return night[:4], (int(night[5:7]) - 1) // 3


def read_pack(reviews: Bucket, pack: Pack, columns: list[str] | None = None) -> pa.Table:
    """The rows of a pack; where it is not stored, it is made of its partitions and stored.

    Raises
    ------
    TrustError
        As `read_partition`, and if this project did not write a partition.
    """
    if not pack.is_several:
        return read_partition(reviews, pack.partitions[0], columns)
    table = _find(reviews, pack, columns)
    if table is not None:
        return table
    made = _made(reviews, pack)
    reviews.put_cached(pack.key, _encoded(made), kind=KIND)
    return made if columns is None else made.select(columns)


def _find(reviews: Bucket, pack: Pack, columns: list[str] | None = None) -> pa.Table | None:
    data = reviews.find_cached(pack.key, kind=KIND)
    if data is None:
        return None
    try:
        table = pq.read_table(pa.BufferReader(data), columns=columns)
    except (pa.ArrowException, OSError) as error:
        logger.warning("pack=%s is made again: %s", pack.key, error)
        return None
    return table if table.num_rows == pack.rows else None


def _made(reviews: Bucket, pack: Pack) -> pa.Table:
    before, tables = pack.before, []
    if before is not None and before.is_several:
        earlier = _find(reviews, before)
        tables = [] if earlier is None else [earlier]
    known = len(before.partitions) if before is not None and tables else 0
    tables += in_parallel(lambda part: _checked(reviews, part), pack.partitions[known:])
    return pa.concat_tables(tables)


def _checked(reviews: Bucket, partition: Partition) -> pa.Table:
    table = read_partition(reviews, partition)
    if not table.schema.equals(ACCEPTED_SCHEMA):
        raise foreign(reviews, partition, "columns of other types, or with gaps")
    return table


def foreign(reviews: Bucket, partition: Partition, what: str) -> TrustError:
    return TrustError(
        f"{reviews.uri(partition.key)} has {what}: this project did not write it. It is not used "
        "for training. Find out who else may write to that bucket"
    )


def _encoded(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=3)
    return buffer.getvalue()
