"""The formats that are lists of videos: hdvila, acav, table and ids."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources import RejectedLine, SourceError, SourceRow, file_reading, files, read_source
from curation_assets_tests.conftest import S3Server
from curation_assets_tests.shared_data import shared
from curation_resources.storage import Storage

HDVILA = '{"video_id": "%s", "url": "https://www.youtube.com/watch?v=%s", "clip": [{"clip_id": "%s.1.mp4", "span": ["00:00:17.759", "00:00:23.279"]}]}'


def read(
    format: str, *path: str | Path, storage: Storage | None = None, **options: Any
) -> list[SourceRow | RejectedLine]:
    source = Source.model_validate({"format": format, "path": [str(p) for p in path], **options})
    return list(read_source(source, storage))


def ids_of(rows: list[SourceRow | RejectedLine]) -> list[str | None]:
    return [row.video_id for row in rows if isinstance(row, SourceRow)]


def rejected(rows: list[SourceRow | RejectedLine]) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in rows if isinstance(row, RejectedLine)]


def hdvila(video_id: str) -> str:
    return HDVILA % (video_id, video_id, video_id)


def test_the_published_hdvila_row() -> None:
    (row,) = read("hdvila", shared("metadata/hdvila_readme_row.jsonl"))
    assert isinstance(row, SourceRow)
    assert (row.video_id, row.url, row.line) == ("QMi8x8o55Ns", "https://www.youtube.com/watch?v=QMi8x8o55Ns", 1)
    assert row.spans == [("QMi8x8o55Ns.1.mp4", 17_759, 23_279), ("QMi8x8o55Ns.16.mp4", 292_140, 303_350)]


@pytest.mark.parametrize("name", ["acav100m_output.csv", "acav_format_from_v2d_youtube.csv"])
def test_the_curation_repositorys_acav_rows(name: str) -> None:
    path = shared(f"metadata/{name}")
    rows = read("acav", path)
    assert len(rows) == len(path.read_text().splitlines())
    assert not rejected(rows)
    for row in rows:
        assert isinstance(row, SourceRow)
        ((clip_id, start, end),) = row.spans
        assert clip_id is not None
        assert clip_id.startswith(f"{row.video_id}_")
        assert end - start == 10_000
        assert row.url == f"https://www.youtube.com/watch?v={row.video_id}"
        assert row.extra == {"SHARD_NAME": "shard-000000"}


def test_webvid_rows() -> None:
    rows = read(
        "table", shared("metadata/webvid_rows.csv"), columns={"id": "videoid", "url": "contentUrl", "caption": "name"}
    )
    assert len(rows) == 20
    assert not rejected(rows)
    moroccan = next(r for r in rows if isinstance(r, SourceRow) and r.video_id == "1020335461")
    assert moroccan.caption == "Moroccan flag waving in the wind in medieval town essaouira, morocco"
    assert moroccan.extra == {"page_idx": "873", "page_dir": "000851_000900", "duration": "PT00H00M05S"}


def test_video2dataset_rows() -> None:
    columns = {"id": "videoID", "url": "videoLoc", "caption": "title", "start": "start", "end": "end"}
    rows = read("table", shared("metadata/video2dataset_youtube_rows.parquet"), columns=columns)
    assert len(rows) == 40
    assert not rejected(rows)
    first = rows[0]
    assert isinstance(first, SourceRow)
    assert (first.video_id, first.url, first.spans) == (
        "gMw0pAPib7I",
        "http://youtube.com/watch?v=gMw0pAPib7I",
        [(None, 76_827, 86_827)],
    )
    assert set(first.extra) == {"description"}


def test_the_id_of_a_youtube_url_is_its_id_and_of_another_url_a_hash_without_its_signature() -> None:
    from curation_assets.ingest.sources.rows import id_of_url

    rows = read("table", shared("metadata/test_yt.csv"), columns={"url": "contentUrl", "caption": "name"})
    assert [id_of_url(r.url or "") for r in rows if isinstance(r, SourceRow)] == [
        "jLX0D8qQUBM",
        "9Zn4pID_BJ0",
        "aBfjTAQ8qpM",
    ]
    same = [
        f"https://{u}"
        for u in (
            "youtu.be/-_abcdefghi?t=3",
            "www.youtube.com/shorts/-_abcdefghi",
            "m.youtube.com/watch?t=1&v=-_abcdefghi",
        )
    ]
    assert {id_of_url(u) for u in same} == {"-_abcdefghi"}
    signed = "https://b.s3.amazonaws.com/v.mp4?versionId=3&X-Amz-Signature={}&X-Amz-Date={}"
    assert (
        id_of_url(signed.format(1, 2))
        == id_of_url(signed.format(3, 4))
        != id_of_url(signed.format(1, 2).replace("=3", "=4"))
    )
    assert id_of_url("https://x.test/watch?key=a") != id_of_url("https://x.test/watch?key=b")
    assert id_of_url("https://[broken/a") != id_of_url("https://[broken/b")


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("-abcdefghij,1,11\n-abcdefghij,20.5,30.5\n", [(None, 1000, 11_000), (None, 20_500, 30_500)]),
        ("videoID,start,end\n-abcdefghij,1,11\n", [(None, 1000, 11_000)]),
        ('s,f.mp4,-abcdefghij,"[1, 11]"\n', [("f.mp4", 1000, 11_000)]),
        ("title,ytid,Start,End,note\nA,-abcdefghij,1,11,x\n", [(None, 1000, 11_000)]),
        ("id,start,end\n-abcdefghij,00:00:01.000,00:00:11.000\n", [(None, 1000, 11_000)]),
    ],
)
def test_acav_layouts(tmp_path: Path, text: str, spans: list[tuple[str | None, int, int]]) -> None:
    (tmp_path / "a.csv").write_text(text)
    rows = read("acav", tmp_path / "a.csv")
    assert not rejected(rows)
    assert [s for r in rows if isinstance(r, SourceRow) for s in r.spans] == spans
    assert set(ids_of(rows)) == {"-abcdefghij"}


def test_malformed_hdvila_lines_are_rows_with_line_and_reason(tmp_path: Path) -> None:
    good = hdvila("-bcdefghijk")
    lines = [
        b"\xef\xbb\xbf" + good.encode() + b"\r",  # 1: byte order mark and CRLF
        b"",
        b"   \r",
        good[:60].encode(),  # 4: truncated
        b"[1, 2]",  # 5
        b'{"video_id": NaN, "url": null}',  # 6
        b'{"video_id": "x", "clip": [{"clip_id": "c", "span": ["00:00:99", "1"]}]}',  # 7
        b'{"video_id": "caf\xe9"}',  # 8: Latin-1
        b'{"video_id": "long", "title": "' + b"x" * 70_000 + b'"}',  # 9: long, but fine
        b'{"video_id": "y", "clip": {"span": [1, 2]}}',  # 10
        b'{"video_id": NaN, "url": "https://youtu.be/abcdefghijk"}',  # 11: known by its URL
        b'{"video_id": "\\ud800"}',  # 12: half a character
        b'{"video_id": "a\\u0000b"}',  # 13
        b"\x00\x01",  # 14
        b'{"video_id": ["x"]}',  # 15
        b'{"video_id": "' + b"i" * 300 + b'"}',  # 16
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows = read("hdvila", tmp_path / "a.jsonl")
    assert ids_of(rows) == ["-bcdefghijk", "long", None]
    reasons = dict(rejected(rows))
    assert sorted(reasons) == [4, 5, 6, 7, 8, 10, 12, 13, 14, 15, 16]
    assert "not JSON" in reasons[4]
    assert "list" in reasons[5]
    assert "neither an id nor a URL" in reasons[6]
    assert "'00:00:99'" in reasons[7]
    assert "not UTF-8 at byte" in reasons[8]
    assert "not a list" in reasons[10]
    assert "control characters" in reasons[13]
    assert "at most 256" in reasons[16]
    for row in rows:
        assert row.source == str(tmp_path / "a.jsonl")
        if isinstance(row, RejectedLine):
            assert 0 < len(row.text) <= 300
            row.text.encode("utf-8")


def test_malformed_csv_records_are_rows_with_line_and_reason(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b"\xef\xbb\xbfid,url,caption\r\n"
        b'a,https://x.test/a,"one, two\r\nthree ""quoted"""\r\n'  # 2 and 3
        b"\r\n"
        b"b,https://x.test/b\r\n"  # 5: too few
        b"c,https://x.test/c,,\r\n"  # 6: too many
        b"id,url,caption\r\n"  # 7: the header again
        b"nan,,x\r\n"  # 8
        b'd,https://x.test/d,"never closed\r\n'  # 9
        b"-e,https://x.test/e,after it\r\n"
        b"f,https://x.test/f,caf\xe9\r\n"  # 11
        b",,\r\n"  # 12
        b'g,https://x.test/g,5" pipe\r\n'
        b'nan,https://x.test/h,"by its URL"\r\n'
        b'i,https://x.test/i,"the last, unfinished'  # 15
    )
    rows = read("table", tmp_path / "a.csv", columns={"id": "id", "url": "url", "caption": "caption"})
    assert ids_of(rows) == ["a", "-e", "g", None]
    assert [r.caption for r in rows if isinstance(r, SourceRow)] == [
        'one, two\r\nthree "quoted"',
        "after it",
        '5" pipe',
        "by its URL",
    ]
    assert [r.line for r in rows if isinstance(r, SourceRow)] == [2, 10, 13, 14]
    reasons = dict(rejected(rows))
    assert sorted(reasons) == [5, 6, 7, 8, 9, 11, 12, 15]
    assert "2 columns where the header has 3" in reasons[5]
    assert "4 columns" in reasons[6]
    assert "header again" in reasons[7]
    assert "never closed" in reasons[9]
    assert "not UTF-8" in reasons[11]
    assert "no URL" in reasons[12]
    assert "never closed" in reasons[15]


def test_a_line_too_long_to_hold_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reading, "MAX_LINE_BYTES", 1000)
    (tmp_path / "a.jsonl").write_text("\n".join([hdvila("a"), hdvila("b" * 2000), hdvila("c")]))
    rows = read("hdvila", tmp_path / "a.jsonl")
    assert ids_of(rows) == ["a", "c"]
    assert [line for line, _ in rejected(rows)] == [2]


def test_every_line_may_be_bad(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("x\n" * 5)
    rows = read("hdvila", tmp_path / "a.jsonl")
    assert [line for line, _ in rejected(rows)] == [1, 2, 3, 4, 5]


def test_secrets_of_urls_are_not_kept_in_rejected_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("url,n\nhttps://u:pw123@x.test/a?X-Amz-Signature=abc123\n")
    ((_, reason),) = rejected(rows := read("table", tmp_path / "a.csv", columns={"url": "url"}))
    assert isinstance(rows[0], RejectedLine)
    assert "x.test" in rows[0].text
    assert not any(secret in rows[0].text + reason for secret in ("pw123", "abc123"))


TABLE: list[dict[str, Any]] = [
    {"name": "-abcdefghij", "link": "v/1.mp4", "text": "eins, zwei", "spans": [[1.5, 2.25], [3.0, 4.0]], "views": 7},
    {"name": "b", "link": "https://x.test/2.mp4", "text": None, "spans": [], "views": None},
]
COLUMNS = {"id": "name", "url": "link", "caption": "text", "clips": "spans"}


def write_table(path: Path, ending: str) -> None:
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(TABLE), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in TABLE))
    else:
        mark = "," if ending == "csv" else "\t"
        quoted = [[('"' + str(v) + '"') if v is not None else "" for v in row.values()] for row in TABLE]
        path.write_text("\n".join(mark.join(r) for r in [list(TABLE[0]), *quoted]))


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_says_the_same_in_every_format(tmp_path: Path, ending: str) -> None:
    write_table(tmp_path / f"t.{ending}", ending)
    rows = read("table", tmp_path / f"t.{ending}", columns=COLUMNS, url_prefix="https://x.test/")
    assert not rejected(rows)
    first, second = (r for r in rows if isinstance(r, SourceRow))
    assert (first.video_id, first.url, first.caption) == ("-abcdefghij", "https://x.test/v/1.mp4", "eins, zwei")
    assert first.spans == [(None, 1500, 2250), (None, 3000, 4000)]
    assert {k: str(v) for k, v in first.extra.items()} == {"views": "7"}
    assert (second.video_id, second.url, second.caption, second.spans, second.extra) == (
        "b",
        "https://x.test/2.mp4",
        None,
        [],
        {},
    )


def test_a_parquet_row_of_every_type_is_fit_for_json(tmp_path: Path) -> None:
    import datetime
    from decimal import Decimal

    from curation_assets.ingest.sources.rows import canonical_json

    row = {"u": "https://x.test/1", "id": 12.0, "t": datetime.datetime(2020, 1, 2, 3), "d": Decimal("1.5"), "b": b"\xff", "n": float("nan"),
           "s": {"x": [1, None]}, "dur": datetime.timedelta(seconds=3)}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row, row | {"id": float("nan"), "u": None}]), tmp_path / "t.parquet")
    rows = read("table", tmp_path / "t.parquet", columns={"url": "u", "id": "id"})
    assert ids_of(rows) == ["12"]
    assert [line for line, _ in rejected(rows)] == [2]
    assert isinstance(rows[0], SourceRow)
    assert json.loads(canonical_json(rows[0].extra)) == {
        "t": "2020-01-02T03:00:00",
        "d": 1.5,
        "b": "\ufffd",
        "s": {"x": [1, None]},
        "dur": "0:00:03",
    }


def test_ids(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(
        b"\xef\xbb\xbf-bcdefghijk\r\n\r\nabcdefghijk\nhttps://youtu.be/_____-_____\ntwo words\nhttps://x.test/a\n\xff\n"
    )
    rows = read("ids", tmp_path / "ids.txt")
    assert ids_of(rows) == ["-bcdefghijk", "abcdefghijk", "_____-_____"]
    assert next(r.url for r in rows if isinstance(r, SourceRow)) == "https://www.youtube.com/watch?v=-bcdefghijk"
    assert [line for line, _ in rejected(rows)] == [5, 6, 7]
    (row, *_) = read("ids", tmp_path / "ids.txt", url_template="https://v.test/{id}.mp4")
    assert isinstance(row, SourceRow)
    assert row.url == "https://v.test/-bcdefghijk.mp4"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {"": lambda data: data, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.mark.parametrize("ending", PACKERS)
def test_compressed_files_of_several_parts(tmp_path: Path, ending: str) -> None:
    pack = PACKERS[ending]
    parts = [f"{hdvila(f'{n:011d}')}\n".encode() * 2000 for n in range(2)]
    (tmp_path / f"a.jsonl{ending}").write_bytes(b"".join(pack(part) for part in parts))
    assert ids_of(read("hdvila", tmp_path / f"a.jsonl{ending}")) == ["00000000000"] * 2000 + ["00000000001"] * 2000


@pytest.mark.parametrize("ending", [e for e in PACKERS if e])
def test_a_damaged_compressed_file_is_an_error_that_names_it(tmp_path: Path, ending: str) -> None:
    packed = PACKERS[ending](b"".join(f"{hdvila(f'{n * 7919:011d}')}\n".encode() for n in range(5000)))
    (tmp_path / f"a.jsonl{ending}").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=rf"a\.jsonl{ending}: damaged or cut off"):
        read("hdvila", tmp_path / f"a.jsonl{ending}")


def test_the_published_zip_is_read_member_by_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "hdvila100m.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("parts/b.jsonl", hdvila("b") + "\nbroken\n")
        archive.writestr("parts/a.jsonl", hdvila("a"))
        archive.writestr("__MACOSX/parts/._a.jsonl", "\0")
        archive.writestr("README.md", "x")
    rows = read("hdvila", tmp_path / "hdvila100m.zip")
    assert ids_of(rows) == ["a", "b"]
    assert [r.source.rsplit("/", 1)[1] for r in rows] == ["a.jsonl", "b.jsonl", "b.jsonl"]
    assert rejected(rows)[0][0] == 2
    (tmp_path / "bad.zip").write_bytes((tmp_path / "hdvila100m.zip").read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"bad\.zip: damaged"):
        read("hdvila", tmp_path / "bad.zip")


def test_globs_folders_and_lists_are_read_once_each_in_sorted_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p2.txt", "p1.txt", "p10.txt", "q.txt", "q.md"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LISTS", str(tmp_path))
    assert ids_of(read("ids", "q.txt", "p*.txt", "./p1.txt")) == ["p1.txt", "p10.txt", "p2.txt", "q.txt"]
    assert [r.source for r in read("ids", "p*.txt")] == ["p1.txt", "p10.txt", "p2.txt"]
    assert ids_of(read("ids", "$LISTS")) == ["p1.txt", "p10.txt", "p2.txt", "q.txt"]
    (tmp_path / "odd[1].txt").write_text("odd")
    assert ids_of(read("ids", "odd[1].txt")) == ["odd"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("no.txt", "no such file"), ("no*.txt", "no file matches"), (".", "holds no"), ("s3", "holds no")],
)
def test_a_missing_file_is_one_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3").mkdir()
    with pytest.raises(SourceError, match=said) as error:
        read("ids", path)
    assert str(error.value).startswith(path)


def test_a_table_that_cannot_be_mapped_is_an_error_that_names_file_and_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match=r"t\.csv: no column 'url' \(source\.columns\.url\); it has a, b"):
        read("table", tmp_path / "t.csv", columns={"url": "url"})
    with pytest.raises(SourceError, match=r"needs `source\.columns\.url` or"):
        read("table", tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(SourceError, match=r"t\.parquet: not a Parquet file, or damaged"):
        read("table", tmp_path / "t.parquet", columns={"url": "url"})
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"t\.xlsx: not a table"):
        read("table", tmp_path / "t.xlsx", columns={"url": "url"})


def test_lists_in_memory_and_on_s3(s3_server: S3Server) -> None:
    with fsspec.open("memory://lists/b.txt.gz", "wb") as file:
        file.write(gzip.compress(b"one\ntwo\n"))
    assert ids_of(read("ids", "memory://lists/*.txt.gz")) == ["one", "two"]
    storage = Storage(s3_server.bucket(), s3_server.options)
    for name in ("b", "a"):
        storage.write(f"lists/{name}.jsonl.gz", gzip.compress(hdvila(name).encode()))
    for path in (f"{storage.root}/lists/*.jsonl.gz", f"{storage.root}/lists"):
        rows = read("hdvila", path, storage=storage)
        assert ids_of(rows) == ["a", "b"]
        assert rows[0].source == f"{storage.root}/lists/a.jsonl.gz"
    with pytest.raises(SourceError, match=r"s3://.*/lists/none\.jsonl: no such file"):
        read("hdvila", f"{storage.root}/lists/none.jsonl", storage=storage)


def test_reading_is_streaming(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(hdvila("a") + "\n")
    source = Source.model_validate(
        {"format": "hdvila", "path": [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl.gz")]}
    )
    (tmp_path / "b.jsonl.gz").write_bytes(b"not gzip")
    stream: Iterator[SourceRow | RejectedLine] = read_source(source)
    assert next(stream).source.endswith("a.jsonl")
    with pytest.raises(SourceError):
        next(stream)


BYTES = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from([b"id", b",", b'"', b"\n", b"\r\n", b"1", b"[", b"]", b"{", b"}", b"\xff", b"\t"]), max_size=80
    ).map(b"".join),
)


@settings(max_examples=150)
@given(st.sampled_from(["hdvila", "acav", "ids", "table"]), BYTES)
def test_no_bytes_crash_a_reader(tmp_path_factory: pytest.TempPathFactory, format: str, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(b"id,start,end\n" * (format == "table") + data)
    try:
        rows, said = read(format, path, columns={"id": "id", "start": "start", "end": "end"}), str(path)
    except SourceError as error:
        rows, said = [], str(error)
    assert said.startswith(str(path))
    lines = data.count(b"\n") + 2
    assert all(1 <= row.line <= lines for row in rows)
    assert len({row.line for row in rows}) == len(rows)


def test_foreign_text_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_bytes(b"\xff\xfe" + "url\nhttp://h/a.mp4\n".encode("utf-16-le") + b"\x00\xd8")
    with pytest.raises(SourceError, match=r"wide\.csv: not UTF-16-LE, as its first bytes say"):
        read("table", tmp_path / "wide.csv", columns={"url": "url"})
    (tmp_path / "old.csv").write_bytes(b"url,caption\rhttp://h/a.mp4,a\r")
    (line,) = read("table", tmp_path / "old.csv", columns={"url": "url"})
    assert isinstance(line, RejectedLine)
    assert "end with a line feed" in line.reason


def test_a_path_may_name_a_variable_and_what_to_take_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTS", raising=False)
    assert files.expand_user("${LISTS:-./lists}/*.csv") == "./lists/*.csv"
    monkeypatch.setenv("LISTS", "s3://bucket/lists")
    assert (
        files.expand_user("${LISTS:-./lists}/*.csv") == files.expand_user("$LISTS/*.csv") == "s3://bucket/lists/*.csv"
    )
