"""Tables that installed packages bring: loaded, held against what is known, and left out with one sentence where they do not fit.

A package that is broken stops nothing else. Two that claim one name are both left out, since nothing says which is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import EntryPoint

from curation_assets.contracts.component import OWN_PACKAGE, Component, Stage
from curation_assets.contracts.door import COMPONENTS, Broken, claimed_twice, entries, load, package_of
from curation_assets.contracts.sections import Section
from curation_assets.rules.language import DERIVED
from curation_assets.rules.measured import MEASURED
from curation_assets.rules.tokens import tokens_of

NAME = re.compile(r"[a-z][a-z0-9_]*")
OF_RECIPES = ("dataset", "description", "subsets")
"""Keys at the top of recipes that belong to no table."""
ATTRIBUTES = ("declared_in",)
"""What a recipe knows of itself beside its keys."""


def brought_stages(known: Sequence[Component]) -> tuple[list[Stage], tuple[Broken, ...]]:
    """The stages that installed packages bring, and what of them cannot be used.

    Args:
        known: the components of this package.
    """
    found: list[tuple[EntryPoint, Stage]] = []
    broken: list[Broken] = []
    for entry in entries(COMPONENTS):
        try:
            found += [(entry, stage) for stage in _stages(entry)]
        except ValueError as error:
            broken.append(Broken(package_of(entry), entry.name, str(error)))
    claims: dict[str, list[str]] = {f"the recipe key {key!r}": [OWN_PACKAGE] for key in OF_RECIPES}
    for component in known:
        for what in {*_claims(component), *(f"the score {c!r}" for c in _judged(component))}:
            claims.setdefault(what, []).append(OWN_PACKAGE)
    for entry, stage in found:
        for what in {w for c in stage.parts for w in _claims(c)}:
            claims.setdefault(what, []).append(package_of(entry))
    usable: list[Stage] = []
    for entry, stage in found:
        twice = next((w for c in stage.parts for w in _claims(c) if _contested(claims[w], package_of(entry))), None)
        if twice is not None:
            reason = f"{twice} is claimed by {' and by '.join(sorted({*claims[twice]}, key=claims[twice].index))}"
            broken.append(Broken(package_of(entry), entry.name, reason))
        else:
            usable.append(stage)
    assets = {c.asset for c in known}
    while True:
        there = assets | {c.asset for s in usable for c in s.parts}
        lacking = [s for s in usable if _unknown_inputs(s, there)]
        if not lacking:
            return usable, (*broken, *claimed_twice())
        for stage in lacking:
            entry = next(e for e, s in found if s is stage)
            names = ", ".join(sorted(_unknown_inputs(stage, there)))
            broken.append(Broken(package_of(entry), entry.name, f"no table is called {names}, which it is made from"))
            usable.remove(stage)


def _contested(owners: Sequence[str], package: str) -> bool:
    """Whether others claim a name too, or the package itself in two stages."""
    return len(set(owners)) > 1 or owners.count(package) > 1


def _unknown_inputs(stage: Stage, there: set[str]) -> set[str]:
    return {a for c in stage.parts for a in (*c.inputs, *c.slices) if a not in there}


def _stages(entry: EntryPoint) -> Iterator[Stage]:
    value = load(entry)
    for stage in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(stage, Stage):
            raise ValueError(f"{entry.value} is {type(stage).__name__}, not a curation_assets Stage or a list of them")
        for component in stage.parts:
            _fits(component)
        dist = entry.dist.name if entry.dist is not None else "unknown"
        yield replace(stage, parts=tuple(replace(c, package=dist) for c in stage.parts))


def _fits(component: Component) -> None:
    """Raises ValueError for what the graph could not carry."""
    asset, table = component.asset, component.table
    if not NAME.fullmatch(asset):
        raise ValueError(f"the table name {asset!r} must be small letters, digits and underscores")
    if component.partitioned != "shard":
        raise ValueError(f"{asset} is partitioned by {component.partitioned}; packages bring tables by shard")
    if not set(table.key) <= set(table.names):
        raise ValueError(
            f"the key of {asset} names {', '.join(sorted(set(table.key) - set(table.names)))}, which it lacks"
        )
    if "dataset" not in table.names or "video_id" not in table.names:
        raise ValueError(f"{asset} needs the columns dataset and video_id")
    twice = sorted({n for n in table.names if table.names.count(n) > 1})
    if twice:
        raise ValueError(
            f"{asset} declares the column {', '.join(twice)} twice; ids, `estimator` and `error` are there by themselves"
        )
    for key in component.keys:
        if not NAME.fullmatch(key.name) or hasattr(Section, key.name) or key.name in ATTRIBUTES:
            raise ValueError(
                f"{asset}: {key.name!r} cannot be a key of recipes: those are small letters, digits and underscores, and no attribute that every section has"
            )
    for column in component.curated:
        name = column if isinstance(column, str) else column.name
        if tokens_of(name) != [("word", name)] or "." in name:
            raise ValueError(
                f"{asset}: {name!r} cannot be the name of a score, because a rule would not read it as one: letters, digits and underscores, no digit first, and none of the words of rules"
            )
    wrong = [str(c) for c in component.curated if isinstance(c, str) and c not in table.names]
    if wrong:
        raise ValueError(f"`curated` of {asset} names {', '.join(wrong)}, which it lacks")


def _judged(component: Component) -> Iterator[str]:
    """Names that a score may not have, because tables of subsets and rules have them."""
    if component.partitioned == "subset" and "drop_reason" in component.table.names:
        yield from (*component.table.names, *DERIVED, *MEASURED)


def _claims(component: Component) -> Iterator[str]:
    """What of a component may be there once only, as a phrase."""
    yield f"the table {component.asset}"
    yield from (f"the recipe key {k.name!r}" for k in component.keys)
    for column in component.curated:
        yield f"the score {column if isinstance(column, str) else column.name!r}"
