"""What a committed table says of itself in its footer: how that is written and read."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_resources.content_hash import HashParts
from curation_resources.file_facts import is_uri
from curation_resources.provenance import Provenance, canonical_json
from curation_resources.replace import ANY, Whatever

if TYPE_CHECKING:
    import pyarrow.parquet as pq

PREFIX = "curation."
HASH_PARTS = b"curation.hash_parts"
SHEET, SHEET_FILE = "sheet", "sheet.jpg"
KEPT_FILE = "kept_answers.parquet"
"""In a partition's folder, beside what its table names: answers that may be wanted again."""
"""Where a table's stats have the hash of its contact sheet, and the sheet's name in the partition's folder."""
FILES = "files"
"""Where a table's stats have the files that no row names."""
MEDIA_NAMED = 1000
"""Tars that a footer names at most; of a table of more, they are read from its rows."""


@dataclass(frozen=True)
class TableHeader:
    """What a committed table says of itself, read from the footer alone.

    Attributes:
        tag: of the file that said so, by which `commit` knows whether it is still in force; None if it is not known.
        media: own tar -> bytes that it must have at least; None if the footer does not say.
        size: bytes of the file; None if that is not known.
    """

    asset: str
    partition: str | None
    rows: int
    provenance: Provenance
    fingerprint: str
    content_hash: str
    stats: Mapping[str, Any]
    tag: str | None = field(default=None, compare=False, repr=False)
    media: Mapping[str, int] | None = field(default=None, compare=False, repr=False)
    size: int | None = field(default=None, compare=False, repr=False)

    @property
    def sheet(self) -> str | None:
        """Hash of the contact sheet beside the table; None if it has none."""
        return self.stats.get(SHEET)

    @property
    def files(self) -> Mapping[str, int]:
        """Further files that belong to the table and that no row names, path -> bytes that each must have at least: card and lists of a version."""
        return self.stats.get(FILES, {})


Base = TableHeader | Whatever | None
"""What a commit may replace: the table with this header, none at all, or whatever there is."""


def footer_metadata(header: TableHeader) -> dict[bytes, bytes]:
    """The entries of a Parquet footer that say how a table was made."""
    p = header.provenance
    values = {
        "asset": header.asset,
        "partition": header.partition or "",
        "code_version": p.code_version,
        "params": canonical_json(p.params),
        "inputs": canonical_json(dict(p.inputs)),
        "weights": canonical_json(dict(p.weights)),
        "fingerprint": header.fingerprint,
        "content_hash": header.content_hash,
        "stats": canonical_json(dict(header.stats)),
    }
    if header.media is not None and len(header.media) <= MEDIA_NAMED:
        values["media"] = canonical_json(dict(header.media))
    return {f"{PREFIX}{k}".encode(): v.encode() for k, v in values.items()}


def parts_metadata(digest: str | HashParts) -> dict[bytes, bytes]:
    """The entry of a Parquet footer that keeps what a content hash is made of; none where that is not known."""
    return {} if isinstance(digest, str) else {HASH_PARTS: canonical_json(asdict(digest)).encode()}


def read_parts(metadata: Mapping[bytes, bytes]) -> HashParts | None:
    """What the entries of a footer say of that; None where they do not."""
    return HashParts(**json.loads(metadata[HASH_PARTS])) if HASH_PARTS in metadata else None


def read_header(asset: str, partition: str | None, metadata: pq.FileMetaData, tag: str | None) -> TableHeader:
    """What a Parquet footer says of the table `asset`; `tag` is of the file that it was read from."""
    raw = {k.decode(): v.decode() for k, v in (metadata.metadata or {}).items() if k.startswith(PREFIX.encode())}

    def get(name: str, default: str = "") -> str:
        return raw.get(PREFIX + name, default)

    provenance = Provenance(
        get("code_version"),
        json.loads(get("params", "null")),
        json.loads(get("inputs", "{}")),
        json.loads(get("weights", "{}")),
    )
    return TableHeader(
        asset,
        partition,
        metadata.num_rows,
        provenance,
        get("fingerprint"),
        get("content_hash"),
        json.loads(get("stats", "{}")),
        tag,
        json.loads(get("media", "null")),
    )


def expected_tag(base: Base) -> str | Whatever | None:
    """What `Storage.replace` is to expect of the table that a commit replaces."""
    if isinstance(base, TableHeader):
        return ANY if base.tag is None else base.tag
    return base


def media_columns(names: Collection[str]) -> list[str]:
    """Of a table's columns those that say where media lie: of each sample, and of sound beside its pictures where tables have such."""
    places = ([f"{of}{name}" for name in ("tar", "offset", "size")] for of in ("", "audio_"))
    return [name for place in places if set(place) <= set(names) for name in place]


def own_media(parts: Iterable[pa.Table], most: int | None = None) -> dict[str, int] | None:
    """Own tar -> end of the last member that the parts of a table name; those referenced in place are not own. None if they have no such columns, or if
    the tars are more than `most`."""
    found: dict[str, int] | None = None
    for table in parts:
        if not media_columns(table.column_names):
            return None
        found = found or {}
        for tar, end in ends_of(table).items():
            found[tar] = max(found.get(tar, 0), end)
        if most is not None and len(found) > most:
            return None
    return found


def ends_of(table: pa.Table) -> dict[str, int]:
    """Own tar -> end of the last member that some rows name."""
    found: dict[str, int] = {}
    columns = media_columns(table.column_names)
    for start in range(0, len(columns), 3):
        used = table.select(columns[start : start + 3]).rename_columns(["tar", "offset", "size"])
        used = used.filter(pc.is_valid(used["tar"]))
        ends = used.append_column("end", pc.add(pc.fill_null(used["offset"], 0), pc.fill_null(used["size"], 0)))
        for row in ends.group_by("tar").aggregate([("end", "max")]).to_pylist():
            if not is_uri(row["tar"]):
                found[row["tar"]] = max(found.get(row["tar"], 0), row["end_max"])
    return found
