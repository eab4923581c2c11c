"""Group publish: curated subsets and what they export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    MetadataValue,
    Output,
    StaticPartitionsDefinition,
    asset,
)

from curation_assets.assets import export
from curation_assets.assets.dedup import combined_hash
from curation_assets.assets.pictures import middle_frames
from curation_assets.checks import accounting
from curation_assets.materialize import (
    FORCE_TAG,
    OWNERS,
    Made,
    Meter,
    Outcome,
    check_output,
    check_specs,
    evaluation,
    materialization,
    silent_output,
)
from curation_assets.metadata import column_schema, contact_sheet, distributions, markdown_table
from curation_assets.partitions import subset_partitions, subsets
from curation_assets.recipes import Recipe, RecipeError, Subset
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_assets.shard_keys import parse_shard_key
from resources.storage import MediaRef, StorageError
from resources.table_io_manager import Committed
from resources.tables import MissingTable, Provenance, TableHeader, TableStore
from resources.urls import public_settings

CURATE_VERSION = "2"


def publish_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """The assets that are partitioned by subset."""
    partitions = subset_partitions(recipes)
    return [
        _curated("curated_clips", "clips", recipes, partitions),
        _curated("curated_tracks", "tracks", recipes, partitions),
        export.clip_dataset(recipes, partitions),
        export.embedding_dataset(recipes, partitions),
    ]


def sharded_inputs(subset: Subset, recipes: Mapping[str, Recipe], own: str) -> dict[str, list[str]]:
    """dataset -> sharded assets that a subset is made from, in graph order.

    Raises:
        RecipeError: a dataset of the subset has no recipe.
    """
    from curation_assets.stages.subset_tables import tables_shown

    unknown = [d for d in subset.datasets if d not in recipes]
    if unknown:
        raise RecipeError(
            f"recipe {own}: a subset draws on dataset {unknown[0]!r}, which no recipe at hand declares; "
            f"there are {', '.join(recipes)}: give its recipe too, or leave it out of the subset's datasets"
        )
    return {d: tables_shown(subset, recipes[d]) for d in (subset.datasets or [own])}


def _curated(
    name: str, of: str, recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition
) -> AssetsDefinition:
    contract = schema(name)
    mine = {k: (r, s) for k, (r, s) in subsets(recipes).items() if s.of == of}
    needed = {a for r, s in mine.values() for tables in sharded_inputs(s, recipes, r.dataset).values() for a in tables}
    inputs = [a for a in SCHEMAS if a in needed] or (["clips"] if of == "clips" else ["clips", "tracks"])

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from curate_subset(context, name, inputs)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name=name,
        group_name="publish",
        description=f"One row is {contract.row}. Thresholds live in the recipe's subset: changing one recomputes this table alone.",
        metadata={"dagster/column_schema": column_schema(name)},
        deps=[AssetDep(a, partition_mapping=AllPartitionMapping()) for a in inputs],
        partitions_def=partitions,
        code_version=CURATE_VERSION,
        owners=OWNERS,
        kinds={"parquet"},
        io_manager_key="io_manager",
        check_specs=check_specs([name]),
        required_resource_keys={"tables", "recipes", "settings"},
    )(body)


def subset_shards(store: TableStore, subset: Subset, own: str) -> list[tuple[str, str]]:
    """(dataset, shard) of all shards of the subset's datasets that have clips."""
    wanted = set(subset.datasets or [own])
    return [(d, k) for k in store.partitions("clips") for d in [parse_shard_key(k)[0]] if d in wanted]


def curated_provenance(store: TableStore, recipes: Mapping[str, Recipe], key: str) -> Provenance:
    """What a curated table would be made from now."""
    recipe, subset = subsets(recipes)[key]
    per_dataset = sharded_inputs(subset, recipes, recipe.dataset)
    inputs: dict[str, str] = {}
    for name in [a for a in SCHEMAS if any(a in tables for tables in per_dataset.values())]:
        keys = [k for d, k in subset_shards(store, subset, recipe.dataset) if name in per_dataset[d]]
        inputs[name] = combined_hash({k: h.content_hash for k, h in store.headers(name, keys).items()})
    from curation_assets.stages.subset_tables import read_ids

    lists = [*subset.exclude, *subset.split.lists.values()]
    for path in lists:
        inputs[f"list:{public_settings(path)}"] = combined_hash(dict.fromkeys(read_ids([path]), ""))
    return Provenance(CURATE_VERSION, subset.model_dump(exclude={"export"}), inputs)


def curate_subset(context: AssetExecutionContext, name: str, inputs: list[str]) -> Iterator[Any]:
    """Judges the candidates of each subset of the run and commits its table."""
    from curation_assets.stages.curate import curate

    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    for key in context.partition_keys:
        recipe, subset = subsets(recipes)[key]
        if subset.of != ("clips" if name == "curated_clips" else "tracks"):
            context.log.info(f"{key} is a subset of {subset.of}: {name} is empty")
            none = store.commit(name, key, schema(name).empty(), Provenance(CURATE_VERSION, {"of": subset.of}))
            yield materialization(
                context.instance, store, Outcome(name, none, None, []), key, dict.fromkeys(inputs, False)
            )
            yield evaluation(name, key, next(accounting(None, name, schema(name).empty(), lambda a: schema(a).empty())))
            continue
        provenance = curated_provenance(store, recipes, key)
        header = store.header(name, key)
        made = None
        if header is None or header.fingerprint != provenance.fingerprint or context.run.tags.get(FORCE_TAG) == "true":
            with tempfile.TemporaryDirectory(prefix="curate-") as folder, Meter() as meter:
                found = curate(
                    key, subset, recipes, subset_shards(store, subset, recipe.dataset), store.read, Path(folder)
                )
                digest = store.file_content_hash(name, found.path)
                meter.stop()
                first, last = found.funnel[0], found.funnel[-1]
                stats = {
                    "candidates": first.rows,
                    "selected": last.rows,
                    "yield": round(last.rows / first.rows, 4) if first.rows else 1.0,
                    "hours": round(last.hours, 4),
                    "splits": found.splits,
                    "funnel": [[s.rule, s.rows, round(s.hours, 5)] for s in found.funnel],
                    "report": found.report,
                    "missing_shards": found.missing,
                    **meter.spent(context.resources.settings),
                }
                metadata = _shown(store, subset, found)
                header = store.commit_file(name, key, found.path, provenance, digest, stats)
                made = Made(schema(name).empty(), stats, metadata)
        if name == "curated_tracks":
            export_tracks(store, recipes, key, header)
        table = store.read(name, key, columns=["selected"])
        context.log.info(f"{name} {key}: {header.stats.get('selected')} of {table.num_rows} candidates selected")
        outcome = Outcome(name, header, made, list(accounting(None, name, table, lambda a: schema(a).empty())))
        yield materialization(context.instance, store, outcome, key, dict.fromkeys(inputs, False))
        for finding in outcome.findings:
            yield evaluation(name, key, finding)
    yield silent_output("result", Committed(tuple(context.partition_keys)))
    yield Output(None, output_name=check_output(name))


def export_tracks(store: TableStore, recipes: Mapping[str, Recipe], key: str, header: TableHeader) -> str:
    """Writes the selected tracks beside the table, once per content: `curated_tracks/<subset>/<version>/tracks.jsonl.gz`."""
    from curation_assets.stages.export_tracks import write_tracks
    from resources.detectors import load_vocabulary

    path = f"{store.folder('curated_tracks', key)}/{header.content_hash[:12]}/tracks.jsonl.gz"
    if not store.storage.exists(path):
        selection = export.Selection.of(store, recipes, key)
        shards = (
            (selection.rows(store, s), store.read("tracks", s), load_vocabulary(recipes[d].tracks.vocabulary))
            for s, d in selection.shards.items()
        )
        with tempfile.TemporaryDirectory(prefix="tracks-") as folder:
            local = Path(folder) / "tracks.jsonl.gz"
            write_tracks(local, shards, Path(folder))
            store.storage.publish_file(local, path)
    return path


def _shown(store: TableStore, subset: Subset, found: Any) -> dict[str, Any]:
    """Funnel, report, curves, correlations and pictures beside the thresholds."""
    rows = [(s.rule, s.rows, f"{s.hours:.3f}", f"{s.rows / max(1, found.funnel[0].rows):.1%}") for s in found.funnel]
    metadata: dict[str, Any] = {"funnel_table": markdown_table(("after", "rows", "hours", "share"), rows)}
    if found.missing:
        metadata["missing"] = markdown_table(("shard left out", "reason"), list(found.missing.items())[:20])
    if found.sample is not None and found.sample.num_rows:
        metadata["distributions"] = distributions(_known(found.sample), "score")
        metadata["correlations"] = _correlations(found.sample)
        metadata["keep_rates"] = _keep_rates(found.sample, list(found.examples))
    for rule, clips in found.examples.items():
        sheet = _threshold_sheet(store, clips)
        if sheet is not None:
            metadata[f"threshold {rule}"] = MetadataValue.md(
                f"**{rule}**: above the line passed, below it did not\n\n{sheet.value}"
            )
    return metadata


SCORES = ("motion", "sharpness", "brightness", "text_area", "aesthetic", "match", "border")
"""Columns whose distributions and correlations are shown."""


def _known(sample: pa.Table) -> dict[str, np.ndarray]:
    columns = {c: sample[c].to_numpy(zero_copy_only=False).astype(float) for c in SCORES if c in sample.column_names}
    return {c: v for c, v in columns.items() if np.isfinite(v).sum() > 1}


def _correlations(sample: pa.Table) -> MetadataValue | None:
    known = {c: v for c, v in _known(sample).items() if np.nanstd(v) > 0}
    names = list(known)

    def correlation(a: str, b: str) -> str:
        both = np.isfinite(known[a]) & np.isfinite(known[b])
        if both.sum() < 3 or known[a][both].std() == 0 or known[b][both].std() == 0:
            return ""
        return f"{np.corrcoef(known[a][both], known[b][both])[0, 1]:.2f}"

    return markdown_table(("", *names), [(a, *(correlation(a, b) for b in names)) for a in names])


def _keep_rates(sample: pa.Table, rules: list[str]) -> MetadataValue | None:
    """For each rule with a threshold: the share of candidates at or above the deciles of its score."""
    from curation_assets.stages.rules import parse_rule

    rows = []
    for rule in rules:
        (column,) = parse_rule(rule).columns
        if column not in sample.column_names:
            continue
        values = sample[column].drop_null().to_numpy(zero_copy_only=False).astype(float)
        if not len(values):
            continue
        cuts = np.unique(np.quantile(values, np.linspace(0, 1, 11)))
        rows += [(column, f"{cut:.4g}", f"{(values >= cut).mean():.1%}") for cut in cuts]
    return markdown_table(("score", "at least", "share kept"), rows)


def _threshold_sheet(store: TableStore, clips: list[tuple[str, str, float, bool]]) -> MetadataValue | None:
    pictures = []
    for side in (True, False):
        for clip, shard, value, passed in clips:
            if passed != side:
                continue
            try:
                row = middle_frames(store.read("frames", shard), [clip])[clip]
                data = store.storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
            except (MissingTable, StorageError, KeyError):
                continue
            pictures.append((data, f"{'+' if passed else '-'} {value:.4g}"))
    return contact_sheet(pictures)
