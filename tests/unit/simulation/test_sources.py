import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import SourceError
from pipelines.simulation import archive as simulation_archive
from pipelines.simulation import download
from pipelines.simulation.download import DownloadError, ProgressFactory, RemoteArchive
from pipelines.simulation.sources import REVIEW_SCHEMA, ReviewSource, open_source

FILES = {
    "aclImdb/train/urls_pos.txt": b"http://www.imdb.com/title/tt0000001/usercomments\n",
    "aclImdb/test/urls_neg.txt": b"http://x/title/tt0000002/\nhttp://x/title/tt12345678/\n",
    "aclImdb/train/pos/0_9.txt": "A café full of charm.".encode(),
    "aclImdb/test/neg/0_1.txt": b"Dreadful.<br />",
    "aclImdb/test/neg/1_4.txt": b"Not for me.",
    "aclImdb/train/unsup/0_0.txt": b"Unlabelled.",
    "aclImdb/README": b"Read me.",
}
ROWS = [
    {"movie_id": "tt0000002", "text": "Dreadful.<br />", "label": "negative", "rating": 1},
    {"movie_id": "tt12345678", "text": "Not for me.", "label": "negative", "rating": 4},
    {"movie_id": "tt0000001", "text": "A café full of charm.", "label": "positive", "rating": 9},
]


def a_member(name: str, *, size_bytes: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type = size_bytes, kind
    return member


def a_tar(files: Mapping[str, bytes], *more: tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, body in files.items():
            tar.addfile(a_member(name, size_bytes=len(body)), io.BytesIO(body))
        for member in more:
            tar.addfile(member, io.BytesIO(b"\0" * member.size))
    return packed.getvalue()


def opened(
    spec: Path | str | None,
    *,
    cache_dir: Path = Path("unused"),
    archive: RemoteArchive = download.OFFICIAL_ARCHIVE,
    on_progress: ProgressFactory | None = None,
) -> ReviewSource:
    return open_source(
        None if spec is None else str(spec),
        cache_dir=cache_dir,
        made_up_rows=20,
        seed=1,
        archive=archive,
        on_progress=on_progress,
    )


def saved(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


# ── Local files ──────────────────────────────────────────────────────────────────────────────


def test_the_archive_gives_text_label_rating_and_film_in_order_of_names(tmp_path: Path) -> None:
    archive = saved(tmp_path / "aclImdb_v1.tar.gz", a_tar(FILES))

    source = opened(archive)

    assert source.table.schema.equals(REVIEW_SCHEMA)
    assert source.table.to_pylist() == ROWS
    assert not source.is_made_up


def test_the_order_of_members_does_not_matter(tmp_path: Path) -> None:
    backwards = dict(reversed(FILES.items()))

    source = opened(saved(tmp_path / "backwards.tgz", a_tar(backwards)))

    assert source.table.to_pylist() == ROWS


@pytest.mark.parametrize("named", ["aclImdb", "."])
def test_an_unpacked_archive_reads_like_the_packed_one(tmp_path: Path, named: str) -> None:
    for name, body in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)

    source = opened(tmp_path / named)

    assert source.table.to_pylist() == ROWS


def test_a_review_without_a_line_in_the_list_has_no_film(tmp_path: Path) -> None:
    files = {**FILES, "aclImdb/train/pos/7_10.txt": b"Superb."}

    source = opened(saved(tmp_path / "more.tar.gz", a_tar(files)))

    assert source.table.to_pylist()[-1] == {
        "movie_id": None,
        "text": "Superb.",
        "label": "positive",
        "rating": 10,
    }


def test_members_that_leave_the_archive_or_are_links_are_passed_over(tmp_path: Path) -> None:
    link = a_member("aclImdb/train/pos/5_9.txt", kind=tarfile.SYMTYPE)
    link.linkname = "/etc/passwd"
    hostile = a_tar(
        {**FILES, "../train/pos/6_9.txt": b"x", "/aclImdb/train/pos/8_9.txt": b"x"}, link
    )

    source = opened(saved(tmp_path / "hostile.tar.gz", hostile))

    assert source.table.to_pylist() == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.tar.gz"]


def test_a_huge_review_is_refused_before_it_is_read(tmp_path: Path) -> None:
    huge = a_member("aclImdb/train/pos/9_9.txt", size_bytes=simulation_archive.MAX_REVIEW_BYTES + 1)
    archive = saved(tmp_path / "huge.tar.gz", a_tar(FILES, huge))

    with pytest.raises(SourceError, match=r"9_9\.txt' has 1,048,577 bytes, at most 1,048,576"):
        opened(archive)


def test_an_archive_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_archive, "MAX_UNPACKED_BYTES", 100_000)
    filler = a_member("aclImdb/imdb.vocab", size_bytes=100_000)
    archive = saved(tmp_path / "bomb.tar.gz", a_tar(FILES, filler))

    with pytest.raises(SourceError, match=r"imdb\.vocab' makes the archive larger than 100,000"):
        opened(archive)


def test_a_cut_archive_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = a_tar(FILES)

    for kept_bytes in range(20, len(whole) - 1, 40):
        cut = saved(tmp_path / "cut.tar.gz", whole[:kept_bytes])
        with pytest.raises(SourceError, match=r"not a whole \.tar\.gz"):
            opened(cut)


def test_an_archive_without_reviews_is_refused(tmp_path: Path) -> None:
    archive = saved(tmp_path / "other.tar.gz", a_tar({"README": b"Something else."}))

    with pytest.raises(
        SourceError, match=r"holds no review named like 'aclImdb/train/pos/0_9\.txt'"
    ):
        opened(archive)


def test_a_review_in_another_encoding_is_named(tmp_path: Path) -> None:
    files = {"aclImdb/train/pos/0_9.txt": "café".encode("latin-1")}

    with pytest.raises(SourceError, match=r"'aclImdb/train/pos/0_9\.txt' is not UTF-8"):
        opened(saved(tmp_path / "latin.tar.gz", a_tar(files)))


def test_a_parquet_file_gives_its_labels_as_words(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    columns = {"text": ["Good.", "Bad."], "label": [1, 0], "movie_id": ["tt0000001", None]}
    pq.write_table(pa.table({**columns, "rating": pa.array([8, None])}), path)

    source = opened(path)

    assert source.table.schema.equals(REVIEW_SCHEMA)
    assert source.table.to_pylist() == [
        {"movie_id": "tt0000001", "text": "Good.", "label": "positive", "rating": 8},
        {"movie_id": None, "text": "Bad.", "label": "negative", "rating": None},
    ]


def test_a_parquet_file_without_labels_is_refused_with_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"text": ["Good."], "stars": [8]}), path)

    with pytest.raises(SourceError, match=r"no columns \['label'\]: it has \['text', 'stars'\]"):
        opened(path)


def test_a_label_that_is_neither_0_nor_1_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"text": ["Good.", "Bad."], "label": [1, 2]}), path)

    with pytest.raises(SourceError, match=r"1 labels other than \['0', '1'\] \(\['2'\]\)"):
        opened(path)


def test_a_rating_too_large_for_its_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"text": ["Good."], "label": [1], "rating": [1000]}), path)

    with pytest.raises(SourceError, match="1000"):
        opened(path)


def test_the_csv_keeps_quotes_commas_and_line_ends_in_reviews(tmp_path: Path) -> None:
    body = 'review,sentiment\n"So ""good"",\nreally",positive\nDull.,negative\n'

    source = opened(saved(tmp_path / "IMDB Dataset.csv", body.encode()))

    assert source.table.to_pylist() == [
        {"movie_id": None, "text": 'So "good",\nreally', "label": "positive", "rating": None},
        {"movie_id": None, "text": "Dull.", "label": "negative", "rating": None},
    ]


@pytest.mark.parametrize("name", ["reviews.parquet", "reviews.csv", "reviews.tar.gz"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, b"\xff\xfe neither")

    with pytest.raises(SourceError, match=name):
        opened(path)


@pytest.mark.parametrize("name", ["missing.csv", "notes.txt"])
def test_a_source_of_no_known_form_is_answered_with_the_forms(tmp_path: Path, name: str) -> None:
    saved(tmp_path / "notes.txt", b"A note.")

    with pytest.raises(SourceError, match=r"Give a \.parquet, a \.csv, a folder"):
        opened(tmp_path / name)


def test_made_up_reviews_say_so() -> None:
    source = opened("made-up")

    assert (source.table.num_rows, source.is_made_up) == (20, True)
    assert source.description == "20 made-up reviews (seed 1), not real ones."


# ── Download ─────────────────────────────────────────────────────────────────────────────────

ARCHIVE_NAME = "aclImdb_v1.tar.gz"
ARCHIVE = a_tar(FILES)


@dataclass
class Site:
    """A web server that serves ``body``, claims ``claimed_bytes``, and counts requests."""

    address: str = ""
    status: int = 200
    body: bytes = ARCHIVE
    claimed_bytes: int | None = None
    requests: list[str] = field(default_factory=list)

    @property
    def archive(self) -> RemoteArchive:
        md5 = hashlib.md5(ARCHIVE, usedforsecurity=False).hexdigest()
        return RemoteArchive(f"{self.address}/{ARCHIVE_NAME}", len(ARCHIVE), md5)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            claimed = len(state.body) if state.claimed_bytes is None else state.claimed_bytes
            self.send_response(state.status)
            self.send_header("Content-Length", str(claimed))
            self.send_header("Content-Encoding", "x-gzip")
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            """Keep test output quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def test_the_archive_is_downloaded_once_and_then_read_from_the_cache(
    site: Site, tmp_path: Path
) -> None:
    cache_dir = tmp_path / "not" / "there" / "yet"

    first = opened("imdb", cache_dir=cache_dir, archive=site.archive)
    second = opened(None, cache_dir=cache_dir, archive=site.archive)

    assert first.table.to_pylist() == second.table.to_pylist() == ROWS
    assert site.requests == [f"/{ARCHIVE_NAME}"]
    assert [path.name for path in cache_dir.iterdir()] == [ARCHIVE_NAME]


def test_a_corrupt_cached_archive_is_downloaded_again(site: Site, tmp_path: Path) -> None:
    saved(tmp_path / ARCHIVE_NAME, ARCHIVE[:-1] + b"?")

    source = opened("imdb", cache_dir=tmp_path, archive=site.archive)

    assert source.table.to_pylist() == ROWS
    assert (tmp_path / ARCHIVE_NAME).read_bytes() == ARCHIVE


def test_other_bytes_of_the_right_size_are_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    site.body = b"?" * len(ARCHIVE)
    digest = hashlib.md5(site.body, usedforsecurity=False).hexdigest()

    with pytest.raises(DownloadError, match=f"MD5 is {digest}, expected {site.archive.md5}"):
        opened("imdb", cache_dir=tmp_path, archive=site.archive)

    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_is_refused_and_not_kept(site: Site, tmp_path: Path) -> None:
    site.body, site.claimed_bytes = ARCHIVE[:100], len(ARCHIVE)

    with pytest.raises(DownloadError, match="cannot be downloaded: RemoteProtocolError"):
        opened("imdb", cache_dir=tmp_path, archive=site.archive)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "arrived"),
    [(ARCHIVE[:100], "100"), (ARCHIVE + b"?", f"more than {len(ARCHIVE):,}")],
    ids=["too-short", "too-long"],  # the bytes hold the time they were made
)
def test_a_file_of_another_size_is_refused_with_both_sizes(
    site: Site, tmp_path: Path, body: bytes, arrived: str
) -> None:
    site.body = body

    with pytest.raises(DownloadError, match=f"{arrived} bytes arrived, expected exactly"):
        opened("imdb", cache_dir=tmp_path, archive=site.archive)

    assert list(tmp_path.iterdir()) == []


def test_a_page_not_found_is_no_archive(site: Site, tmp_path: Path) -> None:
    site.status = 404

    with pytest.raises(DownloadError, match="404"):
        opened("imdb", cache_dir=tmp_path, archive=site.archive)


def test_an_interrupted_download_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    @contextmanager
    def interrupted(_title: str, _size_bytes: int) -> Iterator[Callable[[int], None]]:
        def advance(_received: int) -> None:
            raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        opened("imdb", cache_dir=tmp_path, archive=site.archive, on_progress=interrupted)

    assert list(tmp_path.iterdir()) == []


def test_progress_adds_up_to_the_size_of_the_archive(site: Site, tmp_path: Path) -> None:
    reported: list[int] = []

    @contextmanager
    def counted(title: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
        assert (title, size_bytes) == (f"Downloading {ARCHIVE_NAME}", len(ARCHIVE))
        yield reported.append

    opened("imdb", cache_dir=tmp_path, archive=site.archive, on_progress=counted)

    assert sum(reported) == len(ARCHIVE)


@pytest.mark.parametrize("shown", [download._progress_bar, download._progress_log])
def test_progress_can_be_shown_in_a_terminal_and_in_a_log(
    site: Site,
    tmp_path: Path,
    shown: Callable[[str, int], AbstractContextManager[Callable[[int], None]]],
) -> None:
    source = opened("imdb", cache_dir=tmp_path, archive=site.archive, on_progress=shown)

    assert source.table.to_pylist() == ROWS


def test_without_network_the_reviews_are_made_up_and_the_description_says_why(
    site: Site, tmp_path: Path
) -> None:
    unreachable = replace(site.archive, url=f"http://127.0.0.1:1/{ARCHIVE_NAME}")

    source = opened(None, cache_dir=tmp_path, archive=unreachable)

    assert (source.table.num_rows, source.is_made_up) == (20, True)
    assert "20 made-up reviews (seed 1), not real ones, because" in source.description
    assert f"{unreachable.url} cannot be downloaded: ConnectError" in source.description


def test_without_network_the_word_imdb_never_means_made_up_reviews(
    site: Site, tmp_path: Path
) -> None:
    unreachable = replace(site.archive, url=f"http://127.0.0.1:1/{ARCHIVE_NAME}")

    with pytest.raises(DownloadError, match="or name another source"):
        opened("imdb", cache_dir=tmp_path, archive=unreachable)


def test_a_cache_that_cannot_be_written_is_a_failed_download(site: Site, tmp_path: Path) -> None:
    in_the_way = saved(tmp_path / "cache", b"a file where the folder should be")

    with pytest.raises(DownloadError, match="it cannot be kept"):
        opened("imdb", cache_dir=in_the_way, archive=site.archive)
