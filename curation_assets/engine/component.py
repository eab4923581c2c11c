"""What a table declares: what it is made from, which function makes it, what a step of it asks for. No table is named here.

A `Stage` says what is needed to make one or several assets of a shard, of each of which a `Part` says what it depends on; its function gives
a `Made` for each. What belongs here: the words in which tables are declared. What does not: which tables there are (`assets/`), and the making
(`making.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation_assets.engine.unread import pending
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import tables_of_rules
from curation_resources.faults import Fault
from curation_resources.tables import TableHeader

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


@dataclass(frozen=True)
class Made:
    """What a stage made of one asset for one shard.

    Attributes:
        table: fits the asset's schema.
        stats: numbers kept with the table (seconds, bytes, counts).
        metadata: what the UI shows: histograms, contact sheets.
        faults: video id to why it could not be read now, of stages by video; see `curation_assets.engine.unread`.
    """

    table: pa.Table
    stats: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One asset that a stage makes.

    Attributes:
        asset: its name.
        about: what it is for and how it is made, a sentence or two for the UI.
        code_version: raised by hand when the same inputs would give other rows.
        params: the recipe's parameters that the asset depends on, and no others; not those that only say where weights lie.
        inputs: assets of the same shard that the asset is made from.
        slices: unpartitioned assets of whose rows those of the shard are used.
        rules: pre-filter rules of the recipe, whose tables are inputs too.
        weights: name -> identity of the model weights used; cheap, and without loading a model.
        complete: input asset each of whose usable rows must be accounted for here.
        journal: whether a run that is killed leaves a journal in the partition's folder.
    """

    asset: str
    about: str = ""
    code_version: str = "1"
    params: Callable[[Recipe], Any] = lambda recipe: None
    inputs: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    rules: Callable[[Recipe], Sequence[str]] = lambda recipe: ()
    weights: Callable[[Recipe], Mapping[str, str]] = lambda recipe: {}
    complete: str | None = None
    journal: bool = False

    def needed(self, recipe: Recipe) -> tuple[str, ...]:
        """All same-shard inputs for this recipe."""
        return tuple(dict.fromkeys([*self.inputs, *tables_of_rules(self.rules(recipe), recipe)]))


@dataclass(frozen=True)
class Stage:
    """How the assets of a group are made, shard by shard.

    Attributes:
        name: name of the op.
        group: asset group.
        parts: the assets.
        make: shard and the names of the assets that are wanted -> those assets.
        kinds: what the UI shows as kinds.
        pool: concurrency pool.
        op_tags: tags of the step (Kubernetes resources).
        gpus: number of GPUs that its models compute on here, by the recipe's parameters.
        up_to_date: an extra condition for leaving a table as it is, for stages that ask again in their own way.
        by_video: whether each video's rows depend on its own input rows alone. Then a shard of which some inputs changed is made anew
            for the videos that changed or could not be read, and the rows of the others are kept.
        reads: for stages by video, input asset -> what its rows say that this stage's depend on; all of it for others.
        describe: (shard, asset, whole table) -> numbers kept with the table and what the UI shows of it.
    """

    name: str
    group: str
    parts: tuple[Part, ...]
    make: Callable[[Shard, Collection[str]], Mapping[str, Made]]
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    op_tags: Mapping[str, Any] = field(default_factory=dict)
    gpus: Callable[[Recipe], int] = lambda recipe: 0
    up_to_date: Callable[[TableHeader, Shard], bool] = lambda header, shard: True
    by_video: bool = False
    reads: Mapping[str, Callable[[pa.Table], pa.Table]] = field(default_factory=dict)
    describe: Callable[[Shard, str, pa.Table], tuple[Mapping[str, Any], Mapping[str, Any]]] = (
        lambda shard, asset, table: ({}, {})
    )

    def part(self, asset: str) -> Part:
        return next(p for p in self.parts if p.asset == asset)

    def settled(self, header: TableHeader, shard: Shard) -> bool:
        """Whether making a table again from the same would change nothing: no row failed for a reason that may pass."""
        return not pending(header.stats, shard.settings.max_attempts) and self.up_to_date(header, shard)
