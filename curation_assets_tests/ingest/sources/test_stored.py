"""The formats whose videos already lie in storage: folder and webdataset."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources import RejectedLine, SourceError, SourceRow, files, read_source
from curation_assets_tests.conftest import S3Server
from curation_assets_tests.shared_data import shared
from curation_resources.media import MediaRef
from curation_resources.storage import Storage


def read(
    format: str, *path: str | Path, storage: Storage | None = None, **options: Any
) -> list[SourceRow | RejectedLine]:
    source = Source.model_validate({"format": format, "path": [str(p) for p in path], **options})
    return list(read_source(source, storage))


def videos(rows: list[SourceRow | RejectedLine]) -> dict[str, SourceRow]:
    return {row.location: row for row in rows if isinstance(row, SourceRow) and row.location is not None}


def fetched(storage: Storage, reference: dict[str, Any]) -> bytes:
    """The bytes of a reference, with its etag checked."""
    return storage.read_media(MediaRef(**reference))


def test_a_real_folder_with_sidecars() -> None:
    folder = shared("videos")
    rows = videos(read("folder", folder))
    assert len(rows) == 19
    assert set(rows) == {p.name for p in folder.iterdir() if p.suffix in (".mp4", ".webm")}
    manifesto = rows["manifesto.mp4"]
    assert manifesto.video_id == "manifesto"
    assert set(manifesto.extra["sidecars"]) == {"json", "srt", "vtt"}
    storage = Storage(str(folder))
    assert fetched(storage, manifesto.extra["media"]) == (folder / "manifesto.mp4").read_bytes()
    assert fetched(storage, manifesto.extra["sidecars"]["vtt"]) == (folder / "manifesto.vtt").read_bytes()


FILES = {
    "a/one.mp4": b"one",
    "a/one.txt": "ein Fuß\n".encode(),
    "a/one.json": b'{"title": "One", "license": "CC-BY", "caption": "unused"}',
    "a/one.en.vtt": b"WEBVTT",
    "a/one.de.srt": b"1",
    "b/one.mp4": b"another",
    "b/one.json": b"[1, 2]",
    "-dash.v2.MP4": b"dash",
    "-dash.v2.txt": b"  \n",
    "readme.txt": b"no video",
    ".hidden.mp4": b"hidden",
    "notes.pdf": b"x",
}


@pytest.fixture(params=["local", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty root on each kind of storage."""
    if request.param == "local":
        return Storage(str(tmp_path / "data"))
    if request.param == "memory":
        return Storage(f"memory://{tmp_path.name}")
    server: S3Server = request.getfixturevalue("s3_server")
    return Storage(server.bucket(), server.options)


def test_a_folder_on_every_storage(place: Storage) -> None:
    for name, data in FILES.items():
        place.write(f"set/{name}", data)
    found = read("folder", f"{place.root}/set", storage=place)
    rows = videos(found)
    assert len(found) == 3
    assert set(rows) == {"a/one.mp4", "b/one.mp4", "-dash.v2.MP4"}
    one, dash = rows["a/one.mp4"], rows["-dash.v2.MP4"]
    assert (one.video_id, one.title, one.caption, one.licence) == ("one", "One", "ein Fuß", "CC-BY")
    assert set(one.extra["sidecars"]) == {"txt", "json", "en.vtt", "de.srt"}
    assert (dash.video_id, dash.caption, one.url) == ("-dash.v2", None, one.extra["media"]["tar"])
    for row in rows.values():
        assert fetched(place, row.extra["media"]) == FILES[str(row.location)]
        assert row.extra["media"]["etag"] == place.etag(row.extra["media"]["tar"])
    assert fetched(place, one.extra["sidecars"]["en.vtt"]) == b"WEBVTT"


def test_globs_and_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    assert set(videos(read("folder", "*/one.mp4"))) == {"a/one.mp4", "b/one.mp4"}
    assert set(videos(read("folder", "?"))) == {"a/one.mp4", "b/one.mp4"}
    assert set(videos(read("folder", "a", "b"))) == {"a/one.mp4", "b/one.mp4"}
    assert videos(read("folder", "a/one.mp4"))["one.mp4"].extra["sidecars"].keys() == {
        "txt",
        "json",
        "en.vtt",
        "de.srt",
    }
    assert set(videos(read("folder", ".", extensions=["pdf"]))) == {"notes.pdf"}
    for path, said in (("none", "no such file"), ("none*", "no such file"), ("readme.txt", "no video there")):
        with pytest.raises(SourceError, match=said):
            read("folder", path)


def test_folders_that_contain_themselves_and_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a")
    (tmp_path / "ünï code \u4e2d.mp4").write_bytes(b"b")
    (tmp_path / "loop").symlink_to(tmp_path)
    Path(os.fsdecode(bytes(tmp_path) + b"/bad\xff.mp4")).write_bytes(b"c")
    rows = read("folder", tmp_path)
    assert sorted(str(r.location) for r in rows if isinstance(r, SourceRow)) == [
        "a.mp4",
        "bad\\xff.mp4",
        "ünï code \u4e2d.mp4",
    ]


def add(tar: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(data), kind
    tar.addfile(member, io.BytesIO(data))


def packed(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        fill(tar)
    return buffer.getvalue()


def video2dataset_like(tar: tarfile.TarFile) -> None:
    add(tar, "00000_0.mp4", b"video zero" * 300)
    add(tar, "00000_0.m4a", b"audio")
    add(tar, "00000_0.txt", b"a caption")
    add(tar, "00000_0.json", b'{"url": "x", "yt_meta_dict": {"info": {"title": "Zero"}}}')
    add(tar, "00000_1.json", b'{"status": "failed"}')
    add(tar, "sub/" + "k" * 150 + ".MP4", b"a long name")
    add(tar, "00000_2.en.vtt", b"WEBVTT")
    add(tar, "00000_2.webm", b"two")
    add(tar, "folder", b"", tarfile.DIRTYPE)
    add(tar, "link.mp4", b"", tarfile.SYMTYPE)


def test_existing_tars_on_every_storage(place: Storage) -> None:
    data = packed(video2dataset_like)
    place.write("tars/00000.tar", data)
    found = read("webdataset", f"{place.root}/tars/*.tar", storage=place)
    rows = videos(found)
    long = "sub/" + "k" * 150
    assert set(rows) == {"00000.tar#00000_0", f"00000.tar#{long}", "00000.tar#00000_2"}
    zero = rows["00000.tar#00000_0"]
    assert (zero.video_id, zero.title, zero.caption, zero.line) == ("00000_0", "Zero", "a caption", 1)
    assert fetched(place, zero.extra["media"]) == b"video zero" * 300
    assert fetched(place, zero.extra["audio"]) == b"audio"
    assert fetched(place, rows["00000.tar#00000_2"].extra["sidecars"]["en.vtt"]) == b"WEBVTT"
    (bad,) = (r for r in found if isinstance(r, RejectedLine))
    assert (bad.line, bad.text, bad.reason) == (2, "00000_1", "no video among json")


def test_tars_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.tar").write_bytes(packed(lambda tar: add(tar, "k.mp4", b"v")))
    assert len(videos(read("webdataset", tmp_path / "a/0.tar", tmp_path / "b/0.tar"))) == 2
    assert len(videos(read("webdataset", tmp_path / "*" / "0.tar"))) == 2


def three(tar: tarfile.TarFile) -> None:
    for n in range(3):
        add(tar, f"{n}.mp4", bytes([65 + n]) * 2000)


@pytest.mark.parametrize(
    ("damage", "whole"),
    [
        (lambda d: d[:6000], 2),  # within the third payload
        (lambda d: d[:5300], 2),  # within the third header
        (lambda d: d[:2560] + b"\xff" * 512 + d[3072:], 1),  # the second header
        (lambda d: d[:100], 0),
        (lambda d: b"", 0),
        (lambda d: b"<html>" * 1000, 0),
    ],
)
def test_a_damaged_tar_gives_its_whole_samples_and_one_rejected_row(
    tmp_path: Path, damage: Callable[[bytes], bytes], whole: int
) -> None:
    (tmp_path / "0.tar").write_bytes(damage(packed(three)))
    (tmp_path / "1.tar").write_bytes(packed(lambda tar: add(tar, "last.mp4", b"v")))
    rows = read("webdataset", tmp_path)
    assert [r.video_id for r in rows if isinstance(r, SourceRow)] == [str(n) for n in range(whole)] + ["last"]
    (bad,) = (r for r in rows if isinstance(r, RejectedLine))
    assert bad.source.endswith("0.tar")
    assert bad.line == whole + 1


def test_a_tar_is_indexed_without_reading_its_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def five(tar: tarfile.TarFile) -> None:
        for n in range(5):
            add(tar, f"{n}.mp4", bytes(3 << 20))

    (tmp_path / "0.tar").write_bytes(packed(five))
    read_bytes = 0

    class Counting(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal read_bytes
            data = super().read(size)
            read_bytes += len(data or b"")
            return data or b""

    monkeypatch.setattr(files.SourceFile, "open", lambda self, **_: Counting(self.path))
    assert len(read("webdataset", tmp_path)) == 5
    assert read_bytes < 20_000
