"""Group dedup: near-duplicates over all shards and datasets, and each shard's view of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from dagster import AssetExecutionContext, AssetsDefinition, MetadataValue, Output, asset

from curation_assets.assets.pictures import same_moments
from curation_assets.checks import accounting
from curation_assets.dedup.index_files import is_whole
from curation_assets.engine.declared import gone
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import Reporter
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.materialize import (
    OWNERS,
    Made,
    Outcome,
    Part,
    Shard,
    Stage,
    check_output,
    check_specs,
    evaluation,
    forced,
    materialization,
    over_others,
    silent_output,
)
from curation_assets.orchestration.metadata import column_schema, contact_sheet, counts, markdown_table
from curation_assets.orchestration.pods import pod
from curation_assets.recipes import Dedup, Recipe, RecipeError
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_resources.presence import at_work
from curation_resources.progress import listening
from curation_resources.storage import MediaRef, StorageError
from curation_resources.table_io_manager import Committed
from curation_resources.tables import MissingTable, Provenance, TableHeader, TableStore, combined_hash

if TYPE_CHECKING:
    from curation_assets.dedup.clusters import Duplicates

CLUSTERS_VERSION = "3"
INDEX = "duplicate_clusters/index"
PAIR_COLUMNS = 4
"""Pictures in a row of the audit: both clips at two moments."""


def clusters_params(recipes: Mapping[str, Recipe]) -> Dedup:
    """The parameters of the comparison, which spans datasets, whatever the order of the recipes.

    Where recipes differ, the strictest thresholds hold and `first_seen` prevails: a copy that stays is seen, a clip dropped in error is
    not. Central and mirrored hashes are a matter of the pair: they are compared if a recipe asks, and only clips of recipes that ask have them.

    Raises:
        RecipeError: recipes that hash by different methods cannot be compared.
    """
    sections = {n: r.dedup for n, r in recipes.items()}
    methods = {s.method: n for n, s in sections.items()}
    if len(methods) > 1:
        (a, x), (b, y) = sorted(methods.items())[:2]
        raise RecipeError(
            f"datasets {x} and {y} hash by {a} and {b}, but near-duplicates are found across datasets: use one dedup.method"
        )
    if not sections:
        return Dedup()
    cosines = [s.confirm_cosine for s in sections.values() if s.confirm_cosine is not None]
    return Dedup().model_copy(
        update={
            "method": next(iter(methods)),
            "distance": min(s.distance for s in sections.values()),
            "matches": max(s.matches for s in sections.values()),
            "agree": min(s.agree for s in sections.values()),
            "coverage": max(s.coverage for s in sections.values()),
            "center": any(s.center for s in sections.values()),
            "flipped": any(s.flipped for s in sections.values()),
            "course": any(s.course for s in sections.values()),
            "crops": any(s.crops for s in sections.values()),
            "confirm_cosine": max(cosines) if cosines else None,
            "survivor": "first_seen" if any(s.survivor == "first_seen" for s in sections.values()) else "best",
        }
    )


def duplicate_clusters(settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    """The unpartitioned asset in the middle of the graph."""
    contract = schema("duplicate_clusters")

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        with at_work(context.resources.tables.storage, ["duplicate_clusters"]):
            yield from find_clusters(context)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name="duplicate_clusters",
        group_name="dedup",
        description=f"Near-duplicates over all shards of all datasets that exist; missing ones block nothing. One row is {contract.row}.",
        metadata={"dagster/column_schema": column_schema("duplicate_clusters")},
        deps=["clip_fingerprints"],
        code_version=CLUSTERS_VERSION,
        owners=OWNERS,
        kinds={"parquet", "numpy"},
        io_manager_key="io_manager",
        check_specs=check_specs(["duplicate_clusters"]),
        required_resource_keys={"tables", "recipes", "settings"},
        pool="cpu",
        op_tags=pod(cpu=4, memory="16Gi"),
    )(body)


def clusters_provenance(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings
) -> tuple[Provenance, dict[str, str]]:
    """What the clusters would be made from now, and the content hash of each shard's fingerprints. Datasets that are gone take no part."""
    params, away = clusters_params(recipes), gone(store.storage, recipes, settings)

    def hashes(asset: str) -> dict[str, str]:
        return {k: h.content_hash for k, h in store.headers(asset).items() if parse_shard_key(k)[0] not in away}

    shards = hashes("clip_fingerprints")
    inputs = {"clip_fingerprints": combined_hash(shards)}
    if params.confirm_cosine is not None:
        inputs["frame_embeddings"] = combined_hash(hashes("frame_embeddings"))
    return Provenance(CLUSTERS_VERSION, params.model_dump(), inputs), shards


def find_clusters(context: AssetExecutionContext) -> Iterator[Any]:
    """Brings the clusters up to date and reports them."""
    store: TableStore = context.resources.tables
    header, made, shards = over_others(context.log, partial(bring_up_to_date, context))
    context.log.info(
        f"duplicate_clusters: {header.rows} clips in clusters over {len(shards)} shards, {'made' if made else 'unchanged'}"
    )
    outcome = Outcome(
        "duplicate_clusters",
        header,
        made,
        list(accounting(None, "duplicate_clusters", store.read("duplicate_clusters"), store.read)),
    )
    yield materialization(context.instance, store, outcome, None, {"clip_fingerprints": False})
    for finding in outcome.findings:
        yield evaluation("duplicate_clusters", None, finding)
    yield silent_output("result", Committed())
    yield Output(None, output_name=check_output("duplicate_clusters"))


def compare_shards(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, say: Callable[[str], Any]
) -> tuple[TableHeader, Duplicates, Mapping[str, Any]]:
    """Compares the shards that are new or changed with the stored index and commits the clusters: header, what was found, stats."""
    from curation_assets.dedup.clusters import build_clusters
    from curation_assets.dedup.index import ShardInput

    base = store.base("duplicate_clusters", None, store.usable_header("duplicate_clusters"))
    provenance, shards = clusters_provenance(store, recipes, settings)
    params = clusters_params(recipes)
    reporter = Reporter("duplicate_clusters", say)
    with Meter() as meter, reporter, listening(reporter):
        found = build_clusters(
            store.storage,
            INDEX,
            [ShardInput(k, h, lambda k=k: store.read("clip_fingerprints", k)) for k, h in shards.items()],  # type: ignore[misc]
            params,
            embedding_cosine(store) if params.confirm_cosine is not None else None,
            threads=settings.workers,
        )
    stats = {k: v for k, v in found.stats.items() if isinstance(v, int | float | str)}
    stats |= {"shards_seen": len(shards), "rows_in": found.stats["clips"], **meter.spent(settings)}
    return store.commit("duplicate_clusters", None, found.clusters, provenance, stats, base), found, stats


def bring_up_to_date(context: AssetExecutionContext) -> tuple[TableHeader, Made | None, Mapping[str, str]]:
    """Compares the shards that are new or changed with the stored index, commits the clusters if they are other than before.

    Returns:
        The header in force then, what was made if anything was, and the content hash of each shard's fingerprints.
    """
    store: TableStore = context.resources.tables
    settings: Settings = context.resources.settings
    recipes: Mapping[str, Recipe] = context.resources.recipes
    provenance, shards = clusters_provenance(store, recipes, settings)
    header = store.usable_header("duplicate_clusters")
    made = None
    whole = is_whole(store.storage, INDEX)
    if header is None or header.fingerprint != provenance.fingerprint or not whole or forced(context):
        header, found, stats = compare_shards(store, recipes, settings, context.log.info)
        metadata: dict[str, Any] = {
            "shards": MetadataValue.json(sorted(shards)),
            "relations": MetadataValue.json(counts(found.clusters, "relation")),
        }
        for kind in ("closest", "doubtful"):
            sheet = _pairs(store, found.audit.filter(pc.equal(found.audit["kind"], kind)))
            if sheet is not None:
                metadata[f"{kind}_pairs"] = sheet
        made = Made(found.clusters, stats, metadata)
    return header, made, shards


def embedding_cosine(store: TableStore) -> Any:
    """Cosine of mean embeddings of two tables of clips, nan where one has none or they are of different models; reads each shard's
    embeddings once."""
    import numpy as np

    from curation_assets.scores.embedding import mean_embeddings

    vectors: dict[tuple[str, str], tuple[str, Any]] = {}
    for shard in store.partitions("frame_embeddings"):
        table = store.read("frame_embeddings", shard)
        clips, means = mean_embeddings(table)
        dataset = parse_shard_key(shard)[0]
        model = table["model"][0].as_py() if len(table) else ""
        vectors |= {(dataset, clip): (model, mean) for clip, mean in zip(clips, means, strict=True)}

    def ids(clips: pa.Table) -> Iterator[tuple[str, str]]:
        return zip(clips["dataset"].to_pylist(), clips["clip_id"].to_pylist(), strict=True)

    def of_pair(x: tuple[str, str], y: tuple[str, str]) -> float:
        (model, one), (other_model, other) = (vectors.get(clip, ("", None)) for clip in (x, y))
        return float(one @ other) if one is not None and other is not None and model == other_model else np.nan

    def cosine(a: pa.Table, b: pa.Table) -> Any:
        return np.array([of_pair(x, y) for x, y in zip(ids(a), ids(b), strict=True)])

    return cosine


def _pairs(store: TableStore, audit: pa.Table) -> MetadataValue | None:
    """Pairs side by side, each at up to two moments that both show, and below the pictures what is said of each pair."""
    tables: dict[str, pa.Table] = {}

    def frames(shard: str, clip: str) -> pa.Table:
        if shard not in tables:
            tables[shard] = store.read("frames", shard)
        stored = tables[shard]
        return stored.filter(pc.and_(pc.equal(stored["clip_id"], clip), pc.is_valid(stored["tar"])))

    pictures: list[tuple[bytes, str]] = []
    rows = []
    for number, row in enumerate(audit.to_pylist(), 1):
        verdict = ("same" if row["accepted"] else "not") + (", mirrored" if row["flipped"] else "")
        measured = f"{row['similarity']:.2f}", f"{row['coverage']:.0%}"
        shown: list[tuple[bytes, str]] = []
        apart = ""
        try:
            a, b = (frames(row[f"shard_{side}"], row[f"clip_id_{side}"]) for side in "ab")
            moments = same_moments(a, b, row["times_a"], row["times_b"])
            for *pair, _ in moments:
                for side, place in zip("ab", pair, strict=True):
                    data = store.storage.read_media(MediaRef(place["tar"], place["offset"], place["size"]))
                    shown.append((data, f"{number}{side} {place['time_ms'] / 1000:.2f} s"))
            apart = f"{max(away for *_, away in moments) / 1000:.2f} s" if moments else ""
        except (MissingTable, StorageError):
            shown = []
        if shown:
            pictures += shown + [(b"", "")] * (PAIR_COLUMNS - len(shown))
        rows.append((number, verdict, *measured, apart, row["clip_id_a"], row["clip_id_b"]))
    parts = (
        contact_sheet(pictures, columns=PAIR_COLUMNS),
        markdown_table(("pair", "verdict", "similarity", "frames that agree", "pictures apart", "a", "b"), rows),
    )
    return MetadataValue.md("\n\n".join(str(part.value) for part in parts if part is not None)) if rows else None


def _view(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.dedup.clusters import dedup_view

    clips = shard.table("clips")
    real = clips.filter(pc.equal(clips["status"], "ok"))
    table = dedup_view(shard.slice("duplicate_clusters"), real)
    stats = {
        "kept": pc.sum(table["keep"]).as_py() or 0,
        "dropped": table.num_rows - (pc.sum(table["keep"]).as_py() or 0),
    }
    return {"dedup": Made(table, stats, {"relations": MetadataValue.json(counts(table, "relation"))})}


STAGES = (
    Stage(
        "dedup",
        "dedup",
        (
            Part(
                "dedup",
                "Each clip of the shard with the verdict of duplicate_clusters.",
                inputs=("clips",),
                slices=("duplicate_clusters",),
                complete="clips",
            ),
        ),
        _view,
    ),
)
