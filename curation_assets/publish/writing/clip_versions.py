"""Publishes a version of `clip_dataset`: what was selected and cut (`clip_batches.py`) is written out, piece after piece.

How clips are cut is the business of the room `cutting`, what a sample looks like that of `samples.py`.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.publish.clip_checks import LEAKS
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.covering import Cover
from curation_assets.publish.curating.ordered_rows import OrderedRows, regrouped
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.cutting.shard_cutting import SOUND, UNREAD, sound_place
from curation_assets.publish.writing.finished_pieces import FinishedPieces
from curation_assets.publish.writing.sample_columns import SampleColumns
from curation_assets.publish.writing.sample_lists import LISTED
from curation_assets.publish.writing.samples import ClipSamples, MemberSamples, PublishedFile, clip_samples
from curation_assets.publish.writing.shard_records import ShardRecords
from curation_assets.publish.writing.version_rows import VersionRows
from curation_assets.publish.writing.versions import (
    Published,
    VersionForm,
    card_facts,
    finish_version,
    public_paths_of,
)
from curation_assets.recipes import Recipe
from curation_assets.tracks.face_tables import CLIP_FACES, ORDER, joined, of_thing
from curation_resources.media import MediaRef
from curation_resources.provenance import Provenance
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.tables import TableStore
from curation_resources.words import plural

UNREAD_CLIPS = "unread"
"""Where the table's stats hold how many clips failed for a reason that may pass: such a version is made again by the next run."""
COVERS_ROWS = 1 << 20
"""Rows of a row group of a table of what was covered."""
LEAK_CLIPS = 32
"""Blurred clips, spread over the version, in which a second detector looks for what was left."""


def publish_clips(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    key: str,
    provenance: Provenance,
    scratch: Path,
    again: bool = False,
) -> Published:
    """Writes a version from the finished pieces, with those of a shard in memory at a time.

    Args:
        scratch: a local folder, which holds the table of what was published.
        again: whether they were cut with nothing taken over from the version in force.

    Raises:
        StorageError: a piece is missing.
    """
    pieces = FinishedPieces(store, recipes, key, again)
    version = _version(provenance, pieces.found())
    selection = Selection.over(recipes, key, pieces.names)
    params = selection.subset.export.clips
    assert params is not None
    folder = f"{store.folder('clip_dataset', key)}/{version}"
    form = VersionForm("clip_dataset", version, params.format, members_of(params))
    facts = card_facts(store, recipes, selection, form, provenance)
    columns = SampleColumns.of(selection, recipes, LISTED)
    writer = clip_samples(params, store.storage, folder, columns.types)
    rows = VersionRows("clip_dataset", version, scratch)
    unread = 0
    paths = public_paths_of(selection, recipes)
    for shard, selected, piece in pieces:
        curated = {r.get("track_id") or r["clip_id"]: r for r in selected.to_pylist()}
        by_clip = {r["clip_id"]: r for r in curated.values()}
        records = ShardRecords.read(store, shard, params, columns.read(store, shard, selection.shards[shard]), paths)
        of_shard: list[dict[str, Any]] = []
        for row in piece.to_pylist():
            if row["status"] != "ok":
                facts.failed += 1
                unread += (row["error"] or "").startswith(UNREAD)
                of_shard.append(row)
                continue
            chosen = curated.get(row["track_id"] or row["clip_id"]) or by_clip[row["clip_id"]]
            record = records.of(row, chosen)
            of_shard.append({**row, **_published(writer, store.storage, row, record)})
            source = records.sources.get(row["video_id"], {})
            licence = records.words.get(row["clip_id"], {}).get("licence") or source.get("licence")
            facts.count(row["split"], row["end_ms"] - row["start_ms"], licence, source.get("channel"))
        rows.add(of_shard)
    writer.close()
    facts.files = writer.files
    if unread:
        facts.left_out = [*facts.left_out, f"{plural(unread, 'clip')} that could not be read when it was published"]
    rows.write()
    leaks: dict[str, Any] = {}
    for cover in params.covers:
        covered = OrderedRows(Path(mkdtemp(prefix="covers-", dir=scratch)), CLIP_FACES, ORDER, 1)
        for table in pieces.covers():
            covered.add(of_thing(joined([table]), cover.thing))
        looked_at = _leak_sample(rows, facts.samples.total(), cover)
        file, own = _write_covers(
            store.storage, f"{folder}/{cover.file}", covered, [r["sample_key"] for r in looked_at]
        )
        facts.files = [*facts.files, file]
        leaks[LEAKS[cover.thing]] = _leaks(cover, looked_at, own, store.storage)
    done = finish_version(store, folder, facts, rows)
    return replace(done, stats={**done.stats, UNREAD_CLIPS: unread, **leaks})


def members_of(params: ClipExport) -> tuple[str, ...]:
    """Endings of the files of a sample, the pictures first; lists stand for caption and JSON in the layouts that have them."""
    sounds = (params.sound_beside,) if params.sound_beside else ()
    return ("mp4", *sounds, "txt", "json") if params.format == "webdataset" else ("mp4", *sounds)


def _published(
    writer: ClipSamples | MemberSamples, storage: Storage, row: Mapping[str, Any], record: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes a cut clip as a sample; the columns that say where its files lie now."""
    key = row["sample_key"]
    mp4 = _cut_bytes(storage, key, (row["tar"], row["offset"], row["size"], row["sha256"]))
    if row["audio_format"] is None:
        member = writer.add(row["split"], key, mp4, record)
        return {"tar": member.tar, "offset": member.offset, "size": member.size}
    ending, *place = (row[name] for name in SOUND)
    files = {"mp4": mp4, ending: _cut_bytes(storage, key, tuple(place))}
    members = cast(MemberSamples, writer).add_files(row["split"], key, files, record)
    member = members["mp4"]
    return {"tar": member.tar, "offset": member.offset, "size": member.size, **sound_place(ending, members[ending])}


def _cut_bytes(storage: Storage, key: str, place: tuple[Any, ...]) -> bytes:
    """The bytes at (tar, offset, size, hash).

    Raises:
        StorageError: they are not those that were cut.
    """
    tar, offset, size, sha256 = place
    data = storage.read_media(MediaRef(tar, offset, size))
    if hashlib.sha256(data).hexdigest() != sha256:
        raise StorageError(
            f"{tar} does not hold the bytes of {key} that were cut; "
            "run again with --force, or in the UI with the tag curation/force: true"
        )
    return data


def _write_covers(
    storage: Storage, path: str, covered: Iterable[pa.Table], keys: Sequence[str]
) -> tuple[PublishedFile, pa.Table]:
    """Writes the table of where something was covered; that file, and the rows of the samples `keys`."""
    chosen, wanted = [CLIP_FACES.empty_table()], pa.array(keys, pa.string())
    name = path.rsplit("/", 1)[-1]
    with scratch_folder("covers-") as scratch:
        local = Path(scratch) / name
        with pq.ParquetWriter(local, CLIP_FACES, compression="zstd") as writer:
            for covers in regrouped(covered, COVERS_ROWS):
                chosen.append(covers.filter(pc.is_in(covers["sample_key"], value_set=wanted)))
                writer.write_table(covers.combine_chunks(), row_group_size=COVERS_ROWS)
        with open(local, "rb") as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), local.stat().st_size
        storage.publish_file(local, path)
    return PublishedFile(name, size, digest), pa.concat_tables(chosen)


def _leak_sample(rows: VersionRows, made: int, cover: Cover) -> list[dict[str, Any]]:
    """Clips from all over the version in which a second detector looks for what was left; none if the recipe names no detector."""
    if not cover.looked_at_again:
        return []
    return rows.made(["sample_key", "tar", "offset", "size", "start_ms"], max(1, -(-made // LEAK_CLIPS)))


def _leaks(cover: Cover, clips: Sequence[Mapping[str, Any]], covers: pa.Table, storage: Storage) -> dict[str, Any]:
    """What a second detector finds in a sample of blurred clips; nothing if the recipe names none.

    Raises:
        MissingWeights: the model cannot be had.
    """
    detector = cover.second_detector()
    if detector is None:
        return {}
    from curation_assets.tracks.face_leaks import find_leaks_in_clip

    found: Counter[str] = Counter()
    where: list[str] = []
    for row in clips:
        mp4 = io.BytesIO(storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])))
        own = covers.filter(pc.equal(covers["sample_key"], row["sample_key"]))
        seen = find_leaks_in_clip(mp4, detector, own, start_ms=row["start_ms"], scale=cover.scale)
        found.update(
            {
                "clips": 1,
                "frames": seen.frames,
                "covers": seen.covers,
                "over_covers": len(seen.over_covers),
                f"{cover.thing}s": len(seen.elsewhere),
            }
        )
        where += [f"{row['sample_key']} at {leak.time_ms} ms, score {leak.score:.2f}" for leak in seen.elsewhere]
    return {"detector": detector.description, **found, "where": where[:20]}


def _version(provenance: Provenance, pieces: Iterable[pa.Table]) -> str:
    """Twelve hexadecimal digits over what the samples say and the bytes of the clips."""
    digest = hashlib.sha256(provenance.fingerprint.encode())
    for piece in pieces:
        for row in piece.select(["sample_key", "split", "status", "sha256"]).to_pylist():
            digest.update(f"{row['sample_key']} {row['split']} {row['status']} {row['sha256']}\n".encode())
    return digest.hexdigest()[:12]
