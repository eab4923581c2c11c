"""The index of a dataset: which videos its source has, and the shard that each belongs to for ever.

The source is streamed once to disk; everything that needs all rows at once (grouping by id, comparing with the previous index,
numbering, sorting) is done by DuckDB within a memory limit, spilling to disk, so that memory does not grow with the source.

The rules:

- A new video takes the next free place, in source order: the last shard is filled up first, then new shards are begun.
- A video keeps its shard whatever the source does. One that the source lost is marked `removed`, keeps its place, and takes it
  again when it comes back.
- Several rows with one id are one video with all their spans, equal ones once (`curation_assets.ingest.index_records`).
- A rejected line lies in the shard that is open at that point and takes no place. When the source no longer has the line, its
  row is dropped: there never was a video.
- A video in storage is recognised by its location, and an id once given stays. A new one is called by its file's stem if no other
  video of the dataset, present or removed, is, else by the stem and a hash of its location.
- A file that may still be being written leaves the rows that are known of it as they are, and adds none.
- Records hold URLs without their secrets (`curation_resources.urls.public_url`), and are compared so: a list that is signed anew changes no
  record. The full URLs go to a side file (`curation_assets.ingest.fetch_urls`), always those of the source as it is now.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curation_assets.engine.samples import VideoSample
from curation_assets.ingest.earlier_index import Previous
from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.index_database import IndexDatabase
from curation_assets.ingest.index_file import IndexFile
from curation_assets.ingest.index_plan import IndexPlan
from curation_assets.ingest.source_spool import spool, spooled
from curation_assets.ingest.source_states import identity_of
from curation_assets.ingest.sources import Settling, SourceError, unsettled_lists
from curation_assets.recipes import Recipe
from curation_assets.settings import index_memory_mb
from curation_resources.embedded_database import embedded_database
from curation_resources.network_faults import of_the_network
from curation_resources.storage import Storage


@dataclass(frozen=True)
class IndexWorkspace:
    """Where on this machine an index is made, within what, and of which videos.

    Attributes:
        memory_mb: memory that the database may use; Python adds about 300 MB.
        scratch: folder for temporary files, some three times the size of the normal form; default the system's.
        kept: local folder in which sources that were read stay until somebody removes them, for a later run to go on from if this one
            fails; None keeps nothing.
        secrets: local folder for `<dataset>.parquet` with the full URLs of rows whose record cannot hold them; not written if there
            are none, or if this is None.
        known: dataset -> what the previous index has of its source: one whose files are the same keeps its rows unread.
        sample: which of the videos have rows; None is all.
        whole: the index of all videos where `sample` is given, by which videos in storage are called; None if there is none yet.
    """

    memory_mb: int = field(default_factory=index_memory_mb)
    scratch: str | Path | None = None
    secrets: Path | None = None
    kept: Path | None = None
    known: Mapping[str, IndexPlan] = field(default_factory=dict)
    sample: VideoSample | None = None
    whole: Previous = None


HERE = IndexWorkspace()
"""The system's folder for temporary files, and full URLs written nowhere."""


def plan_index(
    recipe: Recipe,
    previous: Previous,
    out: str | Path,
    *,
    storage: Storage | None = None,
    workspace: IndexWorkspace = HERE,
) -> IndexPlan:
    """Indexes the source of one recipe and writes its rows to `out`.

    Args:
        recipe: the dataset, its source and the size of its shards.
        previous: the index of an earlier run; rows of other datasets in it are left aside.
        out: local path of the Parquet file to write: `schema("dataset_index")`, sorted by shard and video id.
        storage: lends its credentials to source paths of the same scheme, and resolves `previous` if that is a URI.
        workspace: for temporary files, and for full URLs.

    Raises:
        SourceError: the source cannot be read; `out` is not written.
    """
    with _database(workspace) as work, IndexFile(out) as file:
        work.load_previous(previous, storage, workspace.whole)
        return _plan(work, recipe, file, Reading(storage, workspace))


def plan_indexes(
    recipes: Iterable[Recipe],
    previous: Previous,
    out: IndexFile,
    *,
    storage: Storage | None = None,
    workspace: IndexWorkspace = HERE,
    forgotten: Forgotten | None = None,
    settled_at: float | None = None,
) -> list[IndexPlan]:
    """Indexes several recipes into one file.

    Datasets of `previous` that no recipe declares any more keep their rows, and so does one whose source cannot be read, with the
    reason in its plan's `error`: one bad source does not stop the others.

    Args:
        recipes: of all datasets, in any order.
        previous, storage, workspace: as for `plan_index`.
        out: the file to write, which is closed then.
        forgotten: the tombstones: rows that they name are left out.
        settled_at: seconds since the epoch; files that changed within `source.settle_s` before are left as they were known, and a dataset keeps
            its rows whole while one of its lists is such a file. None takes every file for settled.
    """
    by_name = {recipe.dataset: recipe for recipe in recipes}
    plans = []
    with _database(workspace) as work, out:
        work.load_previous(previous, storage, workspace.whole)
        for dataset in sorted(by_name.keys() | work.datasets(), key=lambda name: name + "-"):
            recipe = by_name.get(dataset)
            if recipe is None:
                work.carry_over(dataset, out)
                continue
            settling = None if settled_at is None else Settling(settled_at, recipe.source.settle_s)
            try:
                waiting = unsettled_lists(recipe.source, storage, settling) if settling else []
                if waiting:
                    plans.append(IndexPlan(dataset, shards=work.carry_over(dataset, out), unsettled=len(waiting)))
                    continue
                reading = Reading(storage, workspace, forgotten or Forgotten(), settling)
                plans.append(_plan(work, recipe, out, reading))
            except SourceError as error:
                kept = work.carry_over(dataset, out)
                plans.append(IndexPlan(dataset, shards=kept, error=str(error), passes=of_the_network(error)))
    return plans


@dataclass(frozen=True)
class Reading:
    """How sources are read: see `plan_indexes`."""

    storage: Storage | None
    workspace: IndexWorkspace
    forgotten: Forgotten = field(default_factory=Forgotten)
    settling: Settling | None = None


def _plan(work: IndexDatabase, recipe: Recipe, file: IndexFile, reading: Reading) -> IndexPlan:
    """Writes the rows of one dataset: those that it had if its files are the same, else what its source says now."""
    identity = identity_of(recipe, reading.storage, reading.forgotten)
    was = reading.workspace.known.get(recipe.dataset)
    if was is not None and identity is not None and was.identity == identity:
        return replace(was, shards=work.carry_over(recipe.dataset, file))
    own, kept = work.folder / "source.parquet", reading.workspace.kept
    own.unlink(missing_ok=True)
    path = own if kept is None or identity is None else kept / f"{recipe.dataset}-{identity}.parquet"
    read = spooled(path) or spool(recipe, reading.storage, reading.forgotten, reading.settling, path)
    if identity is not None and identity_of(recipe, reading.storage, reading.forgotten) != identity:
        identity = None  # it was written to while it was read
        read = replace(read, path=path.rename(path.with_name(f"{recipe.dataset}-changed.parquet")))
    elif path != own:
        with contextlib.suppress(OSError):  # of another file system
            os.link(path, own)  # another run that has finished with it removes its name
            read = replace(read, path=own)
    plan = replace(work.plan(recipe, read, reading.workspace.sample), identity=identity)
    return work.write_secrets(work.write(plan, file), reading.workspace.secrets)


@contextmanager
def _database(workspace: IndexWorkspace) -> Iterator[IndexDatabase]:
    with tempfile.TemporaryDirectory(prefix="index-", dir=workspace.scratch) as folder:
        config: dict[str, Any] = {
            "memory_limit": f"{workspace.memory_mb}MB",
            "threads": 2,
            "temp_directory": f"{folder}/spill",
            "autoinstall_known_extensions": False,
        }
        with embedded_database(config=config) as database:
            yield IndexDatabase(database, Path(folder))
