"""Pictures of clips for the UI: contact sheets from the sampled frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.showing.figures import markdown_table
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_resources.markdown import Markdown
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError

MOST = 24
"""Pictures on a sheet."""


def middle_frames(frames: pa.Table, clips: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """clip_id -> the row of its sampled frame nearest to the middle, for those of `clips` that have one."""
    wanted = frames.filter(pc.is_in(frames["clip_id"], value_set=pa.array(list(clips), pa.string())))
    best: dict[str, tuple[float, Mapping[str, Any]]] = {}
    for row in wanted.select(["clip_id", "position", "tar", "offset", "size"]).to_pylist():
        away = abs((row["position"] if row["position"] is not None else 0.5) - 0.5)
        if row["tar"] is not None and (row["clip_id"] not in best or away < best[row["clip_id"]][0]):
            best[row["clip_id"]] = (away, row)
    return {clip: row for clip, (_, row) in best.items()}


def same_moments(
    a: pa.Table, b: pa.Table, times_a: Sequence[int], times_b: Sequence[int]
) -> list[tuple[Mapping[str, Any], Mapping[str, Any], int]]:
    """Sampled frames in which two clips show the same moment, from the first and from the second half of what they have in common.

    Args:
        a, b: the clips' rows of `frames`.
        times_a, times_b: three moments in one video and the same in the other, as `dedup.AUDIT`; time runs evenly between them.

    Returns:
        Up to two: a row of a, one of b, and by how many milliseconds they miss the same moment. In each half these are the frames that lie
        nearest each other; those between the first and the last moment, if there are any, since a clip may begin and end in black.
    """
    here, there = a["time_ms"].to_numpy(), b["time_ms"].to_numpy()
    if not len(here) or not len(there):
        return []
    speed = (times_b[2] - times_b[0]) / max(1, times_a[2] - times_a[0])
    apart = np.abs(times_b[0] + (here[:, None] - times_a[0]) * speed - there)
    inner = (here >= times_a[0]) & (here <= times_a[2])
    found = []
    for half in (here <= times_a[1], here > times_a[1]):
        rows = np.flatnonzero(half & inner if (half & inner).any() else half)
        if len(rows):
            i, j = np.unravel_index(apart[rows].argmin(), (len(rows), len(there)))
            pair = (side.slice(n, 1).to_pylist()[0] for side, n in ((a, rows[i]), (b, j)))
            found.append((*pair, round(apart[rows[i], j])))
    return found


def labelled_sheet(
    storage: Storage, frames: pa.Table, labels: Sequence[tuple[str, str]], columns: int = 6
) -> Sheet | None:
    """The middle frames of clips with a caption each: (clip_id, caption) in order. Clips without a readable frame are left out."""
    return contact_sheet(_labelled(storage, frames, labels), columns)


def sheet_of_rows(
    storage: Storage, frames: pa.Table, rows: Sequence[Sequence[tuple[str, str]]], columns: int
) -> Sheet | None:
    """As `labelled_sheet`, several groups of up to `columns` clips below each other."""
    pictures: list[tuple[bytes, str]] = []
    for labels in rows:
        own = _labelled(storage, frames, labels)
        pictures += [*own, *[(b"", "")] * (columns - len(own))] if own else []
    return contact_sheet(pictures, columns)


def _labelled(storage: Storage, frames: pa.Table, labels: Sequence[tuple[str, str]]) -> list[tuple[bytes, str]]:
    rows = middle_frames(frames, [clip for clip, _ in labels])
    pictures = []
    for clip, label in labels:
        if clip not in rows:
            continue
        row = rows[clip]
        try:
            pictures.append((storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])), label))
        except StorageError:
            continue
    return pictures


def pictured_table(
    storage: Storage, frames: pa.Table, header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Sheet | Markdown | None:
    """The middle frames of clips, numbered as the rows of a table beside them, which begin with a clip's id. The table alone where no frame can
    be read; None without rows."""
    table = markdown_table(("picture", *header), [(n, *row) for n, row in enumerate(rows, 1)])
    sheet = labelled_sheet(storage, frames, [(row[0], f"{n} {row[0]}") for n, row in enumerate(rows, 1)])
    return table if sheet is None else sheet.saying(table)


def clip_sheet(storage: Storage, frames: pa.Table) -> Sheet | None:
    """A contact sheet of clips spread evenly over the shard."""
    clips = list(dict.fromkeys(frames["clip_id"].to_pylist()))
    step = max(1, len(clips) // MOST)
    return labelled_sheet(storage, frames, [(c, c) for c in clips[::step][:MOST]])


def ranked_sheet(storage: Storage, frames: pa.Table, scores: pa.Table, column: str, each: int = 6) -> Sheet | None:
    """Clips with the lowest, the middle and the highest values of a score, a row of each."""
    known = scores.filter(pc.is_valid(scores[column])).select(["clip_id", column]).sort_by(column).to_pylist()
    if len(known) <= 3 * each:
        chosen = known
    else:
        middle = len(known) // 2 - each // 2
        chosen = [*known[:each], *known[middle : middle + each], *known[-each:]]
    return labelled_sheet(storage, frames, [(row["clip_id"], f"{column} {row[column]:.3g}") for row in chosen], each)


def ranked_table(
    storage: Storage, frames: pa.Table, scores: Mapping[str, pa.Table], column: str
) -> Sheet | Markdown | None:
    """The clips with the lowest, the median and the highest value of several scores, a row for each score, and a picture of each.

    Args:
        scores: heading of a row -> the table whose `column` is ranked.

    Returns:
        The table alone where no picture can be read; None if no score has values.
    """
    chosen: dict[str, list[dict[str, Any]]] = {}
    for name, table in scores.items():
        known = table.filter(pc.is_valid(table[column])).select(["clip_id", column]).sort_by(column)
        if n := known.num_rows:
            chosen[name] = known.take([0, n // 2, n - 1]).to_pylist()
    table = markdown_table(
        (column, "lowest", "median", "highest"),
        [(name, *(f"{row[column]:.3g}" for row in rows)) for name, rows in chosen.items()],
    )
    labels = [(row["clip_id"], f"{row[column]:.3g} {name}") for name, rows in chosen.items() for row in rows]
    sheet = labelled_sheet(storage, frames, labels, columns=3)
    return table if sheet is None else sheet.saying(table)
