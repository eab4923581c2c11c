"""Tables and their tars without the videos that are taken down, in graph order, with provenance that says what they are made from now.

A table that was up to date stays so: where its provenance named the content hash that an input had before, it names the one that the
input has now. Nothing is fetched, decoded or asked again. The duplicate clusters are worked out anew from the stored index, since a copy
of what was taken down may have to be kept now; where that changes more than rows of the videos, what is made from it becomes stale.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.contracts.checks import failed_rows
from curation_assets.dedup.comparison import compare_shards
from curation_assets.dedup.duplicate_clusters import CLUSTER_INDEX
from curation_assets.dedup.index_files import is_whole
from curation_assets.engine.declared import EMPTY, TAKEN_DOWN, taken_down, without_rows
from curation_assets.engine.making import VIDEOS
from curation_assets.engine.sheets import sheet_path
from curation_assets.engine.slices import is_sliced, slice_hashes
from curation_assets.engine.staleness import OF_SUBSET
from curation_assets.ingest.fetch_urls import FORM, publish_secrets, secrets_path
from curation_assets.recipes import Recipe
from curation_assets.registry import CLUSTERS, COMPARED, COMPONENTS, DOWNLOADS, GATHERED, INDEX, JUDGED, component
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.showing.figures import counts
from curation_assets.takedown.large_tables import rows_of, write_without
from curation_assets.takedown.plan import SHARD_ASSETS, Say, TakedownPlan
from curation_assets.takedown.semantic_duplicates import forget_in_semantic_duplicates
from curation_assets.takedown.tar_rewriting import key_of, rewrite_tar
from curation_resources.content_hash import content_hash
from curation_resources.file_facts import is_uri
from curation_resources.scratch import scratch_folder
from curation_resources.storage import Storage
from curation_resources.table_headers import SHEET, TableHeader
from curation_resources.tables import TableStore
from curation_resources.tars import new_token, sample_key
from curation_resources.words import plural

(VERDICTS,) = (c.asset for c in COMPONENTS if CLUSTERS in c.slices)
"""The table in which a shard has its part of the clusters."""
BEFORE_CLUSTERS = SHARD_ASSETS[: SHARD_ASSETS.index(VERDICTS)]
AFTER_CLUSTERS = SHARD_ASSETS[SHARD_ASSETS.index(VERDICTS) + 1 :]
Done = list[tuple[str, str | None]]
"""Tables that were committed: asset and partition, in graph order."""


def forget_in_tables(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, plan: TakedownPlan, say: Say
) -> Done:
    """Rewrites the index, the shards' tables and the subsets' curated tables. What is done already is left as it is."""
    done: Done = []
    done += _index(store, plan, say)
    slices = {a: slice_hashes(store, a) for a in plan.slices}
    for shard in plan.shards:
        done += _shard_tables(store, plan, shard, BEFORE_CLUSTERS, slices, say)
    done += _clusters(store, recipes, settings, plan, say)
    for asset in GATHERED:
        if not is_sliced(asset):  # nothing says whose pictures are on it
            store.storage.remove(sheet_path(store, asset, None))
    for shard in plan.shards:
        done += _shard_tables(store, plan, shard, AFTER_CLUSTERS, slices, say)
    done += forget_in_semantic_duplicates(store, recipes, settings, plan, say)
    for asset in JUDGED.values():
        for key in store.partitions(asset):
            done += _curated(store, recipes, plan, asset, key, say)
    return done


def _index(store: TableStore, plan: TakedownPlan, say: Say) -> Done:
    for dataset in sorted(plan.datasets):
        path = secrets_path(dataset)
        if store.storage.exists(path):
            _secrets(store, plan, dataset, path, say)
    header = store.header(INDEX)
    if header is None:
        return []

    def gone(rows: pa.Table) -> pa.ChunkedArray:
        return pc.or_(plan.of(rows), _quoting(rows, plan))

    if not rows_of(store, gone, INDEX, None, ("status", "record"), most=1).num_rows:
        return []
    with scratch_folder("takedown-") as scratch:
        local = Path(scratch) / "index.parquet"
        removed = write_without(store, gone, INDEX, None, local)
        digest = store.file_content_hash(INDEX, local)
        with pq.ParquetFile(local) as file:
            left = {
                name for b in file.iter_batches(columns=["dataset"]) for name in pc.unique(b["dataset"]).to_pylist()
            }
        gone_of = Counter(removed["dataset"].to_pylist())
        facts = {
            EMPTY: sorted(without_rows(header) | (plan.datasets - left)),
            TAKEN_DOWN: dict(sorted((Counter(taken_down(header)) + gone_of).items())),
        }
        store.commit_file(INDEX, None, local, header.provenance, digest, {**header.stats, **facts})
    say(f"{INDEX}: {plural(removed.num_rows, 'row')}")
    return [(INDEX, None)]


def _quoting(table: pa.Table, plan: TakedownPlan) -> pa.ChunkedArray:
    """Rejected lines of the datasets that quote an id or an address of the videos."""
    theirs = pc.is_in(table["dataset"], value_set=pa.array(sorted(plan.datasets), pa.string()))
    rejected = pc.and_(pc.equal(table["status"], "rejected"), theirs)
    found = pc.equal(table["video_id"], "")
    for text in {t for v in plan.videos for t in (v.video_id, *(w for w in v.words if "://" in w))}:
        found = pc.or_(found, pc.match_substring(pc.fill_null(table["record"], ""), text))
    return pc.and_(rejected, found)


def _secrets(store: TableStore, plan: TakedownPlan, dataset: str, path: str, say: Say) -> None:
    import tempfile
    from pathlib import Path

    with store.storage.open(path) as file:
        table = pq.read_table(file)
    gone = pc.is_in(table["video_id"], value_set=pa.array(sorted(plan.ids(dataset)), pa.string()))
    if not pc.any(gone).as_py():
        return
    with tempfile.TemporaryDirectory(prefix="secrets-") as folder:
        local = Path(folder) / "secrets.parquet"
        pq.write_table(table.filter(pc.invert(gone)).cast(FORM), local, compression="zstd")
        publish_secrets(store.storage, dataset, local)
    say(f"{path}: {pc.sum(gone).as_py()} full addresses")


def _shard_tables(
    store: TableStore,
    plan: TakedownPlan,
    shard: str,
    assets: Collection[str],
    slices: Mapping[str, Mapping[str, str]],
    say: Say,
) -> Done:
    empty = {
        a: content_hash(schema(a).empty(), schema(a).key, schema(a).volatile, schema(a).later) for a in plan.slices
    }
    done: Done = []
    for asset in assets:
        header = store.header(asset, shard)
        if header is None:
            continue
        table = store.read(asset, shard)
        gone = plan.of(table)
        inputs = {
            name: _now(store, plan, name, shard, value, slices, empty)
            for name, value in header.provenance.inputs.items()
        }
        number = pc.sum(gone).as_py() or 0
        left_over = _left_over(store, plan, asset, shard, table)
        if not number and inputs == dict(header.provenance.inputs) and not left_over:
            continue
        kept = table.filter(pc.invert(gone))
        old_tars: list[str] = []
        if "tar" in table.column_names:
            kept, old_tars = _without(store.storage, plan, store.folder(asset, shard), asset, table, kept, gone)
        stats = _recounted(asset, kept, header.stats, plan)
        store.commit(asset, shard, kept, replace(header.provenance, inputs=inputs), stats)
        for name in {*old_tars, *left_over}:
            store.storage.remove(name)
        done.append((asset, shard))
        if number or old_tars:
            say(
                f"{asset} of {shard}: {plural(number, 'row')}"
                + (f", {plural(len(old_tars), 'tar')} rewritten" if old_tars else "")
            )
    return done


def _now(
    store: TableStore,
    plan: TakedownPlan,
    name: str,
    shard: str,
    value: str,
    slices: Mapping[str, Mapping[str, str]],
    empty: Mapping[str, str],
) -> str:
    """The content hash that stands for an input now, if the table was made from the one before."""
    if name in plan.slices:
        before = plan.slices[name].get(shard, empty[name])
        return slices[name].get(shard, empty[name]) if value == before else value
    if (name, shard) in plan.changed or value != plan.hashes.get(name, {}).get(shard):
        return value
    header = store.header(name, shard)
    return header.content_hash if header is not None else value


def _left_over(store: TableStore, plan: TakedownPlan, asset: str, shard: str, table: pa.Table) -> list[str]:
    """Files of the partition that the table does not name: of runs that were killed, ledgers and journals, and its contact sheet, since nothing
    says whose pictures are on it. Nobody is at work on them."""
    if shard not in plan.shards:
        return []
    named = set()
    if "tar" in table.column_names:
        named = {t for t in table["tar"].drop_null().unique().to_pylist() if not is_uri(t)}
    folder = store.folder(asset, shard)
    return [path for n in store.storage.list(folder) if (path := f"{folder}/{n}") not in named]


def _without(
    storage: Storage,
    plan: TakedownPlan,
    folder: str,
    asset: str,
    table: pa.Table,
    kept: pa.Table,
    gone: pa.ChunkedArray,
) -> tuple[pa.Table, list[str]]:
    """The kept rows, pointing into tars that hold nothing of the videos, and the tars that these replace."""
    removed = table.filter(gone)
    offsets: dict[str, set[int]] = {}
    for row in removed.filter(pc.is_valid(removed["tar"])).select(["tar", "offset"]).to_pylist():
        offsets.setdefault(row["tar"], set()).add(row["offset"] or 0)
    keys = {sample_key(v.video_id) for v in plan.videos}
    rows = kept.select(["tar", "offset"]).to_pylist()
    replaced: list[str] = []
    tars = {t for t in table["tar"].drop_null().unique().to_pylist() if not is_uri(t)}
    for tar in sorted(tars):
        own = offsets.get(tar, set())
        if not own and asset != DOWNLOADS:
            continue
        target = f"{folder}/{new_token()}-00000.tar"
        moved = rewrite_tar(
            storage,
            tar,
            target,
            lambda m, own=own: m.offset_data in own or (asset == DOWNLOADS and key_of(m.name) in keys),  # type: ignore[misc]
        )
        if moved is None:
            continue
        replaced.append(tar)
        for row in rows:
            if row["tar"] == tar:
                row.update(tar=target, offset=moved[row["offset"]])
    if not replaced:
        return kept, []
    for name in ("tar", "offset"):
        field = kept.schema.field(name)
        column = pa.chunked_array([pa.array([r[name] for r in rows], field.type)])
        kept = kept.set_column(kept.column_names.index(name), field, column)
    return kept, replaced


def _recounted(asset: str, table: pa.Table, stats: Mapping[str, Any], plan: TakedownPlan) -> dict[str, Any]:
    """The numbers of a table that follow from its rows, counted again; seconds and cost stay what was spent."""
    new = {k: v for k, v in stats.items() if k != SHEET}
    if VIDEOS in new:
        gone = {v.video_id for v in plan.videos}
        new[VIDEOS] = {k: v for k, v in new[VIDEOS].items() if k not in gone}
    found: dict[str, Any] = {"rows_out": table.num_rows, **failed_rows(table)}
    if "tar" in table.column_names:
        found["bytes"] = pc.sum(table.filter(pc.is_valid(table["tar"]))["size"]).as_py() or 0
    found |= component(asset).recounted(table)
    return new | {k: v for k, v in found.items() if k in new}


def _clusters(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, plan: TakedownPlan, say: Say
) -> Done:
    """The clusters worked out anew, and `dedup` of every shard whose part of them is another or names what is gone."""
    if store.header(CLUSTERS) is None:
        return []
    gone = rows_of(store, plan.of, CLUSTERS, None, most=1).num_rows > 0
    behind = any(
        (h := store.header(COMPARED, s)) is not None and h.content_hash != plan.hashes[COMPARED].get(s)
        for s in plan.shards
    )
    done: Done = []
    if gone or behind or not is_whole(store.storage, CLUSTER_INDEX):
        store.storage.remove(sheet_path(store, CLUSTERS, None))
        header, _, _ = compare_shards(store, recipes, settings, lambda text: None)
        done.append((CLUSTERS, None))
        say(f"{CLUSTERS} and their index: worked out anew, {plural(header.rows, 'clip')} in clusters")
    slices = slice_hashes(store, CLUSTERS)
    before = plan.slices[CLUSTERS]
    for shard in store.partitions(VERDICTS):
        if shard in plan.shards or slices.get(shard) != before.get(shard):
            done += _dedup(store, plan, shard, slices, say)
    return done


def _dedup(store: TableStore, plan: TakedownPlan, shard: str, slices: Mapping[str, str], say: Say) -> Done:
    from curation_assets.dedup.clusters import dedup_view

    header = store.header(VERDICTS, shard)
    (judged,) = component(VERDICTS).inputs
    if header is None or store.header(judged, shard) is None:
        return []
    import pyarrow.dataset as ds

    contract = schema(CLUSTERS)
    empty = content_hash(contract.empty(), contract.key, contract.volatile, contract.later)
    was = header.provenance.inputs
    if was.get(CLUSTERS) != plan.slices[CLUSTERS].get(shard, empty):
        table = store.read(VERDICTS, shard)  # was stale, or is done already
        if not pc.any(plan.of(table)).as_py() and not _names_gone(table, plan):
            return []
    clips = store.read(judged, shard)
    table = dedup_view(
        store.read(CLUSTERS, filters=ds.field("shard") == shard),
        clips.filter(pc.equal(clips["status"], "ok")),
    )
    old = store.read(VERDICTS, shard)
    rest = store.prepare(VERDICTS, old.filter(pc.invert(plan.of(old))))
    if not rest.equals(store.prepare(VERDICTS, table)) and (VERDICTS, shard) not in plan.changed:
        plan.changed.append((VERDICTS, shard))
        plan.save(store)
    clips_hash = _now(store, plan, judged, shard, was.get(judged, ""), {}, {})
    inputs = {**was, judged: clips_hash, CLUSTERS: slices.get(shard, empty)}
    stats = {**header.stats, "rows_out": table.num_rows, **component(VERDICTS).recounted(table)}
    store.commit(VERDICTS, shard, table, replace(header.provenance, inputs=inputs), stats)
    say(f"{VERDICTS} of {shard}: {plural(old.num_rows - table.num_rows, 'row')} fewer")
    return [(VERDICTS, shard)]


def _names_gone(table: pa.Table, plan: TakedownPlan) -> bool:
    """Whether a row names a clip of the videos as the one that it duplicates."""
    named = table["duplicate_of"].drop_null().unique().to_pylist()
    clips = re.compile("|".join(rf"{re.escape(v.video_id)}_\d{{1,12}}_\d{{1,12}}" for v in plan.videos))
    return any(clips.fullmatch(n) for n in named)


def _curated(
    store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan, asset: str, key: str, say: Say
) -> Done:
    header = store.header(asset, key)
    assert header is not None
    number = rows_of(store, plan.of, asset, key).num_rows
    provenance = subset_provenance(store, recipes, plan, asset, key, header)
    if not number and provenance.fingerprint == header.fingerprint:
        return []
    with scratch_folder("takedown-") as scratch:
        local = Path(scratch) / "subset.parquet"
        stats = _funnel_without(header.stats, write_without(store, plan.of, asset, key, local))
        store.storage.remove(sheet_path(store, asset, key))
        header = store.commit_file(asset, key, local, provenance, store.file_hash_parts(asset, local), stats)
    if asset == JUDGED["tracks"] and key in _declared(recipes):
        from curation_assets.publish.writing.track_versions import publish_tracks

        publish_tracks(store, recipes, key, header)
    if number:
        say(f"{asset} of {key}: {plural(number, 'row')}")
    return [(asset, key)]


def _declared(recipes: Mapping[str, Recipe]) -> set[str]:
    from curation_assets.recipes import subsets

    return set(subsets(recipes))


def subset_provenance(
    store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan, asset: str, key: str, header: TableHeader
) -> Any:
    """What a subset's table says it is made from: what it would be made from now if it was up to date and nothing but rows of the videos
    went; else what it said before."""
    if (asset, key) not in plan.fresh:
        return header.provenance
    now = OF_SUBSET[asset](store, recipes, key)
    more = any(changed in now.inputs for changed, _ in plan.changed) and not asset.endswith("_dataset")
    return header.provenance if more else now


def _funnel_without(stats: Mapping[str, Any], removed: pa.Table) -> dict[str, Any]:
    """A funnel as it would be without some candidates: each is counted up to the rule that dropped it."""
    new = {k: v for k, v in stats.items() if k != SHEET}
    funnel = [list(step) for step in stats.get("funnel", [])]
    for row in removed.to_pylist():
        hours = ((row.get("end_ms") or 0) - (row.get("start_ms") or 0)) / 3_600_000
        reason = "exclusion lists" if row["drop_reason"] == "excluded by list" else row["drop_reason"]
        for step in funnel:
            if reason is not None and str(step[0]).startswith(reason):
                break
            if reason is not None and reason.startswith("no ") and str(step[0]).startswith("select:"):
                break
            step[1], step[2] = step[1] - 1, max(0.0, step[2] - hours)
    if funnel:
        new["funnel"] = funnel
    selected = pc.sum(removed["selected"]).as_py() or 0
    if isinstance(new.get("splits"), dict):
        fewer_of = counts(removed, "split")
        new["splits"] = {k: n - fewer_of.get(k, 0) for k, n in new["splits"].items()}
    for name, fewer in (("candidates", removed.num_rows), ("selected", selected), ("rows_in", removed.num_rows)):
        if isinstance(new.get(name), int):
            new[name] -= fewer
    return new
