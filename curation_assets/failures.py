"""What of a dataset could not be made clip by clip, counted by table and by reason: `curation list failed` has the rows.

What belongs here: counting and wording. What does not: videos that could not be fetched (`report.py`), exports (`outcome.py`), what the next run tries again (`engine/completeness.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.contracts.component import Component, Stage
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.tallies import Tallies
from curation_assets.outcome import SHOWN_SHARDS
from curation_assets.recipes import Recipe
from curation_assets.registry import COMPONENTS, DOWNLOADS, STAGES
from curation_assets.selection import assets_of_recipe
from curation_resources.table_headers import TableHeader
from curation_resources.tables import READERS, MissingTable, TableStore
from curation_resources.words import plural

TABLES = 20
"""Tables of an asset whose rows are read for their reasons; all are counted."""
SHOWN = 3
"""Reasons that a line has."""
LONGEST = 160
"""Characters of a reason."""
UNITS = {"video_id": "video", "clip_id": "clip", "time_ms": "frame"}
"""Last column of a table's key -> what a row is of; of a package's table with another key it is a row."""


@dataclass(frozen=True)
class Failures:
    """Rows of a table by shard that say why there is nothing of their video, clip or frame.

    Attributes:
        asset: the table.
        unit: what a row is of: video, clip or frame, or row.
        failed: how many could not be made.
        rows: of how many; 0 where a row is not always one of the unit.
        reasons: as the rows have them -> how many of those that were looked at; reasons that differ in ids and numbers alone are one, in the words of the first.
        looked_at: rows that were looked at for their reasons.
    """

    asset: str
    unit: str
    failed: int
    rows: int
    reasons: Mapping[str, int]
    looked_at: int

    @property
    def line(self) -> str:
        """A sentence, with the commonest reasons and the command that names the rows."""
        of = (
            f"{self.failed:,} of {plural(self.rows, self.unit, commas=True)}"
            if self.rows
            else plural(self.failed, self.unit, commas=True)
        )
        found = Counter(self.reasons).most_common()
        shown = [f"{reason} ({count:,})" if len(found) > 1 else reason for reason, count in found[:SHOWN]]
        if len(found) > SHOWN:
            shown.append(f"{plural(len(found) - SHOWN, 'further reason')} ({sum(n for _, n in found[SHOWN:]):,})")
        said = "; ".join(shown) + (f" (of the first {self.looked_at:,})" if self.looked_at < self.failed else "")
        return f"{of} without {self.asset}: {f'{said}: ' if shown else ''}`curation list failed --why {self.asset}`"


def failures(
    store: TableStore,
    tallies: Tallies,
    recipe: Recipe,
    shards: Collection[str] | None = None,
    asked_again: bool = True,
    reasons: bool = True,
) -> Iterator[Failures]:
    """What could not be made of the clips of a dataset, a record for each table that its recipe asks for and that has such rows.

    Args:
        store: the tables.
        tallies: their numbers; of few shards the heads of their own tables are read instead, as nobody may have looked at all of them here.
        recipe: of the dataset.
        shards: only these; None is all.
        asked_again: whether tables of which each run asks again for what failed are counted too.
        reasons: whether rows are read for their reasons; else tallies alone are.
    """
    wanted = assets_of_recipe(recipe)
    retried = {p.asset for s in STAGES for p in s.parts if s.up_to_date is not Stage.up_to_date}
    few = (
        None
        if shards is None or len(shards) > SHOWN_SHARDS
        else sorted(s for s in shards if dataset_of(s) == recipe.dataset)
    )
    for part in COMPONENTS:
        said = part.partitioned == "shard" and "error" in part.table.names and part.asset != DOWNLOADS
        if said and part.asset in wanted and (asked_again or part.asset not in retried):
            heads = (
                tallies.headers(part.asset, recipe.dataset) if few is None else store.headers(part.asset, few).values()
            )
            found, places = _counted(part, (h for h in heads if shards is None or h.partition in shards))
            if found.failed:
                yield _with_reasons(store, part, found, places) if reasons else found


def _counted(part: Component, headers: Iterable[TableHeader]) -> tuple[Failures, list[str]]:
    """How many failed, and the first tables that have such rows."""
    failed = rows = 0
    places: list[str] = []
    for header in headers:
        own = int(header.stats.get("failed") or 0)
        failed, rows = failed + own, rows + header.rows
        if own and len(places) < TABLES:
            places.append(header.partition or "")
    whole = part.complete != DOWNLOADS  # of a video there may be many clips, and one row if there is none
    unit = UNITS.get(part.table.key[-1], "row") if whole else "video"
    return Failures(part.asset, unit, failed, rows if whole else 0, {}, 0), places


def _with_reasons(store: TableStore, part: Component, counted: Failures, places: Collection[str]) -> Failures:
    by_form: dict[str, tuple[str, int]] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for found in pool.map(lambda key: _reasons(store, part, key), places):
            for reason, count in found.items():
                form = re.sub(r"\d+", "0", reason)
                first, before = by_form.get(form, (reason, 0))
                by_form[form] = first, before + count
    told = dict(by_form.values())
    return replace(counted, reasons=told, looked_at=sum(told.values()))


def _reasons(store: TableStore, part: Component, shard: str) -> Mapping[str, int]:
    """Reason -> rows of a table that failed for it; ids of the row's own are left out of it. Nothing of a table that was removed meanwhile."""
    names = [n for n in ("video_id", "clip_id", "error", "status") if n in part.table.names]
    try:
        table = store.read(part.asset, shard, names, ds.field("error").is_valid())
    except MissingTable:
        return {}
    if "status" in names:
        table = table.filter(pc.equal(table["status"], "failed"))
    found: Counter[str] = Counter()
    for row in table.to_pylist():
        reason = row["error"].partition("\n")[0]
        for name in ("clip_id", "video_id"):
            if row.get(name):
                own = re.escape(row[name])
                reason = re.sub(rf"(?<!\w){own}(?!\w)", "...", re.sub(rf"^{own}: ", "", reason))
        found[reason if len(reason) <= LONGEST else f"{reason[:LONGEST]}..."] += 1
    return found
