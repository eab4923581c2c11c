"""The duplicates of a shard for people: each clip that was dropped beside the one that it is a copy of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.decode.frames import TABLE as FRAMES
from curation_assets.showing.clips import middle_frames
from curation_assets.showing.figures import markdown_table
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_resources.markdown import Markdown
from curation_resources.media import MediaRef
from curation_resources.storage_errors import StorageError
from curation_resources.tables import MissingTable

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard

SHOWN = 12
"""Pairs that an event lists, the least alike first: those are the ones to doubt."""
PICTURED = 4
"""Pairs of them that have pictures: each costs two small reads of every shard that has copies."""
COLUMNS = 4
"""Two pairs in a row."""


def shard_pairs(shard: Shard, table: pa.Table) -> Sheet | Markdown | None:
    """The dropped clips of a shard, in the order of doubt, with pictures of the middle of each and of its copy where that lies in the same shard; that of
    another would have to be looked for. None where nothing was dropped.

    Args:
        table: rows of `dedup`.
    """
    dropped = table.filter(pc.invert(table["keep"])).sort_by([("similarity", "ascending"), ("clip_id", "ascending")])
    rows = dropped.slice(0, SHOWN).to_pylist()
    if not rows:
        return None
    said = [
        (n, r["clip_id"], r["duplicate_of"], r["duplicate_dataset"], r["relation"], f"{r['similarity'] or 0:.2f}")
        for n, r in enumerate(rows, 1)
    ]
    text = markdown_table(("pair", "a, dropped", "b, a better copy", "of dataset", "relation", "similarity"), said)
    pictures = _pictures(shard, [(r["clip_id"], r["duplicate_of"]) for r in rows[:PICTURED]])
    sheet = contact_sheet(pictures, COLUMNS) if pictures else None
    return text if sheet is None else sheet.saying(text)


def _pictures(shard: Shard, pairs: list[tuple[str, str | None]]) -> list[tuple[bytes, str]]:
    """Two for each pair, that of a copy in another shard empty; none where no picture can be read."""
    try:
        frames = shard.store.read(FRAMES.asset, shard.key)
    except MissingTable:
        return []
    stored = middle_frames(frames, [clip for pair in pairs for clip in pair if clip is not None])
    found: list[tuple[bytes, str]] = []
    for number, pair in enumerate(pairs, 1):
        for side, clip in zip("ab", pair, strict=True):
            jpeg = b""
            if clip in stored:
                row = stored[clip]
                try:
                    jpeg = shard.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
                except StorageError:
                    jpeg = b""
            found.append((jpeg, f"{number}{side} {clip or ''}" if jpeg else ""))
    return found if any(jpeg for jpeg, _ in found) else []
