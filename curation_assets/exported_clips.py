"""What a subset exports, read back sample by sample: a part of the Python API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds

from curation_assets.publish.clip_dataset import TABLE
from curation_assets.registry import JUDGED
from curation_resources.media import MediaRef

if TYPE_CHECKING:
    from curation_assets.api import Installation


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
    """What a subset exports, sample by sample in order of clips.

    Attributes:
        version: name of the version in force.
    """

    def __init__(self, installation: Installation, subset: str, version: str) -> None:
        self.installation, self.subset, self.version = installation, subset, version

    def __iter__(self) -> Iterator[Sample]:
        store = self.installation.store
        kind = "tracks" if store.exists(JUDGED["tracks"], self.subset) else "clips"
        name = f"{kind.removesuffix('s')}_id"
        curated = {
            (r["dataset"], r[name]): r
            for r in store.read(JUDGED[kind], self.subset, filters=ds.field("selected")).to_pylist()
        }
        for row in store.read(TABLE.asset, self.subset, filters=ds.field("status") == "ok").to_pylist():
            key = row["track_id"] or row["clip_id"]
            yield Sample(row, curated.get((row["dataset"], key), {}), self)

    def __len__(self) -> int:
        table = self.installation.store.read(TABLE.asset, self.subset, columns=["status"])
        return int(sum(s == "ok" for s in table["status"].to_pylist()))
