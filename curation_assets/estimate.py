"""What would run, and what it would take: core-hours, GPU-hours, gigabytes, requests and dollars, from what earlier runs took.

Of a table that some shards have already, the cost of a video is that of these shards: its mean, and as a range the tenth and the ninetieth percentile
over shards. Of one that no shard has, the figures of `SHIPPED` are taken, which were measured on other videos than yours; where there is
none, the table is listed without a cost, and a run over a few shards gives one. What belongs here: the estimate before a run. What does not: what
a run took (`report.py`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from curation_assets.engine.meter import price
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.slices import FORM, read_slices
from curation_assets.engine.staleness import FRESH, RETRY, SHARDED, shard_states
from curation_assets.recipes import Recipe
from curation_assets.registry import DOWNLOADS, INDEX, STAGES
from curation_assets.selection import assets_of_recipe
from curation_assets.settings import Settings
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

SAMPLE_SHARDS = 200
"""Shards whose footers are read for the costs of a table."""
SHIPPED: Mapping[str, tuple[float, float]] = {"clips": (89.0 + 22.0, 111.0 + 22.0)}
"""CPU seconds for an hour of video, from and to, of tables that no shard has. The one decode, which makes five tables and is counted with
`clips`, took 1.2 to 1.5 times a plain decode of 56 videos of 360p to 1080p (74 CPU s an hour), and the shot detector 0.3 times one more
(docs/explanation/decode.md, shots.md)."""
WITH_CLIPS = {p.asset for s in STAGES for p in s.parts if {q.asset for q in s.parts} & SHIPPED.keys()} - SHIPPED.keys()
"""Tables that are made together with one of those: of the one decode beside `clips`."""
WRITES, READS = 1.75, 2.6
"""Requests for a table of a shard: PUT, POST and LIST, and GET and HEAD, pictures that are shown apart. Eight tables take 34 in all
(`curation_assets_tests/resources/test_requests.py`)."""
WRITE_PRICE, READ_PRICE = 0.005 / 1000, 0.0004 / 1000
"""Dollars for a request of each kind: the list price of S3 Standard in us-east-1, 2026."""


@dataclass(frozen=True)
class Range:
    """A number, and between which two it is likely to be."""

    low: float
    mean: float
    high: float

    def times(self, factor: float) -> Range:
        return Range(*(getattr(self, f.name) * factor for f in fields(self)))


NOTHING = Range(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Line:
    """What one table of a dataset would take.

    Attributes:
        shards: how many partitions would be made.
        cpu_s, gpu_s, bytes: of all of them; None where no figure is known.
        source: where the figures come from.
    """

    dataset: str
    asset: str
    shards: int
    cpu_s: Range | None
    gpu_s: Range | None
    bytes: Range | None
    source: str


@dataclass(frozen=True)
class Size:
    """How much there is to do, where it is not indexed yet.

    Attributes:
        videos: of the source.
        hours_per_video: mean length.
    """

    videos: int | None = None
    hours_per_video: float | None = None


def estimate(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, size: Size | None = None
) -> Iterator[Line]:
    """A line for each sharded table that a run would make, in graph order."""
    size = size or Size()
    header = store.usable_header(INDEX)
    slices = (read_slices(store, header) if header is not None else FORM.empty_table()).to_pylist()
    videos = {row["shard"]: row["rows"] for row in slices}
    todo = Counter(
        (parse_shard_key(s.partition)[0], s.asset)
        for s in shard_states(store, recipes, settings, why=False, media=False)
        if s.asset in SHARDED and s.partition is not None and s.state not in (FRESH, RETRY)
    )
    for dataset, recipe in recipes.items():
        own = [k for k in videos if parse_shard_key(k)[0] == dataset]
        per_shard = sum(videos[k] for k in own) / len(own) if own else float(recipe.shard.videos)
        hours = size.hours_per_video or _hours(_sampled(store, DOWNLOADS, own))
        for asset in (a for a in assets_of_recipe(recipe) if a in SHARDED):
            count = todo[dataset, asset]
            if not own and size.videos is not None:
                count = math.ceil(size.videos / recipe.shard.videos)
            if count:
                yield _line(dataset, asset, count, per_shard, _sampled(store, asset, own), videos, hours)


def _sampled(store: TableStore, asset: str, shards: Sequence[str]) -> dict[str, TableHeader]:
    """Headers of some of the shards that have a table, from all over them."""
    there = sorted(set(store.partitions(asset)) & set(shards))
    return store.headers(asset, there[:: max(1, len(there) // SAMPLE_SHARDS)])


def _hours(raw: Mapping[str, TableHeader]) -> float | None:
    """Mean hours of a video that was fetched."""
    seconds = sum(float(h.stats.get("video_s") or 0) for h in raw.values())
    fetched = sum(int(h.stats.get("ok") or 0) for h in raw.values())
    return seconds / fetched / 3600 if fetched and seconds else None


def _line(
    dataset: str,
    asset: str,
    count: int,
    per_shard: float,
    made: Mapping[str, TableHeader],
    videos: Mapping[str, int],
    hours: float | None,
) -> Line:
    whole = {k: h for k, h in made.items() if not h.stats.get("videos_kept") and videos.get(k)}
    if whole:
        factor = count * per_shard

        def of(name: str) -> Range:
            return _range([float(h.stats.get(name) or 0) / videos[k] for k, h in whole.items()]).times(factor)

        stored = [(float(h.stats.get("bytes") or 0) + (h.size or 0)) / videos[k] for k, h in whole.items()]
        source = f"{len(whole)} shards of your own"
        return Line(dataset, asset, count, of("cpu_s"), of("gpu_s"), _range(stored).times(factor), source)
    if asset in WITH_CLIPS:
        return Line(dataset, asset, count, NOTHING, NOTHING, None, "with clips, in one decode")
    if asset in SHIPPED and hours is not None:
        low, high = SHIPPED[asset]
        cpu = Range(low, (low + high) / 2, high).times(count * per_shard * hours)
        return Line(dataset, asset, count, cpu, NOTHING, None, "shipped figures, other videos")
    return Line(dataset, asset, count, None, None, None, "no figure: run a few shards first")


def _range(values: Sequence[float]) -> Range:
    low, high = np.quantile(values, [0.1, 0.9])
    return Range(float(low), float(np.mean(values)), float(high))


@dataclass(frozen=True)
class Total:
    """The sum of what has figures.

    Attributes:
        unknown: tables without any.
    """

    core_hours: Range
    gpu_hours: Range
    gb: Range
    requests: int
    dollars: Range
    unknown: tuple[str, ...]


def total(lines: Sequence[Line], settings: Settings) -> Total:
    """All lines together. The low ends and the high ends are added up, so that the range is rather too wide than too narrow."""

    def added(name: str) -> Range:
        found = [r for line in lines if (r := getattr(line, name)) is not None]
        return Range(*(sum(getattr(r, f.name) for r in found) for f in fields(Range)))

    tables = sum(line.shards for line in lines)
    cpu, gpu, stored = added("cpu_s"), added("gpu_s"), added("bytes")
    asked = tables * (WRITES * WRITE_PRICE + READS * READ_PRICE)
    dollars = Range(*(price(settings, getattr(cpu, f.name), getattr(gpu, f.name)) + asked for f in fields(Range)))
    unknown = tuple(dict.fromkeys(line.asset for line in lines if line.cpu_s is None))
    return Total(
        cpu.times(1 / 3600), gpu.times(1 / 3600), stored.times(1e-9), round(tables * (WRITES + READS)), dollars, unknown
    )


def render(lines: Sequence[Line], settings: Settings) -> str:
    """The estimate as text."""
    from curation_assets.outcome import text_table

    def said(value: Range | None, factor: float) -> str:
        if value is None:
            return "?"
        low, mean, high = (f"{getattr(value, f.name) * factor:,.3g}" for f in fields(value))
        return mean if low == mean == high else f"{mean} ({low} to {high})"

    header = ("dataset", "table", "shards", "core-hours", "GPU-hours", "GB", "from")
    rows = [
        (
            x.dataset,
            x.asset,
            f"{x.shards:,}",
            said(x.cpu_s, 1 / 3600),
            said(x.gpu_s, 1 / 3600),
            said(x.bytes, 1e-9),
            x.source,
        )
        for x in lines
    ]
    if not rows:
        return "nothing is to be made of the shards"
    whole = total(lines, settings)
    parts = [
        text_table(header, rows),
        f"{said(whole.core_hours, 1)} core-hours, {said(whole.gpu_hours, 1)} GPU-hours, {said(whole.gb, 1)} GB, {whole.requests:,} requests on a bucket, "
        f"{said(whole.dollars, 1)} dollars at {settings.price_core_hour:g} a core-hour and {settings.price_gpu_hour:g} a GPU-hour",
    ]
    if whole.unknown:
        parts.append(
            f"without {', '.join(whole.unknown)}, of which nothing is known yet; what is made over all shards is not in it"
        )
    return "\n\n".join(parts)
