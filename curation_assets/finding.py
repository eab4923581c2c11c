"""Which videos and clips a word means: an id, the key of a published sample, the name of a published or of a source's file, an address.

What belongs here: the lookup. What does not: what is said of what was found (`explain.py`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import PurePosixPath
from urllib.parse import unquote

import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.contracts.telling import Row
from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.engine.declared import indexed
from curation_assets.ingest.forgotten import tombstones_of
from curation_assets.ingest.sources.rows import id_of_url
from curation_assets.registry import EXPORTS, INDEX
from curation_assets.schemas import SCHEMAS
from curation_resources.tables import MissingTable, TableStore

SPAN = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")
ROWS = 65_536
"""Rows of the index that are looked through at a time."""


@dataclass(frozen=True)
class Meant:
    """A video of the index, or one of its clips.

    Attributes:
        video: its row of the index.
        clip: the clip's id; None for the whole video.
        because: how it is what was asked for; empty where it was asked for by its id.
    """

    video: Row
    clip: str | None = None
    because: str = ""


def index_rows(store: TableStore, video: str) -> list[Row]:
    """The rows of the index that have a video's id; one for each dataset that has it."""
    try:
        return list(store.rows_with(INDEX, "video_id", video).to_pylist())
    except MissingTable:
        return []


def by_id(store: TableStore, given: str) -> tuple[list[Meant], list[Row]]:
    """Videos and clips of that id, and the videos of which it would be a clip if they had it."""
    match = SPAN.fullmatch(given)
    of_clip = index_rows(store, match["video"]) if match else []
    found = [Meant(v) for v in index_rows(store, given)]
    found += [Meant(v, given) for v in of_clip if _has_clip(store, v["shard"], given)]
    return found, of_clip


def by_name(store: TableStore, given: str) -> Iterator[Meant]:
    """What a word that is no id means: the key or file of a published sample, the path or name of a source's file, an address.

    The tables of what is published are asked first; then the index is looked through, row by row, and last asked for the id that an address
    comes to: one video has several at YouTube, and a signed one differs each time.
    """
    for found in (_samples, _in_index, _by_address):
        meant = list(found(store, given))
        if meant:
            yield from meant
            return


def was_taken_down(store: TableStore, given: str, datasets: Iterable[str]) -> str:
    """That a word is, or was of, a video that was taken down, as a sentence without its end; empty if it is not.

    Args:
        given: an id of a video or clip, an address, or a file of a source.
        datasets: whose ids are tried beside those of the index.
    """
    tried = sorted({*datasets, *indexed(store)})
    span = SPAN.fullmatch(given)
    for name, what in ((given, "is"), *(((span["video"], "was a clip of"),) if span else ())):
        if stones := tombstones_of(store, name, tried):
            return f"{given} {what} {' and '.join(t.said for t in stones)}"
    return ""


def _has_clip(store: TableStore, shard: str, clip: str) -> bool:
    try:
        return bool(store.read(CLIPS.asset, shard, ["clip_id"], ds.field("clip_id") == clip).num_rows)
    except MissingTable:
        return False


def _samples(store: TableStore, given: str) -> Iterator[Meant]:
    """Members of tars are called `KEY.mp4`, files of folders too, and may be given with the folders before them."""
    name = PurePosixPath(given).name
    keys = list(dict.fromkeys([given, name, *(name[: -len(s)] for s in _endings(name))]))
    told: set[tuple[str, str]] = set()
    for asset in EXPORTS:
        if "sample_key" not in SCHEMAS[asset].names:
            continue
        for subset in store.partitions(asset):
            rows = store.read(
                asset, subset, ["dataset", "video_id", "clip_id", "sample_key"], ds.field("sample_key").isin(keys)
            )
            for row in rows.to_pylist():
                if (row["dataset"], row["clip_id"]) in told:
                    continue
                told.add((row["dataset"], row["clip_id"]))
                for video in index_rows(store, row["video_id"]):
                    if video["dataset"] == row["dataset"]:
                        yield Meant(video, row["clip_id"], f"sample {row['sample_key']} of {asset} {subset}")


def _endings(name: str) -> list[str]:
    """`.a.b` and `.b` of `name.a.b`: what follows the key in a tar may have several dots."""
    suffixes = PurePosixPath(name).suffixes
    return ["".join(suffixes[i:]) for i in range(len(suffixes))]


def _by_address(store: TableStore, given: str) -> Iterator[Meant]:
    if "://" in given:
        for video in index_rows(store, id_of_url(given)):
            yield Meant(video, None, f"its id is that of {given}")


def _spellings(given: str) -> list[str]:
    """What is looked for in the index: the word itself; of a `file:` URI its path, as it stands and unquoted; of a path of this machine the whole one."""
    paths = [given]
    if given.lower().startswith("file:"):
        path = re.sub(r"^(//(localhost)?)?(?=/)", "", given[len("file:") :], flags=re.IGNORECASE)
        paths = [path, unquote(path)]
    whole = [os.path.abspath(os.path.expanduser(p)) for p in paths if "://" not in p]
    return list(dict.fromkeys([given, *paths, *whole]))


def _in_index(store: TableStore, given: str) -> Iterator[Meant]:
    spellings = _spellings(given)
    # Most rows are left out by a search in bytes; what is left is looked at in full.
    words = list(dict.fromkeys(s.rstrip("/").rpartition("/")[2] or s for s in spellings))
    try:
        for batch in store.batches(INDEX, None, ROWS):
            near = [pc.match_substring(batch[column], word) for column in ("source", "record") for word in words]
            for video in batch.filter(pc.fill_null(reduce(pc.or_kleene, near), False)).to_pylist():
                because = _named(video, spellings)
                if because:
                    yield Meant(video, None, because)
    except MissingTable:
        return


def _named(video: Row, spellings: Sequence[str]) -> str:
    """How a word names a video: as its file, with or without folders, also of a list that names paths; or as its address, which is meant as a whole."""
    said = {"file": video["source"]}
    if video["status"] != "rejected" and video["record"]:
        record = json.loads(video["record"])
        extra = record.get("extra")
        said |= {"address": record.get("url"), "place": extra.get("path") if isinstance(extra, dict) else None}
    for what, text in said.items():
        if not isinstance(text, str):
            continue
        for given in spellings:
            whole = text.rstrip("/") == given.rstrip("/")
            is_file = what != "address" or not text.lower().startswith(("http:", "https:"))
            if whole or (is_file and f"/{text}".endswith(f"/{given.lstrip('/')}")):
                return f"its {'file' if is_file else what} is {text}"
    return ""
