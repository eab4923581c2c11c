"""Curated subsets: every candidate with its scores, selected or with the first rule that dropped it.

Memory does not grow with what a candidate's row holds. The percentile columns are read where rules need them, eight bytes a value.
Then shard after shard is joined, judged and spooled to disk, and of the candidates that passed only numbers are kept: the place that
the hash of the id gives, and what the criterion asks for (classes, scores; embeddings go to a file). When the criterion has chosen,
the spool is sorted into key order on disk, range by range.

A candidate of a subset of tracks is a track of a usable clip. `where` is about the clip, also where the track has a column of the
same name (`motion`, `start_ms`, `duration_s`), `where_tracks` about the track. Percentiles are over the clips or the tracks
accordingly, before any rule and with those that exclusion lists drop.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.publish.curating.selection import REASONS, Candidates, Choice, choose, hash_order
from curation_assets.publish.curating.subset_tables import (
    class_column,
    needed_columns,
    read_ids,
    score_column,
    tables_needed,
    tables_shown,
)
from curation_assets.publish.subsets import Splits, Subset
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import CLIP_TABLES, clip_facts, columns_of, spans_have_licences
from curation_assets.rules.language import (
    SOURCE,
    Both,
    Compare,
    Literal,
    Node,
    Percentile,
    Rule,
    numbers,
    parse_rule,
    passing,
)
from curation_assets.schemas import schema
from curation_assets.scores.embedding import mean_embeddings

BATCH_ROWS = 32_768
"""Rows that are spooled and written at a time."""
BUCKET_ROWS = 200_000
"""Rows that are sorted in memory at a time, about."""
MAX_BUCKETS = 256
"""Files that are open at a time; beyond that, ranges grow."""
KEY_STRIDE = 256
"""Every so many rows, one key is noted for finding ranges of equal size."""
EXAMPLES = 6
"""Clips kept on each side of a threshold for the contact sheets."""
SAMPLE = 50_000
"""Rows that correlations and keep-rate curves are computed from, drawn evenly from all shards."""
EXCLUDED = "excluded by list"

Reader = Callable[[str, str, Sequence[str] | None], pa.Table]
"""(asset, shard, columns or None for all) -> table; LookupError if it does not exist."""
Percentiles = Mapping[tuple[str, float], float | None]
Example = tuple[str, str, float, bool]
_HOLDS: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True)
class Threshold:
    """A comparison of a column with a number, alone or joined to others by `and`.

    Attributes:
        text: as the rule has it.
        column, op, value: what is compared with what; a percentile's value is that over all candidates.
        of_clip: whether the column is the clip's, or that of a track.
    """

    text: str
    column: str
    op: str
    value: float
    of_clip: bool

    def values_in(self, table: pa.Table) -> np.ndarray:
        """The column's values as floats, in single precision where they are stored so; nan for null."""
        column = table[self.column]
        if not pa.types.is_floating(column.type):
            column = column.cast(pa.float64())
        values: np.ndarray = pc.fill_null(column, math.nan).to_numpy()
        return values

    def holds(self, values: np.ndarray, at: float | None = None) -> np.ndarray:
        """Where the comparison holds, with another number in place of its own if `at` is given; false for nan.

        Args:
            values: see `values_in`; a number is compared as one of their type, as in the rule itself.
        """
        held: np.ndarray = _HOLDS[self.op](values, self.value if at is None else at)
        return held


@dataclass(frozen=True)
class FunnelStep:
    """What is left after a rule; where it names a percentile, its text says which value that is."""

    rule: str
    rows: int
    hours: float


@dataclass
class Curation:
    """What came of a subset.

    Attributes:
        path: local Parquet file with the table, in key order.
        funnel: rows and hours before any rule and after each.
        report: what the criterion says of its choice.
        shards: shards that were judged; `missing` those left out, with the reason.
        examples: threshold -> (clip_id, shard, value, passed) of the clips nearest to it that the rules before it let by.
        sample: up to `SAMPLE` candidates with their numeric columns, for curves and correlations.
        clip_sample: the same candidates with those of their clips; for subsets of clips, the same table.
        splits: split -> selected candidates.
    """

    path: Path
    funnel: list[FunnelStep] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    examples: dict[Threshold, list[Example]] = field(default_factory=dict)
    sample: pa.Table | None = None
    clip_sample: pa.Table | None = None
    splits: dict[str, int] = field(default_factory=dict)


def split_of(dataset: str, video_id: str, splits: Splits, given: Mapping[str, str]) -> str:
    """train, val or test of a source video: as listed, else by a seeded hash of its id, so that it never changes."""
    if video_id in given:
        return given[video_id]
    key = f"{splits.seed}".encode()
    digest = hashlib.blake2b(f"{dataset}/{video_id}".encode(), digest_size=8, key=key).digest()
    place = int.from_bytes(digest, "little") / 2.0**64
    return "train" if place < splits.train else "val" if place < splits.train + splits.val else "test"


def given_splits(splits: Splits) -> dict[str, str]:
    """video_id -> split, from the recipe's lists.

    Raises:
        ValueError: a video is in two lists.
    """
    given: dict[str, str] = {}
    for name, path in splits.lists.items():
        for video_id in read_ids([path]):
            if given.setdefault(video_id, name) != name:
                raise ValueError(
                    f"video {video_id!r} is in the lists of both {given[video_id]} and {name}; leave it in one"
                )
    return given


@dataclass(frozen=True)
class _Facts:
    """The candidates of a shard: what the rules about clips see, and what everything else sees. One row each, in the same order."""

    of_clip: pa.Table
    table: pa.Table


class _Vectors:
    """Embeddings on disk, float16, a row per candidate and nan where there is none."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, open(path, "wb")
        self._dim = self._rows = 0

    def add(self, vectors: np.ndarray, present: np.ndarray) -> None:
        """`vectors` of the candidates that are `present`.

        Raises:
            ValueError: they are not as long as those of other shards.
        """
        if len(vectors) and not self._dim:
            self._dim = vectors.shape[1]
            self._write(np.full((self._rows, self._dim), np.nan))
        if len(vectors) and vectors.shape[1] != self._dim:
            raise ValueError(
                f"embeddings of {vectors.shape[1]} and of {self._dim} numbers cannot be compared; give the subset datasets with one model"
            )
        block = np.full((len(present), self._dim), np.nan)
        if len(vectors):
            block[present] = vectors
        self._write(block)
        self._rows += len(present)

    def _write(self, block: np.ndarray) -> None:
        self._file.write(block.astype(np.float16).tobytes())

    def array(self) -> np.ndarray:
        """All rows, read from disk where they are used."""
        self._file.close()
        if not self._rows or not self._dim:
            return np.full((self._rows, 1), np.nan, np.float16)
        return np.memmap(self._path, np.float16, "r", shape=(self._rows, self._dim))


class _Passed:
    """What the criterion asks of the candidates that passed the rules, in the order in which they are spooled."""

    def __init__(self, subset: Subset, folder: Path) -> None:
        self._subset, self._select = subset, subset.select
        self._class_by, self._score_by = class_column(subset), score_column(subset)
        self._order: list[np.ndarray] = []
        self._videos: list[np.ndarray] = []
        self._classes: list[np.ndarray] = []
        self._scores: list[np.ndarray] = []
        self._labels: dict[str, int] = {}
        self._seen_videos = self._singles = 0
        self._vectors = _Vectors(folder / "vectors.f16") if self._select.criterion == "min_redundancy" else None

    def add(self, dataset: str, rows: pa.Table, embeddings: Callable[[], pa.Table]) -> None:
        """Notes the candidates of a shard of `dataset`; `embeddings` reads its frame embeddings."""
        ids = rows["clip_id" if self._subset.of == "clips" else "track_id"].to_pylist()
        self._order.append(hash_order((f"{dataset}/{i}" for i in ids), self._select.seed))
        if self._select.criterion == "video_balanced":  # a video lies in one shard
            codes = rows["video_id"].combine_chunks().dictionary_encode()
            self._videos.append(codes.indices.to_numpy() + self._seen_videos)
            self._seen_videos += len(codes.dictionary)
        if self._class_by is not None:
            self._classes.append(self._coded(rows[self._class_by]))
        elif self._select.criterion == "min_redundancy":
            self._classes.append(np.full(rows.num_rows, self._labels.setdefault("all", 0)))
        if self._score_by is not None:
            self._scores.append(self._numbers(rows[self._score_by]))
        if self._vectors is not None:
            found = _track_vectors(rows) if self._subset.of == "tracks" else _clip_vectors(rows, embeddings())
            self._vectors.add(*found)

    def _coded(self, labels: pa.ChunkedArray) -> np.ndarray:
        """Codes of labels over all shards, -1 for null; a clip without near-duplicates is a cluster of its own, coded from -2 down."""
        encoded = labels.combine_chunks().dictionary_encode()
        table = [self._labels.setdefault(str(v), len(self._labels)) for v in encoded.dictionary.to_pylist()]
        codes = np.array([*table, -1], np.int64)[encoded.indices.fill_null(len(table)).to_numpy()]
        if self._class_by == "cluster_id" and self._select.criterion == "cluster_balanced":
            alone = np.flatnonzero(codes < 0)
            codes[alone] = -2 - self._singles - np.arange(len(alone))
            self._singles += len(alone)
        return codes

    def _numbers(self, values: pa.ChunkedArray) -> np.ndarray:
        values = numbers(values) if (self._score_by or "").startswith(SOURCE) else values
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
            raise ValueError(f"select.order_by: {self._score_by} is {values.type}, not a number")
        return pc.fill_null(values.cast(pa.float64()), math.nan).to_numpy()

    def candidates(self) -> Candidates:
        names = [*self._labels]
        by_name = sorted(range(len(names)), key=names.__getitem__)
        labels = [names[i] for i in by_name]
        classes = None
        if self._class_by is not None or self._select.criterion == "min_redundancy":
            place = np.empty(len(names), np.int64)
            place[by_name] = np.arange(len(names))
            codes = _joined(self._classes, np.int64)
            classes = np.where(codes >= 0, place[np.maximum(codes, 0)], codes) if labels else codes
            if self._singles:  # clusters of one, after the others
                classes = np.where(codes < -1, len(labels) - 2 - codes, classes)
        return Candidates(
            _joined(self._order, np.uint64),
            _joined(self._videos, np.int64) if self._select.criterion == "video_balanced" else None,
            classes,
            labels,
            _joined(self._scores, np.float64) if self._score_by is not None else None,
            self._vectors.array() if self._vectors is not None else None,
        )


def _joined(parts: list[np.ndarray], kind: Any) -> np.ndarray:
    """One array of `parts`, which are let go."""
    joined = np.concatenate(parts) if parts else np.empty(0, kind)
    parts.clear()
    return joined


def _track_vectors(rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    column = rows["embedding"].combine_chunks()
    present = column.is_valid().to_numpy(zero_copy_only=False)
    flat = column.drop_null().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    vectors = flat.reshape(int(present.sum()), -1) if present.any() else np.empty((0, 0), np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), present


def _clip_vectors(rows: pa.Table, embeddings: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    ids, means = mean_embeddings(embeddings)
    index = pc.fill_null(pc.index_in(rows["clip_id"], value_set=pa.array(ids, pa.string())), -1).to_numpy()
    return means[index[index >= 0]], index >= 0


class _Spool:
    """Judged candidates on disk, in the order in which they were judged; `selected` says whether they passed the rules."""

    def __init__(self, folder: Path, arrow: pa.Schema) -> None:
        self.path, self.folder = folder / "candidates.parquet", folder
        self.clusters: Counter[str] = Counter()
        self._writer = pq.ParquetWriter(self.path, arrow, compression="lz4")
        self._held: list[pa.Table] = []
        self._keys: list[str] = []
        self._rows = self._total = 0

    def write(self, table: pa.Table) -> None:
        self._held.append(table)
        noted = np.arange(-self._total % KEY_STRIDE, table.num_rows, KEY_STRIDE)
        self._keys += _key(table.select(["dataset", "video_id"]).take(noted)).to_pylist()
        self._rows += table.num_rows
        self._total += table.num_rows
        if self._rows >= BATCH_ROWS:
            self._flush()
        if "cluster_id" in table.column_names:
            for entry in table["cluster_id"].drop_null().value_counts():
                self.clusters[entry["values"].as_py()] += entry["counts"].as_py()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.concat_tables(self._held), row_group_size=2 * BATCH_ROWS)
        self._held, self._rows = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def bounds(self) -> list[str]:
        """Keys that divide the rows into ranges of about `BUCKET_ROWS`."""
        keys, ranges = sorted(self._keys), min(MAX_BUCKETS, math.ceil(self._total / BUCKET_ROWS))
        return sorted({keys[len(keys) * n // ranges] for n in range(1, ranges)})


class _Funnel:
    """Candidates and their milliseconds before any rule and after each, the exclusion lists first."""

    def __init__(self, rules: Sequence[str]) -> None:
        self.names = ["candidates", "exclusion lists", *rules]
        self.rows = np.zeros(len(self.names), np.int64)
        self.ms = np.zeros(len(self.names), np.int64)

    def count(self, step: int, ms: np.ndarray, alive: np.ndarray) -> None:
        self.rows[step] += int(alive.sum())
        self.ms[step] += int(ms[alive].sum())

    def steps(self, lists: bool) -> list[FunnelStep]:
        steps = zip(self.names, self.rows.tolist(), self.ms.tolist(), strict=True)
        return [FunnelStep(n, r, ms / 3_600_000) for i, (n, r, ms) in enumerate(steps) if lists or i != 1]


def curate(
    key: str,
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
    folder: Path,
) -> Curation:
    """Judges all candidates of a subset.

    Args:
        key: partition key of the subset, for messages.
        subset: the section of the recipe.
        recipes: dataset -> recipe, of the subset's datasets.
        shards: (dataset, shard key) to draw from, in any order.
        read: reads a table of a shard.
        folder: local scratch folder; the table is written here.

    Returns:
        The curation; its table fits `schema("curated_clips")` or `schema("curated_tracks")`.

    Raises:
        RuleError: a rule names a column that no table has.
        ValueError: a list or a column that the subset names cannot be used; the message names the subset.
    """
    try:
        return _curate(subset, recipes, sorted(shards, key=lambda s: s[1]), read, folder)
    except ValueError as error:
        error.add_note(f"in subset {key}")
        raise


def _curate(
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
    folder: Path,
) -> Curation:
    asset = "curated_clips" if subset.of == "clips" else "curated_tracks"
    arrow = schema(asset).arrow
    rules = [(parse_rule(r), True) for r in subset.where] + [(parse_rule(r), False) for r in subset.where_tracks]
    excluded = pa.array(sorted(read_ids(subset.exclude)), pa.string()) if subset.exclude else None
    given = given_splits(subset.split)
    percentiles = {about: _percentiles(rules, about, subset, recipes, shards, read) for about in (True, False)}
    result = Curation(folder / "subset.parquet")
    spool, passed = _Spool(folder, arrow), _Passed(subset, folder)
    funnel = _Funnel([rule.resolved(percentiles[about]) for rule, about in rules])
    thresholds = [list(_thresholds(rule, percentiles[about], about)) for rule, about in rules]
    nearest: dict[Threshold, list[tuple[float, Example]]] = {}
    samples: list[_Facts] = []
    reason_names = pa.array([None, EXCLUDED, *(r.text for r, _ in rules)], pa.string())
    for number, (dataset, shard) in enumerate(shards):
        recipe = recipes[dataset]
        try:
            facts = _shard_facts(subset, recipe, shard, read)
        except LookupError as error:
            result.missing[shard] = str(error)
            continue
        result.shards.append(shard)
        table = facts.table
        ms = pc.fill_null(pc.subtract(table["end_ms"], table["start_ms"]), 0).to_numpy()
        reasons = np.zeros(table.num_rows, np.int64)
        funnel.count(0, ms, reasons == 0)
        if excluded is not None:
            reasons[_listed(table, excluded)] = 1
        funnel.count(1, ms, reasons == 0)
        for step, (rule, about_clip) in enumerate(rules, 2):
            seen = facts.of_clip if about_clip else table
            columns = {c: seen[c] for c in seen.column_names}
            alive = reasons == 0
            _remember(nearest, thresholds[step - 2], table, seen, shard, alive)
            passes = passing(rule, columns, percentiles[about_clip])
            reasons[alive & ~passes.to_numpy(zero_copy_only=False)] = step
            funnel.count(step, ms, reasons == 0)
        alive = reasons == 0
        passed.add(dataset, table.filter(pa.array(alive)), lambda s=shard: read("frame_embeddings", s, None))  # type: ignore[misc]
        judged = (
            table.append_column("drop_reason", reason_names.take(pa.array(reasons)))
            .append_column("shard", pa.array([shard] * len(reasons), pa.string()))
            .append_column("selected", pa.array(alive))
        )
        spool.write(_fit(judged, arrow))
        samples.append(_sample(facts, math.ceil(SAMPLE / len(shards)), number))
    spool.close()
    result.funnel = funnel.steps(excluded is not None)
    result.examples = {threshold: [example for _, example in found] for threshold, found in nearest.items()}
    if samples:
        result.sample = pa.concat_tables([s.table for s in samples], promote_options="permissive").slice(0, SAMPLE)
        result.clip_sample = pa.concat_tables([s.of_clip for s in samples], promote_options="permissive").slice(
            0, SAMPLE
        )
    choice = choose(passed.candidates(), subset.select)
    result.report = choice.report
    _write(spool, choice, subset, asset, given, result)
    return result


def _listed(table: pa.Table, ids: pa.Array) -> np.ndarray:
    """Which candidates, their clips or their videos are in `ids`."""
    names = [n for n in ("video_id", "clip_id", "track_id") if n in table.column_names]
    found = np.zeros(table.num_rows, bool)
    for name in names:
        found |= pc.is_in(table[name], value_set=ids).to_numpy(zero_copy_only=False)
    return found


def _sample(facts: _Facts, rows: int, seed: int) -> _Facts:
    """Up to `rows` candidates, evenly drawn, with their numeric columns."""
    total = facts.table.num_rows
    chosen = np.arange(total)
    if total > rows:
        chosen = np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    return _Facts(*(t.select(_numeric(t.schema)).take(chosen) for t in (facts.of_clip, facts.table)))


def _numeric(arrow: pa.Schema) -> list[str]:
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    return [f.name for f in arrow if any(kind(f.type) for kind in kinds)]


def _shard_facts(subset: Subset, recipe: Recipe, shard: str, read: Reader) -> _Facts:
    """The columns of the subset's table for one shard, and those that its rules and its criterion name.

    Raises:
        LookupError: a table that the rules or the criterion need does not exist for the shard; others leave nulls.
    """
    needed, shown = tables_needed(subset, recipe), tables_shown(subset, recipe)
    own = set(schema("curated_clips").names)
    wanted = [*needed_columns(subset, recipe), "start_ms", "end_ms", "duration_s"]
    if subset.of == "clips":
        wanted += [c for a in CLIP_TABLES if a in shown for c in schema(a).names if c in own]
        wanted += [c for c in ("licence", "channel") if "raw_shards" in shown]
        if "licence" in wanted and spans_have_licences(recipe):
            shown = ["video_metadata", *(a for a in shown if a != "video_metadata")]
    wanted = list(dict.fromkeys(wanted))
    tables: dict[str, pa.Table] = {}
    for asset in shown:
        if asset in ("frame_embeddings", "tracks") or (subset.of == "tracks" and asset not in needed):
            continue
        columns = columns_of(asset, wanted, recipe)
        if asset == "category_scores":
            columns = ["clip_id", "category_set", "category", "probability", "score"]
        try:
            tables[asset] = read(asset, shard, columns)
        except LookupError:
            if asset in needed:
                raise
    if "frame_embeddings" in needed:
        read("frame_embeddings", shard, ["clip_id"])
    have = {c for a in CLIP_TABLES if a in tables for c in schema(a).names}
    required = {*needed_columns(subset, recipe), "duration_s"}
    facts = clip_facts(
        [c for c in wanted if c in required or c in have or (c in ("licence", "channel") and "raw_shards" in tables)],
        recipe,
        tables.__getitem__,
    )
    if subset.of == "clips":
        if "category_scores" in tables:
            facts = _with_categories(facts, tables["category_scores"])
        return _Facts(facts, facts)
    return _tracks_of(facts, read("tracks", shard, _track_columns(subset)))


def _track_columns(subset: Subset) -> list[str]:
    named = {c for r in subset.where_tracks for c in parse_rule(r).columns}
    named |= {class_column(subset) or "", score_column(subset) or "", *schema("curated_tracks").names}
    named |= {"embedding"} if subset.select.criterion == "min_redundancy" else set()
    return [n for n in schema("tracks").names if n in named]


def _with_categories(facts: pa.Table, scores: pa.Table) -> pa.Table:
    """Appends the maps from `<set>.<category>` to probability and to score; null for clips without any."""
    index = pc.index_in(scores["clip_id"], value_set=facts["clip_id"].combine_chunks())
    known = scores.filter(pc.is_valid(index))
    place = index.drop_null().to_numpy()
    rows = known.take(np.argsort(place, kind="stable"))
    counts = np.bincount(place, minlength=facts.num_rows)
    offsets = pa.array(np.r_[0, np.cumsum(counts)], pa.int32())
    keys = pc.binary_join_element_wise(
        rows["category_set"].cast(pa.string()), rows["category"].cast(pa.string()), "."
    ).combine_chunks()
    for name, column in (("categories", "probability"), ("category_matches", "score")):
        values = rows[column].cast(pa.float32()).combine_chunks()
        maps = pa.MapArray.from_arrays(offsets, keys, values)
        facts = facts.append_column(name, pc.if_else(pa.array(counts > 0), maps, pa.scalar(None, maps.type)))
    return facts


def _tracks_of(facts: pa.Table, tracks: pa.Table) -> _Facts:
    """The tracks of usable clips; where names agree, the track's column wins for all but the rules about clips."""
    clips = facts["clip_id"].combine_chunks()
    known = tracks.filter(pc.is_in(tracks["clip_id"], value_set=clips))
    of_clip = facts.take(pc.index_in(known["clip_id"], value_set=clips))
    length = pc.divide(pc.subtract(known["end_ms"], known["start_ms"]).cast(pa.float64()), 1000.0)
    joined = known.append_column("duration_s", length)
    for name in facts.column_names:
        if name not in joined.column_names:
            joined = joined.append_column(name, of_clip[name])
    return _Facts(of_clip, joined)


def _fit(table: pa.Table, arrow: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `arrow`, null where it has none."""
    columns = [
        table[f.name].cast(f.type)
        if f.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, f.type)])
        for f in arrow
    ]
    return pa.table(columns, schema=arrow)


def _percentiles(
    rules: Sequence[tuple[Rule, bool]],
    about_clip: bool,
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
) -> Percentiles:
    """Values of the percentiles that rules about clips, or about tracks, name: linear interpolation over all values."""
    wanted = {pair for r, about in rules if about == about_clip for pair in r.percentiles}
    values: dict[str, list[np.ndarray]] = {column: [] for column, _ in wanted}
    for dataset, shard in shards if wanted else ():
        try:
            found = _columns(sorted(values), about_clip, subset, recipes[dataset], shard, read)
        except LookupError:
            continue
        for column, parts in values.items():
            parts.append(numbers(found[column]).drop_null().cast(pa.float64()).to_numpy())
    joined = {c: _joined(found, np.float64) for c, found in values.items()}
    return {(c, p): float(np.percentile(joined[c], p)) if len(joined[c]) else None for c, p in wanted}


def _columns(
    columns: Sequence[str], of_clips: bool, subset: Subset, recipe: Recipe, shard: str, read: Reader
) -> pa.Table:
    """Columns of all clips, or of all tracks, of a shard that will be judged."""
    if not of_clips:
        return _shard_facts(subset, recipe, shard, read).table
    for asset in tables_needed(subset, recipe):
        read(asset, shard, ["video_id"])  # a shard that lacks one is not judged
    return clip_facts(columns, recipe, lambda asset: read(asset, shard, columns_of(asset, columns, recipe)))


def _thresholds(rule: Rule, percentiles: Percentiles, of_clip: bool) -> Iterator[Threshold]:
    """Each comparison with a number that the rule joins by `and`."""

    def leaves(node: Node) -> Iterator[Compare]:
        if isinstance(node, Compare):
            yield node
        elif isinstance(node, Both):
            yield from leaves(node.left)
            yield from leaves(node.right)

    for leaf in leaves(rule.node):
        value: float | None = None
        text = ""
        if isinstance(leaf.right, Literal) and isinstance(leaf.right.value, float):
            value, text = leaf.right.value, f"{leaf.right.value:g}"
        elif isinstance(leaf.right, Percentile):
            value, text = percentiles.get((leaf.left.name, leaf.right.p)), f"p{leaf.right.p:g}"
        if value is not None and leaf.op in _HOLDS:
            shown = rule.text if leaf is rule.node else f"{leaf.left.name} {leaf.op} {text}"
            yield Threshold(shown, leaf.left.name, leaf.op, value, of_clip)


def _remember(
    nearest: dict[Threshold, list[tuple[float, Example]]],
    thresholds: Sequence[Threshold],
    table: pa.Table,
    seen: pa.Table,
    shard: str,
    alive: np.ndarray,
) -> None:
    """Keeps the candidates nearest to each threshold of a rule on either side, of those that are still alive."""
    for threshold in thresholds:
        column = seen[threshold.column]
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            continue
        values = threshold.values_in(seen)
        distance = np.abs(values - threshold.value)
        holds = threshold.holds(values)
        kept = nearest.get(threshold, [])
        for side in (True, False):
            index = np.flatnonzero(alive & (holds == side) & ~np.isnan(values))
            if len(index) > EXAMPLES:
                index = index[np.argpartition(distance[index], EXAMPLES)[:EXAMPLES]]
            kept += [
                (float(distance[i]), (table["clip_id"][int(i)].as_py(), shard, float(values[i]), side)) for i in index
            ]
        kept.sort()
        nearest[threshold] = [
            found for side in (True, False) for found in [k for k in kept if k[1][3] == side][:EXAMPLES]
        ]


def _write(
    spool: _Spool, choice: Choice, subset: Subset, asset: str, given: Mapping[str, str], result: Curation
) -> None:
    """Adds the choice to the spooled rows and writes them in key order.

    A bucket sort on disk: rows go to ranges of the key of about `BUCKET_ROWS`, which are sorted one by one.
    """
    contract = schema(asset)
    tally: Counter[str] = Counter()
    bounds = spool.bounds()
    files = [spool.folder / f"bucket-{n}.arrow" for n in range(len(bounds) + 1)]
    with ExitStack() as stack:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        writers = [stack.enter_context(pa.ipc.new_file(f, contract.arrow, options=options)) for f in files]
        for batch in _chosen(spool, choice, subset, given, tally):
            buckets = _buckets(batch, bounds)
            for n in np.unique(buckets):
                writers[n].write_batch(batch.filter(pa.array(buckets == n)) if len(bounds) else batch)
    sizes = pa.array([*spool.clusters.values()], pa.int32())
    clusters = pa.array([*spool.clusters], pa.string())
    with pq.ParquetWriter(result.path, contract.arrow, compression="zstd") as writer:
        for path in files:
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_file(source).read_all().sort_by([(k, "ascending") for k in contract.key])
            if "cluster_size" in contract.names:
                table = _with_cluster_sizes(table, clusters, sizes)
            writer.write_table(table, row_group_size=BATCH_ROWS)
            path.unlink()
    result.splits = {name: tally[name] for name in ("train", "val", "test") if tally[name]}
    result.funnel.append(
        FunnelStep(f"select: {subset.select.criterion}", int(choice.selected.sum()), tally["ms"] / 3_600_000)
    )


def _key(rows: pa.Table | pa.RecordBatch) -> pa.Array | pa.ChunkedArray:
    """What rows are put into ranges by: all rows of a video have the same; in the order of dataset and video."""
    return pc.binary_join_element_wise(rows["dataset"], rows["video_id"], "\0")


def _buckets(batch: pa.RecordBatch, bounds: Sequence[str]) -> np.ndarray:
    """For each row, the range between `bounds` that it lies in."""
    encoded = _key(batch).dictionary_encode()
    of_video = np.array([bisect_right(bounds, k) for k in encoded.dictionary.to_pylist()], np.int64)
    return of_video[encoded.indices.to_numpy()]


def _with_cluster_sizes(table: pa.Table, clusters: pa.Array, sizes: pa.Array) -> pa.Table:
    """Fills `cluster_size`: candidates of the clip's cluster, 1 for unique clips, null where near-duplicates were not looked for."""
    found = pc.fill_null(sizes.take(pc.index_in(table["cluster_id"].combine_chunks(), value_set=clusters)), 1)
    known = pc.if_else(pc.is_valid(table["keep"]).combine_chunks(), found, pa.scalar(None, pa.int32()))
    return table.set_column(table.column_names.index("cluster_size"), table.schema.field("cluster_size"), known)


def _chosen(
    spool: _Spool, choice: Choice, subset: Subset, given: Mapping[str, str], tally: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """The spooled rows with what was chosen of them; counts splits and selected milliseconds (`ms`) on the way."""
    why = pa.array([f"select: {subset.select.criterion}", *REASONS[1:]], pa.string())
    at = 0
    with pq.ParquetFile(spool.path) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            passed = np.flatnonzero(batch["selected"].to_numpy(zero_copy_only=False))
            taken = choice.selected[at : at + len(passed)]
            dropped = passed[~taken]
            codes = np.full(batch.num_rows, -1, np.int64)
            codes[dropped] = choice.reasons[at : at + len(passed)][~taken]
            selected = np.zeros(batch.num_rows, bool)
            selected[passed[taken]] = True
            at += len(passed)
            criterion = why.take(pa.array(codes, mask=codes < 0))
            videos = {}
            splits: list[str | None] = [None] * batch.num_rows
            rows = zip(
                passed[taken].tolist(),
                batch["dataset"].take(passed[taken]).to_pylist(),
                batch["video_id"].take(passed[taken]).to_pylist(),
                strict=True,
            )
            for row, dataset, video in rows:
                if (dataset, video) not in videos:
                    videos[dataset, video] = split_of(dataset, video, subset.split, given)
                splits[row] = videos[dataset, video]
            tally.update(s for s in splits if s)
            spans = pc.fill_null(pc.subtract(batch["end_ms"], batch["start_ms"]), 0).to_numpy(zero_copy_only=False)
            tally["ms"] += int(spans[selected].sum())
            yield _replaced(
                batch,
                selected=pa.array(selected),
                drop_reason=pc.coalesce(batch["drop_reason"], criterion),
                split=pa.array(splits, pa.string()),
            )


def _replaced(batch: pa.RecordBatch, **columns: pa.Array) -> pa.RecordBatch:
    return pa.record_batch([columns.get(f.name, batch[f.name]) for f in batch.schema], schema=batch.schema)
