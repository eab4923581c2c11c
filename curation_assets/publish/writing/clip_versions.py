"""Publishes a version of `clip_dataset`: what was selected is cut, shard by shard, then written out from the finished pieces.

How clips are cut is the business of the room `cutting`, what a sample looks like that of `samples.py`.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_inputs import Selection, clip_options
from curation_assets.publish.cutting.clip_plan import SampleKeys, plan_cuts
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.cutting.shard_cutting import UNREAD, ShardCut, ShardToCut, cut_shard
from curation_assets.publish.writing.samples import PublishedFile, clip_record, clip_samples
from curation_assets.publish.writing.versions import (
    PIECES,
    Published,
    VersionForm,
    card_facts,
    finish_version,
    public_paths_of,
    rows_if_any,
    span_words,
)
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.tracks.face_tables import joined
from curation_resources import presence
from curation_resources.media import MediaRef
from curation_resources.provenance import Provenance
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.tables import TableStore

UNREAD_CLIPS = "unread"
"""Where the table's stats hold how many clips failed for a reason that may pass: such a version is made again by the next run."""
FACES_FILE = "faces.parquet"
"""Where the faces of a version were covered, beside its samples."""
LEAK_CLIPS = 32
"""Blurred clips, spread over the version, in which a second detector looks for faces."""


def _read_shard(store: TableStore, shard: str, name: str) -> pa.Table:
    return store.read(name, shard)


def pieces_of(store: TableStore, key: str) -> Pieces:
    """The pieces of a subset's next version."""
    return Pieces(store.storage, f"{store.folder('clip_dataset', key)}/{PIECES}")


def clear_pieces(store: TableStore, key: str) -> None:
    """Removes the pieces of a subset, unless another run at work may be about to publish them; the next run removes them then."""
    if not presence.others(store.storage, key):
        pieces_of(store, key).clear()


def cut_selected(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    key: str,
    shard: str,
    settings: Settings,
    again: bool = False,
    allow_partial: bool = False,
) -> ShardCut:
    """Cuts what a subset selected of one shard; clips of the version in force that would come out the same are kept, unless `again`.

    Raises:
        ReadFault: see `cut_shard`; not if `allow_partial` or the subset's own `partial` allows to go on.
    """
    selection = Selection.of(store, recipes, key)
    params = clip_options(selection, recipes, selection.shards[shard])
    cuts = plan_cuts(
        selection.rows(store, shard), partial(_read_shard, store, shard), params, SampleKeys(selection.subset.datasets)
    )
    earlier = store.read("clip_dataset", key) if store.exists("clip_dataset", key) and not again else None
    faces = None
    if params.blur_faces and earlier is not None:
        faces = _faces_in_force(store, key)
        earlier = earlier if faces is not None else None
    return cut_shard(
        ShardToCut(shard, cuts, store.read("raw_shards", shard), params, earlier, faces),
        store.storage,
        pieces_of(store, key),
        workers=settings.workers,
        partial=allow_partial or selection.subset.partial is True,
        max_attempts=settings.max_attempts,
    )


def _faces_in_force(store: TableStore, key: str) -> pa.Table | None:
    """Where faces were covered in the version in force; None if it does not say."""
    header = store.header("clip_dataset", key)
    name = f"{store.folder('clip_dataset', key)}/{header.stats.get('version')}/{FACES_FILE}" if header else ""
    if not name or not store.storage.exists(name):
        return None
    with store.storage.open(name) as file:
        return pq.read_table(file)


def publish_clips(store: TableStore, recipes: Mapping[str, Recipe], key: str, provenance: Provenance) -> Published:
    """Writes a version from the finished pieces.

    Raises:
        StorageError: a piece is missing.
    """
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.clips
    assert params is not None
    pieces: dict[str, pa.Table] = {}
    faces: list[pa.Table] = []
    for shard, dataset in selection.shards.items():
        options = clip_options(selection, recipes, dataset)
        cuts = plan_cuts(
            selection.rows(store, shard),
            partial(_read_shard, store, shard),
            options,
            SampleKeys(selection.subset.datasets),
        )
        piece = pieces_of(store, key).get(shard, cuts)
        if piece is None:
            raise StorageError(f"the clips of {shard} were cut but are gone; run clip_dataset of {key} again")
        pieces[shard] = piece
        if params.blur_faces:
            covered_here = pieces_of(store, key).faces(shard, cuts)
            assert covered_here is not None
            faces.append(covered_here)
    version = _version(provenance, pieces.values())
    folder = f"{store.folder('clip_dataset', key)}/{version}"
    form = VersionForm("clip_dataset", version, params.format, ("mp4",))
    facts = card_facts(store, recipes, selection, form, provenance)
    writer = clip_samples(params, store.storage, folder)
    if params.format == "webdataset":
        facts.members = ("mp4", "txt", "json")
    rows: list[dict[str, Any]] = []
    unread = 0
    paths = public_paths_of(selection, recipes)
    for shard, piece in pieces.items():
        curated = {r.get("track_id") or r["clip_id"]: r for r in selection.rows(store, shard).to_pylist()}
        by_clip = {r["clip_id"]: r for r in curated.values()}
        sources = {r["video_id"]: r for r in rows_if_any(store, "raw_shards", shard)}
        captions = {r["clip_id"]: r for r in rows_if_any(store, "captions", shard)}
        tracks = {r["track_id"]: r for r in rows_if_any(store, "tracks", shard)} if params.tracks else {}
        words = span_words(store, shard)
        for row in piece.to_pylist():
            if row["status"] != "ok":
                facts.failed += 1
                unread += (row["error"] or "").startswith(UNREAD)
                rows.append(row)
                continue
            source = sources.get(row["video_id"], {})
            chosen = curated.get(row["track_id"] or row["clip_id"]) or by_clip[row["clip_id"]]
            said = words.get(row["clip_id"], {})
            record = clip_record(
                row,
                chosen,
                paths.source(source),
                captions.get(row["clip_id"], {}),
                tracks.get(row["track_id"] or ""),
                paths.said(said),
            )
            data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
            if hashlib.sha256(data).hexdigest() != row["sha256"]:
                raise StorageError(
                    f"{row['tar']} does not hold the bytes of {row['sample_key']} that were cut; "
                    "run again with --force, or in the UI with the tag curation/force: true"
                )
            member = writer.add(row["split"], row["sample_key"], data, record)
            rows.append({**row, "tar": member.tar, "offset": member.offset, "size": member.size})
            licence = said.get("licence") or source.get("licence")
            facts.count(row["split"], row["end_ms"] - row["start_ms"], licence, source.get("channel"))
    writer.close()
    facts.files = writer.files
    if unread:
        facts.left_out = [*facts.left_out, f"{unread} clips that could not be read when it was published"]
    table = pa.Table.from_pylist(rows, schema=schema("clip_dataset").arrow)
    if not params.blur_faces:
        done = finish_version(store, folder, facts, table)
        return replace(done, stats={**done.stats, UNREAD_CLIPS: unread})
    covered = joined(faces)
    facts.files = [*facts.files, _write_faces(store.storage, folder, covered)]
    done = finish_version(store, folder, facts, table)
    done = replace(done, stats={**done.stats, UNREAD_CLIPS: unread})
    return replace(done, stats={**done.stats, "leaks": _leaks(table, covered, params, store.storage)})


def _write_faces(storage: Storage, folder: str, faces: pa.Table) -> PublishedFile:
    """Writes the table of where faces were covered."""
    with scratch_folder("faces-") as scratch:
        local = Path(scratch) / FACES_FILE
        pq.write_table(faces, local, compression="zstd")
        digest, size = hashlib.sha256(local.read_bytes()).hexdigest(), local.stat().st_size
        storage.publish_file(local, f"{folder}/{FACES_FILE}")
    return PublishedFile(FACES_FILE, size, digest)


def _leaks(table: pa.Table, faces: pa.Table, params: ClipExport, storage: Storage) -> dict[str, Any]:
    """What a second detector finds in a sample of blurred clips; nothing if the recipe names none.

    Raises:
        MissingWeights: the model cannot be had.
    """
    if params.leak_model is None:
        return {}
    from curation_assets.tracks.faces import find_leaks_in_clip
    from curation_resources.detectors.faces import YuNetDetector

    detector = YuNetDetector(params.leak_model)
    clips = table.filter(pc.equal(table["status"], "ok"))
    step = max(1, -(-clips.num_rows // LEAK_CLIPS))
    found: Counter[str] = Counter()
    where: list[str] = []
    for row in clips.take(pa.array(range(0, clips.num_rows, step), pa.int64())).to_pylist():
        mp4 = io.BytesIO(storage.read_media(MediaRef(row["tar"], row["offset"], row["size"])))
        own = faces.filter(pc.equal(faces["sample_key"], row["sample_key"]))
        seen = find_leaks_in_clip(mp4, detector, own, start_ms=row["start_ms"], scale=params.blur_scale)
        found.update(
            clips=1,
            frames=seen.frames,
            covers=seen.covers,
            over_covers=len(seen.over_covers),
            faces=len(seen.elsewhere),
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
