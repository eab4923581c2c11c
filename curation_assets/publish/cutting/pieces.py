"""Pieces of an export: the cut clips of a subset, shard by shard, kept in storage until a version is published from them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_resources import sealed_parquet
from curation_resources.journal import sealed_line, unsealed
from curation_resources.storage import Storage
from curation_resources.tars import new_token

log = logging.getLogger(__name__)
SPENT = ".spent.json"
COVERS_SUFFIX = ".faces.parquet"
BEGUN = ".begun"
ATTEMPTS_KEY = b"curation.attempts"
"""Metadata of the table of a piece that was begun: attempts by key at the clips that it lacks."""


@dataclass(frozen=True)
class Pieces:
    """Cut clips of a subset, shard by shard, kept in storage until the export is committed, so that a killed run is resumed.

    A piece is `<folder>/<shard>-<fingerprint>.parquet` with its tars beside it; the fingerprint is that of its clips. Where its faces and
    plates were covered stands in `<folder>/<shard>-<fingerprint>.faces.parquet`.
    """

    storage: Storage
    folder: str

    def name(self, shard: str, cuts: Sequence[ClipToCut]) -> str:
        """Path of a piece without its suffix; it changes when a clip or what decides its bytes does."""
        digest = hashlib.sha256("\n".join(sorted(f"{c.key} {c.fingerprint}" for c in cuts)).encode()).hexdigest()[:16]
        return f"{self.folder}/{shard}-{digest}"

    def get(self, shard: str, cuts: Sequence[ClipToCut]) -> pa.Table | None:
        """The finished piece of these cuts; None if there is none."""
        return self.read(f"{self.name(shard, cuts)}.parquet") if self.covers(shard, cuts) is not None else None

    def covers(self, shard: str, cuts: Sequence[ClipToCut]) -> pa.Table | None:
        """Where faces and plates of a finished piece were covered; schema `COVERS`; None if there is none."""
        return self.read(f"{self.name(shard, cuts)}{COVERS_SUFFIX}")

    def read(self, path: str) -> pa.Table | None:
        """A table of the folder; None if there is none, or its bytes are not those that were written: then what it holds is made again."""
        if not self.storage.exists(path):
            return None
        try:
            return sealed_parquet.read_bytes(self.storage.read(path))
        except sealed_parquet.Damaged as error:
            log.warning("%s is damaged (%s); what it holds is made again", path, error)
            return None

    def put(self, shard: str, cuts: Sequence[ClipToCut], table: pa.Table, covers: pa.Table) -> None:
        """Keeps a finished piece: rows of `clip_dataset`, and where faces and plates of its clips were covered (schema `COVERS`)."""
        self.write(f"{self.name(shard, cuts)}{COVERS_SUFFIX}", covers)
        self.write(f"{self.name(shard, cuts)}.parquet", table)

    def write(self, path: str, table: pa.Table) -> None:
        """Puts a table into the folder."""
        with self.storage.publish(path) as file:
            sealed_parquet.write_table(table, file)

    def begun(self, shard: str, cuts: Sequence[ClipToCut]) -> tuple[pa.Table | None, pa.Table | None, dict[str, int]]:
        """Of a piece that could not be finished: the clips that were cut, where was covered in them, attempts at the others by key."""
        name = f"{self.name(shard, cuts)}{BEGUN}"
        table, covers = self.read(f"{name}.parquet"), self.read(f"{name}{COVERS_SUFFIX}")
        if table is None or covers is None:
            return None, None, {}
        return table, covers, json.loads((table.schema.metadata or {}).get(ATTEMPTS_KEY, b"{}"))

    def put_begun(
        self, shard: str, cuts: Sequence[ClipToCut], table: pa.Table, covers: pa.Table, attempts: Mapping[str, int]
    ) -> None:
        """Keeps the clips of a piece that could not be finished; `attempts` are those at the clips that it lacks, by sample key."""
        name = f"{self.name(shard, cuts)}{BEGUN}"
        self.write(f"{name}{COVERS_SUFFIX}", covers)
        self.write(f"{name}.parquet", table.replace_schema_metadata({ATTEMPTS_KEY: json.dumps(dict(attempts))}))

    def note_spent(self, shard: str, numbers: Mapping[str, float]) -> None:
        """Keeps what an attempt at the piece of a shard took."""
        self.storage.write(
            f"{self.folder}/{shard}-{new_token()}{SPENT}", sealed_line(json.dumps(dict(numbers)).encode())
        )

    def spent(self) -> Iterator[dict[str, float]]:
        """What was noted, an attempt each."""
        for name in self.storage.list(self.folder):
            if name.endswith(SPENT) and (said := unsealed(self.storage.read(f"{self.folder}/{name}"))) is not None:
                yield json.loads(said)

    def clear(self) -> None:
        """Removes all pieces; the tables first, so that none is left that names what is gone."""
        for name in sorted(
            self.storage.list(self.folder), key=lambda n: (not n.endswith(".parquet"), n.endswith(COVERS_SUFFIX), n)
        ):
            self.storage.remove(f"{self.folder}/{name}")
