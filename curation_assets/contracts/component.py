"""What a component declares: all that is particular to one table, and the stage that makes it.

What belongs here: the shape of a declaration. What does not: any table's declaration (the rooms), which there are (`registry.py`), and
what is done with them (`engine/`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from curation_assets.contracts.checks import Check
from curation_assets.contracts.costs import FigureOf, unmeasured
from curation_assets.contracts.tables import Column, TableSchema
from curation_assets.contracts.telling import Counted, Lines, Row, SummaryColumn, Telling
from curation_resources.faults import Fault

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard
    from curation_assets.publish.subsets import Subset
    from curation_assets.recipes import Recipe
    from curation_assets.settings import Settings
    from curation_resources.model_input import Fit
    from curation_resources.provenance import Provenance
    from curation_resources.table_headers import TableHeader
    from curation_resources.tables import TableStore

OWN_PACKAGE = "curation-assets"


@dataclass(frozen=True)
class RecipeKey:
    """A key at the top of recipes that belongs to a table: its section.

    Attributes:
        name: the key.
        type: the section's model, or another annotation that pydantic knows.
        description: for the reference, where the model's own docstring does not say it.
        required: whether a recipe must have it; else it is made of its defaults.
    """

    name: str
    type: Any
    description: str = ""
    required: bool = False

    def field(self) -> tuple[Any, Any]:
        """Annotation and default, as `pydantic.create_model` takes them."""
        if self.required:
            return self.type, Field(description=self.description or None)
        default: Callable[[], Any] = self.type if isinstance(self.type, type) else dict
        return self.type, Field(default_factory=default, description=self.description or None)


def always(recipe: Recipe) -> bool:
    """Asked for by every recipe."""
    return True


def never(recipe: Recipe) -> bool:
    """Asked for by no recipe itself; by what is made from it."""
    return False


def if_named(*sections: str) -> Callable[[Recipe], bool]:
    """Asked for by recipes in which all these keys stand."""
    return lambda recipe: set(sections) <= recipe.model_fields_set


@dataclass(frozen=True)
class Gathering:
    """How a table stands that is made from a table of each shard, over all of them.

    Attributes:
        made_of: what it would be made from now. Raises RecipeError where the recipes at hand contradict each other.
        known: shard -> content hash of its input, of the shards that the table in force has seen: what is made from it for a shard waits until
            that is the input's own.
        fitted: whether it stays as it is when shards come or change, so that it waits for none.
    """

    made_of: Callable[[TableStore, Mapping[str, Recipe], Settings], Provenance]
    known: Callable[[TableStore, Mapping[str, Recipe], Settings], Mapping[str, str]]
    fitted: bool = False


@dataclass(frozen=True)
class Component:
    """One table: its contract, its section of recipes, what it is made from, and what is shown and checked of it.

    Attributes:
        table: its contract.
        group: the room of the graph that it belongs to.
        about: what it is for and how it is made, a sentence or two for the UI.
        partitioned: by shard, by subset, or not at all (whole).
        code_version: raised by hand when the same inputs would give other rows.
        keys: the keys of recipes that are its own.
        asked_by: whether a recipe asks for it by what it says, rules and exports apart.
        in_subset: of a table by subset, whether a subset asks for it.
        params: the recipe's parameters that the table depends on, and no others; not those that only say where weights lie.
        inputs: assets of the same shard that it is made from; of a table by subset, those without which it cannot be; of an unpartitioned one, the
            asset that it gathers from all shards.
        slices: unpartitioned assets of whose rows those of the shard are used; all rows of one that has no column `shard`.
        gathering: of an unpartitioned table with inputs, how it stands.
        prefilter: the key of the recipe whose `where` its clips must pass; empty without one.
        rules: further rules of the recipe whose tables are inputs too.
        frame_fit: how its model takes a stored frame, if it takes frames of one size; the decode then keeps them so, beside the pictures. Reads
            configurations, and no weights.
        weights: name -> identity of the model weights used, or of a file that the recipe names (its name then begins with `file`); cheap, and without loading a model.
        named: raises MissingWeights or WrongWeights where a model is named that cannot be, which `weights` does not see; imports what knows their names, and fetches nothing.
        installed: raises MissingExtra where a package that it needs for this recipe is not installed; cheap, and imports none of them.
        complete: input asset each of whose usable rows must be accounted for here.
        journal: whether a run that is killed leaves a journal in the partition's folder.
        every_row: whether all of its rows go on, whatever their status says.
        in_rules: whether rules about clips may name its columns; None where there is one row per clip.
        curated: its columns that stand in the table of a subset, in order; a `Column` is one that is worked out there.
        charted: those of them whose distributions are shown for a subset.
        checks: what must hold of its tables beside the contract.
        shown: (shard, whole table) -> numbers kept with the table, and what the UI shows of it; for stages by video.
        heading: of its lines in `curation explain`; empty is its name.
        explained: rows of one clip -> those lines; None shows the columns as they are.
        unexplained: columns that are left out of them.
        silent: whether `curation explain` says nothing of it by itself.
        told: what `curation explain` says of it instead of all that, of whole videos too.
        counted: its line in the funnel of a dataset.
        summary: its columns in the table at the end of a run.
        recounted: rows -> those numbers kept with the table that follow from its rows, for when rows are taken down.
        words: its columns that speak of a video in words, which records of runs may repeat.
        downloads: whether its rows are downloads, and its tars hold samples by the id of a video.
        candidates: of a table by subset that judges, what: clips or tracks.
        shows: of a table by subset or of all shards, further tables that it shows something of, where they are asked for.
        uses: the same, of those that it cannot do without.
        columns: of an export, what its samples say beside: columns as rules name them.
        figure: what it takes by what was measured, for estimates before anything of it was made.
        package: the distribution that it comes from.
    """

    table: TableSchema
    group: str
    about: str = ""
    partitioned: Literal["shard", "subset", "whole"] = "shard"
    code_version: str = "1"
    keys: tuple[RecipeKey, ...] = ()
    asked_by: Callable[[Recipe], bool] = always
    in_subset: Callable[[Subset], bool] = lambda subset: True
    params: Callable[[Recipe], Any] = lambda recipe: None
    inputs: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    gathering: Gathering | None = None
    prefilter: str = ""
    rules: Callable[[Recipe], Sequence[str]] = lambda recipe: ()
    frame_fit: Callable[[Recipe], Fit | None] = lambda recipe: None
    weights: Callable[[Recipe], Mapping[str, str]] = lambda recipe: {}
    named: Callable[[Recipe], None] = lambda recipe: None
    installed: Callable[[Recipe], None] = lambda recipe: None
    complete: str | None = None
    journal: bool = False
    every_row: bool = False
    in_rules: bool | None = None
    curated: tuple[str | Column, ...] = ()
    charted: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    shown: Callable[[Shard, pa.Table], tuple[Mapping[str, Any], Mapping[str, Any]]] = lambda shard, table: ({}, {})
    heading: str = ""
    explained: Callable[[Sequence[Row]], Lines] | None = None
    unexplained: frozenset[str] = frozenset()
    silent: bool = False
    told: Telling | None = None
    counted: Counted | None = None
    summary: tuple[SummaryColumn, ...] = ()
    recounted: Callable[[pa.Table], Mapping[str, Any]] = lambda table: {}
    words: tuple[str, ...] = ()
    downloads: bool = False
    candidates: str = ""
    shows: tuple[str, ...] = ()
    uses: Callable[[Subset], Sequence[str]] = lambda subset: ()
    columns: Callable[[Subset], Sequence[str]] = lambda subset: ()
    figure: FigureOf = unmeasured
    package: str = OWN_PACKAGE

    @property
    def asset(self) -> str:
        """Name of the table and of the asset."""
        return self.table.asset

    @property
    def built_in(self) -> bool:
        """Whether it comes with this package."""
        return self.package == OWN_PACKAGE

    @property
    def one_row_per_clip(self) -> bool:
        """Whether rules about clips may name its columns."""
        by_clip = self.table.key == ("video_id", "clip_id")
        return by_clip if self.in_rules is None else self.in_rules

    def rules_of(self, recipe: Recipe) -> list[str]:
        """All rules of a recipe whose tables it is made from."""
        own = getattr(recipe, self.prefilter).where if self.prefilter else []
        return [*own, *self.rules(recipe)]


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
class Stage:
    """How one or several tables are made, shard by shard.

    Attributes:
        name: name of the op.
        parts: the components.
        make: shard and the names of the assets that are wanted -> those assets.
        kinds: what the UI shows as kinds.
        pool: concurrency pool.
        op_tags: tags of the step (Kubernetes resources).
        gpus: number of GPUs that its models compute on here, by the recipe's parameters.
        up_to_date: an extra condition for leaving a table as it is, for stages that ask again in their own way.
        by_video: whether each video's rows depend on its own input rows alone. Then a shard of which some inputs changed is made anew
            for the videos that changed or could not be read, and the rows of the others are kept.
        reads: for stages by video, input asset -> what its rows say that this stage's depend on; all of it for others.
    """

    name: str
    parts: tuple[Component, ...]
    make: Callable[[Shard, Collection[str]], Mapping[str, Made]]
    kinds: frozenset[str] = frozenset()
    pool: str | None = None
    op_tags: Mapping[str, Any] = field(default_factory=dict)
    gpus: Callable[[Recipe], int] = lambda recipe: 0
    up_to_date: Callable[[TableHeader, Shard], bool] = lambda header, shard: True
    by_video: bool = False
    reads: Mapping[str, Callable[[pa.Table], pa.Table]] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """The room of the graph that its tables belong to."""
        return self.parts[0].group

    def part(self, asset: str) -> Component:
        """The component of one of its assets."""
        return next(p for p in self.parts if p.asset == asset)
