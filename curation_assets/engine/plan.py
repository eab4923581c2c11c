"""What is to be done, in which order and in which ranges, and why. The command, the gap sensor and the phases of a cluster all ask it.

The graph has three places where all shards must be there before anything goes on: the index, the duplicate clusters and the subsets. Between
them work goes shard by shard, and shards that follow each other and need the same make one ranged run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curation_assets.engine.shard_keys import dataset_of
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import CLUSTERS, INDEX
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe, assets_of_subset, in_order

PHASES = ("index", "shards", "clusters", "scores", "subsets")
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
        clusters: whether the duplicate clusters are made.
        subsets: subset -> assets.
        why: key -> why; empty is that of the clusters.
        waits: whether assets that come after the duplicate clusters in the graph wait until those of all shards that come before are made.
            A shard whose clusters are known waits for nobody.
    """

    index: bool = False
    shards: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clusters: bool = False
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
    work.clusters = any(CLUSTERS in assets for assets in wanted.values())
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
    if work.waits:
        before, after = ({k: _side(a, later) for k, a in work.shards.items()} for later in (False, True))
    else:
        before, after = work.shards, {}
    for assets, keys in ranges(before, order, most):
        yield PlanStep("shards", assets, tuple(keys), work.why.get(keys[0], ASKED))
    if work.clusters:
        yield PlanStep("clusters", (CLUSTERS,), (), work.why.get("", ASKED))
    for assets, keys in ranges(after, order, most):
        yield PlanStep("scores", assets, tuple(keys), work.why.get(keys[0], ASKED))
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
    return tuple(a for a in assets if a not in (*SUBSET_ASSETS, INDEX, CLUSTERS))


def _side(assets: Sequence[str], later: bool) -> tuple[str, ...]:
    """Those of the assets that come before the duplicate clusters in the graph, or after."""
    order = list(SCHEMAS)
    return tuple(a for a in assets if (order.index(a) > order.index(CLUSTERS)) == later)
