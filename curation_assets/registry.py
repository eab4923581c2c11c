"""Which components there are: those of this package, room by room, and those of installed packages that open the door to them.

A package brings components through entry points of group `curation_assets.components`; each names a `Stage`, or several of them in a
list or tuple. What is broken in one is a sentence that names the package, and stops nothing else (`BROKEN`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module

from curation_assets.contracts.component import Component, Stage
from curation_assets.contracts.door import Broken
from curation_assets.plugins import brought_stages
from curation_assets.publish.curated_clips import declare as curated_clips

ROOMS = ("ingest", "decode", "dedup", "scores", "concepts", "captions", "tracks")
"""The rooms whose tables are sharded or whole, in graph order."""


def _rooms() -> tuple[list[Component], list[Stage]]:
    rooms = [import_module(f"curation_assets.{room}.components") for room in ROOMS]
    return [c for r in rooms for c in r.COMPONENTS], [s for r in rooms for s in r.STAGES]


def _published(components: Sequence[Component]) -> list[Component]:
    return [curated_clips(components), *import_module("curation_assets.publish.components").COMPONENTS]


def in_graph_order(components: Iterable[Component]) -> list[Component]:
    """Each component after those that it is made from, otherwise as given.

    Raises:
        ValueError: components that are made from each other.
    """
    left = {c.asset: c for c in components}
    found: list[Component] = []
    while left:
        ready = next((c for c in left.values() if not left.keys() & {*c.inputs, *c.slices} - {c.asset}), None)
        if ready is None:
            raise ValueError(f"{', '.join(left)} are made from each other")
        found.append(left.pop(ready.asset))
    return found


def _assembled() -> tuple[tuple[Component, ...], tuple[Stage, ...], tuple[Broken, ...]]:
    components, stages = _rooms()
    brought, broken = brought_stages([*components, *_published(components)])
    components += [c for s in brought for c in s.parts]
    stages += brought
    ordered = in_graph_order(components)
    place = {c.asset: i for i, c in enumerate(ordered)}
    stages.sort(key=lambda s: min(place[c.asset] for c in s.parts))
    return (*ordered, *_published(ordered)), tuple(stages), broken


COMPONENTS, STAGES, BROKEN = _assembled()
"""All tables in graph order; the stages that make the sharded ones, likewise; what other packages brought and cannot be used."""
_BY_NAME: Mapping[str, Component] = {c.asset: c for c in COMPONENTS}


def component(asset: str) -> Component:
    """The component of a table.

    Raises:
        KeyError: no table is called that.
    """
    try:
        return _BY_NAME[asset]
    except KeyError:
        raise KeyError(f"no table is called {asset!r}; there are {', '.join(_BY_NAME)}") from None


def names(*partitioned: str) -> tuple[str, ...]:
    """Names of the tables that are partitioned in one of the given ways, in graph order."""
    return tuple(c.asset for c in COMPONENTS if c.partitioned in partitioned)


def _the_one(which: Callable[[Component], bool]) -> str:
    (found,) = (c.asset for c in COMPONENTS if c.built_in and which(c))
    return found


INDEX = _the_one(lambda c: c.partitioned == "whole" and not c.inputs)
"""The table that says which videos there are, and of which shard each is. Everything begins with it."""
GATHERED = tuple(c.asset for c in COMPONENTS if c.gathering is not None)
"""The tables that are made of all shards together and from which each shard then takes its own, in graph order."""
CLUSTERS = _the_one(lambda c: c.gathering is not None and c.group == "dedup")
"""The first of them: which clips are copies of each other."""
COMPARED = component(CLUSTERS).inputs[0]
"""What that one is made from: a table of each shard."""
DOWNLOADS = _the_one(lambda c: c.downloads)
"""The table of the videos as they were fetched."""
JUDGED = {c.candidates: c.asset for c in COMPONENTS if c.candidates}
"""Kind of candidate, `Subset.of` -> the table in which subsets judge them."""
EXPORTS = tuple(c.asset for c in COMPONENTS if c.partitioned == "subset" and not c.candidates)
"""The tables of what subsets publish as files of its own."""
