"""The comparison of all shards: what the duplicate clusters would be made from, their making, and the pictures of doubtful pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.dedup.duplicate_clusters import CLUSTER_INDEX, CLUSTERS_VERSION, Dedup
from curation_assets.engine.declared import gone
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import Reporter
from curation_assets.engine.shard_keys import dataset_of, parse_shard_key
from curation_assets.engine.sheets import drop_old_sheet, put_sheet
from curation_assets.engine.slices import SliceHashes, drop_old_slices, write_slices
from curation_assets.recipes import Recipe, RecipeError
from curation_assets.settings import Settings
from curation_assets.showing.clips import same_moments
from curation_assets.showing.figures import markdown_table
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_resources.markdown import Markdown
from curation_resources.media import MediaRef
from curation_resources.progress import listening
from curation_resources.provenance import Provenance, combined_hash
from curation_resources.storage_errors import StorageError
from curation_resources.table_headers import TableHeader
from curation_resources.tables import MissingTable, TableStore

if TYPE_CHECKING:
    from curation_assets.dedup.clusters import Duplicates
    from curation_assets.dedup.search import Means

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
            "reversed": any(s.reversed for s in sections.values()),
            "negative": any(s.negative for s in sections.values()),
            "course": any(s.course for s in sections.values()),
            "crops": any(s.crops for s in sections.values()),
            "confirm_cosine": max(cosines) if cosines else None,
            "survivor": "first_seen" if any(s.survivor == "first_seen" for s in sections.values()) else "best",
        }
    )


def clusters_provenance(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings
) -> tuple[Provenance, dict[str, str]]:
    """What the clusters would be made from now, and the content hash of each shard's fingerprints. Datasets that are gone take no part."""
    params, away = clusters_params(recipes), gone(store.storage, recipes, settings)

    def hashes(asset: str) -> dict[str, str]:
        return {k: h for k, h in store.hashes(asset).items() if dataset_of(k) not in away}

    shards = hashes("clip_fingerprints")
    inputs = {"clip_fingerprints": combined_hash(shards)}
    if params.confirm_cosine is not None:
        inputs["frame_embeddings"] = combined_hash(hashes("frame_embeddings"))
    return Provenance(CLUSTERS_VERSION, params.model_dump(), inputs), shards


def compare_shards(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    say: Callable[[str], Any],
    *,
    check: bool = False,
    show: Callable[[Duplicates], Mapping[str, Any]] | None = None,
    noted: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[TableHeader, Duplicates, Mapping[str, Any]]:
    """Compares the shards that are new or changed with the stored index and commits the clusters: header, what was found, stats.

    Args:
        check: read all of the index, and make anew what is damaged.
        show: what is shown of what was found; its sheets are put beside the table.
        noted: kept with the table besides.
    """
    from curation_assets.dedup.clusters import build_clusters
    from curation_assets.dedup.index import ShardInput

    _, base = store.standing("duplicate_clusters")
    provenance, shards = clusters_provenance(store, recipes, settings)
    params = clusters_params(recipes)
    reporter = Reporter("duplicate_clusters", say)
    with Meter() as meter, reporter, listening(reporter):
        found = build_clusters(
            store.storage,
            CLUSTER_INDEX,
            [ShardInput(k, h, lambda k=k: store.read("clip_fingerprints", k)) for k, h in shards.items()],  # type: ignore[misc]
            params,
            embedding_cosine(store) if params.confirm_cosine is not None else None,
            search_means(settings),
            check=check,
        )
    stats = {k: v for k, v in found.stats.items() if isinstance(v, int | float | str)}
    stats |= {"shards_seen": len(shards), "rows_in": found.stats["clips"], **meter.spent(settings), **noted}
    slices = SliceHashes("duplicate_clusters")
    for rows in found.rows.tables():
        slices.update(rows)
    stats |= put_sheet(store, "duplicate_clusters", None, show(found) if show else {})

    def put_slices(content_hash: str) -> None:
        write_slices(store, "duplicate_clusters", content_hash, slices.table())

    header = store.commit_rows(
        "duplicate_clusters", None, found.rows.tables, provenance, stats, base, before=put_slices
    )
    drop_old_sheet(store, header, base)
    drop_old_slices(store, header)
    return header, found, stats


def search_means(settings: Settings) -> Means:
    """What a search may use by the settings of the installation."""
    from curation_assets.dedup.ray_runner import on_ray
    from curation_assets.dedup.search import Means

    runner = on_ray() if settings.search_on == "ray" else None
    return Means(settings.workers, settings.search_memory_mb << 20, runner)


def embedding_cosine(store: TableStore) -> Any:
    """Cosine of mean embeddings of two tables of clips (dataset, clip_id), nan where one has none or they are of different models.

    Each time it is asked it reads the embeddings of the datasets in question, a shard at a time, and keeps those of the clips in question alone.
    """
    import numpy as np

    def cosine(a: pa.Table, b: pa.Table) -> Any:
        pairs = list(zip(_ids(a), _ids(b), strict=True))
        vectors = _vectors(store, {clip for pair in pairs for clip in pair})

        def of_pair(x: tuple[str, str], y: tuple[str, str]) -> float:
            (model, one), (other_model, other) = (vectors.get(clip, ("", None)) for clip in (x, y))
            return float(one @ other) if one is not None and other is not None and model == other_model else np.nan

        return np.array([of_pair(x, y) for x, y in pairs], np.float64)

    return cosine


def _ids(clips: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(clips["dataset"].to_pylist(), clips["clip_id"].to_pylist(), strict=True)


def _vectors(store: TableStore, clips: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, Any]]:
    """Model and mean embedding of those of some clips that have one."""
    from curation_assets.scores.embedding import mean_embeddings

    wanted: dict[str, list[str]] = {}
    for dataset, clip in sorted(clips):
        wanted.setdefault(dataset, []).append(clip)
    values = {dataset: pa.array(ids, pa.string()) for dataset, ids in wanted.items()}
    vectors: dict[tuple[str, str], tuple[str, Any]] = {}
    for shard in store.partitions("frame_embeddings"):
        dataset = parse_shard_key(shard)[0]
        if dataset not in values:
            continue
        table = store.read("frame_embeddings", shard)
        table = table.filter(pc.is_in(table["clip_id"], values[dataset]))
        if len(table):
            found, means = mean_embeddings(table)
            model = table["model"][0].as_py()
            vectors |= {(dataset, clip): (model, mean) for clip, mean in zip(found, means, strict=True)}
    return vectors


def pairs_sheet(store: TableStore, audit: pa.Table) -> Sheet | Markdown | None:
    """Pairs side by side, each at up to two moments that both show, and what is said of each pair; that alone where no picture can be read."""
    tables: dict[str, pa.Table] = {}

    def frames(shard: str, clip: str) -> pa.Table:
        if shard not in tables:
            tables[shard] = store.read("frames", shard)
        stored = tables[shard]
        return stored.filter(pc.and_(pc.equal(stored["clip_id"], clip), pc.is_valid(stored["tar"])))

    pictures: list[tuple[bytes, str]] = []
    rows = []
    for number, row in enumerate(audit.to_pylist(), 1):
        verdict = ("same" if row["accepted"] else "not") + (f", {row['altered']}" if row["altered"] else "")
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
    table = markdown_table(("pair", "verdict", "similarity", "frames that agree", "pictures apart", "a", "b"), rows)
    sheet = contact_sheet(pictures, columns=PAIR_COLUMNS)
    return table if sheet is None else sheet.saying(table)
