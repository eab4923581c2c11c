"""What came of a `curation run`: collected while it goes, and said at the end in a form that fits 33,000 shards.

What belongs here: counting and wording. What does not: running anything (`runner.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curation_assets.engine.progress import say
from curation_assets.engine.tallies import Tallies, summed
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import COMPONENTS, DOWNLOADS, EXPORTS, JUDGED
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import assets_of_subset
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore
from curation_resources.words import plural

SHOWN_SHARDS = 20
"""Up to so many shards have a line each; of more, those that have failures, up to as many, and the sum of all."""
SHOWN_FAILURES = 40


@dataclass
class Progress:
    """What was made, and what failed; failures are kept for the end.

    Attributes:
        failures: what failed and why.
        blocked: dataset -> a blocking check that a shard of it did not pass.
        made, unchanged: asset -> partitions that were made, or found up to date.
        in_hand: (asset, partition) of these.
        unwritable: whether storage takes nothing more, so that nothing further is tried; what fails after that has the same cause.
    """

    failures: list[str] = field(default_factory=list)
    blocked: dict[str, str] = field(default_factory=dict)
    made: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    in_hand: set[tuple[str, str | None]] = field(default_factory=set)
    unwritable: bool = False

    def say(self, text: str) -> None:
        say(text)

    def stop(self, what: str, why: str) -> None:
        """Notes that storage takes nothing more."""
        self.fail(what, f"{why}; what comes after it was not tried")
        self.unwritable = True

    def fail(self, what: str, why: str) -> None:
        if self.unwritable:
            return
        self.failures.append(f"{what}: {why}")
        self.say(f"  FAILED {what} (see below)")

    def committed(self, asset: str, partition: str | None, unchanged: bool) -> None:
        """Counts a partition of an asset."""
        self.in_hand.add((asset, partition))
        (self.unchanged if unchanged else self.made)[asset] += 1

    def lines(self) -> Iterator[str]:
        """How many tables of which assets were made."""
        for words, counter in (("made", self.made), ("up to date", self.unchanged)):
            if counter:
                yield f"{words}: {', '.join(f'{a} {counter[a]:,}' for a in SCHEMAS if counter[a])}"

    def failed_lines(self) -> Iterator[str]:
        """What failed and why, each reason once."""
        failures = list(dict.fromkeys(self.failures))
        yield from (f"FAILED {failure}" for failure in failures[:SHOWN_FAILURES])
        if len(failures) > SHOWN_FAILURES:
            yield f"FAILED {len(failures) - SHOWN_FAILURES:,} more; `curation stale --why` lists what is behind"


SUMMED = tuple(c for c in COMPONENTS if c.summary)


def summary(store: TableStore, shards: Sequence[str]) -> str:
    """A text table: a line per shard with what the components declare as their `summary`: videos, failures by class, MB, clips and so on.

    Of many shards only those with failures or without videos have a line, and not all of them; the last line sums up. The footers of many are added up as they come.
    """
    header = ("shard", *(column.name for c in SUMMED for column in c.summary))
    if len(shards) <= SHOWN_SHARDS:
        return text_table(header, _of_shards(store, shards))
    asked = set(shards)
    tallies = Tallies(store)
    whole = {c.asset: summed(h for h in tallies.headers(c.asset) if h.partition in asked) for c in SUMMED}
    fine = {h.partition for h in tallies.headers(DOWNLOADS) if not h.stats.get("errors")}
    shown = [k for k in shards if k not in fine]
    rows = _of_shards(store, shown[:SHOWN_SHARDS])
    if len(shown) > SHOWN_SHARDS:
        rows.append((f"{len(shown) - SHOWN_SHARDS:,} more like these", *("" for _ in header[1:])))
    sums = {a: [h] if h is not None else [] for a, h in whole.items()}
    return text_table(header, [*rows, _line(f"all {plural(len(shards), 'shard', commas=True)}", sums)])


def _of_shards(store: TableStore, shards: Sequence[str]) -> list[tuple[Any, ...]]:
    """A line for each."""
    heads = {c.asset: store.headers(c.asset, shards) for c in SUMMED}
    return [_line(key, {a: [h[key]] if key in h else [] for a, h in heads.items()}) for key in shards]


def _line(name: str, heads: Mapping[str, Sequence[TableHeader]]) -> tuple[Any, ...]:
    """A line of the tables of each asset."""
    cells: list[Any] = []
    for component in SUMMED:
        own = heads[component.asset]
        cells += [column.value(own) if own else "-" for column in component.summary]
    return (name, *cells)


def why_failed(key: str, asset: str) -> str:
    """The command that lists what an export of a subset could not make, each with the reason."""
    return f"curation list failed --subset {key} --why {asset}"


def outcome_of_subsets(
    store: TableStore, recipes: Mapping[str, Recipe], in_hand: Collection[tuple[str, str | None]]
) -> Iterator[str]:
    """A line per subset of the recipes that has been judged: how many were selected, where what it publishes lies and how many it
    lacks since they could not be made; and what of it is in force from before, since it is not among the tables `in_hand`."""
    for recipe in recipes.values():
        for name, subset in recipe.subsets.items():
            key = subset_key(recipe.dataset, name)
            heads = {a: store.header(a, key) for a in assets_of_subset(subset)}
            judged = heads.get(JUDGED[subset.of])
            if judged is None:
                continue
            line = f"{key}: {judged.stats.get('selected')} of {judged.stats.get('candidates')} {subset.of} selected"
            line += "" if (JUDGED[subset.of], key) in in_hand else ", as before"
            for asset in EXPORTS:
                head = heads.get(asset)
                if head is not None and head.stats.get("version"):
                    folder = store.storage.uri(f"{store.folder(asset, key)}/{head.stats['version']}")
                    line += f"; {asset}{'' if (asset, key) in in_hand else ', as before,'} in {folder}"
                    if failed := head.stats.get("failed"):
                        line += f", without {failed:,} that could not be made: `{why_failed(key, asset)}`"
            yield line


def text_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns padded to their widest cell."""
    cells = [list(map(str, r)) for r in (header, *rows)]
    widths = [max(len(r[i]) for r in cells) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
