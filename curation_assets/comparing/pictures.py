"""Pictures of what differs most, with both values below: the sampled frames of the clips that a comparison names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.dataset as ds

from curation_assets.comparing.row_differences import Differences
from curation_assets.decode.frames import TABLE as FRAMES
from curation_assets.registry import INDEX
from curation_assets.showing.clips import middle_frames
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_assets.showing.text import as_text
from curation_resources.media import MediaRef
from curation_resources.storage_errors import StorageError
from curation_resources.tables import MissingTable, TableStore

MOST = 60
"""Pictures on a sheet."""
SAID = 3
"""Changes that are said of a clip."""
SHEET_BYTES = 3_000_000
"""Largest sheet: it is a file of its own, beside no table and in no event."""
CLIP_ID = re.compile(r"(?P<video>.*)_\d+_\d+", re.DOTALL)


def largest(found: Mapping[str, Differences]) -> list[tuple[str, str]]:
    """(clip, what is said of it, a line each) of what vanished, appeared and changed most; each clip once.

    The first of each column, and of the rows that only one has, go before the second ones, so that each has its place; columns without numbers, and what tables say of
    themselves, come last.
    """
    measured: list[list[tuple[str, str, str]]] = []
    others: list[list[tuple[str, str, str]]] = []
    for asset, one in found.items():
        for sign, words in (("-", "only A"), ("+", "only B")):
            rows = zip(one.clips, one.examples, strict=True)
            measured.append([(clip, f"{words}: ", asset) for clip, example in rows if example.startswith(sign)])
        for name, column in one.columns.items():
            if column.beyond:
                own = [(c.clip, f"{name} ", f"{_shown(c.a)} > {_shown(c.b)}") for c in column.largest]
                (measured if column.measured else others).append(own)
    said: dict[str, dict[str, list[str]]] = {}
    for kinds in (measured, others):
        for place in range(max(map(len, kinds), default=0)):
            for clip, of, what in (kind[place] for kind in kinds if place < len(kind)):
                known = said.setdefault(clip, {}).setdefault(of, []) if clip else []
                if what not in known:
                    known.append(what)
    lines = {clip: [f"{of}{', '.join(what)}" for of, what in own.items()] for clip, own in said.items()}
    return [(clip, "\n".join([clip, *own[:SAID]])) for clip, own in lines.items()][:MOST]


def _shown(value: Any) -> str:
    return as_text(value if isinstance(value, int | float | bool | str | None) else "...")


def sheet(stores: Sequence[TableStore], said: Iterable[tuple[str, str]]) -> Sheet | None:
    """A contact sheet; a clip's picture is taken from the first store that has one.

    Returns:
        None if there is none of any.
    """
    pictures = []
    for clip, caption in said:
        jpeg = next((p for store in stores if (p := _picture(store, clip)) is not None), None)
        if jpeg is not None:
            pictures.append((jpeg, caption))
    return contact_sheet(pictures, columns=4, width=320, lines=2 * SAID, text=13, most_bytes=SHEET_BYTES)


def _picture(store: TableStore, clip: str) -> bytes | None:
    match = CLIP_ID.fullmatch(clip)
    if match is None or not store.exists(INDEX):
        return None
    for shard in store.rows_with(INDEX, "video_id", match["video"])["shard"].to_pylist():
        try:
            frames = store.read(FRAMES.asset, shard, filters=ds.field("clip_id") == clip)
            row = middle_frames(frames, [clip]).get(clip)
            if row is not None:
                return store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
        except (MissingTable, StorageError):
            continue
    return None
