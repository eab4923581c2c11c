"""Whether what a table over all shards is made from is there.

What belongs here: what keeps such a table from being made while all of its input failed. What does not: how it stands (`staleness.py`), when it is asked
for (`behind.py`), and what a shard takes of it (`known_shards.py`).
"""

from __future__ import annotations

from curation_assets.engine.declared import gone
from curation_assets.engine.maker import Refused
from curation_assets.engine.run import Run
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.slices import slice_hashes
from curation_assets.registry import INDEX, component
from curation_assets.selection import assets_of_recipe
from curation_resources.words import plural


def see_to_inputs(run: Run, asset: str) -> None:
    """Sees to it that a table over all shards has something to be made from. Shards that lack it are told to the log: it is made without them, and waits for them.

    Raises:
        Refused: no shard of the datasets that ask for it, or that only other recipes declare, has what it is made from.
    """
    source = component(asset).inputs[0]
    asked = {n for n, recipe in run.recipes.items() if asset in assets_of_recipe(recipe)}
    shards = [k for k in slice_hashes(run.store, INDEX) if dataset_of(k) in asked]
    away = gone(run.store.storage, run.recipes, run.settings) | (run.recipes.keys() - asked)
    there = {k for k in run.store.partitions(source) if dataset_of(k) not in away}
    lacking = sorted(set(shards) - there)
    if shards and not there:
        raise Refused(
            f"{asset} is not made: it is made from {source}, and no shard of {', '.join(sorted(asked))} has that ({plural(len(shards), 'shard')} looked at): "
            f"make {source} first, or see why it failed"
        )
    if lacking:
        some = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        run.log.warning(f"{asset}: made without {some}, which {'lack' if len(lacking) > 1 else 'lacks'} {source}")
