"""Whether what a table over all shards is made from is there.

What belongs here: what keeps such a table from being made while all of its input failed. What does not: how it stands (`staleness.py`), when it is asked
for (`behind.py`), and what a shard takes of it (`known_shards.py`).
"""

from __future__ import annotations

from collections.abc import Collection

from curation_assets.engine.declared import gone
from curation_assets.engine.maker import Refused
from curation_assets.engine.run import Run
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.slices import slice_hashes
from curation_assets.registry import INDEX, component
from curation_assets.selection import assets_of_recipe
from curation_resources.words import plural

MADE_WITHOUT = "made_without"
"""Kept with a table over all shards, and shown of it: the shards that it was made without, and what they lack."""


def see_to_inputs(run: Run, asset: str) -> dict[str, str]:
    """Sees to it that a table over all shards has something to be made from, and tells the log of shards that lack it: it is made without them, and, unless it is fitted
    once, waits for them.

    Returns:
        What is kept with the table: `MADE_WITHOUT`, if there is anything to be said.

    Raises:
        Refused: no shard of the datasets that ask for it, or that only other recipes declare, has what it is made from.
    """
    source = component(asset).inputs[0]
    asked = {n for n, recipe in run.recipes.items() if asset in assets_of_recipe(recipe)}
    shards = [k for k in slice_hashes(run.store, INDEX) if dataset_of(k) in asked]
    away = gone(run.store.storage, run.recipes, run.settings) | (run.recipes.keys() - asked)
    there = {k for k in run.store.partitions(source) if dataset_of(k) not in away}
    if shards and not there:
        raise Refused(
            f"{asset} is not made: it is made from {source}, and no shard of {', '.join(sorted(asked))} has that ({plural(len(shards), 'shard')} looked at): "
            f"make {source} first, or see why it failed"
        )
    lacking = said_lacking(asset, set(shards) - there, "lacked", " when it was made")
    if lacking:
        run.log.warning(f"{asset}: made without {lacking}")
    return {MADE_WITHOUT: lacking} if lacking else {}


def said_lacking(asset: str, shards: Collection[str], verb: str = "", when: str = "") -> str:
    """The first of the shards that have not what a table over all shards is made from, and what that is; empty of none.

    Args:
        asset: the table.
        shards: those that have it not.
        verb: for what is kept, and read later, in the past tense; empty is `lack`, or `lacks`.
        when: what is said of the time.
    """
    some = ", ".join(sorted(shards)[:3]) + (f" and {len(shards) - 3} more" if len(shards) > 3 else "")
    said = verb or ("lack" if len(shards) > 1 else "lacks")
    return f"{some}, which {said} {component(asset).inputs[0]}{when}" if shards else ""
