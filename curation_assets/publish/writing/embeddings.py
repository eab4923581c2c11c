"""Embeddings of clips in the layout of clip-video-encode: (npy, txt, json) triples in tars with splits.csv, or in split folders.

https://github.com/iejMac/clip-video-encode writes one npy of (frames, dim) per video beside its caption and metadata; its "processed
dataset" is the same in folders train, val and test.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.publish.embedding_dataset import EmbeddingExport
from curation_assets.publish.writing.samples import PublishedFile, SplitTars
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage
from curation_resources.tars import Member

SPLITS_FILE, SPLITS_HEADER = "splits.csv", "tar_file,split"
LATE = 0.1
"""How far behind the start of its slot a frame may lie, as a share of the slot, and still be that of the sampling rate, where the slot may have begun before the
clip. A source frame is allowed in any case."""


@dataclass(frozen=True)
class EmbeddedShard:
    """The selected clips of one shard.

    Attributes:
        clips: of the selected clips, or those of the selected tracks, each once: ids, split, span, caption.
        embeddings: `frame_embeddings` of the shard.
        captions: clip_id -> row of `captions`.
        fps: rate of the grid on which frames were sampled.
        words: clip_id -> what the source says of its given span.
        said: clip_id -> further fields of its JSON.
    """

    clips: Sequence[Mapping[str, Any]]
    embeddings: pa.Table
    captions: Mapping[str, Mapping[str, Any]]
    fps: float
    words: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    said: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class EmbeddingWriter:
    """Writes the triples of selected clips, a shard at a time; their order decides that in the tars.

    Args:
        params: layout, type and size.
        storage: where they go.
        folder: of the version.
        keys: (dataset, clip_id) -> sample key.

    Attributes:
        files, splits: the published files, and tar -> split, once all is written; none where triples lie in folders.
    """

    def __init__(self, params: EmbeddingExport, storage: Storage, folder: str, keys: Callable[[str, str], str]) -> None:
        self._params, self._keys = params, keys
        self._tars = embedding_tars(params, storage, folder) if params.layout != "folders" else None
        self._add = self._tars.add if self._tars is not None else _files(storage, folder)
        self.files: list[PublishedFile] = []
        self.splits: dict[str, str] = {}

    def __enter__(self) -> EmbeddingWriter:
        return self

    def write(self, shard: EmbeddedShard) -> list[dict[str, Any]]:
        """The rows of `embedding_dataset` of a shard's clips; one without any embedding is `failed`."""
        return [_published(row, members, self._add) for row, members in _triples(shard, self._params, self._keys)]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._tars is not None:
            self._tars.__exit__(kind, *rest)
            if kind is None:
                write_splits(self._tars)
                self.files, self.splits = self._tars.files, self._tars.splits


def embedding_tars(params: EmbeddingExport, storage: Storage, folder: str) -> SplitTars:
    """What writes `<name>_<nnnnn>.tar`, whose numbers run through all splits."""
    return SplitTars(
        storage,
        folder,
        lambda _, n: f"{params.name}_{n:05d}.tar",
        per_tar=params.per_tar,
        tar_bytes=1 << 62,
        shared=True,
    )


def write_splits(tars: SplitTars) -> None:
    """splits.csv beside tars that are closed."""
    lines = [SPLITS_HEADER, *(f"{tar},{split}" for tar, split in tars.splits.items())]
    tars.storage.write(f"{tars.folder}/{SPLITS_FILE}", ("\n".join(lines) + "\n").encode())


def _triples(
    shard: EmbeddedShard, params: EmbeddingExport, keys: Callable[[str, str], str]
) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Row and members of each selected clip, in key order; no members where there is no embedding."""
    sampled = shard.embeddings.sort_by([("clip_id", "ascending"), ("time_ms", "ascending")])
    ids = sampled["clip_id"].to_numpy(zero_copy_only=False)
    place = {c: i for i, c in enumerate(ids.tolist())}
    first = {c: i for i, c in reversed(list(enumerate(ids.tolist())))}
    for clip in shard.clips:
        clip_id = clip["clip_id"]
        row = {k: clip[k] for k in ("dataset", "video_id", "clip_id")}
        row |= {"sample_key": keys(clip["dataset"], clip_id), "split": clip["split"] or "train"}
        every = sampled.slice(first.get(clip_id, 0), place[clip_id] + 1 - first[clip_id] if clip_id in first else 0)
        present = _embedded(every)
        if not present.num_rows:
            yield {**row, "status": "failed", "error": f"{clip_id}: no frame has an embedding"}, {}
            continue
        # Chosen among all: beside a frame without an embedding, another of its slot would be taken for that of the rate.
        regular = _embedded(at_rate(every, shard.fps, clip["start_ms"]))
        frames = regular if params.frames == "grid" and regular.num_rows else present
        constant = frames["time_ms"].equals(regular["time_ms"]) and on_grid(frames, shard.fps, clip["start_ms"])
        array = np.stack(frames["embedding"].to_pylist()).astype(params.dtype)
        times_ms = frames["time_ms"].to_pylist()
        caption = shard.captions.get(clip_id, {})
        record = {
            "key": row["sample_key"],
            **{k: row[k] for k in ("dataset", "video_id", "clip_id", "split")},
            "start_ms": clip["start_ms"],
            "end_ms": clip["end_ms"],
            "model": frames["model"][0].as_py(),
            "dtype": params.dtype,
            "shape": list(array.shape),
            "fps": shard.fps if constant else None,
            "sampled_fps": average_rate(times_ms),
            "frame_ms": times_ms,
            "caption_backend": caption.get("backend"),
            "caption_model": caption.get("model"),
        }
        record |= shard.said.get(clip_id, {})
        if clip_id in shard.words:
            record["span"] = dict(shard.words[clip_id])
        row |= {"status": "ok", "frames": array.shape[0], "dim": array.shape[1], "model": record["model"]}
        text = (caption.get("caption") or clip.get("caption") or "").encode()
        yield row, {"npy": npy_bytes(array), "txt": text, "json": canonical_json(record).encode()}


def _embedded(frames: pa.Table) -> pa.Table:
    """Those that have an embedding."""
    return frames.filter(pc.is_valid(frames["embedding"]))


def at_rate(frames: pa.Table, fps: float, start_ms: int | None = None) -> pa.Table:
    """Of the frames of a clip the one of each slot of 1/`fps` seconds; all of them if there is none such.

    Clips have other frames too: at given places in short ones, and where a short clip might have ended (`decode/reading/sampling.py`).

    Args:
        frames: `time_ms` and, as far as known, `frame`, in order of time.
        start_ms: of the clip.
    """
    slots, _ = _slots(frames, fps)
    wanted = np.append(True, np.diff(slots) > 0) & _of_their_slots(frames, fps, start_ms)
    return frames.filter(pa.array(wanted)) if wanted.any() else frames


def on_grid(frames: pa.Table, fps: float, start_ms: int | None = None) -> bool:
    """Whether frames are at a constant rate: that of each slot of 1/`fps` seconds from the first to the last.

    Frames without an embedding are missing.

    Args:
        frames: `time_ms` and, as far as known, `frame` of the frames of a clip, in order; fewer than two have no rate.
        start_ms: of the clip.
    """
    if frames.num_rows < 2:
        return False
    slots, _ = _slots(frames, fps)
    return bool((np.diff(slots) == 1).all() and _of_their_slots(frames, fps, start_ms).all())


def _of_their_slots(frames: pa.Table, fps: float, start_ms: int | None) -> NDArray[np.bool_]:
    """Whether a frame that is the first of its slot here is the first that was sampled of it.

    What is sampled of a slot is the first picture that others lean on, which comes several after the slot's start in a stream with B-frames. So in a slot that begins within
    the clip the first frame is that, however late; in one that began before, where the clip before may have it, only a frame near its start is.
    """
    slots, late = _slots(frames, fps)
    source_ms = _source_ms(frames)
    near = late <= max(source_ms, LATE * 1000 / fps)
    return near if start_ms is None else near | (slots * 1000 / fps >= start_ms - max(source_ms - 1, 0.5))


def _slots(frames: pa.Table, fps: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The slot of each frame, and how many milliseconds after its start it is shown."""
    times, slot_ms = frames["time_ms"].to_numpy(), 1000 / fps
    slots = np.floor((times + 0.5) / slot_ms)
    return slots, times - slots * slot_ms


def _source_ms(frames: pa.Table) -> float:
    """From one frame of the source to the next, milliseconds; 0 where that is not known."""
    times, numbers = frames["time_ms"].to_numpy(), frames["frame"].to_pylist()
    known = None not in (numbers[0], numbers[-1]) and numbers[-1] > numbers[0]
    return float(times[-1] - times[0]) / (numbers[-1] - numbers[0]) if known else 0.0


def average_rate(times_ms: Sequence[int]) -> float | None:
    """Frames per second from the first to the last of ascending times; None for fewer than two."""
    return round(1000 * (len(times_ms) - 1) / (times_ms[-1] - times_ms[0]), 6) if len(times_ms) > 1 else None


def npy_bytes(array: NDArray[Any]) -> bytes:
    """`array` as an npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _published(
    row: dict[str, Any],
    members: Mapping[str, bytes],
    add: Callable[[str, str, Mapping[str, bytes]], Mapping[str, Member]],
) -> dict[str, Any]:
    if not members:
        return row
    npy = add(row["split"], row["sample_key"], members)["npy"]
    return {**row, "tar": npy.tar, "offset": npy.offset, "size": npy.size, "sha256": npy.sha256}


def _files(storage: Storage, folder: str) -> Callable[[str, str, Mapping[str, bytes]], dict[str, Member]]:
    import hashlib

    def add(split: str, key: str, members: Mapping[str, bytes]) -> dict[str, Member]:
        written = {}
        for extension, data in members.items():
            path = f"{folder}/{split}/{key}.{extension}"
            storage.write(path, data)
            written[extension] = Member(path, 0, len(data), hashlib.sha256(data).hexdigest())
        return written

    return add
