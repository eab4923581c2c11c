"""How `duplicate_clusters` is brought up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from curation_assets.checks import accounting
from curation_assets.contracts.checks import Finding
from curation_assets.contracts.component import Made
from curation_assets.dedup.comparison import clusters_provenance, compare_shards, pairs_sheet
from curation_assets.dedup.duplicate_clusters import CLUSTER_INDEX
from curation_assets.dedup.index_files import is_whole
from curation_assets.engine.gathered_inputs import see_to_inputs
from curation_assets.engine.maker import Key, Maker, settle
from curation_assets.engine.making import Outcome
from curation_assets.engine.run import Run
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, TableStore
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.dedup.clusters import Duplicates


class ClusterMaker(Maker):
    """Compares the shards that are new or changed with the stored index, and commits the clusters if they are other than before."""

    name, assets = "duplicate_clusters", ("duplicate_clusters",)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        store = run.store
        provenance, shards = clusters_provenance(store, run.recipes, run.settings)
        lacking = see_to_inputs(run, self.name)

        def make(base: Base) -> tuple[TableHeader, Made]:
            metadata: dict[str, Any] = {}

            def show(found: Duplicates) -> Mapping[str, Any]:
                metadata.update(shards=sorted(shards), relations=found.rows.relations)
                for kind in ("closest", "doubtful"):
                    sheet = pairs_sheet(store, found.audit.filter(pc.equal(found.audit["kind"], kind)))
                    if sheet is not None:
                        metadata[f"{kind}_pairs"] = sheet
                return metadata

            header, _, stats = compare_shards(
                store, run.recipes, run.settings, run.log.info, check=run.force, show=show, noted=lacking
            )
            return header, Made(schema(self.name).empty(), stats, metadata)

        header, made = settle(
            store, self.name, None, provenance, make, lambda _: is_whole(store.storage, CLUSTER_INDEX) and not run.force
        )
        findings: list[Finding] = []
        if made is not None:
            table = store.read(self.name, columns=["keep"])
            findings = list(accounting(None, self.name, table, store.read))
        yield Outcome(self.name, header, made, findings)

    def rests(self, store: TableStore, recipes: Mapping[str, Recipe], key: Key) -> bool:
        return is_whole(store.storage, CLUSTER_INDEX)

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        return {self.name: {"clip_fingerprints": False}}

    def said(self, outcome: Outcome) -> str:
        seen = outcome.header.stats.get("shards_seen", 0)
        return f"{plural(outcome.header.rows, 'clip')} in clusters over {plural(seen, 'shard')}, {'made' if outcome.made else 'unchanged'}"
