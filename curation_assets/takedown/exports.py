"""Published versions without the samples of the videos that are taken down.

A version is amended where it lies and keeps its name, in all versions of all subsets: its tars and lists are replaced, each atomically, by ones
without the samples; README.md and croissant.json say what is left; `removed.json` says how many samples went and when, with a SHA-256 of each
sample's key, by which whoever holds a copy finds what to delete and nobody else learns what was taken down.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.dataset_card import CardFacts, hours_table, shares_table
from curation_assets.recipes import Recipe
from curation_assets.takedown.plan import Plan, Say, pattern, token
from curation_assets.takedown.tables import Done, key_of, members, rewrite_tar, subset_provenance
from curation_resources.storage import MediaRef, Storage
from curation_resources.tables import TableStore

EXPORTS = ("clip_dataset", "embedding_dataset", "curated_tracks")
REMOVED = "removed.json"
MEDIA = ("mp4", "npy", "txt", "json")
"""Endings of the files of samples that lie by themselves."""


Licences = Mapping[tuple[str, str], tuple[str | None, str | None]]
"""(dataset, video_id) -> licence and channel."""


def subfolders(storage: Storage, folder: str) -> list[str]:
    """Names of the folders directly in `folder`."""
    fs, name = storage.filesystem(folder)
    try:
        entries = fs.ls(name, detail=True, refresh=True) if "s3" in str(fs.protocol) else fs.ls(name, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(e["name"].rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")


def files_below(storage: Storage, folder: str) -> list[str]:
    """Paths of all files below `folder`, relative to it."""
    found = list(storage.list(folder))
    for name in subfolders(storage, folder):
        found += [f"{name}/{n}" for n in files_below(storage, f"{folder}/{name}")]
    return found


@dataclass
class Version:
    """A version as it is amended.

    Attributes:
        keys: sample keys of the videos that were found in it.
        changed: files that were rewritten or removed.
        facts: what is left, counted.
        unknown: files that name the videos and that nothing here can rewrite.
        licences: licence and channel of videos, for samples that do not say them.
    """

    storage: Storage
    folder: str
    plan: Plan
    licences: Callable[[], Licences]
    keys: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)

    def owns(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a list, or the JSON of a sample, is of one of the videos."""
        key = str(row.get("key") or row.get("sample_key") or "")
        if key and key in self.keys:
            return True
        video = row.get("video_id") or row.get("yid")
        dataset = row.get("dataset")
        return any(video == v.video_id and dataset in (None, v.dataset) for v in self.plan.videos)


def samples_in_versions(storage: Storage, plan: Plan) -> Iterator[tuple[str, int]]:
    """Folder of each version, in force or older, that holds samples of the videos, and how many."""
    for asset in EXPORTS:
        for key in subfolders(storage, asset):
            for name in subfolders(storage, f"{asset}/{key}"):
                folder = f"{asset}/{key}/{name}"
                version = Version(storage, folder, plan, dict)
                if name != "pieces" and (keys := set(_keys_in(version, files_below(storage, folder)))):
                    yield folder, len(keys)


def forget_in_exports(store: TableStore, recipes: Mapping[str, Recipe], plan: Plan, say: Say) -> Done:
    """Amends all versions, and the tables that name their samples. What is done already is left as it is."""
    licences = lru_cache(maxsize=1)(lambda: _licences(store))
    done: Done = []
    for asset in EXPORTS:
        for key in subfolders(store.storage, asset):
            folder = f"{asset}/{key}"
            for name in subfolders(store.storage, folder):
                if name == "pieces":
                    _clear_pieces(store.storage, f"{folder}/{name}", say)
                else:
                    amend_version(store.storage, f"{folder}/{name}", plan, licences, say)
        if asset != "curated_tracks":
            for key in store.partitions(asset):
                done += _table(store, recipes, plan, asset, key, say)
    return done


def _licences(store: TableStore) -> Licences:
    found: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    for shard in store.partitions("raw_shards"):
        table = store.read("raw_shards", shard, columns=["dataset", "video_id", "licence", "channel"])
        found |= {(r["dataset"], r["video_id"]): (r["licence"], r["channel"]) for r in table.to_pylist()}
    return found


def _clear_pieces(storage: Storage, folder: str, say: Say) -> None:
    """What a run that did not end has cut already is cut again by the next: pieces hold clips of any of the subset's videos."""
    names = storage.list(folder)
    for name in sorted(names, key=lambda n: (not n.endswith(".parquet"), n)):
        storage.remove(f"{folder}/{name}")
    if names:
        say(f"{folder}: {len(names)} files of a run that had not ended")


def amend_version(storage: Storage, folder: str, plan: Plan, licences: Callable[[], Licences], say: Say) -> Version:
    """Removes the samples of the videos from a version and says so in it."""
    version = Version(storage, folder, plan, licences)
    names = files_below(storage, folder)
    version.keys = set(_keys_in(version, names))
    if not version.keys and not _unfinished(storage, folder):
        return version
    if _unfinished(storage, folder):
        version.changed |= set(names)  # whatever was rewritten before the run was killed
    if version.keys:
        _note(version, complete=False)
    for name in names:
        if name in ("README.md", "croissant.json", REMOVED):
            continue
        _amend_file(version, name)
    _describe(version)
    _note(version, complete=True)
    say(
        f"{folder}: {len(version.keys)} samples, {len(version.changed)} files"
        + "".join(f"; cannot rewrite {n}" for n in version.unknown)
    )
    return version


def _suspects(plan: Plan) -> re.Pattern[str]:
    """What the sample keys of the videos begin with; keys of ids with other characters have `_` in their place and a hash behind."""
    parts = {re.escape(re.sub(r"[^A-Za-z0-9_-]", "_", v.video_id)[:80]) for v in plan.videos}
    return re.compile("|".join(sorted(parts, key=len, reverse=True)))


def _keys_in(version: Version, names: Iterable[str]) -> Iterator[str]:
    """Sample keys of the videos, told by each sample's JSON or by the version's lists."""
    storage, folder = version.storage, version.folder
    suspect = _suspects(version.plan)
    for name in names:
        path = f"{folder}/{name}"
        if name.endswith(".tar"):
            for m in members(storage, path):
                key = key_of(m.name)
                if m.name.endswith(".json") and suspect.search(key):
                    record = json.loads(storage.read_media(MediaRef(path, m.offset_data, m.size)))
                    if version.owns(record):
                        yield key
        elif name.endswith(".parquet"):
            for row in _rows(storage, path):
                if version.owns(row):
                    yield from filter(None, [row.get("key") or row.get("sample_key")])
        elif name.endswith("metadata.csv"):
            for row in spreadsheets.rows(storage.read(path).decode("utf-8")):
                if version.owns(row):
                    yield row["key"]
        elif name.endswith(".json") and "/" in name and suspect.search(name):
            if version.owns(json.loads(storage.read(path))):
                yield key_of(name)
        elif name.endswith(".jsonl.gz"):
            for line in gzip.decompress(storage.read(path)).splitlines():
                record = json.loads(line)
                if version.owns(record):
                    yield str(record.get("track_id") or record.get("mp4_filename") or record.get("yid"))


def _rows(storage: Storage, path: str) -> Iterator[dict[str, Any]]:
    with storage.open(path) as file, pq.ParquetFile(file) as table:
        wanted = [n for n in ("dataset", "video_id", "key", "sample_key") if n in table.schema_arrow.names]
        for batch in table.iter_batches(columns=wanted):
            yield from batch.to_pylist()


def _amend_file(version: Version, name: str) -> None:
    storage, path = version.storage, f"{version.folder}/{name}"
    if name.endswith(".tar"):
        moved = rewrite_tar(storage, path, path, lambda m: key_of(m.name) in version.keys)
        if moved is not None:
            version.changed.add(name)
            if not moved:
                storage.remove(path)
    elif name.rsplit(".", 1)[-1] in MEDIA and "/" in name and key_of(name) in version.keys:
        storage.remove(path)
        version.changed.add(name)
    elif name.endswith(".parquet"):
        _amend_parquet(version, name, path)
    elif name.endswith(".csv"):
        _amend_csv(version, name, path)
    elif name.endswith(".jsonl.gz"):
        _amend_lines(version, name, path)
    elif "/" not in name and (
        mentioned := pattern_of(version.plan).search(storage.read(path).decode("utf-8", "replace"))
    ):
        version.unknown.append(f"{name} (it says {mentioned[0][:20]!r})")


def pattern_of(plan: Plan) -> re.Pattern[str]:
    return re.compile("|".join(token(v.video_id) for v in plan.videos))


def _amend_parquet(version: Version, name: str, path: str) -> None:
    with version.storage.open(path) as file:
        table = pq.read_table(file)
    wanted = [n for n in ("dataset", "video_id", "key", "sample_key") if n in table.column_names]
    gone = [version.owns(r) for r in table.select(wanted).to_pylist()]
    if not any(gone):
        return
    with tempfile.TemporaryDirectory(prefix="takedown-") as scratch:
        local = Path(scratch) / "list.parquet"
        pq.write_table(table.filter(pa.array([not g for g in gone], pa.bool_())), local, compression="zstd")
        version.storage.publish_file(local, path)
    version.changed.add(name)


def _amend_csv(version: Version, name: str, path: str) -> None:
    text = version.storage.read(path).decode("utf-8")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"key", "sample_key", "video_id"} & set(reader.fieldnames or ()):
        return  # splits.csv names tars
    rows = list(reader)
    kept = [r for r, read in zip(rows, spreadsheets.rows(text), strict=True) if not version.owns(read)]
    if len(kept) == len(rows):
        return
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, reader.fieldnames or (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept)
    version.storage.write(path, out.getvalue().encode())
    version.changed.add(name)


def _amend_lines(version: Version, name: str, path: str) -> None:
    lines = gzip.decompress(version.storage.read(path)).splitlines(keepends=True)
    kept = [line for line in lines if not version.owns(json.loads(line))]
    if len(kept) == len(lines):
        return
    version.storage.write(path, gzip.compress(b"".join(kept), mtime=0))
    version.changed.add(name)


def _unfinished(storage: Storage, folder: str) -> bool:
    path = f"{folder}/{REMOVED}"
    return storage.exists(path) and not json.loads(storage.read(path))["complete"]


def _note(version: Version, complete: bool) -> None:
    """`removed.json`: written before anything is removed, and marked complete at the end."""
    path = f"{version.folder}/{REMOVED}"
    said: dict[str, Any] = {"complete": False, "removed": []}
    if version.storage.exists(path):
        said = json.loads(version.storage.read(path))
    known = {d for entry in said["removed"] for d in entry["sha256_of_keys"]}
    new = sorted({hashlib.sha256(k.encode()).hexdigest() for k in version.keys} - known)
    if new:
        said["removed"].append(
            {"since": datetime.now(UTC).date().isoformat(), "samples": len(new), "sha256_of_keys": new}
        )
    said["complete"] = complete
    version.storage.write(path, (json.dumps(said, indent=1) + "\n").encode())


# ---- README.md and croissant.json


def _describe(version: Version) -> None:
    storage, folder = version.storage, version.folder
    names = files_below(storage, folder)
    if storage.exists(f"{folder}/README.md"):
        facts = _count(version, names)
        text = storage.read(f"{folder}/README.md").decode("utf-8")
        said = json.loads(storage.read(f"{folder}/{REMOVED}"))["removed"]
        storage.write(f"{folder}/README.md", amended_card(text, facts, said).encode())
        path = f"{folder}/croissant.json"
        if storage.exists(path):
            storage.write(path, _amended_croissant(version, json.loads(storage.read(path)), facts, names).encode())


def _samples(version: Version, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """split, ms, licence and channel of each sample that is left."""
    storage, folder = version.storage, version.folder
    listed = next((n for n in names if n == "metadata.parquet"), None) or next(
        (n for n in names if n == "metadata.csv"), None
    )
    if listed is not None:
        path = f"{folder}/{listed}"
        if listed.endswith(".csv"):
            rows: Iterable[dict[str, Any]] = spreadsheets.rows(storage.read(path).decode("utf-8"))
        else:
            with storage.open(path) as file:
                rows = pq.read_table(file).to_pylist()
        for row in rows:
            yield {**row, "ms": int(row["end_ms"]) - int(row["start_ms"])}
        return
    for name in names:
        path = f"{folder}/{name}"
        if name.endswith(".tar"):
            found: Iterable[bytes] = (
                storage.read_media(MediaRef(path, m.offset_data, m.size))
                for m in members(storage, path)
                if m.name.endswith(".json")
            )
        elif name.endswith(".json") and "/" in name:
            found = [storage.read(path)]
        else:
            continue
        for data in found:
            record = json.loads(data)
            span = record.get("export") or record
            source = record.get("source")
            if source is None:  # triples of embeddings
                licence, channel = version.licences().get((record["dataset"], record["video_id"]), (None, None))
                source = {"licence": licence, "channel": channel}
            yield {
                "split": record["split"],
                "ms": (span.get("end_ms") or 0) - (span.get("start_ms") or 0),
                "licence": source.get("licence"),
                "channel": source.get("channel"),
            }


def _count(version: Version, names: Iterable[str]) -> CardFacts:
    facts = CardFacts("", "", "", "", {}, "", ())
    for row in _samples(version, list(names)):
        facts.count(row["split"], row["ms"], row.get("licence") or None, row.get("channel") or None)
    return facts


def amended_card(text: str, facts: CardFacts, said: Iterable[Mapping[str, Any]]) -> str:
    """A card with its counts and shares as they are now, and a section on what was removed."""
    head, *sections = re.split(r"(?m)^## ", text)
    count = f"{facts.samples.total():,} "
    head = re.sub(r"(?m)^[\d,]{1,20} (?=(clips|clips' frame embeddings), )", count, head, count=1)
    head = re.sub(r"(?m)(?<=, )[\d.]{1,20} hours of video", f"{facts.hours:.3f} hours of video", head, count=1)
    new: list[str] = []
    for section in sections:
        title = section.split("\n", 1)[0].strip()
        if title == "Splits":
            section = f"Splits\n\n{hours_table(facts)}\n\nA source video is in one split only.\n\n"
        elif title in ("Licences", "Channels"):
            counted = facts.licences if title == "Licences" else facts.channels
            section = f"{title}\n\n{shares_table(title.lower()[:-1], counted)}\n\n"
        elif title == "Removed samples":
            continue
        new.append(section)
    rows = "\n".join(f"| {e['since']} | {e['samples']} |" for e in said)
    removed = (
        "Removed samples\n\nSamples were removed from this version after it was published. `removed.json` has the SHA-256 of each one's key: "
        f"whoever holds a copy deletes the samples whose keys have these hashes.\n\n| since | samples |\n|---|---|\n{rows}\n\n"
    )
    place = next((i for i, s in enumerate(new) if s.startswith("How they were chosen")), len(new))
    new.insert(place, removed)
    return _amended_front(head, facts) + "".join(f"## {s}" for s in new)


def _amended_front(head: str, facts: CardFacts) -> str:
    """The front matter without splits of which nothing is left: `datasets` fails where a pattern finds no file."""
    parts = head.split("---\n", 2)
    if len(parts) != 3 or parts[0]:
        return head
    front = yaml.safe_load(parts[1])
    left = {{"val": "validation"}.get(s, s) for s in facts.samples if facts.samples[s]}
    for config in front.get("configs", ()):
        config["data_files"] = [
            f for f in config.get("data_files", ()) if not isinstance(f, dict) or f.get("split") in left
        ]
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{parts[2]}"


def _amended_croissant(version: Version, said: dict[str, Any], facts: CardFacts, names: Iterable[str]) -> str:
    there = set(names)
    left = []
    for entry in said.get("distribution", ()):
        name = entry.get("contentUrl")
        if entry.get("@type") == "cr:FileObject" and name in version.changed:
            if name not in there:
                continue
            with version.storage.open(f"{version.folder}/{name}") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
            entry = {**entry, "contentSize": f"{version.storage.size(f'{version.folder}/{name}')} B", "sha256": digest}
        left.append(entry)
    ids = {e["@id"] for e in left}
    for entry in left:
        if isinstance(entry.get("containedIn"), list):
            entry["containedIn"] = [c for c in entry["containedIn"] if c.get("@id") in ids]
    said["distribution"] = left
    said["license"] = sorted(facts.licences)
    said["version"] = re.sub(
        r"^1\.0\.(\d{1,9})\+", lambda m: f"1.0.{int(m[1]) + 1}+", str(said.get("version", "")), count=1
    )
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


# ---- the tables


def _table(store: TableStore, recipes: Mapping[str, Recipe], plan: Plan, asset: str, key: str, say: Say) -> Done:
    """The table of an export without the rows of the videos, its samples where they lie in the amended tars now."""
    header = store.header(asset, key)
    assert header is not None
    table = store.read(asset, key)
    gone = plan.of(table)
    number = pc.sum(gone).as_py() or 0
    kept = _placed(store.storage, table.filter(pc.invert(gone)), asset)
    provenance = subset_provenance(store, recipes, plan, asset, key, header)
    if not number and provenance.fingerprint == header.fingerprint and kept.equals(table):
        return []
    stats = dict(header.stats)
    ok = kept.filter(pc.equal(kept["status"], "ok"))
    by_split: Counter[str] = Counter(ok["split"].to_pylist())
    fresh = {
        "samples": ok.num_rows,
        "failed": kept.num_rows - ok.num_rows,
        "splits": dict(by_split),
        "rows_out": kept.num_rows,
    }
    if "start_ms" in ok.column_names:
        fresh["hours"] = round((pc.sum(pc.subtract(ok["end_ms"], ok["start_ms"])).as_py() or 0) / 3_600_000, 4)
    stats |= {k: v for k, v in fresh.items() if k in stats}
    if isinstance(stats.get("rows_in"), int):
        stats["rows_in"] -= number
    leaks = stats.get("leaks")
    if isinstance(leaks, dict) and "where" in leaks:
        stats["leaks"] = {**leaks, "where": [w for w in leaks["where"] if not pattern(plan, True).search(w)]}
    store.commit(asset, key, kept, provenance, stats)
    if number:
        say(f"{asset} of {key}: {number} rows")
    return [(asset, key)]


def _placed(storage: Storage, table: pa.Table, asset: str) -> pa.Table:
    """The rows with the offsets that their samples have in the tars as these are now."""
    extension = "mp4" if asset == "clip_dataset" else "npy"
    rows = table.select(["tar", "offset", "sample_key"]).to_pylist()
    where: dict[str, dict[str, int]] = {}
    for row in rows:
        tar = row["tar"]
        if tar is None or not tar.endswith(".tar"):
            continue
        if tar not in where:
            where[tar] = {m.name: m.offset_data for m in members(storage, tar)} if storage.exists(tar) else {}
        row["offset"] = where[tar].get(f"{row['sample_key']}.{extension}", row["offset"])
    offsets = pa.chunked_array([pa.array([r["offset"] for r in rows], table.schema.field("offset").type)])
    return table.set_column(table.column_names.index("offset"), table.schema.field("offset"), offsets)
