"""What was chosen, kept with the index: an update chooses anew only among the clips that what is new has to do with, and takes the other rows as they were.

Who survives is decided within each set of clips that are connected, by matches, by one fingerprint or by one source span. A set in which nothing is new keeps its rows.

What belongs here: which clips are concerned, and the rows that are kept. What does not: choosing (`clusters`, `survivors`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup import index_files as dedup_files
from curation_assets.dedup.align import Matches
from curation_assets.dedup.index_files import open_blocks
from curation_assets.dedup.library import Library
from curation_assets.dedup.segments import among
from curation_resources.storage import Storage

MOST_STEPS: Final = 64
"""Sets in which clips are further apart are not followed: all is chosen anew."""

MOST_SHARE: Final = 0.25
"""Of all clips, beyond which it is not worth the while."""

BLOCK_ROWS: Final = 1 << 18
_ID: Final = 16
_NAME: Final = "chosen"
_SIGNATURE: Final = "signature"

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Earlier:
    """What was chosen before an update that only added clips.

    Attributes:
        rows: of `duplicate_clusters`.
        signature: uint64, of the clip of each row.
        new: uint64, sorted, signatures of new clips and of those that match one.
    """

    rows: pa.Table
    signature: Hashes
    new: Hashes


def write_chosen(
    storage: Storage, folder: str, of: str, survivor: str, rows: pa.Table, signature: Hashes
) -> dict[str, Any]:
    """Writes the rows with the signatures of their clips, and returns the manifest's entry.

    Args:
        of: the file of matches from which they were chosen.
        survivor: how.
    """
    table = rows.append_column(_SIGNATURE, pa.array(signature))
    file = f"chosen-{of.removeprefix('matches-').removesuffix('.arrow')}-{survivor}.blocks"
    blocks = [(_NAME, table.slice(k, BLOCK_ROWS)) for k in range(0, max(1, len(table)), BLOCK_ROWS)]
    digest = dedup_files.write_blocks(storage, f"{folder}/{file}", blocks)
    return {"file": file, "hash": digest, "of": of, "survivor": survivor}


def read_chosen(storage: Storage, folder: str, entry: Mapping[str, Any], new: Hashes) -> Earlier:
    """
    Raises:
        DamagedIndex: its bytes are not those that were written.
    """
    file = open_blocks(storage, f"{folder}/{entry['file']}", entry["hash"])
    table = pa.concat_tables([file.read(_NAME, k) for k in range(len(file.rows(_NAME)))])
    return Earlier(table.drop_columns([_SIGNATURE]), table[_SIGNATURE].to_numpy(), new)


def concerned(library: Library, matches: Matches, new: Hashes) -> Hashes | None:
    """Signatures of all clips that are connected with new ones, sorted; None if they are too many to be told apart.

    Args:
        matches: accepted pairs, by signatures.
        new: sorted.
    """
    found = reached = new
    for _ in range(MOST_STEPS):
        touched = among(matches.short, reached) | among(matches.long, reached)
        ends = [matches.short[touched], matches.long[touched]]
        exact = np.unique(library.of_rows("exact", library.rows_with("signature", reached)))
        exact = exact[exact != 0]
        if len(exact):
            ends.append(library.of_rows("signature", library.rows_with("exact", exact)))
        reached = np.unique(np.concatenate(ends).astype(np.uint64))
        reached = reached[~among(reached, found)]
        if not len(reached):
            return found
        found = np.sort(np.concatenate([found, reached]))
        if len(found) > MOST_SHARE * library.distinct:
            return None
    return None


def with_chosen(
    earlier: Earlier, again: Hashes, rows: pa.Table, signature: Hashes, shards: Sequence[str]
) -> tuple[pa.Table, Hashes]:
    """The rows of before but those of clips that are concerned, and rows that were chosen now, in order, with their signatures.

    Args:
        again: signatures of the clips that are concerned, sorted.
        rows, signature: what was chosen among them.
        shards: keys of all shards, sorted.
    """
    stay = ~among(earlier.signature, again)
    table = pa.concat_tables([earlier.rows.filter(pa.array(stay)), rows]).combine_chunks()
    order = _in_order(table, shards)
    both = np.concatenate([earlier.signature[stay], signature])
    return table.take(pa.array(order)), both[order]


def _in_order(table: pa.Table, shards: Sequence[str]) -> NDArray[np.int64]:
    """Places of the rows by shard and cluster; rows of one cluster are in order already, since all of them come from one side."""
    shard = pc.index_in(table["shard"], pa.array(shards, pa.string())).to_numpy()
    ids = table["cluster_id"].cast(pa.binary()).cast(pa.binary(_ID)).combine_chunks()
    data = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * _ID : (ids.offset + len(ids)) * _ID]
    halves = data.copy().view(">u8").reshape(-1, 2).astype(np.uint64)
    return np.lexsort((halves[:, 1], halves[:, 0], shard))
