"""Tar shards: rolled at a size, complete samples only, readable by webdataset, by tarfile and by byte range."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import fsspec
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import MediaChanged, StorageError
from curation_resources.tars import MAX_KEY, TarWriter, member_header, new_token, sample_key


def samples(n: int) -> list[tuple[str, dict[str, bytes]]]:
    return [
        (
            sample_key(f"vidéo.{i}"),
            {"mp4": bytes([i % 251]) * (1000 + 517 * i), "json": b'{"i": %d}' % i, "txt": "naïve".encode()},
        )
        for i in range(n)
    ]


def test_samples_are_found_by_range_by_tarfile_and_by_webdataset(storage: Storage, tmp_path: Path) -> None:
    written = {}
    with TarWriter(storage, "raw_shards/x-00000", new_token(), tar_bytes=20_000) as writer:
        for key, members in samples(12):
            written[key] = (writer.add(key, members), members)
    assert len(writer.tars) > 2
    for places, members in written.values():
        assert len({m.tar for m in places.values()}) == 1, "a sample never spans two tars"
        for extension, place in places.items():
            assert storage.read_media(MediaRef(place.tar, place.offset, place.size)) == members[extension]
            assert hashlib.sha256(members[extension]).hexdigest() == place.sha256
    seen: dict[str, dict[str, bytes]] = {}
    for i, tar in enumerate(writer.tars):
        data = storage.read(tar)
        local = tmp_path / f"{i}.tar"
        local.write_bytes(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = archive.getnames()
        keys = [n.split(".")[0] for n in names]
        assert keys == sorted(keys, key=keys.index), "members of a sample are adjacent"
        assert len(names) == 3 * len(set(keys)), "only complete samples"
        for sample in webdataset.WebDataset(str(local), shardshuffle=False, empty_check=False):
            seen[sample["__key__"]] = {k: v for k, v in sample.items() if not k.startswith("__")}
    assert seen == {k: m for k, (_, m) in written.items()}


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=120) | st.text("ab/._-\0", max_size=120),
    st.integers(0, 1 << 34),
)
def test_headers_are_those_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    assert member_header(name, size) == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@pytest.mark.parametrize("root", ["/data", "/", "~/data", "./data", "memory://x", "file:///data"])
@pytest.mark.parametrize("path", ["", "a/b.tar", "/other/b", "file:///c/d", "memory://y/z", "/a//b/"])
def test_paths_are_those_of_fsspec(root: str, path: str) -> None:
    storage = Storage(root)
    wanted, name = fsspec.core.url_to_fs(storage.uri(path) if path else storage.root)
    found = storage.filesystem(path)
    assert (type(found[0]), found[1]) == (type(wanted), name)


def test_the_same_sample_twice_is_an_error(tmp_path: Path) -> None:
    with TarWriter(Storage(str(tmp_path)), "a", new_token()) as writer:
        writer.add("k", {"txt": b"1"})
        with pytest.raises(ValueError, match="written already"):
            writer.add("k", {"txt": b"2"})


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_sample_keys_are_safe_and_distinct(a: str, b: str) -> None:
    key = sample_key(a)
    assert key.isascii()
    assert 0 < len(key) <= MAX_KEY
    assert "." not in key
    assert "/" not in key
    assert (key == sample_key(b)) == (a == b)


def test_media_are_streams_of_exactly_their_bytes(storage: Storage) -> None:
    storage.write("m/a.bin", bytes(range(256)) * 10)
    stream = storage.open_media(MediaRef("m/a.bin", 100, 50))
    assert stream.read() == (bytes(range(256)) * 10)[100:150]
    stream.seek(-5, io.SEEK_END)
    assert stream.read(100) == (bytes(range(256)) * 10)[145:150]
    stream.seek(10)
    assert stream.tell() == 10
    assert stream.read(2) == bytes([110, 111])
    assert pickle.loads(pickle.dumps(storage)).read_media(MediaRef("m/a.bin", 0, 3)) == b"\x00\x01\x02"  # noqa: S301 - our own bytes


def test_changed_missing_and_short_media_are_named(storage: Storage) -> None:
    storage.write("m/a.bin", b"old content")
    ref = MediaRef("m/a.bin", etag=storage.etag("m/a.bin"))
    assert storage.read_media(ref) == b"old content"
    storage.write("m/a.bin", b"new content, longer")
    with pytest.raises(MediaChanged, match=r"m/a\.bin has changed"):
        storage.open_media(ref)
    with pytest.raises(StorageError, match=r"m/b\.bin is gone"):
        storage.open_media(MediaRef("m/b.bin"))
    with pytest.raises(StorageError, match="has 19 bytes"):
        storage.open_media(MediaRef("m/a.bin", 10, 100))


def test_a_failed_publication_leaves_the_old_bytes_and_no_litter(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("t/x", b"old")

    def fails_half_way() -> None:
        with storage.publish("t/x") as file:
            file.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk"):
        fails_half_way()
    assert storage.read("t/x") == b"old"
    assert storage.list("t") == ["x"]
