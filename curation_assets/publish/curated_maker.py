"""How `curated_clips` and `curated_tracks` are brought up to date: each candidate of a subset is judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.checks import accounting
from curation_assets.contracts.checks import Finding
from curation_assets.contracts.component import Made
from curation_assets.engine.maker import Key, Maker, settle
from curation_assets.engine.making import Outcome
from curation_assets.engine.meter import Meter
from curation_assets.engine.run import Run
from curation_assets.engine.sheets import drop_old_sheet, put_sheet
from curation_assets.publish.curating.funnels import figures, shown
from curation_assets.publish.curating.subset_inputs import (
    LEFT_OUT,
    curated_provenance,
    sharded_inputs,
    subset_shards,
    without,
)
from curation_assets.publish.curating.versions import CURATE_VERSION
from curation_assets.recipes import Recipe, subsets
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.showing.figures import bullets
from curation_resources.provenance import Provenance
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, TableStore
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.engine.made_of import Known
    from curation_assets.publish.curating.kept_candidates import KeptCandidates
    from curation_assets.publish.writing.kept_track_lines import PublishedTracks


def known(store: TableStore) -> Known:
    """The tables with the heads of all sharded ones: what a subset is made from is told without a look into thousands of footers."""
    from curation_assets.engine.staleness import known_tables  # it looks at all assets, of which this is one

    return known_tables(store)


def lacks(run: Run, key: str, asset: str, tables: Known | None = None) -> list[str]:
    """What `asset` of a subset would be made without, a line each; empty if all of its inputs are complete and fresh.

    Args:
        tables: from `known`, if they have been looked at.

    Raises:
        Incomplete: something, and neither the run nor the recipe allows it.
    """
    from curation_assets.engine.completeness import left_out  # it looks at all assets, of which this is one

    return left_out(run.store, run.recipes, run.settings, key, asset, run.partial, tables)


class CuratedMaker(Maker):
    """Judges the candidates of each subset of clips, or of tracks, and commits its table."""

    def __init__(self, of: str) -> None:
        self.of = of
        self.name = f"curated_{of}"
        self.assets = (self.name,)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        assert key is not None
        header, made = self._judged(run, key)
        findings: list[Finding] = []
        if made is not None:
            table = run.store.read(self.name, key, columns=["selected"])
            findings = list(accounting(None, self.name, table, lambda a: schema(a).empty()))
        yield Outcome(self.name, header, made, findings)

    def rests(self, store: TableStore, recipes: Mapping[str, Recipe], key: Key) -> bool:
        from curation_assets.publish.writing.track_versions import tracks_path

        header = store.header(self.name, key)
        if self.of != "tracks" or key is None or header is None:
            return True
        return store.storage.exists(tracks_path(store, recipes, key, header))

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        """What the curated table of clips or tracks is made from, over all subsets."""
        mine = [(r, s) for r, s in subsets(recipes).values() if s.of == self.of]
        needed = {a for r, s in mine for tables in sharded_inputs(s, recipes, r.dataset).values() for a in tables}
        if any(recipes[d].source.may_word_spans for r, s in mine for d in (s.datasets or [r.dataset])):
            needed.add("video_metadata")
        found = [a for a in SCHEMAS if a in needed] or (["clips"] if self.of == "clips" else ["clips", "tracks"])
        return {self.name: dict.fromkeys(found, False)}

    def said(self, outcome: Outcome) -> str:
        return f"{outcome.header.stats.get('selected', 0)} of {plural(outcome.header.rows, 'candidate')} selected"

    def _judged(self, run: Run, key: str) -> tuple[TableHeader, Made | None]:
        """The table in force after it was brought up to date, and what was made of it, if anything."""
        store, recipes = run.store, run.recipes
        _, subset = subsets(recipes)[key]
        if subset.of != self.of:
            run.log.info(f"{key} is a subset of {subset.of}: {self.name} is empty")
            nothing = Provenance(CURATE_VERSION, {"of": subset.of})

            def empty(base: Base) -> tuple[TableHeader, Made]:
                none = schema(self.name).empty()
                return store.commit(self.name, key, none, nothing, base=base), Made(none)

            return settle(store, self.name, key, nothing, empty, lambda _: True)
        tables = known(store)
        lacking = lacks(run, key, self.name, tables)
        provenance = without(curated_provenance(tables, recipes, key), lacking)
        lists: list[PublishedTracks] = []
        header, made = settle(
            store,
            self.name,
            key,
            provenance,
            lambda base: self._judge(run, key, lacking, provenance, base, lists),
            lambda _: not run.force,
        )
        if self.of == "tracks":
            from curation_assets.publish.writing.track_versions import publish_tracks

            publish_tracks(store, recipes, key, header, lists[-1] if lists else None)
        return header, made

    def _judge(
        self,
        run: Run,
        key: str,
        lacking: Sequence[str],
        provenance: Provenance,
        base: Base,
        lists: list[PublishedTracks],
    ) -> tuple[TableHeader, Made]:
        """Judges from the columns that the table in force keeps, where they say enough, else from the tables of all shards.

        Args:
            lists: gets the list of tracks that was published of these candidates as they were judged before.
        """
        from curation_assets.publish.curating.curating import curate
        from curation_assets.publish.curating.rejudging import judge_again

        store, recipes = run.store, run.recipes
        recipe, subset = subsets(recipes)[key]
        with scratch_folder("curate-") as folder, Meter() as meter:
            kept = self._kept(run, key, provenance, base)
            before = kept.hash_parts if kept is not None else None
            if kept is not None and before is not None:
                run.log.info(f"{self.name} {key}: judged from the columns that the table in force keeps")
                found = judge_again(kept, Path(folder))
            else:
                shards = subset_shards(store, subset, recipe.dataset)
                found = curate(key, subset, recipes, shards, store.read, Path(folder))
            parts = found.parts
            assert parts is not None
            meter.stop()
            rows_in = {"rows_in": found.funnel[0].rows}
            metadata = {**shown(store, found), "left_out": bullets(lacking)}
            stats = {**figures(found), LEFT_OUT: lacking, **rows_in, **meter.spent(run.settings)}
            stats |= put_sheet(store, self.name, key, metadata)
            if kept is not None and before is not None:
                lists[:] = self._list(run, key, kept)
                header = store.commit_columns(kept.header, found.path, provenance, before.replaced(parts), stats)
            else:
                lists.clear()
                header = store.commit_written(self.name, key, found.path, provenance, parts, stats, base)
            drop_old_sheet(store, header, base)
        return header, Made(schema(self.name).empty(), stats, metadata)

    def _list(self, run: Run, key: str, kept: KeptCandidates) -> list[PublishedTracks]:
        """The list that was published of the candidates as they are kept, if there is one."""
        from curation_assets.publish.writing.track_versions import published_tracks

        found = published_tracks(run.store, run.recipes, key, kept.header) if self.of == "tracks" else None
        return [] if found is None else [found]

    def _kept(self, run: Run, key: str, provenance: Provenance, base: Base) -> KeptCandidates | None:
        from curation_assets.publish.curating.kept_candidates import KeptCandidates

        recipe, subset = subsets(run.recipes)[key]
        if run.force or not isinstance(base, TableHeader):
            return None
        return KeptCandidates.of(run.store, run.recipes, recipe.dataset, subset, base, provenance)
