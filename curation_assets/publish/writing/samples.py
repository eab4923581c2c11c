"""The layouts in which samples are published: webdataset tars, a folder with a CSV, or a folder with a Parquet table of paths.

What belongs here: files, names and what a sample says of itself. What does not: how the bytes of a sample are made.

A version is complete when its README.md stands in it, which is written last. Tars are built beside storage and appear whole, so that
writing a version again gives readers the same bytes throughout.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import pyarrow as pa

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.writing.sample_columns import flat
from curation_assets.publish.writing.sample_lists import SampleLists
from curation_resources.provenance import canonical_json
from curation_resources.scratch import scratch_root
from curation_resources.storage import Storage
from curation_resources.tars import Member, TarWriter
from curation_resources.used_keys import UsedKeys

SPLITS = ("train", "val", "test")
CURATED_MAPS = ("categories", "category_matches")


@dataclass(frozen=True)
class PublishedFile:
    """A file of a version: path within it, size and SHA-256."""

    name: str
    size: int
    sha256: str


class SplitTars:
    """Writes samples into tars of which each holds one split.

    Args:
        storage: where they go.
        folder: of the version.
        name: (split, number) -> file name.
        tar_bytes: size at which a tar is closed.
        per_tar: samples at which a tar is closed; None is any number.
        shared: whether numbers run through all splits, or begin at 0 in each.
    """

    def __init__(
        self,
        storage: Storage,
        folder: str,
        name: Callable[[str, int], str],
        *,
        tar_bytes: int = 1_000_000_000,
        per_tar: int | None = None,
        shared: bool = False,
    ) -> None:
        self.storage, self.folder = storage, folder
        self.splits: dict[str, str] = {}
        self.files: list[PublishedFile] = []
        self._name, self._tar_bytes, self._per_tar, self._shared = name, tar_bytes, per_tar, shared
        self._scratch = tempfile.TemporaryDirectory(prefix="tars-", dir=scratch_root())
        self._writers: dict[str, TarWriter] = {}
        self._open: dict[str, str] = {}
        self._samples: dict[str, int] = {}
        self._keys = UsedKeys()
        self._numbers: dict[str, count[int]] = {}

    def __enter__(self) -> SplitTars:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._scratch.cleanup()

    def add(self, split: str, key: str, members: Mapping[str, bytes]) -> dict[str, Member]:
        """Appends a sample.

        Raises:
            ValueError: the key was used before, in whichever split.
        """
        if split not in self._writers:
            scratch = Storage(self._scratch.name)
            self._writers[split] = TarWriter(scratch, "tars", split, self._tar_bytes, durable=False, keys=self._keys)
            self._numbers[split] = self._numbers.get("", count()) if self._shared else count()
            self._numbers.setdefault("", self._numbers[split])
        writer = self._writers[split]
        if split not in self._open:
            self._open[split] = self._name(split, next(self._numbers[split]))
            self._samples[split] = 0
        target = f"{self.folder}/{self._open[split]}"
        written = writer.add(key, members)
        self._samples[split] += 1
        if self._samples[split] == self._per_tar:
            writer.roll()
        if writer.bytes_in_tar == 0:
            self._publish(split)
        return {e: Member(target, m.offset, m.size, m.sha256) for e, m in written.items()}

    def _publish(self, split: str) -> None:
        name = self._open.pop(split)
        local = Path(self._scratch.name) / self._writers[split].tars[-1]
        with open(local, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.files.append(PublishedFile(name, local.stat().st_size, digest))
        self.storage.publish_file(local, f"{self.folder}/{name}")
        self.splits[name] = split
        local.unlink()

    def close(self) -> None:
        """Publishes the tars that are open still.

        Raises:
            ValueError: a key was used twice (`UsedKeys`).
        """
        self._keys.close()
        for split in list(self._open):
            self._writers[split].roll()
            self._publish(split)
        self.files.sort(key=lambda f: f.name)
        self.splits = dict(sorted(self.splits.items()))


class ClipSamples(Protocol):
    """Publishes exported clips in one of the layouts."""

    files: list[PublishedFile]

    def add(self, split: str, key: str, mp4: bytes, record: Mapping[str, Any]) -> Member:
        """Publishes a clip; where its bytes lie."""

    def close(self) -> None:
        """Publishes what is open still."""


class MemberSamples(ClipSamples, Protocol):
    """The layouts that are this package's own, whose samples may have several media files."""

    def add_files(
        self, split: str, key: str, files: Mapping[str, bytes], record: Mapping[str, Any]
    ) -> dict[str, Member]:
        """Publishes a clip of several files, ending -> bytes; where they lie, likewise."""


class TarSamples:
    """webdataset: `<split>-<nnnnn>.tar` of (mp4, txt, json), with the sound behind the mp4 where that is a file of its own."""

    def __init__(self, storage: Storage, folder: str, tar_bytes: int) -> None:
        self._tars = SplitTars(storage, folder, lambda split, n: f"{split}-{n:05d}.tar", tar_bytes=tar_bytes)
        self.files = self._tars.files

    def add(self, split: str, key: str, mp4: bytes, record: Mapping[str, Any]) -> Member:
        return self.add_files(split, key, {"mp4": mp4}, record)["mp4"]

    def add_files(
        self, split: str, key: str, files: Mapping[str, bytes], record: Mapping[str, Any]
    ) -> dict[str, Member]:
        text = (record.get("text") or "").encode()
        return self._tars.add(split, key, {**files, "txt": text, "json": canonical_json(record).encode()})

    def close(self) -> None:
        with self._tars:
            pass
        self.files = self._tars.files


class FolderSamples:
    """`<split>/<key>.mp4` and lists of them: metadata.csv or metadata.parquet of all, and in each split's folder the metadata.parquet
    that `datasets` reads beside videos.

    Args:
        listing: csv or parquet.
        columns: further columns of the lists, name -> type, before the one that holds the JSON; complete when the last sample is added.
    """

    def __init__(
        self, storage: Storage, folder: str, listing: str, columns: Mapping[str, pa.DataType] = MappingProxyType({})
    ) -> None:
        self._storage, self._folder, self._listing = storage, folder, listing
        self._lists = SampleLists(columns)
        self.files: list[PublishedFile] = []

    def add(self, split: str, key: str, mp4: bytes, record: Mapping[str, Any]) -> Member:
        return self.add_files(split, key, {"mp4": mp4}, record)["mp4"]

    def add_files(
        self, split: str, key: str, files: Mapping[str, bytes], record: Mapping[str, Any]
    ) -> dict[str, Member]:
        places = {}
        for ending, data in files.items():
            name = f"{self._folder}/{split}/{key}.{ending}"
            self._storage.write(name, data)
            places[ending] = Member(name, 0, len(data), hashlib.sha256(data).hexdigest())
        self._lists.add(f"{split}/{key}.mp4", {**flat(record["clip"]), **record.get("columns", {})}, record)
        return places

    def close(self) -> None:
        for name, local, size, digest in self._lists.write(self._listing):
            self._storage.publish_file(local, f"{self._folder}/{name}")
            self.files.append(PublishedFile(name, size, digest))


def clip_samples(
    params: ClipExport, storage: Storage, folder: str, columns: Mapping[str, pa.DataType] = MappingProxyType({})
) -> ClipSamples | MemberSamples:
    """The writer of a `ClipExport.format`; `columns` are what its lists have beside `LISTED`, name -> type.

    One that an installed package brings (entry points `curation_assets.export_formats`) is called with the section, its options, storage
    and the folder of the version, and gives a `ClipSamples`.
    """
    brought = params.chosen()
    if brought is not None:
        make, options = brought
        made: ClipSamples = make(params, options, storage, folder)
        return made
    if params.format == "webdataset":
        return TarSamples(storage, folder, params.tar_bytes)
    return FolderSamples(storage, folder, "csv" if params.format == "folder" else "parquet", columns)


def clip_record(
    row: Mapping[str, Any],
    curated: Mapping[str, Any],
    source: Mapping[str, Any],
    caption: Mapping[str, Any],
    track: Mapping[str, Any] | None = None,
    words: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything known of an exported clip, as its JSON says it.

    Args:
        row: of `clip_dataset`.
        curated: of `curated_clips` or `curated_tracks`.
        source: of `raw_shards`; empty if there is none.
        caption: of `captions`; empty if there is none.
        track: of `tracks`, for clips that follow one.
        words: what the source says of the clip's given span, from `source_words.said_of`; its licence goes before that of the video.
    """
    export = (
        "start_ms",
        "end_ms",
        "frames",
        "width",
        "height",
        "fps",
        "blurred_faces",
        "blurred_plates",
        "size",
        "sha256",
    )
    video = ("url", "page_url", "title", "channel", "upload_date", "licence", "sha256", "etag", "section_start_ms")
    file = ("container", "video_codec", "audio_codec", "width", "height", "rotation", "fps", "duration_ms")
    ids = ("dataset", "video_id", "clip_id", "split", "shard", "selected", "drop_reason", "track_id")
    scores = {k: dict(v) if k in CURATED_MAPS else v for k, v in curated.items() if k not in ids and v is not None}
    record: dict[str, Any] = {
        "key": row["sample_key"],
        "split": row["split"],
        "dataset": row["dataset"],
        "video_id": row["video_id"],
        "clip_id": row["clip_id"],
        "text": curated.get("caption") if caption.get("caption") is None else caption["caption"],
        "export": _known(row, export),
        "clip": scores,
        "source": _known(source, (*video, *file)),
    }
    if curated.get("shots"):
        first = curated["start_frame"]
        record["shots"] = [[s["start_frame"] - first, s["end_frame"] - first] for s in curated["shots"]]
    if words:
        record["span"] = dict(words)
        record["source"] |= {"licence": words["licence"]} if words.get("licence") else {}
    if row["track_id"] is not None:
        record["track_id"] = row["track_id"]
    if caption:
        record["caption"] = _known(caption, ("caption_raw", "backend", "model", "language", "status"))
    if track is not None:
        skipped = ("dataset", "video_id", "clip_id", "track_id", "embedding")
        record["track"] = _known(track, [k for k in track if k not in skipped])
    return record


def _known(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {n: row[n] for n in names if row.get(n) is not None}
