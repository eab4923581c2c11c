"""How exports of subsets are brought up to date. Clips are cut in batches of shards; the last piece of work publishes a version.

What is cut and written is in `publish/writing/versions.py`. Files of a version lie in `<asset>/<subset>/<version>/`, and the table
`<asset>/<subset>.parquet`, written last, names the version in force. Versions that it no longer names are kept, so that a training run can
hold on to what it reads; docs/reference/export.md says how to remove them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets.contracts.component import Made
from curation_assets.engine.maker import Incomplete, Key, Maker, NotMade, settle
from curation_assets.engine.making import LOST, Outcome
from curation_assets.engine.meter import Meter
from curation_assets.engine.progress import Pace, Reporter
from curation_assets.engine.run import Run
from curation_assets.engine.sharded import failed_shards
from curation_assets.publish.curated_maker import lacks
from curation_assets.publish.curating.moved_sources import SOURCES, said_of_sources
from curation_assets.publish.curating.subset_inputs import (
    Selection,
    clip_provenance,
    clip_provenance_or_as_good,
    embedding_provenance,
    embedding_provenance_or_as_good,
    read_of_clips,
    without,
)
from curation_assets.publish.embedding_dataset import COMPONENT as EMBEDDINGS
from curation_assets.publish.embedding_dataset import SAID_OF
from curation_assets.publish.writing.accounted import accounted
from curation_assets.recipes import Recipe, subsets
from curation_assets.schemas import schema
from curation_assets.selection import in_order
from curation_assets.showing.figures import bullets, markdown_table
from curation_resources.encoders import NoEncoder
from curation_resources.presence import at_work
from curation_resources.progress import listening
from curation_resources.provenance import Provenance
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import FILES, TableHeader
from curation_resources.tables import Base, TableStore
from curation_resources.unwritable import Unwritable
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.publish.writing.clip_batches import BatchCutter
    from curation_assets.publish.writing.versions import Published


class ExportMaker(Maker):
    """Brings the export of each subset up to date, and commits the table that names its version."""

    @abstractmethod
    def provenance(self, run: Run, key: str) -> Provenance:
        """What the export is to be made from to count as up to date."""

    def made_from(self, run: Run, key: str) -> Provenance:
        """What it would be made from now."""
        return self.provenance(run, key)

    @abstractmethod
    def publish(self, run: Run, key: str, provenance: Provenance, scratch: Path) -> Published:
        """Writes a version, its table to a local folder."""

    @abstractmethod
    def asked(self, recipes: Mapping[str, Recipe], key: str) -> bool:
        """Whether the subset exports this."""

    @abstractmethod
    def sharded(self, recipes: Mapping[str, Recipe]) -> list[str]:
        """Sharded tables that it is made from over all subsets, besides those that every export shows."""

    def spent(self, run: Run, key: str) -> Sequence[Mapping[str, float]]:
        """What its pieces took elsewhere."""
        return ()

    def on_gpu(self, recipes: Mapping[str, Recipe], key: str) -> bool:
        """Whether its pieces hold a GPU while they are made."""
        return False

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        from curation_assets.publish.writing.versions import sweep_versions

        assert key is not None
        header, made = self._exported(run, key)
        sweep_versions(run.store, header)
        found = [] if made is None else [accounted(run.store, run.recipes, key, self.name)]
        yield Outcome(self.name, header, made, found)

    def rests(self, store: TableStore, recipes: Mapping[str, Recipe], key: Key) -> bool:
        from curation_assets.publish.writing.versions import PIECES, unfinished_versions

        header = store.header(self.name, key)
        pieces = store.storage.list(f"{store.folder(self.name, key)}/{PIECES}")
        return not pieces and (header is None or not unfinished_versions(store, header))

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        """The subset's own curated table, all shards of the others. Captions, and what lists say of spans, go into every export whose
        recipe has them.

        Dagster calls an event unsynced that lacks a declared parent, or names another one: also parents that only other subsets use.
        """
        kinds = {s.of for _, s in subsets(recipes).values()} or {"clips"}
        said = ["video_metadata"] if any(r.source.may_word_spans for r in recipes.values()) else []
        said += ["captions"] if any("captions" in r.model_fields_set for r, _ in subsets(recipes).values()) else []
        curated = dict.fromkeys([f"curated_{k}" for k in sorted(kinds)], True)
        return {self.name: {**curated, **dict.fromkeys([*self.sharded(recipes), *said], False)}}

    def said(self, outcome: Outcome) -> str:
        state = "unchanged" if outcome.made is None else f"version {outcome.header.stats.get('version')}"
        return f"{plural(outcome.header.rows, 'row')}, {state}"

    def up_to_date(self, run: Run, header: TableHeader) -> bool:
        """Whether an export that is made from what it would be made from now has all its files, and they were all made."""
        if run.force or header.stats.get("unread"):
            return False
        lost = run.store.lost_media(header)
        if lost:
            run.log.warning(f"{header.asset} {header.partition}: {lost[0]} {LOST}; the version is published again")
        return not lost

    def _exported(self, run: Run, key: str) -> tuple[TableHeader, Made | None]:
        """The table in force after it was brought up to date, and what was made of it, if anything.

        Raises:
            Incomplete: inputs that it uses are not complete, and that is not allowed.
        """
        store, exports = run.store, self.asked(run.recipes, key)
        lacking = lacks(run, key, self.name) if exports else []

        def make(base: Base) -> tuple[TableHeader, Made]:
            provenance = without(self.made_from(run, key), lacking)
            if not exports:
                run.log.info(f"{key} exports no {self.name}: the table is empty")
                empty = schema(self.name).empty()
                return store.commit(self.name, key, empty, provenance, base=base), Made(empty)
            with scratch_folder("version-") as scratch:
                with Meter() as meter:
                    done = self.publish(run, key, provenance, Path(scratch))
                pieces = self.spent(run, key)
                for piece in pieces:
                    meter.add(**piece)
                held_s = sum(p["wall"] for p in pieces) if self.on_gpu(run.recipes, key) else 0.0
                curated = store.header(Selection.over(run.recipes, key, ()).asset, key)
                counted = {"rows_in": curated.stats.get("selected", 0)} if curated else {}
                sources = said_of_sources(store, run.recipes, Selection.of(store, run.recipes, key), provenance.inputs)
                counted |= {SOURCES: sources} if sources else {}
                stats = {**counted, **done.stats, FILES: dict(done.files), **meter.spent(run.settings, gpu_s=held_s)}
                digest = store.file_content_hash(self.name, done.rows.path)
                header = store.commit_file(self.name, key, done.rows.path, provenance, digest, stats, base)
            return header, Made(schema(self.name).empty(), stats, {**_shown(done), "left_out": bullets(lacking)})

        wanted = without(self.provenance(run, key), lacking)
        header, made = settle(store, self.name, key, wanted, make, lambda found: self.up_to_date(run, found))
        return header, made


class ClipExportMaker(ExportMaker):
    """Cuts clips, a piece for each shard of each subset and batches of pieces at a time, and publishes them."""

    name, assets = "clip_dataset", ("clip_dataset",)

    def provenance(self, run: Run, key: str) -> Provenance:
        return clip_provenance_or_as_good(run.store, run.recipes, key)

    def made_from(self, run: Run, key: str) -> Provenance:
        return clip_provenance(run.store, run.recipes, key)

    def publish(self, run: Run, key: str, provenance: Provenance, scratch: Path) -> Published:
        from curation_assets.publish.writing.clip_versions import publish_clips

        done = publish_clips(run.store, run.recipes, key, provenance, scratch, run.force)
        recipe, subset = subsets(run.recipes)[key]
        several = any(run.recipes[d].clips.has_several_shots for d in subset.datasets or [recipe.dataset])
        return replace(done, stats={**done.stats, "several_shots": True}) if several else done

    def asked(self, recipes: Mapping[str, Recipe], key: str) -> bool:
        return subsets(recipes)[key][1].export.clips is not None

    def on_gpu(self, recipes: Mapping[str, Recipe], key: str) -> bool:
        clips = subsets(recipes)[key][1].export.clips
        return clips is not None and clips.on_gpu

    def sharded(self, recipes: Mapping[str, Recipe]) -> list[str]:
        found = ["raw_shards"]
        for recipe, subset in subsets(recipes).values():
            if subset.export.clips is not None:
                own = [recipes[d] for d in subset.datasets or [recipe.dataset] if d in recipes]
                found += [a for a in read_of_clips(subset, own) if a != "captions"]
        return in_order(found)

    def spent(self, run: Run, key: str) -> Sequence[Mapping[str, float]]:
        from curation_assets.publish.writing.clip_batches import pieces_of

        return list(pieces_of(run.store, key).spent())

    def batches(self, run: Run, keys: Sequence[Key]) -> Iterator[tuple[str, int]]:
        """The batches of every subset whose export is not up to date: pieces of shards that follow each other.

        Raises:
            NotMade: the inputs of all subsets that export clips are incomplete; else `bring` says it, when the others are published.
        """
        from curation_assets.publish.writing.clip_batches import batches_of, clear_pieces

        refused: dict[Key, Exception] = {}
        asked = [key for key in keys if key is not None and self.asked(run.recipes, key)]
        for key in asked:
            try:
                provenance = without(self.provenance(run, key), lacks(run, key, self.name))
            except Incomplete as error:
                refused[key] = error
                continue
            header = run.store.usable_header(self.name, key)
            if header is not None and header.fingerprint == provenance.fingerprint and self.up_to_date(run, header):
                continue
            if run.force:
                clear_pieces(run.store, key)
            batches = batches_of(run.store, run.recipes, key, run.force)
            batches.drop_others()
            yield from ((key, number) for number in range(len(batches.shards)))
        if asked and len(refused) == len(asked):
            raise self.failure(refused, asked)

    def make_batch(self, run: Run, key: str, number: int) -> None:
        """Cuts the clips of a batch's shards, as far as they are not there already. A piece that fails hides none of the others.

        Raises:
            NotMade: pieces could not be made, and what the others have is kept for the next run; or the encoder does not open here, and nothing is cut.
            Unwritable: storage takes nothing more; nothing further is tried.
            MissingWeights, WrongWeights: what is to be covered cannot be looked for; nothing is cut.
        """
        from curation_assets.publish.writing.clip_batches import BatchCutter, batches_of

        batches = batches_of(run.store, run.recipes, key, run.force)
        batch = BatchCutter(run.store, run.recipes, run.settings, key, batches.read(number), run.partial)
        try:
            batch.check()
        except NoEncoder as error:
            raise NotMade(f"{self.name} of {key}: {error}; nothing was cut") from error
        shards, failures, pace = list(batch), dict[Key, Exception](), Pace()
        run.log.info(
            f"{self.name} {key}: batch {number + 1} of {len(batches.shards)} has {plural(len(shards), 'piece')}"
        )
        with at_work(run.store.storage, [*shards, key]):
            for done, shard in enumerate(shards):
                place = f"({done + 1} of {len(shards)}{pace.left(done, len(shards))})"
                try:
                    self._make_piece(run, batch, shard, place)
                except Unwritable:
                    raise
                except Exception as error:  # noqa: BLE001 - said at the end, whatever it is
                    failures[shard] = error
                    run.log.error(f"{self.name} {key} {shard}: {error}")
        if failures:
            raise failed_shards(
                f"{self.name} of {key}", failures, len(shards), "what the others have is kept for the next run"
            )

    def _make_piece(self, run: Run, batch: BatchCutter, shard: str, place: str) -> None:
        from curation_assets.publish.writing.clip_batches import pieces_of

        what = f"{self.name} {batch.key} {shard}"
        reporter = Reporter(f"{what} {place}", run.log.info)
        with Meter() as meter, reporter, listening(reporter):
            done = batch.cut(shard)
        pieces_of(run.store, batch.key).note_spent(shard, meter.seconds())
        run.log.info(
            f"{what} {place}: {plural(done.cut, 'clip')} cut, {done.reused} kept, {done.failed} failed; {meter.cpu:.1f} CPU s"
        )

    def clear(self, run: Run, key: str) -> None:
        from curation_assets.publish.writing.clip_batches import clear_pieces

        clear_pieces(run.store, key)


class EmbeddingExportMaker(ExportMaker):
    """Publishes the embeddings of each subset."""

    name, assets = "embedding_dataset", ("embedding_dataset",)

    def provenance(self, run: Run, key: str) -> Provenance:
        return embedding_provenance_or_as_good(run.store, run.recipes, key)

    def made_from(self, run: Run, key: str) -> Provenance:
        return embedding_provenance(run.store, run.recipes, key)

    def publish(self, run: Run, key: str, provenance: Provenance, scratch: Path) -> Published:
        from curation_assets.publish.writing.embedding_versions import publish_embeddings

        return publish_embeddings(run.store, run.recipes, key, provenance, scratch)

    def asked(self, recipes: Mapping[str, Recipe], key: str) -> bool:
        return subsets(recipes)[key][1].export.embeddings is not None

    def sharded(self, recipes: Mapping[str, Recipe]) -> list[str]:
        return in_order([*EMBEDDINGS.inputs, *SAID_OF])


def _shown(done: Published) -> dict[str, Any]:
    """Samples and hours by split, and what could not be made."""
    rows = [(split, samples, f"{hours:.3f}") for split, samples, hours in done.by_split]
    metadata: dict[str, Any] = {"by_split": markdown_table(("split", "samples", "hours"), rows)}
    if done.rows.failed:
        metadata["not_ok"] = markdown_table(("clip", "error"), done.rows.failed)
    return metadata
