"""Names that are no data by convention are no deliveries, wherever they lie; all others are."""

from __future__ import annotations

import pytest

from pipelines.core import config
from pipelines.intake import landing, nights
from pipelines.intake.side_files import is_side_file
from tests.support.in_memory import InMemory

SIDE_FILES = [
    "_SUCCESS",
    "_committed_123",
    "_started_123",
    "_metadata",
    "_common_metadata",
    "_delta_log/0.json",
    "_temporary/0/task/a.csv",
    ".part-00000-1b2c-c000.csv.crc",
    ".hive-staging_1/a.csv",
    ".hoodie/a.parquet",
    "x_$folder$",
    "a.csv._COPYING_",
    "a.csv.crc",
    ".DS_Store",
    "._a.csv",
    "__MACOSX/a.csv",
    ".Trash-1000/a.csv",
    "Thumbs.db",
    "desktop.ini",
    "ehthumbs.db",
    "~$a.xlsx",
    ".~lock.a.csv#",
    "#a.csv#",
    "a.csv~",
    ".a.csv.swp",
    ".#a.csv",
    "a.csv.part",
    "a.csv.tmp",
    "a.csv.filepart",
    "a.csv.partial",
    "a.csv.12ab34cd.partial",
    ".a.csv.Xy12ab",
    "a.csv.crdownload",
    "a.csv.uploading",
    "a.csv.inprogress",
    "a.csv.ocTransferId12.part",
    ".syncthing.a.csv.tmp",
    "~syncthing~a.csv.tmp",
    ".nfs0001",
    "a.csv.md5",
    "a.csv.SHA256",
    "a.csv.sha512sum",
    "SHA256SUMS",
    "md5sum.txt",
    "checksums.txt",
    "a.csv.asc",
    "a.csv.sig",
    "a.csv.done",
    "a.csv.ok",
    "a.csv.ready",
    "a.csv.lock",
    "manifest.json",
    "out.csv/_SUCCESS",
    "out.csv/.part-0.crc",
    "a.csv.metadata",
    "x_$folder$/a.csv",
    "old~/a.csv",
    "@eaDir/a.csv/SYNO@.thumb",
    "@eaDir/a.csv@SynoEAStream",
    "a.csv@SynoEAStream",
    "#recycle/a.csv",
    "a.csv.sha256.txt",
    "a.csv.md5.txt",
    "a.csv:Zone.Identifier",
    "reviews_manifest",
    "a.csv.tmp.1234",
    "a.csv.tmp-1a2b3c",
    "a.csv.bak",
    "a.csv.part-1b2c3d",
]
DATA = [
    "a.csv",
    "part-00000-1b2c-c000.csv",
    "out.csv/part-0.csv",
    "./a.csv",
    "../a.csv",
    "reviews.csv.gz",
    "A.PARQUET",
    "c.snappy.parquet",
    "done.csv",
    "part.csv",
    "tmp.csv",
    "a.tmp.csv",
    "manifest.csv",
    "success.jsonl",
    "a_b.csv",
    "a~b.csv",
    "Reviews#1.csv",
    "reviews.txt",
    "a.zip",
    "a.xlsx",
    "a.json",
    "README.md",
    "date=2026-11-20/a.csv",
    "csv",
    "a.log",
    "md5.csv",
    "reviews.csv.part-000000",
    "reviews.csv.part-000001",
    "reviews.csv.part-00000a",
    "reviews.csv.part-aaaaaa",
    "reviews.csv.part1",
    "reviews_manifest.csv",
    "bak.csv",
    "a.tmp.1234.csv",
    "@web/a.csv",
]


@pytest.mark.parametrize("name", SIDE_FILES)
def test_what_tools_leave_beside_their_data_is_a_side_file(name):
    assert is_side_file(f"web/2026-01-05/{name}")


@pytest.mark.parametrize("name", DATA)
def test_anything_else_is_a_delivery(name):
    assert not is_side_file(f"web/2026-01-05/{name}")


def test_side_files_are_counted_once_and_make_no_incident():
    reviews = InMemory()  # a store on a folder would not take a folder's own name
    reviews.objects["landing/web/2026-01-05/a.csv"] = b"a"
    for key in ("web/2026-01-05/_SUCCESS", "web/2026-01-05/.a.csv.crc", "web/2026-01-04/_SUCCESS",
                "web/.DS_Store", "web/2026-01-05/"):  # fmt: skip
        reviews.objects[f"landing/{key}"] = b"crc"

    due = landing.discover(reviews, "2026-01-05", most=10)
    summary = nights.night_summary(reviews, "2026-01-05", config.load().sources)

    assert due == ["landing/web/2026-01-05/a.csv"]
    assert (summary.side_files, summary.set_aside, summary.deliveries) == (3, (), 0)
