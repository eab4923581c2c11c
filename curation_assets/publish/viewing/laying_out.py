"""Writes a view of a subset: its candidates as spans of their source videos, with scores, tracks and embeddings."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.writing.sample_columns import MAPS, flat
from curation_assets.registry import JUDGED
from curation_resources.file_facts import is_uri
from curation_resources.media import MediaRef
from curation_resources.storage_errors import StorageError
from curation_resources.tables import MissingTable, TableStore
from curation_resources.tars import sample_key

KEPT = "kept"
"""The class of a clip that is selected; that of another is what dropped it."""
SUFFIXES = {"matroska": ".mkv", "webm": ".webm", "avi": ".avi", "mpegts": ".ts", "asf": ".wmv", "flv": ".flv"}
"""Beginning of a container's name as ffmpeg has it -> ending of its files, where bytes have no name; others are .mp4."""
NO_SCORES = frozenset(
    {
        "dataset",
        "video_id",
        "clip_id",
        "shard",
        "selected",
        "drop_reason",
        "split",
        "start_ms",
        "end_ms",
        "start_frame",
        "end_frame",
        "fps",
    }
)
TOOLS = {"lightly": "open_lightly.py", "fiftyone": "open_fiftyone.py"}
"""Tool -> the script that opens a view in it."""
SHORTEST_S = 0.001
"""A span is no shorter: readers of ActivityNet JSON refuse the whole file for one that is empty."""


@dataclass(frozen=True)
class LaidOut:
    """What was laid out.

    Attributes:
        clips, videos, tracks: how many.
        left_out: videos that cannot be read, with the reason; their clips are not in the view.
    """

    clips: int
    videos: int
    tracks: int
    left_out: tuple[str, ...]


def lay_out(
    store: TableStore, key: str, folder: Path, tool: str, limit: int | None = None, dropped: bool = True
) -> LaidOut:
    """Writes the view of a subset of clips into a folder that is empty or not there.

    Args:
        key: `<dataset>-<subset>`, as it was judged last.
        tool: of `TOOLS`.
        limit: most clips, the first in order; None is all.
        dropped: whether clips that were not selected are shown too, each under what dropped it.

    Raises:
        MissingTable: the subset was not judged.
        FileExistsError: something is in the folder.
    """
    table = _candidates(store, key, limit, dropped)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(str(folder))
    (folder / "videos").mkdir()
    left_out: list[str] = []
    spans: dict[str, Any] = {}
    count = {"clips": 0, "tracks": 0}
    with (
        VectorsFile(folder / "embeddings.npy") as vectors,
        open(folder / "clips.jsonl", "w", encoding="utf-8") as clips,
        open(folder / "tracks.jsonl", "w", encoding="utf-8") as tracks,
    ):
        for shard in pc.unique(table["shard"]).to_pylist():
            here = _Shard(store, shard, table.filter(pc.equal(table["shard"], shard)))
            for row, video in here.rows(folder / "videos", left_out):
                line = _line(row, video)
                _write(clips, line)
                count["clips"] += 1
                vectors.add(here.vector(row["clip_id"]))
                known = spans.setdefault(
                    video["stem"], {"subset": "validation", "duration": video["duration_s"], "annotations": []}
                )
                known["annotations"].append({"segment": _segment(line, video["duration_s"]), "label": line["verdict"]})
                for track in here.tracks(row["clip_id"]):
                    _write(tracks, track)
                    count["tracks"] += 1
    (folder / "spans.json").write_text(
        json.dumps({"version": "curation", "taxonomy": [], "database": spans}, ensure_ascii=False), "utf-8"
    )
    (folder / "view.json").write_text(json.dumps({"subset": key, "tool": tool, **count}, indent=1) + "\n", "utf-8")
    shutil.copyfile(Path(__file__).with_name(TOOLS[tool]), folder / TOOLS[tool])
    return LaidOut(count["clips"], len(spans), count["tracks"], tuple(left_out))


def _candidates(store: TableStore, key: str, limit: int | None, dropped: bool) -> pa.Table:
    """The clips that are shown; no more of the table is read than they need."""
    names, count = store.form(JUDGED["clips"], key).names, 0
    found = [store.form(JUDGED["clips"], key).remove_metadata().empty_table()]
    for rows in store.groups(JUDGED["clips"], names, key):
        found.append(rows if dropped else rows.filter(rows["selected"]))
        count += found[-1].num_rows
        if limit is not None and count >= limit:
            break
    return pa.concat_tables(found).slice(0, limit)


def _line(row: Mapping[str, Any], video: Mapping[str, Any]) -> dict[str, Any]:
    """What `clips.jsonl` says of a clip."""
    known = {n: v for n, v in row.items() if n not in NO_SCORES and v is not None}
    scores = flat({n: dict(v) if n in MAPS else v for n, v in known.items()})
    return {
        "clip": row["clip_id"],
        "dataset": row["dataset"],
        "video": video["stem"],
        "file": video["file"],
        "start_s": row["start_ms"] / 1000,
        "end_s": row["end_ms"] / 1000,
        "first_frame": row["start_frame"],
        "end_frame": row["end_frame"],
        "fps": row["fps"],
        "width": row["width"],
        "height": row["height"],
        "verdict": KEPT if row["selected"] else f"dropped: {row['drop_reason']}",
        "split": row["split"],
        "scores": {n: v for n, v in scores.items() if isinstance(v, int | float | str | bool)},
    }


def _segment(line: Mapping[str, Any], duration_s: float) -> list[float]:
    start = min(line["start_s"], max(duration_s - SHORTEST_S, 0.0))
    return [start, max(min(line["end_s"], duration_s), start + SHORTEST_S)]


def _write(file: IO[str], line: Mapping[str, Any]) -> None:
    file.write(json.dumps(line, ensure_ascii=False) + "\n")


class VectorsFile:
    """The mean embedding of each clip in a file of NumPy's, a row each as they come: NaN where it has none, or one of another length than the first; no file
    where none has any.

    NumPy leaves room in the head of a file for more rows, so that it can be written anew once they are counted
    (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._size = self._count = 0

    def add(self, vector: np.ndarray) -> None:
        """Adds float32 (dim,), or (0,) for a clip without one."""
        if self._file is None and len(vector):
            self._size = len(vector)
            self._file = open(self._path, "w+b")
            self._head(0)
            for _ in range(self._count):
                self._row(np.full(self._size, np.nan))
        if self._file is not None:
            self._row(vector if len(vector) == self._size else np.full(self._size, np.nan))
        self._count += 1

    def _row(self, values: np.ndarray) -> None:
        assert self._file is not None
        self._file.write(values.astype("<f4").tobytes())

    def _head(self, rows: int) -> None:
        assert self._file is not None
        self._file.seek(0)
        shape = {"descr": "<f4", "fortran_order": False, "shape": (rows, self._size)}
        np.lib.format.write_array_header_1_0(self._file, shape)

    def __enter__(self) -> VectorsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with self._file:
                self._head(self._count)


class _Shard:
    """The clips of a shard that are shown, and what its tables say of them."""

    def __init__(self, store: TableStore, key: str, rows: pa.Table) -> None:
        self._store, self._key, self._rows = store, key, rows
        self._videos = {r["video_id"]: r for r in store.read("raw_shards", key).to_pylist()}
        self._vectors = self._means()
        self._tracks: dict[str, list[dict[str, Any]]] = {}
        for row in self._read("tracks", ["clip_id", "track_id", "label", "score", "frame_ms", "boxes"]):
            self._tracks.setdefault(row["clip_id"], []).append(row)

    def rows(self, folder: Path, left_out: list[str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each clip with its video, which lies in `folder` then."""
        laid: dict[str, dict[str, Any] | None] = {}
        for row in self._rows.to_pylist():
            video = row["video_id"]
            if video not in laid:
                try:
                    laid[video] = self._lay(row["dataset"], self._videos[video], folder)
                except (StorageError, OSError, KeyError) as error:
                    left_out.append(f"{video}: {error}")
                    laid[video] = None
            found = laid[video]
            if found is not None:
                yield row, found

    def _lay(self, dataset: str, raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """A link to a video's file where it is one of this machine, else its bytes."""
        stem = sample_key(f"{dataset}-{raw['video_id']}")
        place = str(raw["tar"])
        alone = raw["offset"] is None and is_uri(place) and "://" not in place
        suffix = PurePosixPath(place).suffix.lower() if raw["offset"] is None else ""
        suffix = suffix or next((s for name, s in SUFFIXES.items() if str(raw["container"]).startswith(name)), ".mp4")
        target = folder / f"{stem}{suffix}"
        media = MediaRef(place, raw["offset"], raw["size"], raw["etag"])
        with self._store.storage.open_media(media) as stream:  # which tells whether it is the file that was registered
            if alone:
                target.symlink_to(os.path.abspath(place))
            else:
                with open(target, "wb") as out:
                    shutil.copyfileobj(stream, out, 8 << 20)
        longest = pc.max(self._rows.filter(pc.equal(self._rows["video_id"], raw["video_id"]))["end_ms"]).as_py()
        duration = max(raw["duration_ms"] or 0, longest or 0) / 1000
        return {"stem": stem, "file": f"videos/{target.name}", "duration_s": duration}

    def vector(self, clip: str) -> np.ndarray:
        """The mean of a clip's embeddings, float32 (dim,); of none where it has none."""
        return self._vectors.get(clip, np.zeros(0, np.float32))

    def tracks(self, clip: str) -> Iterator[dict[str, Any]]:
        """What `tracks.jsonl` says of each track of a clip: times in milliseconds of the video, boxes (x, y, width, height) in displayed pixels."""
        for row in self._tracks.get(clip, ()):
            yield {
                "clip": clip,
                "track": row["track_id"],
                **{n: row[n] for n in ("label", "score", "frame_ms", "boxes")},
            }

    def _means(self) -> dict[str, np.ndarray]:
        sums: dict[str, tuple[np.ndarray, int]] = {}
        for row in self._read("frame_embeddings", ["clip_id", "embedding"]):
            if row["embedding"] is not None:
                vector = np.asarray(row["embedding"], np.float32)
                total, count = sums.get(row["clip_id"], (np.zeros_like(vector), 0))
                sums[row["clip_id"]] = total + vector, count + 1
        return {clip: total / count for clip, (total, count) in sums.items()}

    def _read(self, asset: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        try:
            wanted = pa.array(self._rows["clip_id"].to_pylist(), pa.string())
            table = self._store.read(asset, self._key, columns)
        except MissingTable:
            return []
        rows: list[dict[str, Any]] = table.filter(pc.is_in(table["clip_id"], value_set=wanted)).to_pylist()
        return rows
