"""Which datasets of a storage root still have a recipe, and what lies there that no recipe names.

Whoever runs one recipe file does not know the others, so every run of `dataset_index` records where each dataset is declared. A dataset of
which no recipe is at hand takes part in the duplicates as long as its record may still hold; it is *gone*, and takes part in nothing, once
the recorded file is no longer there or declares another dataset. A file is looked for on the host that recorded it, or on any if it lies
in a bucket or pods share the recipes' folder. What is gone is not removed by itself: `curation remove` does that, or `curation rename` moves it.
"""

from __future__ import annotations

import json
import re
import socket
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.slices import slice_hashes
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import INDEX
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, UNPARTITIONED
from curation_assets.settings import Settings
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore
from curation_resources.words import plural

FOLDER = f"{INDEX}/declared"
EMPTY = "without_rows"
"""Where the stats of the index have the datasets of which it knows that they have no row."""
TAKEN_DOWN = "taken_down"
"""Where they have, of each dataset, how many rows of its source are left out since their videos were taken down; after a takedown, how many videos went."""
HERE, GONE, ELSEWHERE = "here", "gone", "elsewhere"


@dataclass(frozen=True)
class Undeclared:
    """Something in storage that no recipe at hand names.

    Attributes:
        name: a dataset, or `<dataset>-<subset>` of a dataset that is declared.
        gone: whether its recipe is known to be gone; then it takes part in nothing.
        reason: one phrase.
        tables: asset -> tables.
        heir: the declared dataset that this one may have become, of which nothing is stored yet.
    """

    name: str
    gone: bool
    reason: str
    tables: Mapping[str, int]
    heir: str | None = None

    @property
    def text(self) -> str:
        total = sum(self.tables.values())
        part = "takes part in nothing" if self.gone else "still takes part in the duplicates"
        return f"{self.name}: {plural(total, 'table')} that no recipe here names; {self.reason}; it {part}"

    @property
    def remedy(self) -> str:
        if self.gone:
            kept = f"If its name is {self.heir} now, `curation rename {self.name} {self.heir}` keeps what was made; "
            return f"{kept if self.heir else ''}`curation remove {self.name}` removes it"
        return f"Correct its recipe, or give it to this command too, if it is to go on; `curation remove {self.name}` is for what is to go"

    def __str__(self) -> str:
        return f"{self.text}. {self.remedy}"


def record(storage: Storage, recipes: Mapping[str, Recipe]) -> None:
    """Notes where the datasets are declared; files are written only where something changed."""
    for name, recipe in recipes.items():
        said = canonical_json({"recipe": recipe.declared_in, "host": socket.gethostname()}).encode()
        path = f"{FOLDER}/{name}.json"
        if not storage.exists(path) or storage.read(path) != said:
            storage.write(path, said)


def standing(
    storage: Storage, dataset: str, recipes: Mapping[str, Recipe], settings: Settings | None
) -> tuple[str, str]:
    """(here, gone or elsewhere; a phrase that says why) of a dataset."""
    if dataset in recipes:
        return HERE, "declared"
    path = f"{FOLDER}/{dataset}.json"
    if not storage.exists(path):
        return ELSEWHERE, "it was indexed before recipes were recorded"
    said = json.loads(storage.read(path))
    file = said["recipe"]
    if not file:
        return ELSEWHERE, "it was declared by no file"
    shared = not file.startswith(("file://", "/")) and "://" in file
    shared = shared or (settings is not None and settings.executor == "k8s")
    if said["host"] != socket.gethostname() and not shared:
        return ELSEWHERE, f"{file} on {said['host']} declares it"
    try:
        fs, name = storage.filesystem(file)
        if not fs.exists(name):
            return GONE, f"its recipe {file} is no longer there"
        text = fs.cat_file(name).decode("utf-8", "replace")
    except (*READ_ERRORS, ValueError, ImportError) as error:
        return ELSEWHERE, f"its recipe {file} cannot be read now ({error})"
    named = re.search(r"^dataset:[ \t]*['\"]?([a-z0-9][a-z0-9_]*)['\"]?[ \t]*(#.*)?$", text, re.MULTILINE)
    if named is None or named[1] == dataset:
        return ELSEWHERE, f"{file} declares it"
    return GONE, f"its recipe {file} declares {named[1]} now"


def gone(storage: Storage, recipes: Mapping[str, Recipe], settings: Settings | None = None) -> set[str]:
    """Datasets whose recipe is known to be gone."""
    known = {n.removesuffix(".json") for n in storage.list(FOLDER) if n.endswith(".json")}
    return {n for n in known - set(recipes) if standing(storage, n, recipes, settings)[0] == GONE}


def undeclared(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Iterator[Undeclared]:
    """What lies in storage that no recipe at hand names, by name."""
    tables: dict[str, Counter[str]] = {}
    keys = set(subsets(recipes))
    for asset in SCHEMAS:
        if asset in UNPARTITIONED:
            continue
        there = store.partitions(asset)
        if asset not in SUBSET_ASSETS:
            for dataset, number in _by_dataset(there):
                if dataset not in recipes:
                    tables.setdefault(dataset, Counter())[asset] = number
            continue
        for key in there:
            dataset = key.split("-")[0]
            if dataset not in recipes:
                tables.setdefault(dataset, Counter())[asset] += 1
            elif key not in keys:
                tables.setdefault(key, Counter())[asset] += 1
    present = indexed(store)
    for dataset in present - set(recipes):
        tables.setdefault(dataset, Counter())[INDEX] += 1
    for name, counts in sorted(tables.items()):
        if "-" in name:
            yield Undeclared(name, True, f"the recipe of {name.split('-')[0]} has no such subset", counts)
        elif counts.keys() <= set(SUBSET_ASSETS):
            yield Undeclared(name, True, "only what it has published is left of it", counts)
        else:
            state, reason = standing(store.storage, name, recipes, settings)
            yield Undeclared(name, state == GONE, reason, counts, _heir(store.storage, name, recipes, present))


def _by_dataset(shards: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each dataset of some sorted shards, and how many of them are its own."""
    at = 0
    while at < len(shards):
        dataset = dataset_of(shards[at])
        after = bisect_left(shards, f"{dataset}.", at)  # a full stop comes next after the hyphen
        yield dataset, after - at
        at = after


def _heir(storage: Storage, dataset: str, recipes: Mapping[str, Recipe], present: Collection[str]) -> str | None:
    """The dataset that the same file declares now, else the only one of which nothing is stored."""
    new = [n for n in recipes if n not in present]
    path = f"{FOLDER}/{dataset}.json"
    file = json.loads(storage.read(path))["recipe"] if storage.exists(path) else None
    same = [n for n in new if file and recipes[n].declared_in == file]
    return next(iter(same or (new if len(new) == 1 else ())), None)


def indexed(store: TableStore) -> set[str]:
    """Datasets of which the index has rows, or says that they have none."""
    return {dataset_of(shard) for shard in slice_hashes(store, INDEX)} | without_rows(store.usable_header(INDEX))


def stats_without(index: TableHeader, old: str, new: str | None = None) -> dict[str, Any]:
    """The stats of the index when a dataset is gone, or has another name."""
    names = {old: new}
    empty = {names.get(n, n) for n in without_rows(index)} - {None}
    gone = {name: count for n, count in taken_down(index).items() if (name := names.get(n, n)) is not None}
    facts = {EMPTY: sorted(filter(None, empty)), TAKEN_DOWN: gone}
    return {**index.stats, **{name: said for name, said in facts.items() if said or name in index.stats}}


def taken_down(index: TableHeader | None) -> dict[str, int]:
    """Dataset -> rows of its source that are left out since their videos were taken down; without those of which none is."""
    return dict(index.stats.get(TAKEN_DOWN, {})) if index is not None else {}


def without_rows(index: TableHeader | None) -> set[str]:
    """Datasets whose sources were read and that have no row: all of their videos were taken down, or none is in the sample."""
    return set(index.stats.get(EMPTY, ())) if index is not None else set()
