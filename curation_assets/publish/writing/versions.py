"""Publishes a version of a subset's export: its samples from what was cut or embedded, then its card.

Files lie in `<asset>/<subset>/<version>/`; README.md is written last. Which rows are exported is `subset_inputs.Selection`'s business,
how clips are cut `export_clips`'s, what a sample looks like `export_samples`'s and `export_embeddings`'s.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.ingest.source_words import SPAN_WORDS, by_clip
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curating.subset_inputs import (
    EMBEDDING_INPUTS,
    LEFT_OUT,
    Selection,
    clip_options,
    sharded_inputs,
)
from curation_assets.publish.cutting.clip_cutting import UNREAD, Keys, Pieces, ShardCut, cut_shard, plan_cuts
from curation_assets.publish.writing.dataset_card import MS_PER_HOUR, CardFacts, card, croissant
from curation_assets.publish.writing.embeddings import EmbeddedShard, export_embeddings
from curation_assets.publish.writing.public_paths import PublicPaths, without_paths
from curation_assets.publish.writing.samples import PublishedFile, clip_record, clip_samples
from curation_assets.publish.writing.track_lists import write_tracks
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.tracks.face_tables import joined
from curation_resources import presence
from curation_resources.detectors import load_vocabulary
from curation_resources.scratch import scratch_folder
from curation_resources.storage import MediaRef, Storage, StorageError
from curation_resources.tables import MissingTable, Provenance, TableHeader, TableStore
from curation_resources.urls import public_settings

PIECES = "pieces"
CARD = "README.md"
"""Written last: a version without it is not finished."""
UNREAD_CLIPS = "unread"
"""Where the table's stats hold how many clips failed for a reason that may pass: such a version is made again by the next run."""
FACES_FILE = "faces.parquet"
"""Where the faces of a version were covered, beside its samples."""
LEAK_CLIPS = 32
"""Blurred clips, spread over the version, in which a second detector looks for faces."""


def optional(store: TableStore, name: str, shard: str) -> list[dict[str, Any]]:
    """Rows of a table; none if it does not exist."""
    try:
        rows: list[dict[str, Any]] = store.read(name, shard).to_pylist()
    except MissingTable:
        return []
    return rows


def span_words(store: TableStore, shard: str) -> dict[str, dict[str, Any]]:
    """clip_id -> what the source says of the clip's given span; empty where it says nothing of any."""
    header = store.header("video_metadata", shard)
    if header is None or not header.stats.get(SPAN_WORDS):
        return {}
    return by_clip(store.read("clips", shard).to_pylist(), store.read("video_metadata", shard, ["video_id", "spans"]))


def _read_shard(store: TableStore, shard: str, name: str) -> pa.Table:
    return store.read(name, shard)


def pieces_of(store: TableStore, key: str) -> Pieces:
    return Pieces(store.storage, f"{store.folder('clip_dataset', key)}/{PIECES}")


def clear_pieces(store: TableStore, key: str) -> None:
    """Removes the pieces of a subset, unless another run at work may be about to publish them; the next run removes them then."""
    if not presence.others(store.storage, key):
        pieces_of(store, key).clear()


def sweep_versions(store: TableStore, header: TableHeader) -> None:
    """Removes versions of an export that were never finished, so that they have no card, unless another run at work may be writing one."""
    folder, storage = store.folder(header.asset, header.partition), store.storage
    versions = [v for v in storage.folders(folder) if v not in (PIECES, header.stats.get("version"))]
    unfinished = [v for v in versions if not storage.exists(f"{folder}/{v}/{CARD}")]
    if unfinished and not presence.others(storage, header.partition):
        for version in unfinished:
            storage.remove_tree(f"{folder}/{version}")


@dataclass(frozen=True)
class Published:
    """A version that was written.

    Attributes:
        table: its rows.
        stats: numbers kept with the table.
        by_split: (split, samples, hours) in order.
    """

    table: pa.Table
    stats: Mapping[str, Any]
    by_split: Sequence[tuple[str, int, float]]


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
        selection.rows(store, shard), partial(_read_shard, store, shard), params, Keys(selection.subset.datasets)
    )
    earlier = store.read("clip_dataset", key) if store.exists("clip_dataset", key) and not again else None
    faces = None
    if params.blur_faces and earlier is not None:
        faces = _faces_in_force(store, key)
        earlier = earlier if faces is not None else None
    raw, pieces = store.read("raw_shards", shard), pieces_of(store, key)
    return cut_shard(
        shard,
        cuts,
        raw,
        params,
        store.storage,
        pieces,
        workers=settings.workers,
        earlier=earlier,
        earlier_faces=faces,
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
            selection.rows(store, shard), partial(_read_shard, store, shard), options, Keys(selection.subset.datasets)
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
    facts = _facts(store, recipes, selection, "clip_dataset", version, params.format, ("mp4",), provenance)
    writer = clip_samples(params, store.storage, folder)
    if params.format == "webdataset":
        facts.members = ("mp4", "txt", "json")
    rows: list[dict[str, Any]] = []
    unread = 0
    paths = _paths(selection, recipes)
    for shard, piece in pieces.items():
        curated = {r.get("track_id") or r["clip_id"]: r for r in selection.rows(store, shard).to_pylist()}
        by_clip = {r["clip_id"]: r for r in curated.values()}
        sources = {r["video_id"]: r for r in optional(store, "raw_shards", shard)}
        captions = {r["clip_id"]: r for r in optional(store, "captions", shard)}
        tracks = {r["track_id"]: r for r in optional(store, "tracks", shard)} if params.tracks else {}
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
        done = _finish(store, folder, facts, table)
        return replace(done, stats={**done.stats, UNREAD_CLIPS: unread})
    covered = joined(faces)
    facts.files = [*facts.files, _write_faces(store.storage, folder, covered)]
    done = _finish(store, folder, facts, table)
    done = replace(done, stats={**done.stats, UNREAD_CLIPS: unread})
    return replace(done, stats={**done.stats, "leaks": _leaks(table, covered, params, store.storage)})


def _paths(selection: Selection, recipes: Mapping[str, Recipe]) -> PublicPaths:
    """How local paths of the version's datasets are published."""
    return PublicPaths(recipes[d] for d in sorted(set(selection.shards.values())))


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


def _facts(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    selection: Selection,
    kind: str,
    version: str,
    layout: str,
    members: Sequence[str],
    provenance: Provenance,
) -> CardFacts:
    """What the card says before any sample is counted."""
    curated = store.header(selection.asset, selection.key)
    assert curated is not None
    upstream = sharded_inputs(selection.subset, recipes, selection.recipe.dataset)
    extra = EMBEDDING_INPUTS if kind == "embedding_dataset" else ()
    models: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys([*(a for tables in upstream.values() for a in tables), *extra]):
        for header in store.headers(name, list(selection.shards)).values():
            models.setdefault(name, {}).update(header.provenance.weights)
    models[kind] = dict(provenance.weights)
    funnel = [(str(r), int(n), float(h)) for r, n, h in curated.stats.get("funnel", [])]
    said = selection.recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    recipe = without_paths(public_settings(said))
    inputs = {_named(k): v for k, v in {**curated.provenance.inputs, **provenance.inputs}.items()}
    lacking = list(dict.fromkeys([*curated.stats.get(LEFT_OUT, ()), *provenance.params.get(LEFT_OUT, ())]))
    return CardFacts(
        selection.key,
        kind,
        version,
        selection.recipe.description,
        recipe,
        layout,
        members,
        funnel,
        models={k: v for k, v in models.items() if v},
        inputs=inputs,
        left_out=lacking,
    )


def _named(name: str) -> str:
    """An input's name in a card: of a list of ids not where it lies here."""
    kind, mark, path = name.partition(":")
    return f"{kind}:{without_paths(path)}" if kind == "list" and mark else name


def _finish(store: TableStore, folder: str, facts: CardFacts, table: pa.Table) -> Published:
    """Writes the card, README.md last, and names the version in the table."""
    store.storage.write(f"{folder}/croissant.json", croissant(facts).encode())
    text = card(facts)
    store.storage.write(f"{folder}/{CARD}", text.encode())
    stats = {
        "version": facts.version,
        "folder": store.storage.uri(folder),
        "samples": facts.samples.total(),
        "failed": facts.failed,
        LEFT_OUT: list(facts.left_out),
        "hours": round(facts.hours, 4),
        "splits": dict(facts.samples),
        "bytes": sum(f.size for f in facts.files),
    }
    by_split = [(s, facts.samples[s], facts.ms[s] / MS_PER_HOUR) for s in sorted(facts.samples)]
    versions = pa.array([facts.version] * table.num_rows, pa.string())
    table = table.set_column(table.column_names.index("version"), schema(facts.kind).arrow.field("version"), versions)
    return Published(table, stats, by_split)


def publish_embeddings(store: TableStore, recipes: Mapping[str, Recipe], key: str, provenance: Provenance) -> Published:
    """Writes a version of the triples. Its name is that of the fingerprint: equal inputs give equal bytes.

    Raises:
        MissingTable: a shard has no embeddings.
    """
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.embeddings
    assert params is not None
    version = provenance.fingerprint[:12]
    folder = f"{store.folder('embedding_dataset', key)}/{version}"
    facts = _facts(
        store, recipes, selection, "embedding_dataset", version, params.layout, ("npy", "txt", "json"), provenance
    )

    spans: dict[tuple[str, str], int] = {}
    sources: dict[tuple[str, str], tuple[str | None, str | None]] = {}
    paths = _paths(selection, recipes)

    def shards() -> Iterator[EmbeddedShard]:
        for shard, dataset in selection.shards.items():
            captions = {r["clip_id"]: r for r in optional(store, "captions", shard)}
            clips = _clips_of(store, selection, shard)
            spans.update({(dataset, r["clip_id"]): r["end_ms"] - r["start_ms"] for r in clips})
            words = {clip: paths.said(said) for clip, said in span_words(store, shard).items()}
            videos = {r["video_id"]: (r["licence"], r["channel"]) for r in optional(store, "raw_shards", shard)}
            for clip in clips:
                licence, channel = videos.get(clip["video_id"], (None, None))
                own = words.get(clip["clip_id"], {}).get("licence")
                sources[dataset, clip["clip_id"]] = own or licence, channel
            embeddings = store.read("frame_embeddings", shard)
            yield EmbeddedShard(clips, embeddings, captions, recipes[dataset].frames.fps, words)

    done = export_embeddings(shards(), params, store.storage, folder, Keys(selection.subset.datasets))
    for row in done.table.to_pylist():
        if row["status"] == "ok":
            source = sources.get((row["dataset"], row["clip_id"]), (None, None))
            facts.count(row["split"], spans[row["dataset"], row["clip_id"]], *source)
        else:
            facts.failed += 1
    facts.files, facts.tar_splits = done.files, done.splits
    return _finish(store, folder, facts, done.table)


def _clips_of(store: TableStore, selection: Selection, shard: str) -> list[dict[str, Any]]:
    """The selected clips of a shard, or those of the selected tracks, each once and with its own span."""
    clips: dict[str, dict[str, Any]] = {}
    for row in selection.rows(store, shard).to_pylist():
        clips.setdefault(row["clip_id"], row)
    if selection.subset.of == "tracks":
        for span in store.read("clips", shard, ["clip_id", "start_ms", "end_ms"]).to_pylist():
            clips.get(span["clip_id"], {}).update(span)
    return list(clips.values())


def publish_tracks(store: TableStore, recipes: Mapping[str, Recipe], key: str, header: TableHeader) -> str:
    """Writes the selected tracks beside the table, once per content: `curated_tracks/<subset>/<version>/tracks.jsonl.gz`."""
    selection = Selection.of(store, recipes, key)
    params = selection.subset.export.clips
    version = header.content_hash[:12]
    if params is not None and params.tracks:
        form = "tars" if params.format == "webdataset" else "folder"
        version = hashlib.sha256(f"{header.content_hash} {form}".encode()).hexdigest()[:12]
    path = f"{store.folder('curated_tracks', key)}/{version}/tracks.jsonl.gz"
    if not store.storage.exists(path):
        shards = (
            (selection.rows(store, s), store.read("tracks", s), load_vocabulary(recipes[d].tracks.vocabulary))
            for s, d in selection.shards.items()
        )
        with scratch_folder("tracks-") as folder:
            local = Path(folder) / "tracks.jsonl.gz"
            write_tracks(local, shards, Path(folder), partial(_track_file, params, Keys(selection.subset.datasets)))
            store.storage.publish_file(local, path)
    return path


def _track_file(params: ClipExport | None, keys: Keys, row: Mapping[str, Any]) -> str | None:
    """Name of a track's clip in the tars of `clip_dataset`, or its path within the version's folder; None if there is none."""
    if params is None or not params.tracks:
        return None
    name = f"{keys(row['dataset'], row['track_id'])}.mp4"
    return name if params.format == "webdataset" else f"{row['split'] or 'train'}/{name}"
