"""Tombstones: which videos must not come back, told by keyed hashes of their ids, addresses and bytes and by nothing else.

They lie in `forgotten.parquet` in the storage root, a row per hash. `dataset_index` leaves out what they name, `raw_shards` refuses what
turns out to be of a channel that was taken down, or to have the bytes of a video that was. A hash keeps a name from being read, not from being tried: whoever holds the file
and a list of ids can tell which of them are in it. So the key is the installation's own, and the file is no part of what is published.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.samples import whole_store
from curation_assets.ingest.sources import RejectedLine, SourceRow
from curation_assets.ingest.sources.rows import id_of_url, unsigned, youtube_id
from curation_resources.provenance import Provenance
from curation_resources.tables import MissingTable, TableStore
from curation_resources.urls import host_of, public_url

ASSET = "forgotten"
_WORD = re.compile(r"[A-Za-z0-9_-]{4,64}")
_FORM = pa.schema(
    [("digest", pa.string()), ("kind", pa.string()), ("since", pa.string()), ("reason", pa.string())],
)


def id_key(dataset: str, video_id: str) -> str:
    """What a tombstone of a dataset's id hashes: ids of two datasets are two."""
    return f"id {dataset}\0{video_id}"


def url_keys(url: str) -> Iterator[str]:
    """What tombstones of an address hash, in whichever dataset it stands: the address without secrets, and YouTube's id, however written."""
    yield f"url {unsigned(public_url(url))}"
    if found := youtube_id(url):
        yield f"youtube {found}"


def place_key(dataset: str, location: str) -> str:
    """What a tombstone of a file hashes: its path within the source."""
    return f"at {dataset}\0{location}"


def domain_keys(url: str) -> Iterator[str]:
    """The host of an address and the domains above it."""
    parts = host_of(url).split(":")[0].split(".")
    for start in range(max(0, len(parts) - 1)):
        yield f"domain {'.'.join(parts[start:])}"


def channel_key(channel: str) -> str:
    return f"channel {channel.strip().casefold()}"


def bytes_keys(size: int, sha256: str) -> tuple[str, str]:
    """What tombstones of a file's bytes hash. That of its size alone spares reading other files whole, in place or from a bucket."""
    return f"size {size}", f"bytes {sha256}"


@dataclass(frozen=True)
class Forgotten:
    """What is not to come back. Without tombstones every question is answered at once."""

    salt: str = ""
    digests: frozenset[str] = field(default=frozenset(), repr=False)
    kinds: frozenset[str] = frozenset()

    @property
    def identity(self) -> str:
        """What changes when there are other tombstones; empty without any."""
        return hashlib.sha256("\n".join(sorted(self.digests)).encode()).hexdigest() if self.digests else ""

    def __contains__(self, key: str) -> bool:
        return bool(self.digests) and digest(self.salt, key) in self.digests

    def any_of(self, keys: Iterable[str]) -> bool:
        return bool(self.digests) and any(digest(self.salt, k) in self.digests for k in keys)

    def row(self, dataset: str, row: SourceRow | RejectedLine) -> bool:
        """Whether a row of a source, or the words of a line that could not be read as one, are of a video that was taken down."""
        if not self.digests:
            return False
        if isinstance(row, RejectedLine):
            words = set(_WORD.findall(row.text))
            return self.any_of(k for w in words for k in (id_key(dataset, w), f"youtube {w}"))
        keys = list(url_keys(row.url)) if row.url else []
        if row.location is not None:
            media = row.extra.get("media")
            offset = media.get("offset") if isinstance(media, dict) else None
            keys = [place_key(dataset, row.location)]
            keys += [] if offset is not None or not row.url else list(url_keys(row.url))
        else:
            keys.append(id_key(dataset, row.video_id or id_of_url(row.url or "")))
        if "domain" in self.kinds and row.url:
            keys += domain_keys(row.url)
        return self.any_of(keys)

    def channel(self, name: str | None) -> bool:
        """Whether a channel was taken down as a whole."""
        return "channel" in self.kinds and name is not None and channel_key(name) in self

    def of_size(self, size: int) -> bool:
        """Whether a file is as long as one that was taken down, so that its bytes are to be looked at."""
        return "bytes" in self.kinds and f"size {size}" in self

    def same_bytes(self, sha256: str) -> bool:
        """Whether these are the bytes of a video that was taken down; their SHA-256, hexadecimal."""
        return f"bytes {sha256}" in self


def digest(salt: str, key: str) -> str:
    """128 bits of keyed BLAKE2b, hexadecimal."""
    return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16, key=salt.encode()[:64]).hexdigest()


@dataclass(frozen=True)
class Tombstone:
    """What is known of something that was taken down.

    Attributes:
        dataset: of whose video it is the id or the file; empty for an address, which is kept out of all.
        since: the day, ISO 8601.
        reason: as it was given.
    """

    dataset: str
    since: str
    reason: str

    @property
    def said(self) -> str:
        of = f" of {self.dataset}" if self.dataset else ""
        return f"a video{of} that was taken down on {self.since}{f' ({self.reason})' if self.reason else ''}"


def tombstones_of(store: TableStore, given: str, datasets: Iterable[str]) -> list[Tombstone]:
    """The tombstones of an id, an address or a file of a source, if what is given is one.

    Args:
        given: an id, an address or the path of a file, as it was before.
        datasets: those whose ids and files are tried: a hash says of none that it is of it.
    """
    store = whole_store(store)
    header = store.header(ASSET)
    if header is None:
        return []
    datasets, salt = list(datasets), str(header.provenance.params["salt"])
    parts = [p for p in given.removeprefix("file:").split("/") if p]
    places = [given, *("/".join(parts[n:]) for n in range(len(parts)))] if "://" not in given else []
    keys = {id_key(d, given): d for d in datasets} | {place_key(d, place): d for d in datasets for place in places}
    keys |= dict.fromkeys(url_keys(given) if "://" in given else [f"youtube {given}"], "")
    if "://" not in given:  # a list may name files of this machine, whose whole path is their address
        keys |= dict.fromkeys(url_keys(os.path.abspath(os.path.expanduser(given.removeprefix("file:")))), "")
    of = {digest(salt, key): dataset for key, dataset in keys.items()}
    rows = store.read(ASSET, filters=pc.field("digest").isin(list(of))).to_pylist()
    found = dict.fromkeys(Tombstone(of[r["digest"]], r["since"], r["reason"]) for r in rows)
    return [t for t in found if t.dataset] or list(found)


def read_forgotten(store: TableStore) -> Forgotten:
    """The tombstones of a storage root; those of a sample are the whole's."""
    store = whole_store(store)
    header = store.header(ASSET)
    if header is None:
        return Forgotten()
    try:
        table = store.read(ASSET)
    except MissingTable:
        return Forgotten()
    salt = str(header.provenance.params["salt"])
    return Forgotten(salt, frozenset(table["digest"].to_pylist()), frozenset(table["kind"].to_pylist()))


def add_tombstones(store: TableStore, keys: Iterable[str], reason: str) -> int:
    """Adds tombstones, from a sample to the whole's; returns how many are new. Written before anything is removed."""
    store = whole_store(store)
    header = store.header(ASSET)
    old = store.read(ASSET) if header is not None else _FORM.empty_table()
    salt = str(header.provenance.params["salt"]) if header is not None else secrets.token_hex(16)
    known = set(old["digest"].to_pylist())
    new: dict[str, tuple[str, str]] = {}
    for key in keys:
        found = digest(salt, key)
        if found not in known:
            new[found] = (key.split(" ", 1)[0], key)
    if not new and header is not None:
        return 0
    since = datetime.now(UTC).date().isoformat()
    rows = [{"digest": d, "kind": kind, "since": since, "reason": reason} for d, (kind, _) in new.items()]
    table = pa.concat_tables([old.select(_FORM.names).cast(_FORM), pa.Table.from_pylist(rows, schema=_FORM)])
    store.commit(ASSET, None, table.sort_by("digest"), Provenance("1", {"salt": salt}))
    return len(new)
