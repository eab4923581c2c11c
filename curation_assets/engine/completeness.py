"""Whether a subset may be published: which of the tables that it really uses are missing, stale, or have failures that may pass.

What belongs here: what stands between a subset and its publication, and the sentences about it. What does not: how one table stands
(`staleness.py`), and the publishing itself. Of the tables of a recipe only those count that the subset's rules and criterion read, for an export
also those that its samples show, and what these are made from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from curation_assets.captions.captions import TABLE as CAPTIONS
from curation_assets.engine.head_columns import HeadColumns
from curation_assets.engine.heads import Heads
from curation_assets.engine.made_of import Known
from curation_assets.engine.maker import Incomplete
from curation_assets.engine.run_tags import PARTIAL_TAG
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.staleness import (
    FRESH,
    MISSING,
    RETRIED,
    RETRY,
    SHARDED,
    STALE,
    WAITING,
    Graph,
    State,
    known_tables,
)
from curation_assets.engine.standing import Standing
from curation_assets.engine.unread import FAULTS, pending
from curation_assets.ingest.error_classes import OF_THE_NETWORK, TRANSIENT_ERRORS
from curation_assets.publish.curating.subset_tables import tables_needed
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import DOWNLOADS, EXPORTS, GATHERED, INDEX, JUDGED, component
from curation_assets.rules.columns import inputs_of, tables_of_columns
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe, assets_of_subset, in_order
from curation_assets.settings import Settings
from curation_resources.tables import TableStore
from curation_resources.words import plural

WORDS = {MISSING: "missing", STALE: "out of date", RETRY: "not read in full", WAITING: "cannot be told"}
SHOWN = 3
"""Shards that a line names."""
LONGEST, SHORTEST = 200, 60
"""Characters of a line about tables, and of the reason in it that are said in any case."""


@dataclass(frozen=True)
class Gap:
    """Tables of one asset that a subset uses and that are not as they should be, all in the same way.

    Attributes:
        asset, state: as in `staleness.State`.
        shown: partitions of the first of them; empty for an unpartitioned asset.
        count: how many there are.
        reason: what changed or failed; empty if nothing is known but the state.
        of_downloads: whether videos could not be fetched for reasons that lie with whom was asked, and nothing else is wrong.
    """

    asset: str
    state: str
    shown: tuple[str, ...]
    count: int
    reason: str = ""
    of_downloads: bool = False


def uses(subset: Subset, recipe: Recipe, asset: str) -> list[str]:
    """The sharded and global assets that `asset` of the subset is made from for one of its datasets, in graph order.

    Args:
        recipe: of the dataset.
        asset: a table by subset.
    """
    own = component(asset)
    wanted = {*tables_needed(subset, recipe), DOWNLOADS, *own.uses(subset)}
    wanted |= set(own.shows) & set(assets_of_recipe(recipe))
    if asset in EXPORTS:
        wanted |= {*own.inputs, *tables_of_columns(own.columns(subset), recipe)}
    closed: set[str] = set()
    while wanted - closed:
        for name in wanted - closed:
            closed.add(name)
            part = component(name)
            needed = inputs_of(part, recipe) if name in SHARDED else part.inputs
            wanted = wanted | set(needed) | ({*part.slices} - {INDEX})
    return in_order(closed)


def gaps(graph: Graph, states: Standing, key: str, asset: str) -> list[Gap]:
    """What is wrong with the tables that `asset` of the subset `key` is made from; empty if it may be made.

    A table that merely waits for one that is wrong too is not named besides. Other datasets count only in so far as the duplicate
    clusters, and what else is gathered of all shards, must have been made from all fingerprints that exist: what a dataset still lacks holds back nobody but itself.

    Args:
        graph: all tables.
        states: how all of them stand.
    """
    recipe, subset = subsets(graph.recipes)[key]
    found: list[Gap] = []
    index = states.get(INDEX, None)
    assert index is not None
    for dataset in subset.datasets or [recipe.dataset]:
        if dataset not in graph.indexed:
            found.append(Gap(INDEX, MISSING, (dataset,), 1, "; ".join(index.reasons) or "it has no shards"))
        for name in uses(subset, graph.recipes[dataset], asset):
            if name in GATHERED:
                found += _of_gathered(states, name)
            elif graph.wanted(dataset, name):
                found += _of_shards(graph, states, dataset, name)
            else:
                found += _unasked(graph, name, graph.shards[graph.spans.get(dataset, slice(0))])
    if asset in EXPORTS:
        judged = states.get(JUDGED[subset.of], key)
        if judged is not None and judged.state in (MISSING, STALE):
            found.append(Gap(judged.asset, judged.state, (key,), 1, "; ".join(judged.reasons)))
    return list(dict.fromkeys(found))


def _unasked(graph: Graph, asset: str, shards: Sequence[str]) -> Iterator[Gap]:
    """Of an asset that the recipe does not ask for, and of which what is there is used, what is not there."""
    absent = np.flatnonzero(graph.heads.columns(asset).places(shards) < 0).tolist()
    if absent:
        first = tuple(shards[i] for i in absent[:SHOWN])
        yield Gap(asset, MISSING, first, len(absent), "the recipe does not ask for it")


def _of_gathered(states: Standing, asset: str) -> Iterator[Gap]:
    state = states.get(asset, None)
    if state is None:
        return
    waits = state.state == WAITING and (state.fingerprint or any(map(_waiting, state.reasons)))
    if state.state != FRESH and not waits:
        yield Gap(asset, state.state, (), 1, _reason(state))


def _of_shards(graph: Graph, states: Standing, dataset: str, asset: str) -> Iterator[Gap]:
    """What is wrong with a dataset's tables of a sharded asset, a gap for each state. Why is asked of the first few alone."""
    for state, places in states.lacking(asset, dataset):
        first = [states.at(asset, at) for at in places[:SHOWN].tolist()]
        downloads = asset == DOWNLOADS and state == RETRY
        yield Gap(
            asset,
            state,
            tuple(graph.shards[at] for at in places[:SHOWN].tolist()),
            len(places),
            next(filter(None, map(_reason, first)), ""),
            downloads and _of_the_network(graph, [graph.shards[at] for at in places.tolist()]),
        )


def _waiting(reason: str) -> bool:
    return reason.startswith("waits for")


def _reason(state: State) -> str:
    return "; ".join(r for r in state.reasons if not _waiting(r))


def _of_the_network(graph: Graph, shards: Sequence[str]) -> bool:
    """Whether of all of these tables of downloads nothing failed that may pass but what lies with whom was asked."""
    columns = graph.heads.columns(DOWNLOADS)
    for number in np.unique(columns.stats.numbers[columns.places(shards)]).tolist():
        errors = json.loads(columns.stats.each[number] or "{}").get("errors", {})
        passing = set(errors) & TRANSIENT_ERRORS
        if not passing or not passing <= OF_THE_NETWORK:
            return False
    return True


def described(found: Iterable[Gap]) -> list[str]:
    """A line per asset and state: which shards, and why as far as it is known of the first. Equal gaps give equal lines."""
    groups: dict[tuple[str, str], list[Gap]] = {}
    for gap in found:
        groups.setdefault((gap.asset, gap.state), []).append(gap)
    lines = []
    for (asset, state), own in groups.items():
        names = [n for g in own for n in g.shown][:SHOWN]
        total = sum(g.count for g in own)
        where = ", ".join(names) + (f" and {total - SHOWN} more" if names and total > SHOWN else "")
        reason = next((g.reason for g in own if g.reason), "")
        if state == RETRY:  # without the message of the error, which may be another each time
            reason = reason.split("): ")[0] + (")" if "): " in reason else "")
        line = f"{asset}{f' of {where}' if where else ''}: {WORDS[state]}"
        room = max(SHORTEST, LONGEST - len(line) - len(" ()"))
        if len(reason) > room:
            reason = f"{reason[: room - 3].rstrip()}..."
        lines.append(f"{line} ({reason})" if reason else line)
    return lines


def left_out(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    key: str,
    asset: str,
    partial: bool,
    known: Known | None = None,
) -> list[str]:
    """What `asset` of the subset `key` would be made without, described; empty if all is complete and fresh.

    Args:
        known: from `known_tables`, if they have been looked at.
        partial: whether the run allows it; else the subset's `partial` decides.

    Raises:
        Incomplete: something is wrong and not allowed.
    """
    graph = Graph(store, recipes, settings, (known or known_tables(store)).heads)
    states = graph.look()
    return allowed(gaps(graph, states, key, asset), key, asset, subsets(recipes)[key][1], partial)


def allowed(found: Sequence[Gap], key: str, asset: str, subset: Subset, partial: bool = False) -> list[str]:
    """The gaps described, if they may be published over; raises Incomplete otherwise."""
    lines = described(found)
    downloads = subset.partial == "downloads" and all(g.of_downloads for g in found)
    if lines and not (partial or subset.partial is True or downloads):
        raise Incomplete(
            f"{asset} of {key} is not made, and what is in force stays, because its inputs are not complete: {'; '.join(lines)}. "
            "Run again what is named here; or publish without it by `curation run --partial`, the run's tag "
            f"{PARTIAL_TAG}, or `partial` of the subset"
        )
    return lines


def held_back(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, partial: bool) -> dict[str, str]:
    """Subset -> why it may not be published as it stands, of those that may not."""
    found = {}
    graph = Graph(store, recipes, settings, known_tables(store).heads)
    states = graph.look()
    for key, (_, subset) in subsets(recipes).items():
        try:
            for asset in assets_of_subset(subset):
                own = [g for g in gaps(graph, states, key, asset) if g.asset not in SUBSET_ASSETS]
                allowed(own, key, asset, subset, partial)
        except Incomplete as error:
            found[key] = str(error)
    return found


def unread(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, shards: Sequence[str]) -> list[str]:
    """What of the shards could not be read or made for a reason that lies with this installation, a sentence per kind of fault.

    Downloads that failed for reasons of the network are not among them: whom they were asked of may answer later.
    """
    heads = known_tables(store).heads
    return [*_unread_videos(heads, recipes, settings, shards), *_without_captions(store, heads, recipes, shards)]


def _unread_videos(heads: Heads, recipes: Mapping[str, Recipe], settings: Settings, shards: Sequence[str]) -> list[str]:
    wanted = {n: set(assets_of_recipe(r)) for n, r in recipes.items()}
    downloads = heads.columns(DOWNLOADS)
    there = downloads.places(shards)
    videos = int(downloads.rows[there[there >= 0]].sum())
    ids: dict[str, set[str]] = {}
    unnamed: Counter[str] = Counter()
    where: dict[str, set[str]] = {}
    reasons: dict[str, str] = {}
    for asset in RETRIED:
        for shard, stats in _said(heads.columns(asset), shards):
            if asset not in wanted[dataset_of(shard)]:
                continue
            for video, fault in pending(stats, settings.max_attempts).items():
                ids.setdefault(fault["kind"], set()).add(f"{shard} {video}")
                where.setdefault(fault["kind"], set()).add(asset)
                reasons.setdefault(fault["kind"], fault["reason"])
            for kind, count in stats.get("errors", {}).items():
                if kind in TRANSIENT_ERRORS - OF_THE_NETWORK:
                    unnamed[kind] += count
                    where.setdefault(kind, set()).add(asset)
                    reasons.setdefault(kind, f"its rows in {DOWNLOADS} say why")
    return [
        f"{len(ids.get(kind, ())) + unnamed[kind]} of {plural(videos, 'video')} could not be read ({kind}; {', '.join(in_order(assets))}): "
        f"{reasons[kind]}. They are tried again, alone, by the next run"
        for kind, assets in sorted(where.items())
    ]


def _said(columns: HeadColumns, shards: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those of some shards whose table says of faults, errors or failures, and its stats. Most say nothing: texts that are equal are looked at once."""
    places = columns.places(shards)
    there = np.flatnonzero(places >= 0)
    numbers = columns.stats.numbers[places[there]]
    stats = {n: json.loads(columns.stats.each[n] or "{}") for n in np.unique(numbers).tolist()}
    worth = {n: s for n, s in stats.items() if any(s.get(key) for key in (FAULTS, "errors", "failed"))}
    for at in np.flatnonzero(np.isin(numbers, list(worth))).tolist():
        yield shards[there[at]], worth[int(numbers[at])]


def _without_captions(
    store: TableStore, heads: Heads, recipes: Mapping[str, Recipe], shards: Sequence[str]
) -> list[str]:
    captioned = {n for n, r in recipes.items() if CAPTIONS.asset in assets_of_recipe(r)}
    asked = [s for s in shards if dataset_of(s) in captioned]
    columns = heads.columns(CAPTIONS.asset)
    failed = {shard: stats["failed"] for shard, stats in _said(columns, asked) if stats.get("failed")}
    if not failed:
        return []
    places = columns.places(asked)
    captions = int(columns.rows[places[places >= 0]].sum())
    rows = store.read(CAPTIONS.asset, next(iter(failed)), columns=["error"], filters=pc.field("status") == "failed")
    return [
        f"{sum(failed.values())} of {plural(captions, 'caption')} could not be had: {rows['error'][0].as_py()}. "
        "They are asked for again, alone, by the next run"
    ]
