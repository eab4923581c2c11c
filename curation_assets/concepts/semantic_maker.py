"""How `semantic_duplicates` is brought up to date: what came is compared, and pairs are pictured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.checks import accounting
from curation_assets.concepts.across_datasets import asking
from curation_assets.concepts.semantic_inputs import (
    Compared,
    compared,
    drop_old_compared,
    put_compared,
    semantic_params,
    semantic_provenance,
)
from curation_assets.concepts.semantic_search import ComparedPair, SemanticSearch
from curation_assets.contracts.component import Made
from curation_assets.engine.gathered_inputs import see_to_inputs
from curation_assets.engine.maker import Key, Maker, Refused, settle
from curation_assets.engine.making import Outcome
from curation_assets.engine.meter import Meter
from curation_assets.engine.run import Run
from curation_assets.engine.sheets import drop_old_sheet, put_sheet
from curation_assets.engine.slices import SliceHashes, drop_old_slices, write_slices
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.showing.clips import sheet_of_rows
from curation_assets.showing.figures import markdown_table
from curation_assets.showing.sheets import Sheet
from curation_resources.markdown import Markdown
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, DamagedTable, MissingTable, TableStore
from curation_resources.words import plural

ASSET = "semantic_duplicates"


class SemanticMaker(Maker):
    """Compares the clips that came with all of their concepts, and commits which of them say the same."""

    name, assets = ASSET, (ASSET,)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        store = run.store
        if not asking(run.recipes, "semantic_duplicates"):
            raise Refused(
                "no recipe asks for semantic duplicates; write `semantic_dedup: {}` in the recipes of the datasets that they are for"
            )
        provenance, _ = semantic_provenance(store, run.recipes, run.settings)
        lacking = see_to_inputs(run, self.name)

        def make(base: Base) -> tuple[TableHeader, Made]:
            return compare_concepts(store, run.recipes, run.settings, base, anew=run.force, noted=lacking)

        header, made = settle(store, self.name, None, provenance, make, lambda _: not run.force)
        rows = store.read(self.name, columns=["semantic_keep"])
        yield Outcome(self.name, header, made, list(accounting(None, self.name, rows, store.read)))

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        return {self.name: {"clip_concepts": False}}

    def said(self, outcome: Outcome) -> str:
        dropped = outcome.header.stats.get("dropped", 0)
        return f"{plural(dropped, 'clip says', 'clips say')} what others say, {'compared' if outcome.made else 'unchanged'}"


def compare_concepts(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    base: Base,
    *,
    anew: bool = False,
    shown: bool = True,
    noted: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[TableHeader, Made]:
    """Compares the shards that are new or changed, and commits the table over `base`.

    Args:
        anew: compare all with all, whatever was compared before.
        shown: whether pairs are pictured.
        noted: kept with the table besides.
    """
    provenance, shards = semantic_provenance(store, recipes, settings)
    params = semantic_params(recipes)
    header = store.usable_header(ASSET)
    known = compared(store, header)
    same = header is not None and header.provenance.params == provenance.params
    same = same and header is not None and header.provenance.code_version == provenance.code_version
    number = 1 + max((own.seen for own in known.values()), default=0)
    as_before = {k for k, own in known.items() if shards.get(k) == own.content_hash}
    now = {k: known[k] if k in as_before else Compared(h, number) for k, h in shards.items()}
    fresh = frozenset(now if anew or not same else now.keys() - as_before)
    contract, memory = schema(ASSET), settings.search_memory_mb << 20

    def before() -> Iterator[pa.Table]:
        return iter(()) if len(fresh) == len(now) else store.groups(ASSET, contract.names)

    with Meter() as meter, scratch_folder("semantic-") as folder:
        search = SemanticSearch(store, now, fresh, known, params.survivor, params.threshold, memory)
        path, pairs = search.run(before, Path(folder))

        def tables() -> Iterator[pa.Table]:
            with pq.ParquetFile(path) as file:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number)

        slices, rows, dropped = SliceHashes(ASSET), 0, 0
        for part in tables():
            slices.update(part)
            rows, dropped = rows + part.num_rows, dropped + pc.sum(pc.invert(part["semantic_keep"])).as_py()
        meter.stop()
        sheet = pictures(store, pairs) if shown else None
        metadata = {} if sheet is None else {"pairs": sheet}
        stats: dict[str, Any] = {
            "dropped": dropped,
            "groups": rows - dropped,
            "compared": search.compared,
            "shards_seen": len(now),
            "rows_in": sum(h.rows for h in store.headers("clip_concepts", [*now]).values()),
            **meter.spent(settings),
            **noted,
            **put_sheet(store, ASSET, None, metadata),
        }

        def put_beside(digest: str) -> None:
            write_slices(store, ASSET, digest, slices.table())
            put_compared(store, provenance.fingerprint, now)

        header = store.commit_rows(ASSET, None, tables, provenance, stats, base, before=put_beside)
    drop_old_sheet(store, header, base)
    drop_old_slices(store, header)
    drop_old_compared(store, header, now)
    return header, Made(contract.empty(), stats, metadata)


def pictures(store: TableStore, pairs: Sequence[ComparedPair]) -> Sheet | Markdown | None:
    """Pairs of clips beside each other and what was found of each: the most similar, those that hardly are duplicates and those that hardly are not."""
    if not pairs:
        return None
    clips: dict[str, set[str]] = {}
    for pair in pairs:
        for shard, clip in (pair.a, pair.b):
            clips.setdefault(shard, set()).add(clip)
    found: list[pa.Table] = []
    for shard, wanted in sorted(clips.items()):
        try:
            frames = store.read("frames", shard, columns=["clip_id", "position", "tar", "offset", "size"])
        except (MissingTable, DamagedTable):
            continue
        found.append(frames.filter(pc.is_in(frames["clip_id"], value_set=pa.array(sorted(wanted), pa.string()))))
    rows = [(n, "same" if p.dropped else "not", f"{p.cosine:.3f}", p.a[1], p.b[1]) for n, p in enumerate(pairs, 1)]
    table = markdown_table(("pair", "verdict", "cosine", "kept before", "compared with it"), rows)
    if not found:
        return table
    labels = [
        [(p.a[1], f"{n}a {'same' if p.dropped else 'not'}"), (p.b[1], f"{n}b {p.cosine:.3f}")]
        for n, p in enumerate(pairs, 1)
    ]
    sheet = sheet_of_rows(store.storage, pa.concat_tables(found), labels, 2)
    return table if sheet is None else sheet.saying(table)
