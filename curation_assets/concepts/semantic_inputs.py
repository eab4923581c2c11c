"""What semantic duplicates would be made from now, and which clips the table in force was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from curation_assets.concepts.across_datasets import agreed, asking
from curation_assets.concepts.semantic_duplicates import SEMANTIC_VERSION, SemanticDedup
from curation_assets.engine.declared import gone
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.recipes import Recipe
from curation_assets.settings import Settings
from curation_resources import sealed_parquet
from curation_resources.provenance import Provenance, combined_hash
from curation_resources.sealed_parquet import Damaged
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

FOLDER = "semantic_duplicates/compared"
CLIPS = "semantic_duplicates/clips"
FORM = pa.schema([("shard", pa.string()), ("content_hash", pa.string()), ("seen", pa.int64())])


@dataclass(frozen=True)
class Compared:
    """A shard as it was compared.

    Attributes:
        content_hash: of its `clip_concepts`.
        seen: number of the comparison in which it came as it is; of its clips, see `clips_seen`.
    """

    content_hash: str
    seen: int


def semantic_params(recipes: Mapping[str, Recipe]) -> SemanticDedup:
    """How clips are compared, which spans datasets.

    Raises:
        RecipeError: recipes that ask for it say different things.
    """
    return agreed(
        {n: r.semantic_dedup for n, r in asking(recipes, "semantic_duplicates").items()},
        SemanticDedup(),
        "compare clips differently, but semantic duplicates span datasets: write the same section `semantic_dedup` in both",
    )


def semantic_provenance(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings
) -> tuple[Provenance, dict[str, str]]:
    """What the table would be made from now, and the content hash of each shard's `clip_concepts` that takes part."""
    away = gone(store.storage, recipes, settings) | (recipes.keys() - asking(recipes, "semantic_duplicates").keys())
    shards = {k: h for k, h in store.hashes("clip_concepts").items() if dataset_of(k) not in away}
    inputs = {"clip_concepts": combined_hash(shards)}
    return Provenance(SEMANTIC_VERSION, semantic_params(recipes).model_dump(), inputs), shards


def compared(store: TableStore, header: TableHeader | None) -> dict[str, Compared]:
    """Shard -> how it was compared when a table was made; empty where that is not known any more, so that all are compared anew."""
    if header is None:
        return {}
    try:
        table = sealed_parquet.read_bytes(store.storage.read(_path(header.fingerprint)))
    except (FileNotFoundError, Damaged):
        return {}
    return {r["shard"]: Compared(r["content_hash"], r["seen"]) for r in table.to_pylist()}


def put_compared(store: TableStore, fingerprint: str, shards: Mapping[str, Compared]) -> None:
    """Writes which shards a table is made from that is about to be committed."""
    columns = {
        "shard": [*shards],
        "content_hash": [own.content_hash for own in shards.values()],
        "seen": [own.seen for own in shards.values()],
    }
    with store.storage.publish(_path(fingerprint)) as file:
        sealed_parquet.write_table(pa.table(columns, schema=FORM), file)


def drop_old_compared(store: TableStore, header: TableHeader, shards: Mapping[str, Compared]) -> None:
    """Removes what tables before said."""
    kept = {_path(header.fingerprint), *(_clips_path(k, own.content_hash) for k, own in shards.items())}
    there = [f"{folder}/{name}" for folder in (FOLDER, CLIPS) for name in store.storage.list(folder)]
    store.storage.remove_all([path for path in there if path not in kept])


def clips_seen(store: TableStore, shard: str, content_hash: str) -> dict[int, int] | None:
    """Of a shard as it was compared, each clip's hash -> number of the comparison in which the clip came first; None if that is not known.

    A shard grows by videos, so that its clips need not have come together.
    """
    try:
        table = sealed_parquet.read_bytes(store.storage.read(_clips_path(shard, content_hash)))
    except (FileNotFoundError, Damaged):
        return None
    return dict(zip(table["name"].to_pylist(), table["seen"].to_pylist(), strict=True))


def put_clips_seen(store: TableStore, shard: str, content_hash: str, seen: Mapping[int, int]) -> None:
    """Writes what `clips_seen` gives."""
    columns = {"name": pa.array([*seen], pa.uint64()), "seen": pa.array([*seen.values()], pa.int32())}
    with store.storage.publish(_clips_path(shard, content_hash)) as file:
        sealed_parquet.write_table(pa.table(columns), file)


def _clips_path(shard: str, content_hash: str) -> str:
    return f"{CLIPS}/{shard}-{content_hash}.parquet"


def _path(fingerprint: str) -> str:
    return f"{FOLDER}/{fingerprint}.parquet"
