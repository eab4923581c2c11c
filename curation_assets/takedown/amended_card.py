"""README.md and croissant.json of a version that lost samples: what is left is counted anew."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import yaml

from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.dataset_card import CardFacts, hours_table, samples_said, shares_table
from curation_assets.takedown.tar_rewriting import members
from curation_assets.takedown.version_samples import REMOVED, AmendedVersion, FilesBelow
from curation_resources import sealed_parquet
from curation_resources.media import MediaRef


def describe(version: AmendedVersion) -> None:
    """Writes README.md and croissant.json anew for what is left of a version, if it has them."""
    storage, folder = version.storage, version.folder
    names = FilesBelow(storage, folder)
    if storage.exists(f"{folder}/README.md"):
        facts = _count(version, names)
        text = storage.read(f"{folder}/README.md").decode("utf-8")
        said = json.loads(storage.read(f"{folder}/{REMOVED}"))["removed"]
        storage.write(f"{folder}/README.md", amended_card(text, facts, said).encode())
        path = f"{folder}/croissant.json"
        if storage.exists(path):
            storage.write(path, _amended_croissant(version, json.loads(storage.read(path)), facts).encode())


def _samples(version: AmendedVersion, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """split, ms, licence and channel of each sample that is left."""
    storage, folder = version.storage, version.folder
    listed = next((n for n in ("metadata.parquet", "metadata.csv") if storage.exists(f"{folder}/{n}")), None)
    if listed is not None:
        with storage.open(f"{folder}/{listed}") as file:
            for row in (
                spreadsheets.rows(io.TextIOWrapper(file, "utf-8", newline=""))
                if listed.endswith(".csv")
                else _rows(file)
            ):
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


def _rows(file: BinaryIO) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(file) as table:
        wanted = [c for c in ("split", "start_ms", "end_ms", "licence", "channel") if c in table.schema_arrow.names]
        for batch in sealed_parquet.row_batches(table, columns=wanted):
            yield from batch.to_pylist()


def _count(version: AmendedVersion, names: Iterable[str]) -> CardFacts:
    if version.told is not None and version.told.counts:
        return version.told.facts()
    facts = CardFacts("", "", "", "", {}, "", ())
    for row in _samples(version, names):
        facts.count(row["split"], row["ms"], row.get("licence") or None, row.get("channel") or None)
    return facts


def amended_card(text: str, facts: CardFacts, said: Iterable[Mapping[str, Any]]) -> str:
    """A card with its counts and shares as they are now, and a section on what was removed."""
    head, *sections = re.split(r"(?m)^## ", text)
    head = re.sub(
        r"(?m)^[\d,]{1,20} clips?('s?)?( frame embeddings)?(?=, )",
        lambda m: samples_said(facts.samples.total(), of_clips=not m[2]),
        head,
        count=1,
    )
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


def _amended_croissant(version: AmendedVersion, said: dict[str, Any], facts: CardFacts) -> str:
    left = []
    for entry in said.get("distribution", ()):
        name = entry.get("contentUrl")
        if entry.get("@type") == "cr:FileObject" and name in version.changed:
            if not version.storage.exists(f"{version.folder}/{name}"):
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
