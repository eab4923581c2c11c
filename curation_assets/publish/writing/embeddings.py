"""Embeddings of clips in the layout of clip-video-encode: (npy, txt, json) triples in tars with splits.csv, or in split folders.

https://github.com/iejMac/clip-video-encode writes one npy of (frames, dim) per video beside its caption and metadata; its "processed
dataset" is the same in folders train, val and test.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.publish.embedding_dataset import EmbeddingExport
from curation_assets.publish.writing.samples import SPLITS, PublishedFile, SplitTars
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage
from curation_resources.tars import Member, sample_key

SPLITS_HEADER = "tar_file,split"
LATE = 0.1
"""How far behind the start of its slot a frame may lie, as a share of the slot, and still be that of the sampling rate. A source frame is
allowed in any case; more than that are the frames that a decoder passes over."""
PROCESSED = pa.schema(
    [
        pa.field("split", pa.string(), False, {"description": "train, val or test: the folder."}),
        pa.field("sample_key", pa.string(), False, {"description": "Name of the triple."}),
        pa.field("embeddings", pa.list_(pa.list_(pa.float32())), False, {"description": "(frames, dim)."}),
        pa.field("text", pa.string(), True, {"description": "The caption; null without a txt."}),
        pa.field("record", pa.string(), True, {"description": "The JSON; null without one."}),
    ]
)


class BadTriple(ValueError):
    """A file of a processed dataset that cannot be used; the message names it."""


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
        self._tars = _tars(params, storage, folder) if params.layout != "folders" else None
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
                _write_splits(self._tars)
                self.files, self.splits = self._tars.files, self._tars.splits


def _tars(params: EmbeddingExport, storage: Storage, folder: str) -> SplitTars:
    """What writes `<name>_<nnnnn>.tar`, whose numbers run through all splits."""
    return SplitTars(
        storage,
        folder,
        lambda _, n: f"{params.name}_{n:05d}.tar",
        per_tar=params.per_tar,
        tar_bytes=1 << 62,
        shared=True,
    )


def _write_splits(tars: SplitTars) -> None:
    """splits.csv beside tars that are closed."""
    lines = [SPLITS_HEADER, *(f"{tar},{split}" for tar, split in tars.splits.items())]
    tars.storage.write(f"{tars.folder}/splits.csv", ("\n".join(lines) + "\n").encode())


def _triples(
    shard: EmbeddedShard, params: EmbeddingExport, keys: Callable[[str, str], str]
) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Row and members of each selected clip, in key order; no members where there is no embedding."""
    known = shard.embeddings.filter(pc.is_valid(shard.embeddings["embedding"]))
    known = known.sort_by([("clip_id", "ascending"), ("time_ms", "ascending")])
    ids = known["clip_id"].to_numpy(zero_copy_only=False)
    place = {c: i for i, c in enumerate(ids.tolist())}
    first = {c: i for i, c in reversed(list(enumerate(ids.tolist())))}
    for clip in shard.clips:
        clip_id = clip["clip_id"]
        row = {k: clip[k] for k in ("dataset", "video_id", "clip_id")}
        row |= {"sample_key": keys(clip["dataset"], clip_id), "split": clip["split"] or "train"}
        if clip_id not in first:
            yield {**row, "status": "failed", "error": f"{clip_id}: no frame has an embedding"}, {}
            continue
        frames = known.slice(first[clip_id], place[clip_id] + 1 - first[clip_id])
        if params.frames == "grid":
            frames = at_rate(frames, shard.fps)
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
            "fps": shard.fps if on_grid(frames, shard.fps) else None,
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


def at_rate(frames: pa.Table, fps: float) -> pa.Table:
    """Of the frames of a clip the one of each slot of 1/`fps` seconds that lies at its start; all of them if there is none such.

    Clips have other frames too: at given places in short ones, and where a short clip might have ended (`decode/reading/sampling.py`).

    Args:
        frames: `time_ms` and, as far as known, `frame`, in order of time.
    """
    slots, late = _slots(frames, fps)
    first = np.append(True, np.diff(slots) > 0)
    wanted = first & (late <= _allowed(frames, fps))
    return frames.filter(pa.array(wanted)) if wanted.any() else frames


def on_grid(frames: pa.Table, fps: float) -> bool:
    """Whether frames are at a constant rate: one in each slot of 1/`fps` seconds from the first to the last, near its start.

    Frames without an embedding are missing.

    Args:
        frames: `time_ms` and, as far as known, `frame` of the frames of a clip, in order; fewer than two have no rate.
    """
    if frames.num_rows < 2:
        return False
    slots, late = _slots(frames, fps)
    return bool((np.diff(slots) == 1).all() and late.max() <= _allowed(frames, fps))


def _slots(frames: pa.Table, fps: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The slot of each frame, and how many milliseconds after its start it is shown."""
    times, slot_ms = frames["time_ms"].to_numpy(), 1000 / fps
    slots = np.floor((times + 0.5) / slot_ms)
    return slots, times - slots * slot_ms


def _allowed(frames: pa.Table, fps: float) -> float:
    """How late a frame may be, milliseconds: one of the source's, or `LATE` of a slot."""
    times, numbers = frames["time_ms"].to_numpy(), frames["frame"].to_pylist()
    known = None not in (numbers[0], numbers[-1]) and numbers[-1] > numbers[0]
    source_ms = (times[-1] - times[0]) / (numbers[-1] - numbers[0]) if known else 0.0
    return max(float(source_ms), LATE * 1000 / fps)


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


def read_processed(folder: str | Path) -> pa.Table:
    """Reads a processed dataset: the triples of folders train, val and test.

    Args:
        folder: local; split folders that are not there are empty.

    Returns:
        A row per npy, sorted by split and key, schema `PROCESSED`. txt and json may be missing.

    Raises:
        BadTriple: an npy that is no two-dimensional array of numbers, or a json that cannot be read.
    """
    rows = []
    for split, path in _npy_files(folder):
        array, text, said = _triple(path)
        rows.append(
            {
                "split": split,
                "sample_key": path.stem,
                "embeddings": array.astype(np.float32).tolist(),
                "text": text,
                "record": said,
            }
        )
    return pa.Table.from_pylist(rows, schema=PROCESSED)


def pack_processed(folder: str | Path, target: str, params: EmbeddingExport | None = None) -> dict[str, str]:
    """Puts a processed dataset into tars of triples with splits.csv, one triple in memory at a time.

    Args:
        folder: local, with folders train, val and test.
        target: folder or URI that gets the tars.
        params: name of the tars, triples in each, type of the arrays; the recipe's defaults if not given.

    Returns:
        Tar -> split. Keys are the files' names; what a key may not hold is replaced as for clips. A txt or json that is missing is empty, or `{}`.

    Raises:
        BadTriple: see `read_processed`; or there is no npy. Tars that are closed by then stay, and splits.csv is not written.
    """
    params = params or EmbeddingExport()
    with _tars(params, Storage(target), ".") as tars:
        for split, path in _npy_files(folder):
            array, text, said = _triple(path)
            members = {
                "npy": npy_bytes(array.astype(params.dtype)),
                "txt": (text or "").encode(),
                "json": (said or "{}").encode(),
            }
            tars.add(split, sample_key(path.stem), members)
    if not tars.splits:
        raise BadTriple(f"{folder} has no npy in {', '.join(SPLITS)}")
    _write_splits(tars)
    return tars.splits


def _npy_files(folder: str | Path) -> Iterator[tuple[str, Path]]:
    """(split, npy) of the folders train, val and test, in order of names."""
    return ((split, path) for split in SPLITS for path in sorted(Path(folder).glob(f"{split}/*.npy")))


def _triple(path: Path) -> tuple[NDArray[Any], str | None, str | None]:
    """The array of an npy, and the txt and the json beside it, if they are there."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadTriple(f"{path} is no array of numbers ({error}); write it again with numpy.save") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise BadTriple(f"{path} holds {array.dtype} of shape {array.shape}; a floating (frames, dim) is wanted")
    text, record = path.with_suffix(".txt"), path.with_suffix(".json")
    said = record.read_text(encoding="utf-8") if record.exists() else None
    if said is not None:
        try:
            json.loads(said)
        except ValueError as error:
            raise BadTriple(f"{record} is not JSON ({error})") from error
    return array, text.read_text(encoding="utf-8") if text.exists() else None, said
