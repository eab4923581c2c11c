"""Pictures of what differs most, with both values below: the sampled frames of the clips that a comparison names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

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
CLIP_ID = re.compile(r"(?P<video>.*)_\d+_\d+", re.DOTALL)


def largest(found: Mapping[str, Differences]) -> list[tuple[str, str]]:
    """(clip, what is said of it) of what vanished, appeared and changed most, in order of tables; each clip once, with what is said of it first."""
    said: dict[str, list[str]] = {}
    for asset, one in found.items():
        for clip, example in zip(one.clips, one.examples, strict=True):
            said.setdefault(clip, []).append(f"{'only A' if example[0] == '-' else 'only B'}: {asset}")
        for name, column in one.columns.items():
            if column.beyond:
                for change in column.largest:
                    values = [
                        v if isinstance(v, int | float | bool | str | None) else "..." for v in (change.a, change.b)
                    ]
                    said.setdefault(change.clip, []).append(f"{name} {as_text(values[0])} > {as_text(values[1])}")
    return [(clip, f"{what[0]}: {clip}") for clip, what in said.items() if clip][:MOST]


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
    return contact_sheet(pictures, columns=4, width=320)


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
