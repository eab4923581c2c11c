"""Curated subsets: every candidate with its scores, selected or with the first rule that dropped it.

Three passes with bounded memory. The percentile columns are read where rules need them. Then shard after shard is joined, judged and
spooled to disk, and what the criterion needs of the clips that passed (ids, classes, scores) is kept. When the criterion has chosen,
DuckDB joins its verdict to the spool and writes the table in key order, within a memory limit.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.recipes import Recipe, Splits, Subset
from curation_assets.rule_columns import CLIP_TABLES, clip_facts
from curation_assets.schemas import schema
from curation_assets.stages.frame_embeddings import mean_embeddings
from curation_assets.stages.rules import Compare, Literal, Rule, parse_rule, passing
from curation_assets.stages.selection import Candidates, Choice, choose
from curation_assets.stages.subset_tables import needed_columns, read_ids, tables_needed, tables_shown

MEMORY_MB = 1000
"""What DuckDB may hold in memory before it spills."""
EXAMPLES = 6
"""Clips kept on each side of a threshold for the contact sheets."""
SAMPLE = 50_000
"""Rows that correlations and keep-rate curves are computed from."""

Reader = Callable[[str, str], pa.Table]
"""(asset, shard) -> table; LookupError if it does not exist."""


@dataclass(frozen=True)
class FunnelStep:
    """What is left after a rule."""

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
        examples: rule -> (clip_id, shard, value, passed) of the clips nearest to its threshold.
        sample: up to `SAMPLE` candidates with their numeric columns, for curves and correlations.
        splits: split -> clips.
    """

    path: Path
    funnel: list[FunnelStep] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    examples: dict[str, list[tuple[str, str, float, bool]]] = field(default_factory=dict)
    sample: pa.Table | None = None
    splits: dict[str, int] = field(default_factory=dict)


def split_of(dataset: str, video_id: str, splits: Splits, given: Mapping[str, str]) -> str:
    """train, val or test of a source video: as listed, else by a seeded hash of its id, so that it never changes."""
    if video_id in given:
        return given[video_id]
    key = f"{splits.seed}".encode()
    digest = hashlib.blake2b(f"{dataset}/{video_id}".encode(), digest_size=8, key=key).digest()
    place = int.from_bytes(digest, "little") / 2.0**64
    return "train" if place < splits.train else "val" if place < splits.train + splits.val else "test"


class _Spool:
    """Judged candidates on disk, and in memory what the criterion needs of those that passed."""

    def __init__(self, folder: Path, arrow: pa.Schema) -> None:
        self.path = folder / "candidates.parquet"
        self._writer = pq.ParquetWriter(self.path, arrow, compression="zstd")
        self.ids: list[str] = []
        self.videos: list[int] = []
        self.classes: list[str | None] = []
        self.scores: list[float] = []
        self.vectors: list[np.ndarray | None] = []
        self._video_codes: dict[tuple[str, str], int] = {}

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table)

    def video(self, dataset: str, video_id: str) -> int:
        return self._video_codes.setdefault((dataset, video_id), len(self._video_codes))

    def close(self) -> None:
        self._writer.close()


def curate(
    key: str,
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
    folder: Path,
    memory_mb: int = MEMORY_MB,
) -> Curation:
    """Judges all candidates of a subset.

    Args:
        key: partition key of the subset, for messages.
        subset: the section of the recipe.
        recipes: dataset -> recipe, of the subset's datasets.
        shards: (dataset, shard key) to draw from, in any order.
        read: reads a table of a shard.
        folder: local scratch folder; the table is written here.
        memory_mb: memory that the final sort may use.

    Returns:
        The curation; its table fits `schema("curated_clips")` or `schema("curated_tracks")`.

    Raises:
        RuleError: a rule names a column that no table has.
    """
    asset = "curated_clips" if subset.of == "clips" else "curated_tracks"
    clip_rules = [parse_rule(r) for r in subset.where]
    track_rules = [parse_rule(r) for r in subset.where_tracks] if subset.of == "tracks" else []
    rules = [*clip_rules, *track_rules]
    excluded = read_ids(subset.exclude)
    given = {v: name for name, path in subset.split.lists.items() for v in read_ids([path])}
    result = Curation(folder / "subset.parquet")
    arrow = schema(asset).arrow
    percentiles = _percentiles(rules, subset, recipes, shards, read)
    spool = _Spool(folder, arrow)
    rows_after = np.zeros(len(rules) + 2, np.int64)
    ms_after = np.zeros(len(rules) + 2, np.int64)
    nearest: dict[str, list[tuple[float, str, str, float, bool]]] = {}
    samples: list[pa.Table] = []
    sampled = 0
    for dataset, shard in sorted(shards, key=lambda s: s[1]):
        recipe = recipes[dataset]
        try:
            facts = _shard_facts(subset, recipe, shard, read)
        except LookupError as error:
            result.missing[shard] = str(error)
            continue
        result.shards.append(shard)
        columns = {n: facts[n] for n in facts.column_names}
        reasons = np.full(facts.num_rows, None, object)
        alive = np.ones(facts.num_rows, bool)
        duration = pc.subtract(facts["end_ms"], facts["start_ms"]).to_numpy()
        if excluded:
            ids = [
                c in excluded or v in excluded
                for c, v in zip(facts["clip_id"].to_pylist(), facts["video_id"].to_pylist(), strict=True)
            ]
            reasons[np.array(ids, bool)] = "excluded by list"
            alive &= ~np.array(ids, bool)
        rows_after[0] += facts.num_rows
        ms_after[0] += int(duration.sum())
        rows_after[1] += int(alive.sum())
        ms_after[1] += int(duration[alive].sum())
        for i, rule in enumerate(rules):
            passed = np.asarray(passing(rule, columns, percentiles).to_numpy(zero_copy_only=False), bool)
            _remember(nearest, rule, facts, shard, passed, alive, percentiles)
            reasons[alive & ~passed] = rule.text
            alive &= passed
            rows_after[i + 2] += int(alive.sum())
            ms_after[i + 2] += int(duration[alive].sum())
        _keep(spool, facts, alive, subset, recipe, shard, read)
        table = facts.append_column("drop_reason", pa.array(list(reasons), pa.string()))
        table = table.append_column("shard", pa.array([shard] * facts.num_rows, pa.string()))
        table = table.append_column("selected", pa.array(alive))
        spool.write(_fit(table, arrow))
        if sampled < SAMPLE:
            samples.append(table.slice(0, SAMPLE - sampled))
            sampled += samples[-1].num_rows
    spool.close()
    result.funnel = [
        FunnelStep(name, int(r), ms / 3_600_000)
        for name, r, ms in zip(
            ["candidates", "exclusion lists", *(r.text for r in rules)],
            rows_after.tolist(),
            ms_after.tolist(),
            strict=True,
        )
        if excluded or name != "exclusion lists"
    ]
    result.examples = {rule: [(c, s, v, p) for _, c, s, v, p in sorted(found)] for rule, found in nearest.items()}
    result.sample = pa.concat_tables(samples, promote_options="default") if samples else None
    choice = choose(_candidates(spool, subset), subset.select)
    result.report = choice.report
    result.funnel.append(
        FunnelStep(f"select: {subset.select.criterion}", int(choice.selected.sum()), _hours(spool, choice))
    )
    _write(spool, choice, subset, asset, given, result, memory_mb)
    return result


def _shard_facts(subset: Subset, recipe: Recipe, shard: str, read: Reader) -> pa.Table:
    """The columns of the subset's table for one shard, and those that its rules name.

    Raises:
        LookupError: a table that the rules or the criterion need does not exist for the shard; others leave nulls.
    """
    needed, shown = tables_needed(subset, recipe), tables_shown(subset, recipe)
    tables: dict[str, pa.Table] = {}
    for asset in shown:
        try:
            tables[asset] = read(asset, shard)
        except LookupError:
            if asset in needed:
                raise
    own = set(schema("curated_clips").names)
    columns = [*needed_columns(subset, recipe), "start_ms", "end_ms", "duration_s"]
    columns += [c for a in CLIP_TABLES if a in tables for c in schema(a).names if c in own]
    columns += [c for c in ("licence", "channel") if "raw_shards" in tables]
    facts = clip_facts(list(dict.fromkeys(columns)), recipe, tables.__getitem__)
    if "category_scores" in tables:
        facts = _with_categories(facts, tables["category_scores"])
    return _tracks_of(facts, tables["tracks"]) if subset.of == "tracks" else facts


def _with_categories(facts: pa.Table, scores: pa.Table) -> pa.Table:
    probabilities: dict[str, list[tuple[str, float]]] = {}
    matches: dict[str, list[tuple[str, float]]] = {}
    for row in scores.select(["clip_id", "category_set", "category", "probability", "score"]).to_pylist():
        name = f"{row['category_set']}.{row['category']}"
        probabilities.setdefault(row["clip_id"], []).append((name, row["probability"]))
        matches.setdefault(row["clip_id"], []).append((name, row["score"]))
    kind = pa.map_(pa.string(), pa.float32())
    ids = facts["clip_id"].to_pylist()
    facts = facts.append_column("categories", pa.array([probabilities.get(i) for i in ids], kind))
    return facts.append_column("category_matches", pa.array([matches.get(i) for i in ids], kind))


def _tracks_of(facts: pa.Table, tracks: pa.Table) -> pa.Table:
    """The shard's tracks with the facts of their clips; where names agree, the track's column wins."""
    known = tracks.filter(pc.is_in(tracks["clip_id"], value_set=facts["clip_id"].combine_chunks()))
    index = pc.index_in(known["clip_id"], value_set=facts["clip_id"])
    own = set(known.column_names) | {"duration_s"}
    joined = known.append_column(
        "duration_s", pc.divide(pc.subtract(known["end_ms"], known["start_ms"]).cast(pa.float64()), 1000.0)
    )
    for name in facts.column_names:
        if name not in own:
            joined = joined.append_column(name, pc.take(facts[name], index))
    return joined


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
    rules: Sequence[Rule],
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
) -> dict[tuple[str, float], float | None]:
    """Values of the percentiles that rules name: linear interpolation over all candidates with a value."""
    wanted = {pair for r in rules for pair in r.percentiles}
    values: dict[str, list[np.ndarray]] = {column: [] for column, _ in wanted}
    if wanted:
        for dataset, shard in shards:
            try:
                facts = _shard_facts(subset, recipes[dataset], shard, read)
            except LookupError:
                continue
            for column, found in values.items():
                found.append(facts[column].drop_null().to_numpy().astype(np.float32))
    joined = {c: np.concatenate(found) if found else np.empty(0) for c, found in values.items()}
    return {(c, p): float(np.percentile(joined[c], p)) if len(joined[c]) else None for c, p in wanted}


def _remember(
    nearest: dict[str, list[tuple[float, str, str, float, bool]]],
    rule: Rule,
    facts: pa.Table,
    shard: str,
    passed: np.ndarray,
    alive: np.ndarray,
    percentiles: Mapping[tuple[str, float], float | None],
) -> None:
    """Keeps the clips nearest to the rule's threshold on either side, if the rule is one comparison with a number."""
    node = rule.node
    if not isinstance(node, Compare):
        return
    if isinstance(node.right, Literal) and isinstance(node.right.value, float):
        threshold: float | None = node.right.value
    else:
        threshold = percentiles.get((node.left.name, getattr(node.right, "p", -1.0)))
    column = facts[node.left.name]
    if threshold is None or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    found = nearest.setdefault(rule.text, [])
    for side in (True, False):
        index = np.flatnonzero(alive & (passed == side) & ~np.isnan(values))
        closest = heapq.nsmallest(EXAMPLES, index, key=lambda i: (abs(values[i] - threshold), i))
        found += [
            (abs(values[i] - threshold), facts["clip_id"][int(i)].as_py(), shard, float(values[i]), side)
            for i in closest
        ]
    found.sort()
    nearest[rule.text] = [f for side in (True, False) for f in [x for x in found if x[4] == side][:EXAMPLES]]


def _keep(
    spool: _Spool, facts: pa.Table, alive: np.ndarray, subset: Subset, recipe: Recipe, shard: str, read: Reader
) -> None:
    """Notes what the criterion needs of the candidates that passed the rules."""
    passed = facts.filter(pa.array(alive))
    select = subset.select
    identity = "clip_id" if subset.of == "clips" else "track_id"
    spool.ids += passed[identity].to_pylist()
    spool.videos += [
        spool.video(d, v) for d, v in zip(passed["dataset"].to_pylist(), passed["video_id"].to_pylist(), strict=True)
    ]
    class_by = select.class_by or ("label" if subset.of == "tracks" else "cluster_id")
    if select.criterion in ("class_balanced", "min_redundancy", "cluster_balanced"):
        labels = passed[class_by].to_pylist() if class_by in passed.column_names else [None] * passed.num_rows
        if class_by == "cluster_id":  # a clip without near-duplicates is a cluster of its own
            labels = [label or clip for label, clip in zip(labels, passed["clip_id"].to_pylist(), strict=True)]
        spool.classes += [None if label is None else str(label) for label in labels]
    ordered_by = "motion" if select.criterion == "max_motion" else select.order_by
    if ordered_by:
        spool.scores += [math.nan if v is None else float(v) for v in passed[ordered_by].to_pylist()]
    if select.criterion == "min_redundancy":
        if subset.of == "tracks":
            vectors: Iterable[Any] = passed["embedding"].to_pylist()
        else:
            means = dict(zip(*mean_embeddings(read("frame_embeddings", shard)), strict=True))
            vectors = [means.get(c) for c in passed["clip_id"].to_pylist()]
        spool.vectors += [None if v is None else np.asarray(v, np.float16) for v in vectors]


def _candidates(spool: _Spool, subset: Subset) -> Candidates:
    labels = sorted({c for c in spool.classes if c is not None})
    code = {label: i for i, label in enumerate(labels)}
    vectors = None
    if subset.select.criterion == "min_redundancy":
        dim = next((len(v) for v in spool.vectors if v is not None), 1)
        vectors = (
            np.stack([np.full(dim, np.nan, np.float16) if v is None else v for v in spool.vectors])
            if spool.vectors
            else np.empty((0, dim))
        )
    return Candidates(
        spool.ids,
        np.array(spool.videos, np.int64),
        np.array([-1 if c is None else code[c] for c in spool.classes], np.int64)
        if spool.classes or labels
        else (np.empty(0, np.int64) if not spool.ids else None),
        labels,
        np.array(spool.scores) if spool.scores or not spool.ids else None,
        vectors,
    )


def _hours(spool: _Spool, choice: Choice) -> float:
    """Hours of what was chosen."""
    with duckdb.connect(":memory:") as db:
        chosen = pa.table(
            {"id": pa.array([i for i, s in zip(spool.ids, choice.selected, strict=True) if s], pa.string())}
        )
        db.register("chosen", chosen)
        identity = "track_id" if "track_id" in pq.read_schema(spool.path).names else "clip_id"
        (ms,) = db.execute(
            f"SELECT coalesce(sum(end_ms - start_ms), 0) FROM '{spool.path}' JOIN chosen ON {identity} = id"
        ).fetchone() or (0,)
    return float(ms) / 3_600_000


def _write(
    spool: _Spool,
    choice: Choice,
    subset: Subset,
    asset: str,
    given: Mapping[str, str],
    result: Curation,
    memory_mb: int,
) -> None:
    """Joins the choice to the spool and writes the table in key order, with its splits."""
    contract = schema(asset)
    identity = contract.key[-1]
    criterion = f"select: {subset.select.criterion}"
    verdict = pa.table(
        {
            "id": pa.array(spool.ids, pa.string()),
            "taken": pa.array(choice.selected),
            "why": pa.array(
                [None if s else choice.reasons.get(i, criterion) for i, s in enumerate(choice.selected)], pa.string()
            ),
        }
    )
    names = ", ".join(
        f'candidate."{n}"' for n in contract.names if n not in ("selected", "drop_reason", "cluster_size")
    )
    size = (
        ", count(*) OVER (PARTITION BY coalesce(cluster_id, clip_id)) AS cluster_size"
        if "cluster_size" in contract.names
        else ""
    )
    query = f"""
        SELECT {names}, coalesce(verdict.taken, false) AS selected, coalesce(candidate.drop_reason, verdict.why) AS drop_reason{size}
        FROM '{spool.path}' AS candidate LEFT JOIN verdict ON candidate.selected AND candidate.{identity} = verdict.id
        ORDER BY {", ".join(f"candidate.{k}" for k in contract.key)}
    """
    config: dict[str, Any] = {
        "memory_limit": f"{memory_mb}MB",
        "threads": 2,
        "temp_directory": f"{spool.path.parent}/spill",
    }
    tally: Counter[str] = Counter()
    with (
        duckdb.connect(":memory:", config=config) as db,
        pq.ParquetWriter(result.path, contract.arrow, compression="zstd") as writer,
    ):
        db.register("verdict", verdict)
        for batch in _batches(db, query):
            table = pa.Table.from_batches([batch])
            splits = [
                split_of(d, v, subset.split, given) if s else None
                for d, v, s in zip(
                    table["dataset"].to_pylist(),
                    table["video_id"].to_pylist(),
                    table["selected"].to_pylist(),
                    strict=True,
                )
            ]
            tally.update(s for s in splits if s)
            table = table.set_column(table.column_names.index("split"), "split", pa.array(splits, pa.string()))
            writer.write_table(_fit(table, contract.arrow))
    result.splits = dict(tally)


def _batches(db: duckdb.DuckDBPyConnection, query: str) -> Iterator[pa.RecordBatch]:
    yield from db.sql(query).to_arrow_reader(100_000)
