"""What is to be done, in which order and in which ranges, and why. The command, the gap sensor and the phases of a cluster all ask it.

There are places in the graph where all shards must be there before anything goes on: the index, the tables that are gathered of all shards
(the duplicate clusters first), and the subsets. Between them work goes shard by shard, and shards that follow each other and need the same make
one ranged run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curation_assets.engine.shard_keys import dataset_of
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import CLUSTERS, GATHERED, INDEX
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe, assets_of_subset, in_order

FURTHER = {asset: (asset, f"after_{asset}") for asset in GATHERED if asset != CLUSTERS}
"""Gathered tables that not every recipe asks for -> the phase that makes them, and that of the tables by shard that follow."""
PHASES = ("index", "shards", "clusters", "scores", *(phase for own in FURTHER.values() for phase in own), "subsets")
BY_SHARD = ("shards", "scores", *(after for _, after in FURTHER.values()))
"""Those of them whose steps have shards."""
ASKED = "a recipe asks for it"


@dataclass(frozen=True)
class PlanStep:
    """One run: the assets that it makes and of which keys.

    Attributes:
        phase: of `PHASES`.
        assets: in graph order.
        keys: shards that follow each other in the order of registration, or one subset; empty for an unpartitioned asset.
        why: of the first key.
    """

    phase: str
    assets: tuple[str, ...]
    keys: tuple[str, ...] = ()
    why: str = ASKED


@dataclass
class Work:
    """What is to be made, by key; not yet in which order.

    Attributes:
        index: whether the sources are read.
        shards: shard -> assets.
        gathered: tables over all shards.
        subsets: subset -> assets.
        why: key -> why; of what is gathered by its asset.
        waits: whether assets that come after a gathered one in the graph wait until those of all shards that come before are made.
            A shard that is known to the gathered tables waits for nobody.
    """

    index: bool = False
    shards: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gathered: set[str] = field(default_factory=set)
    subsets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    waits: bool = False


def everything(recipes: Mapping[str, Recipe], shards: Collection[str], select: Collection[str] | None = None) -> Work:
    """All that the recipes ask for; what is up to date is left alone when its turn comes.

    Args:
        recipes: dataset -> recipe.
        shards: of these recipes.
        select: assets; None is what each recipe asks for.
    """
    wanted = {n: in_order(assets_of_recipe(r) if select is None else select) for n, r in recipes.items()}
    sharded = {n: _sharded(assets) for n, assets in wanted.items()}
    work = Work(index=select is None or INDEX in select, waits=True)
    work.shards = {k: own for k in shards if (own := sharded[dataset_of(k)])}
    work.gathered = {a for assets in wanted.values() for a in assets if a in GATHERED}
    for recipe in recipes.values():
        for name, subset in recipe.subsets.items():
            assets = tuple(a for a in assets_of_subset(subset) if select is None or a in select)
            if assets:
                work.subsets[subset_key(recipe.dataset, name)] = assets
    return work


def plan(work: Work, order: Sequence[str], most: int | None = None) -> Iterator[PlanStep]:
    """The runs that do the work, in their order.

    Args:
        work: what is to be made.
        order: all shards, in the order of registration.
        most: shards of one run; None is as many as follow each other.
    """
    if work.index:
        yield PlanStep("index", (INDEX,))
    stops = [a for a in GATHERED if a == CLUSTERS or a in work.gathered]
    for number, stop in enumerate((None, *stops)):
        if stop in work.gathered:
            yield PlanStep(_phase(stop), (stop,), (), work.why.get(stop, ASKED))
        if work.waits:
            own = {
                k: tuple(a for a in assets if _stops_before(a, stops) == number) for k, assets in work.shards.items()
            }
        else:
            own = work.shards if stop is None else {}
        for assets, keys in ranges(own, order, most):
            yield PlanStep(_phase(stop, after=True), assets, tuple(keys), work.why.get(keys[0], ASKED))
    for key, assets in work.subsets.items():
        yield PlanStep("subsets", assets, (key,), work.why.get(key, ASKED))


def ranges(
    work: Mapping[str, tuple[str, ...]], order: Sequence[str], most: int | None = None
) -> list[tuple[tuple[str, ...], list[str]]]:
    """(assets, shards) of the runs that do `work`: shards that follow each other in `order` and need the same, at most `most` each."""
    found: list[tuple[tuple[str, ...], list[str]]] = []
    open_range = False
    for shard in order:
        assets = work.get(shard)
        if not assets:
            open_range = False
            continue
        if open_range and found[-1][0] == assets and (most is None or len(found[-1][1]) < most):
            found[-1][1].append(shard)
        else:
            found.append((assets, [shard]))
        open_range = True
    return found


def _sharded(assets: Sequence[str]) -> tuple[str, ...]:
    return tuple(a for a in assets if a not in (*SUBSET_ASSETS, INDEX, *GATHERED))


def _stops_before(asset: str, stops: Sequence[str]) -> int:
    """How many of the gathered tables come before an asset in the graph."""
    order = list(SCHEMAS)
    return sum(order.index(stop) < order.index(asset) for stop in stops)


def _phase(gathered: str | None, after: bool = False) -> str:
    """The phase of a gathered table, or that of the tables by shard after it; None is the beginning."""
    if gathered is None:
        return "shards"
    return FURTHER.get(gathered, ("clusters", "scores"))[after]
