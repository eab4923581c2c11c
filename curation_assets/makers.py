"""Who makes each table."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.concepts.concept_maker import ConceptMaker
from curation_assets.concepts.semantic_maker import SemanticMaker
from curation_assets.dedup.cluster_maker import ClusterMaker
from curation_assets.engine.maker import Maker
from curation_assets.engine.sharded import ShardMaker
from curation_assets.ingest.index_maker import IndexMaker
from curation_assets.publish.curated_maker import CuratedMaker
from curation_assets.publish.export_makers import ClipExportMaker, EmbeddingExportMaker
from curation_assets.registry import JUDGED, STAGES

MAKERS: Mapping[str, Maker] = {
    asset: maker
    for maker in (
        IndexMaker(),
        ClusterMaker(),
        ConceptMaker(),
        SemanticMaker(),
        *map(ShardMaker, STAGES),
        *map(CuratedMaker, JUDGED),
        ClipExportMaker(),
        EmbeddingExportMaker(),
    )
    for asset in maker.assets
}
"""Every table and who makes it."""
