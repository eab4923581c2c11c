"""Work beside which no run may be at work: takedowns, and removing or renaming a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.instance import Instance, opened, runs_at_work
from curation_resources.presence import Occupied, at_work
from curation_resources.storage import Storage
from curation_resources.words import plural


@contextmanager
def alone(storage: Storage) -> Iterator[Instance]:
    """The instance of DAGSTER_HOME; within the block no run is at work on the root, nor between two of its steps, and none can begin.

    Raises:
        Occupied: a run is at work; dead ones are marked as such beforehand.
        DatabaseUnusable: as `opened`.
    """
    with opened() as instance, at_work(storage, None, alone=True):
        dead_runs.clear(instance, dead_runs.dead(instance))
        busy = runs_at_work(instance)
        if busy:
            raise Occupied(
                f"{plural(len(busy), 'run is', 'runs are')} at work by Dagster's account and could write again what is removed: wait for their end, end them, or see `curation doctor` (first {busy[0]})"
            )
        yield instance
