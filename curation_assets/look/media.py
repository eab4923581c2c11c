"""Pictures of clips and the bytes of their videos, a range at a time. What is read is what a row of a table names, and nothing else."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.decode.frames import TABLE as FRAMES
from curation_assets.registry import DOWNLOADS, EXPORTS
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.media import MediaRef
from curation_resources.storage_errors import MediaChanged
from curation_resources.tables import MissingTable, TableStore

CHUNK = 1 << 20
"""Bytes that are read and sent at a time."""
HELD_BYTES = 256 << 20
"""Of what is remembered of shards: where each picture lies."""
TYPES = (
    ("webm", "video/webm"),
    ("ogg", "video/ogg"),
    ("mp4", "video/mp4"),
    ("mov", "video/mp4"),
    ("matroska", "video/x-matroska"),
)
"""What a container, as ffmpeg names it, is called on the web; the first that is in the name."""
PLACE = ["clip_id", "time_ms", "tar", "offset", "size"]
"""What is remembered of a picture."""
SHARD = re.compile(r"[a-z0-9][a-z0-9_]*-\d+")
OTHER = "application/octet-stream"

Frame = tuple[int, MediaRef]
"""Time in the video, milliseconds, and where the JPEG lies."""


class NoMedia(LookupError):
    """No table names such media, or they are not kept; the message says so."""


@dataclass(frozen=True)
class Bytes:
    """Bytes in storage that can be read from any place.

    Attributes:
        size: how many.
        type: of the whole, as the web calls it.
    """

    store: TableStore
    ref: MediaRef
    size: int
    type: str

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` to before `end`, in chunks."""
        fs, name = self.store.storage.filesystem(self.ref.tar)
        at, last = (self.ref.offset or 0) + start, (self.ref.offset or 0) + end
        while at < last:
            upto = min(at + CHUNK, last)
            data = fs.cat_file(name, start=at, end=upto)
            if not data:
                return
            yield data
            at += len(data)


class Media:
    """The media of a store's tables."""

    def __init__(self, store: TableStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._shards: OrderedDict[str, tuple[str | None, pa.Table]] = OrderedDict()
        self._reading: dict[str, threading.Lock] = {}

    def frames(self, shard: str, clip: str) -> list[Frame]:
        """The sampled frames of a clip, in order of time; empty if none was kept."""
        rows = self._of_shard(self._key(shard))
        own = rows.filter(pc.equal(rows["clip_id"], clip)).to_pylist()
        found = [(r["time_ms"], MediaRef(r["tar"], r["offset"], r["size"])) for r in own if r["tar"] is not None]
        return sorted(found, key=lambda f: f[0])

    def _of_shard(self, shard: str) -> pa.Table:
        """The frames of all clips of a shard; read once by whoever asks first, while others go on with other shards."""
        tag = self._store.storage.tag(self._store.path(FRAMES.asset, shard))
        with self._lock:
            reading = self._reading.setdefault(shard, threading.Lock())
        with reading:
            held = self._shards.get(shard)
            if held is None or held[0] != tag:
                held = (tag, self._read(shard) if tag else schema(FRAMES.asset).arrow.empty_table().select(PLACE))
            with self._lock:
                self._shards[shard] = held
                self._shards.move_to_end(shard)
                while len(self._shards) > 1 and sum(t.nbytes for _, t in self._shards.values()) > HELD_BYTES:
                    self._shards.popitem(last=False)
        return held[1]

    def _read(self, shard: str) -> pa.Table:
        [*groups] = self._store.groups(FRAMES.asset, PLACE, shard, coded=["tar"])
        return pa.concat_tables(groups) if groups else schema(FRAMES.asset).arrow.empty_table().select(PLACE)

    def _key(self, shard: str) -> str:
        """A shard's key, if it may be one: it becomes part of a path."""
        if not SHARD.fullmatch(shard):
            raise NoMedia("there is no such shard")
        return shard

    def picture(self, shard: str, clip: str, number: int | None) -> bytes:
        """A JPEG: the frame of that number, or the middle one.

        Raises:
            NoMedia: there is none.
        """
        frames = self.frames(shard, clip)
        if not frames or (number is not None and not 0 <= number < len(frames)):
            raise NoMedia("no picture was kept of this clip")
        return self._store.storage.read_media(frames[len(frames) // 2 if number is None else number][1])

    def download(self, shard: str, video: str) -> Mapping[str, Any]:
        """What is known of a video's file.

        Raises:
            NoMedia: the shard has no such video.
        """
        try:
            rows = self._store.read(DOWNLOADS, self._key(shard), filters=ds.field("video_id") == video).to_pylist()
        except MissingTable:
            rows = []
        if not rows:
            raise NoMedia("the shard has no such video")
        return dict(rows[0])

    def video(self, shard: str, video: str) -> Bytes:
        """The bytes of a source video.

        Raises:
            NoMedia: it was not fetched, or is not kept.
            MediaChanged: it lies outside the root, and has changed since.
        """
        row = self.download(shard, video)
        if row["tar"] is None:
            raise NoMedia(row["error"] or "the bytes of this video are not kept")
        ref = MediaRef(row["tar"], row["offset"], row["size"], row["etag"])
        if ref.etag is not None and self._store.storage.etag(ref.tar) != ref.etag:
            raise MediaChanged(f"{ref.tar} has changed since it was registered; `curation run` takes it up")
        return self._bytes(ref, row["container"] or "")

    def sample(self, subset: str, dataset: str, clip: str) -> Bytes:
        """The clip as a subset has published it.

        Raises:
            NoMedia: it did not.
        """
        where = (ds.field("dataset") == dataset) & (ds.field("clip_id") == clip)
        for asset in EXPORTS:
            if "tar" in SCHEMAS[asset].names and subset in self._store.partitions(asset):
                for row in self._store.read(asset, subset, ["tar", "offset", "size"], where).to_pylist():
                    if row["tar"] is not None and row["size"] is not None:
                        return self._bytes(MediaRef(row["tar"], row["offset"], row["size"]), "mp4")
        raise NoMedia("this clip was not published")

    def _bytes(self, ref: MediaRef, container: str) -> Bytes:
        size = ref.size
        if size is None:
            size = self._store.storage.size(ref.tar) - (ref.offset or 0)
        return Bytes(self._store, ref, size, next((t for word, t in TYPES if word in container), OTHER))
