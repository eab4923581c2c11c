"""The graph from Python: load a recipe, ask what is to be done, do it, read what came of it. The command line does the same by the same means.

    import curation_assets as curation

    with curation.open("recipes/mine.yaml", storage="./data") as mine:
        for state in mine.plan():
            print(state.asset, state.partition, state.state, *state.reasons)
        mine.run()
        clips = mine.table("clips")

What belongs here: what people call, with few words. What does not: how anything is done.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import yaml
from numpy.typing import NDArray

from curation_assets.decode.clips import TABLE as CLIPS
from curation_assets.decode.frames import TABLE as FRAMES
from curation_assets.exported_clips import ExportedClips, Sample
from curation_assets.publish.clip_dataset import TABLE as CLIP_DATASET
from curation_assets.recipes import Recipe, RecipeError, load_recipes, parse_recipe
from curation_assets.registry import DOWNLOADS, INDEX, component
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.showing.text import nearest
from curation_resources import extras
from curation_resources.media import MediaRef
from curation_resources.tables import MissingTable, TableStore
from curation_resources.words import plural

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from curation_assets.engine.staleness import State

CLIP_ID = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")
__all__ = ["Clip", "ExportedClips", "Installation", "RunFailed", "Sample", "load_recipe", "open", "save_recipe"]


class RunFailed(RuntimeError):
    """A run after which something is not as the recipes ask; what and why was printed by it."""


def load_recipe(recipe: str | os.PathLike[str] | Mapping[str, Any]) -> Recipe:
    """A recipe, checked: of a file or URI, or of an object as YAML would give it.

    Raises:
        RecipeError: a sentence per problem, each naming file and key.
    """
    if isinstance(recipe, Mapping):
        return parse_recipe(yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True), "the recipe")
    found = load_recipes(os.fspath(recipe))
    if len(found) != 1:
        raise RecipeError(
            f"{os.fspath(recipe)}: holds {plural(len(found), 'recipe')} ({', '.join(found)}); name one file"
        )
    return next(iter(found.values()))


def save_recipe(recipe: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Writes an object as a recipe file, once it has been checked. A dataset belongs to the file that declares it: keep it where it is.

    Raises:
        RecipeError: as `load_recipe`; nothing is written then.
    """
    load_recipe(recipe)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return target


def open(
    recipes: str | os.PathLike[str] | None = None,
    *,
    storage: str | os.PathLike[str] | None = None,
    home: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Installation:
    """The tables of a storage root, and what recipes make of them.

    Args:
        recipes: a recipe file, a folder of them, or a URI; None is CURATION_RECIPES.
        storage: root of all tables and media, a folder or URI; None is CURATION_STORAGE.
        home: folder of Dagster's instance, which holds the runs and is made when something is run; None is DAGSTER_HOME, or `.dagster` here.
        workers: processes that a shard is spread over; None is CURATION_WORKERS, or one for each core.

    Raises:
        RecipeError, SettingsError: a sentence that names file and key, or the setting.
    """
    if isinstance(recipes, Mapping):
        raise RecipeError("a recipe that is run is a file, so that later runs find it: save_recipe writes one")
    given = {"recipes": recipes, "storage": storage, "workers": workers}
    said = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in given.items() if v is not None}
    settings = Settings(**{**Settings.load().model_dump(), **said})
    folder = Path(home or os.environ.get("DAGSTER_HOME") or ".dagster").expanduser().absolute()
    return Installation(settings, load_recipes(settings.recipes), folder)


class Installation:
    """Recipes and the tables that were made for them. `open` gives one.

    Attributes:
        settings: of the installation.
        recipes: dataset -> recipe.
        store: the tables, for what is not here.
    """

    def __init__(self, settings: Settings, recipes: Mapping[str, Recipe], home: Path) -> None:
        from curation_assets.stores import table_store

        self.settings, self.recipes, self._home = settings, dict(recipes), home
        self.store: TableStore = table_store(settings)

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def plan(self, assets: Iterable[str] | None = None) -> list[State]:
        """What is missing, stale, waiting or to be tried again, in graph order, each with its reasons; empty if all is up to date.

        Args:
            assets: only these; None is all that the recipes ask for.

        Raises:
            Unwritable: the disk of the storage root is away.
        """
        from curation_assets.commands.installation import at_home
        from curation_assets.engine.staleness import FRESH, shard_states

        chosen = None if assets is None else list(assets)
        with at_home(self._home) if os.path.isdir(self._home) else nullcontext():
            return [s for s in shard_states(self.store, self.recipes, self.settings, chosen) if s.state != FRESH]

    def run(
        self,
        assets: Sequence[str] | None = None,
        shards: Sequence[str] | None = None,
        *,
        force: bool = False,
        partial: bool = False,
    ) -> None:
        """Makes what is not up to date, in this process, and prints what came of it; `curation run` does the same.

        Args:
            assets: only these; None is what the recipes ask for.
            shards: keys of shards, only these; None is all of the recipes' datasets.
            force: make again what is up to date.
            partial: publish subsets although inputs that they use are missing, stale or not read in full.

        Raises:
            RunFailed: something failed; what did not is committed, and the next run goes on from there.
            RecipeError: an asset or shard that does not exist.
        """
        from curation_assets.commands.installation import at_home, instance_home
        from curation_assets.runner import run_recipes

        if multiprocessing.parent_process() is not None:
            raise RuntimeError(
                "a process that a run has started would start the run once more: put what calls run() below `if __name__ == '__main__':`"
            )
        assets = [assets] if isinstance(assets, str) else assets
        shards = [shards] if isinstance(shards, str) else shards
        with at_home(self._home):
            instance_home()
            code = run_recipes([self.settings], assets, shards, force, partial)
        if code:
            raise RunFailed(f"not everything of {', '.join(self.recipes)} was made; the lines above say what and why")

    def shards(self, asset: str) -> list[str]:
        """The partitions of a table that exist: shards, subsets, or none for the two that have no partitions."""
        self._reach()
        return self.store.partitions(asset) if component(asset).partitioned != "whole" else []

    def dataset(self, asset: str, shards: Sequence[str] | None = None) -> ds.Dataset:
        """A table over all its partitions, or some, as a `pyarrow.dataset.Dataset`: nothing is read yet. Empty if it was not made yet.

        Raises:
            LookupError: no table is called so, or there is no such folder as the storage root.
            StorageError: the storage root cannot be reached.
            Unwritable: its disk is away.
        """
        if asset not in SCHEMAS:
            raise LookupError(f"no table is called {asset!r}; {nearest(asset, SCHEMAS, 'there are')}")
        self._reach()
        if component(asset).partitioned == "whole":
            there = self.store.exists(asset)
            return ds.dataset(self.store.read(asset) if there else component(asset).table.empty())
        return self.store.dataset(asset, shards)

    def table(
        self,
        asset: str,
        columns: Sequence[str] | None = None,
        *,
        where: ds.Expression | None = None,
        shards: Sequence[str] | None = None,
    ) -> pa.Table:
        """A table over all its partitions, or some, read into memory.

        Args:
            asset: its name, as in the reference of tables.
            columns: only these.
            where: only rows for which this holds, such as `pyarrow.dataset.field("motion") > 0.1`.
            shards: only these partitions.

        Raises:
            LookupError: no table is called so, it has no such column, or there is no such folder as the storage root.
            TypeError: `where` is no expression.
            StorageError: the storage root cannot be reached.
        """
        if where is not None and not isinstance(where, ds.Expression):
            raise TypeError(f"where: {where!r} is no expression; pyarrow.dataset.field('motion') > 0.1 is one")
        found, columns = self.dataset(asset, shards), None if columns is None else list(columns)
        for name in columns or ():
            if name not in found.schema.names:
                raise LookupError(f"{asset} has no column {name!r}; {nearest(name, found.schema.names, 'it has')}")
        try:
            return found.to_table(columns=columns, filter=where)
        except pa.ArrowInvalid as error:
            unknown = re.search(r"No match for FieldRef\.Name\((.*?)\)", str(error))
            if unknown is None:
                raise
            near = nearest(unknown[1], found.schema.names, "it has")
            raise LookupError(f"where: {asset} has no column {unknown[1]!r}; {near}") from error

    def pandas(self, asset: str, columns: Sequence[str] | None = None, **how: Any) -> pd.DataFrame:
        """As `table`, as a pandas frame.

        Raises:
            MissingExtra: pandas is not installed; this package does without.
        """
        if not extras.installed("pandas"):
            raise extras.MissingExtra(
                "a pandas frame needs pandas, which is not installed: pip install pandas; `table` gives the same as Arrow"
            )
        return self.table(asset, columns, **how).to_pandas()

    def relation(self, asset: str, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """A table over all its partitions as a DuckDB relation, read as a query needs it.

        Args:
            connection: where it lives; None is DuckDB's default one.
        """
        import duckdb

        return (connection or duckdb.default_connection()).from_arrow(self.dataset(asset))

    def clip(self, clip_id: str) -> Clip:
        """A clip by its id.

        Raises:
            LookupError: no shard has it.
        """
        self._reach()
        match = CLIP_ID.fullmatch(clip_id)
        if match is not None and self.store.exists(INDEX):
            index = self.store.rows_with(INDEX, "video_id", match["video"])
            for shard in index["shard"].to_pylist():
                rows = self._rows(CLIPS.asset, shard, ds.field("clip_id") == clip_id)
                if rows:
                    raw = self._rows(DOWNLOADS, shard, ds.field("video_id") == match["video"])
                    return Clip(self, shard, rows[0], raw[0] if raw else {})
        raise LookupError(f"no clip is called {clip_id!r}; a clip's id is <video_id>_<start_ms>_<end_ms>")

    def export(self, subset: str) -> ExportedClips:
        """The version of a subset's clips that is in force.

        Args:
            subset: its key, `<dataset>-<subset>`.

        Raises:
            LookupError: nothing was exported of it.
        """
        self._reach()
        header = self.store.header(CLIP_DATASET.asset, subset)
        if header is None:
            there = ", ".join(self.store.partitions(CLIP_DATASET.asset)) or "none"
            raise LookupError(f"no clips are exported of {subset!r}; there are {there}")
        return ExportedClips(self, subset, str(header.stats.get("version", "")))

    def _reach(self) -> None:
        """Tells a storage root that is not there, or whose disk is away, from one in which nothing was made yet."""
        from curation_assets.engine.heads import reach

        storage = self.store.storage
        reach(self.store, writing=False, home=self._home)
        if storage.is_local and not Path(storage.root).is_dir():
            raise LookupError(
                f"{storage.root}: no such folder, so there are no tables; correct `storage`, or make them with run()"
            )

    def _rows(self, asset: str, shard: str, where: ds.Expression) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = self.store.read(asset, shard, filters=where).to_pylist()
        except MissingTable:
            return []
        return rows


@dataclass(frozen=True)
class Frame:
    """A decoded frame of a clip.

    Attributes:
        time_ms: its presentation time in the video.
        image: uint8 (height, width, 3), red, green and blue, as displayed.
    """

    time_ms: int
    image: NDArray[np.uint8]


class Clip:
    """A clip: its row, its frames out of the source video, its sampled pictures, and what was measured of it.

    Attributes:
        shard: key of its shard.
        row: its row of `clips`.
    """

    def __init__(self, installation: Installation, shard: str, row: Mapping[str, Any], raw: Mapping[str, Any]) -> None:
        self.shard, self.row, self._of, self._raw = shard, row, installation, raw

    def frames(self, fps: float | None = None) -> Iterator[Frame]:
        """Its frames in display order, decoded from the source video.

        Args:
            fps: only those on screen at so many moments a second; None gives all.

        Raises:
            ClipUnreadable: none can be decoded; the message says why.
            StorageError: the video cannot be read now.
        """
        from curation_assets.decode.reading.clip_frames import ClipReader
        from curation_resources.faults import reading

        media = MediaRef(self._raw["tar"], self._raw["offset"], self._raw["size"], self._raw["etag"])
        with ExitStack() as stack:
            stream = stack.enter_context(reading(self._of.store.storage, media))
            reader = stack.enter_context(ClipReader(stream))
            for frame in reader.frames(self.row["start_ms"], self.row["end_ms"], fps):
                yield Frame(frame.time_ms, reader.rgb(frame))

    def frame(self, time_ms: int) -> Frame:
        """The frame on screen at a moment of the video.

        Raises:
            ValueError: the moment lies outside the clip.
        """
        if not self.row["start_ms"] <= time_ms < self.row["end_ms"]:
            raise ValueError(f"{time_ms} ms is outside {self.row['clip_id']}")
        shown = None
        for frame in self.frames():
            if frame.time_ms > time_ms:
                break
            shown = frame
        assert shown is not None
        return shown

    def pictures(self) -> list[bytes]:
        """The JPEGs that were sampled of it, in order of time."""
        rows = self._of._rows(FRAMES.asset, self.shard, ds.field("clip_id") == self.row["clip_id"])
        kept = [r for r in sorted(rows, key=lambda r: r["time_ms"]) if r["tar"] is not None]
        return [self._of.store.storage.read_media(MediaRef(r["tar"], r["offset"], r["size"])) for r in kept]

    def rows(self, asset: str) -> list[dict[str, Any]]:
        """What a table says of it: one row of most, several of `frames`, `tracks` and the like, none where there is none.

        Raises:
            LookupError: no table with a row per clip, or several, is called so.
        """
        if asset not in SCHEMAS or "clip_id" not in SCHEMAS[asset].names:
            there = ", ".join(a for a, t in SCHEMAS.items() if "clip_id" in t.names)
            raise LookupError(f"no table of clips is called {asset!r}; there are {there}")
        return self._of._rows(asset, self.shard, ds.field("clip_id") == self.row["clip_id"])
