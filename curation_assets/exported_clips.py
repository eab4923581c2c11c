"""What a subset exports, read back sample by sample: a part of the Python API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.clip_dataset import TABLE
from curation_assets.publish.curating.side_by_side import side_by_side
from curation_assets.registry import JUDGED
from curation_resources.media import MediaRef

if TYPE_CHECKING:
    from curation_assets.api import Installation

READ_ROWS = 4096
"""Rows of both tables that are read at a time."""


@dataclass(frozen=True)
class Sample:
    """An exported clip.

    Attributes:
        row: its row of `clip_dataset`.
        curated: its row of the subset's table: scores, caption, licence.
    """

    row: Mapping[str, Any]
    curated: Mapping[str, Any]
    _export: ExportedClips

    @property
    def key(self) -> str:
        """Its key within tars and lists."""
        return str(self.row["sample_key"])

    @property
    def split(self) -> str:
        """train, val or test."""
        return str(self.row["split"])

    def mp4(self) -> bytes:
        """Its file.

        Raises:
            StorageError: it cannot be read.
        """
        media = MediaRef(self.row["tar"], self.row["offset"], self.row["size"])
        return self._export.installation.store.storage.read_media(media)


class ExportedClips:
    """What a subset exports, sample by sample in order of clips; the samples of some thousand rows are held at a time.

    Attributes:
        version: name of the version in force.
    """

    def __init__(self, installation: Installation, subset: str, version: str) -> None:
        self.installation, self.subset, self.version = installation, subset, version

    def __iter__(self) -> Iterator[Sample]:
        store = self.installation.store
        kind = "tracks" if store.exists(JUDGED["tracks"], self.subset) else "clips"
        name = f"{kind.removesuffix('s')}_id"
        for chosen, made in side_by_side(self._selected(JUDGED[kind]), self._exported()):
            curated = {(r["dataset"], r[name]): r for r in chosen.to_pylist()}
            for row in made.filter(pc.equal(made["status"], "ok")).to_pylist():
                key = row["track_id"] or row["clip_id"]
                yield Sample(row, curated.get((row["dataset"], key), {}), self)

    def _selected(self, asset: str) -> Iterator[pa.Table]:
        for batch in self.installation.store.batches(asset, None, READ_ROWS, self.subset):
            rows = pa.Table.from_batches([batch]).replace_schema_metadata(None)
            yield rows.filter(rows["selected"])

    def _exported(self) -> Iterator[pa.RecordBatch]:
        store = self.installation.store
        yield pa.RecordBatch.from_pylist([], store.form(TABLE.asset, self.subset).remove_metadata())
        yield from store.batches(TABLE.asset, None, READ_ROWS, self.subset)

    def __len__(self) -> int:
        batches = self.installation.store.batches(TABLE.asset, ["status"], 1 << 16, self.subset)
        return sum(pc.sum(pc.equal(b["status"], "ok")).as_py() or 0 for b in batches)
