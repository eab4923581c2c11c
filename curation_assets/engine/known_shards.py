"""Whether a table over all shards has seen a shard as it is now, so that the shard's part of it can be taken.

What belongs here: what keeps that part from being made while the table, or what it is made from, failed. What does not: how tables stand (`staleness.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.engine.run_tables import RunTables
from curation_assets.engine.shard import Shard
from curation_assets.engine.slices import ForEach
from curation_assets.registry import component
from curation_resources.tables import MissingTable


def see_that_known(made: str, asset: str, shard: Shard) -> None:
    """Sees to it that a table over all shards has seen a shard as it is.

    Args:
        made: the table of the shard that is made of its rows there.
        asset: the table over all shards.
        shard: which.

    Raises:
        MissingTable: it has not: what it gathers is not there, or it was not made since.
        RecipeError: recipes that ask for it say different things of it.
    """
    part = component(asset)
    if part.gathering is None:
        return
    source = part.inputs[0]
    own = shard.store.header(source, shard.key)
    if own is None:
        raise MissingTable(
            f"{made} of {shard.key} needs {asset}, which is made from {source}, which does not exist for that shard: materialize {source} first"
        )
    gathering = part.gathering

    def known() -> Mapping[str, str]:
        if not gathering.fitted:
            return gathering.known(shard.store, shard.recipes, shard.settings)
        header = shard.store.usable_header(asset)  # whichever shards there were: it is the same for all
        now = gathering.made_of(shard.store, shard.recipes, shard.settings)
        return ForEach("") if header is not None and header.fingerprint == now.fingerprint else {}

    found = shard.store.gathered(asset, known) if isinstance(shard.store, RunTables) else known()
    if not (isinstance(found, ForEach) or found.get(shard.key) == own.content_hash):
        raise MissingTable(
            f"{made} of {shard.key} needs {asset}, which was not made since {source} of that shard was: materialize {asset} first"
        )
