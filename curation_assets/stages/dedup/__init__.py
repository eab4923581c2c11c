"""Near-duplicate clips across all shards: search of near hashes, alignment of clips, the stored index, and the choice of survivors."""

from curation_assets.stages.dedup.clusters import AUDIT, Cosine, Duplicates, build_clusters, dedup_view
from curation_assets.stages.dedup.index import ShardInput

__all__ = ["AUDIT", "Cosine", "Duplicates", "ShardInput", "build_clusters", "dedup_view"]
