"""The index of a dataset: which videos its source has, and the shard that each belongs to for ever.

The source is streamed once to disk; everything that needs all rows at once (grouping by id, comparing with the previous index,
numbering, sorting) is done by DuckDB within a memory limit, spilling to disk, so that memory does not grow with the source.

The rules:

- A new video takes the next free place, in source order: the last shard is filled up first, then new shards are begun.
- A video keeps its shard whatever the source does. One that the source lost is marked `removed`, keeps its place, and takes it
  again when it comes back.
- Several rows with one id are one video with all their spans, equal ones once (`curation_assets.ingest.index_records`).
- A rejected line lies in the shard that is open at that point and takes no place. When the source no longer has the line, its
  row is dropped: there never was a video.
- A video in storage is recognised by its location, and an id once given stays. A new one is called by its file's stem if no other
  video of the dataset, present or removed, is, else by the stem and a hash of its location.
- A file that may still be being written leaves the rows that are known of it as they are, and adds none.
- Records hold URLs without their secrets (`curation_resources.urls.public_url`), and are compared so: a list that is signed anew changes no
  record. The full URLs go to a side file (`curation_assets.ingest.fetch_urls`), always those of the source as it is now.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.engine.shard_keys import DIGITS, shard_key
from curation_assets.ingest.fetch_urls import FORM as SECRETS
from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.index_records import merge_records, record_of
from curation_assets.ingest.sources import (
    RejectedLine,
    Settling,
    SourceError,
    SourceRow,
    Unsettled,
    read_source,
    unsettled_lists,
)
from curation_assets.ingest.sources.rows import RowError, excerpt, id_of_url, short_hash
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_resources.storage import Storage
from curation_resources.urls import public_url

MEMORY_MB = 400
"""What DuckDB may hold in memory before it spills."""
ROW_GROUP = 16_384
"""Rows of a row group of the index: small enough that one shard is read without much else."""
SPILL_ROWS = 16_384
"""Rows that are collected before they are written to disk."""
REJECTED = "rejected-"
STORED = """
    video_id, CASE WHEN error IS NULL THEN json_extract_string(record, '$.extra.path') END AS location,
    CASE WHEN error IS NULL THEN coalesce(json_extract_string(record, '$.extra.media.tar'), json_extract_string(record, '$.url'))
        || coalesce('#' || json_extract_string(record, '$.extra.media.offset'), '') END AS uri
"""
"""Columns of a row of the index that say which file, or part of a tar, it is of; the text of a rejected line is no JSON."""

_SPILLED = pa.schema(
    [
        ("seq", pa.int64()),
        ("video_id", pa.string()),
        ("location", pa.string()),
        ("uri", pa.string()),
        ("source", pa.string()),
        ("line", pa.int64()),
        ("record", pa.string()),
        ("error", pa.string()),
        ("secret", pa.string()),
    ]
)


@dataclass(frozen=True)
class IndexPlan:
    """What indexing a dataset found.

    Attributes:
        dataset: its name.
        new_shards: keys of shards that the previous index did not have, in order.
        shards: all keys, in order.
        rows_read: rows and lines of the source, duplicates and rejected ones included.
        present: videos that the source has.
        added: those of them that are new.
        restored: those of them that were removed before.
        changed: those of them, neither added nor restored, whose record is another.
        removed: videos that the source no longer has, in all.
        rejected: rejected lines.
        secrets: videos whose full URL is in the side file.
        contradictions: column -> videos of which two rows say different things there; the first counts.
        forgotten: rows and lines that are left out, because they are of videos that were taken down.
        unsettled: files that may still be being written: what was known of them stays, and what is new of them is left for a later index.
        error: why the source could not be read; then the previous rows are kept as they are.
    """

    dataset: str
    new_shards: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    rows_read: int = 0
    present: int = 0
    added: int = 0
    restored: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0
    secrets: int = 0
    contradictions: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0
    unsettled: int = 0
    error: str | None = None


Previous: TypeAlias = str | Path | BinaryIO | pa.Table | None
"""An index written earlier: a local path, a path or URI in storage, an open binary stream, or a table."""


def plan_index(
    recipe: Recipe,
    previous: Previous,
    out: str | Path,
    *,
    storage: Storage | None = None,
    memory_mb: int = MEMORY_MB,
    scratch: str | Path | None = None,
    secrets: Path | None = None,
) -> IndexPlan:
    """Indexes the source of one recipe and writes its rows to `out`.

    Args:
        recipe: the dataset, its source and the size of its shards.
        previous: the index of an earlier run; rows of other datasets in it are left aside.
        out: local path of the Parquet file to write: `schema("dataset_index")`, sorted by shard and video id.
        storage: lends its credentials to source paths of the same scheme, and resolves `previous` if that is a URI.
        memory_mb: memory that the database may use; Python adds about 250 MB.
        scratch: folder for temporary files, some three times the size of the normal form; default the system's.
        secrets: local folder for `<dataset>.parquet` with the full URLs of rows whose record cannot hold them; not written if there
            are none, or if this is None.

    Raises:
        SourceError: the source cannot be read; `out` is not written.
    """
    with _workspace(scratch, memory_mb) as work:
        work.load_previous(previous, storage)
        plan = work.plan(recipe, storage, Forgotten(), None)
        with _writer(out) as writer:
            plan = work.write(plan, writer)
        return work.write_secrets(plan, secrets)


def plan_indexes(
    recipes: Iterable[Recipe],
    previous: Previous,
    out: str | Path,
    *,
    storage: Storage | None = None,
    memory_mb: int = MEMORY_MB,
    scratch: str | Path | None = None,
    secrets: Path | None = None,
    forgotten: Forgotten | None = None,
    settled_at: float | None = None,
) -> list[IndexPlan]:
    """Indexes several recipes into one file.

    Datasets of `previous` that no recipe declares any more keep their rows, and so does one whose source cannot be read, with the
    reason in its plan's `error`: one bad source does not stop the others. What `forgotten` names is left out. With `settled_at`, the time in
    seconds since the epoch, files that changed within `source.settle_s` before it are left as they were known; a dataset keeps its rows whole
    while one of its lists is such a file. The other arguments are those of `plan_index`.
    """
    by_name = {recipe.dataset: recipe for recipe in recipes}
    plans = []
    with _workspace(scratch, memory_mb) as work, _writer(out) as writer:
        work.load_previous(previous, storage)
        for dataset in sorted(by_name.keys() | work.datasets(), key=lambda name: name + "-"):
            recipe = by_name.get(dataset)
            if recipe is None:
                work.carry_over(dataset, writer)
                continue
            settling = None if settled_at is None else Settling(settled_at, recipe.source.settle_s)
            try:
                waiting = unsettled_lists(recipe.source, storage, settling) if settling else []
                if waiting:
                    plans.append(IndexPlan(dataset, shards=work.carry_over(dataset, writer), unsettled=len(waiting)))
                    continue
                plan = work.plan(recipe, storage, forgotten or Forgotten(), settling)
            except SourceError as error:
                plans.append(IndexPlan(dataset, shards=work.carry_over(dataset, writer), error=str(error)))
                continue
            plans.append(work.write_secrets(work.write(plan, writer), secrets))
    return plans


def read_shard(index: pq.ParquetFile, shard: str) -> pa.Table:
    """The rows of one shard; only the row groups that may hold it are read."""
    column = index.schema_arrow.get_field_index("shard")
    groups = []
    for number in range(index.num_row_groups):
        statistics = index.metadata.row_group(number).column(column).statistics
        if statistics is None or not statistics.has_min_max or statistics.min <= shard <= statistics.max:
            groups.append(number)
    table = index.read_row_groups(groups)
    return table.filter(pc.equal(table["shard"], shard))


@contextmanager
def _writer(out: str | Path) -> Iterator[pq.ParquetWriter]:
    with pq.ParquetWriter(out, schema("dataset_index").arrow, compression="zstd", write_page_index=True) as writer:
        yield writer


@contextmanager
def _workspace(scratch: str | Path | None, memory_mb: int) -> Iterator[_Workspace]:
    with tempfile.TemporaryDirectory(prefix="index-", dir=scratch) as folder:
        config: dict[str, Any] = {
            "memory_limit": f"{memory_mb}MB",
            "threads": 2,
            "temp_directory": f"{folder}/spill",
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=config) as database:
            yield _Workspace(database, Path(folder))


class _Workspace:
    """A database in a temporary folder, in which datasets are planned one after the other.

    Relations in it: `previous` (the old index), `old` (its rows of the dataset at hand), `spilled` (the source's rows as read),
    `names` (ids that are decided only when all rows are known), `listed` (`spilled` with these), `firsts` (each video's first row),
    `merged` (records of videos with several rows), `known` (what is compared with `old`), `placed` (each video's shard).
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._db, self._folder = database, folder

    def load_previous(self, previous: Previous, storage: Storage | None) -> None:
        path = self._folder / "previous.parquet"
        if previous is None:
            pq.write_table(schema("dataset_index").empty(), path)
        elif isinstance(previous, pa.Table):
            pq.write_table(previous, path)
        elif isinstance(previous, str | Path):
            if "://" not in str(previous) and Path(previous).exists():
                path = Path(previous)
            else:
                with (storage or Storage(".")).open(str(previous)) as stream, open(path, "wb") as file:
                    shutil.copyfileobj(stream, file, 8 << 20)
        else:
            with open(path, "wb") as file:
                shutil.copyfileobj(previous, file, 8 << 20)
        self._db.execute(f"CREATE VIEW previous AS SELECT * FROM {_parquet(path)}")

    def datasets(self) -> set[str]:
        """Names of the datasets in the previous index."""
        return {name for (name,) in self._db.execute("SELECT DISTINCT dataset FROM previous").fetchall()}

    def carry_over(self, dataset: str, writer: pq.ParquetWriter) -> tuple[str, ...]:
        """Writes the previous rows of a dataset as they are; returns its shards."""
        self._old(dataset)
        self._stream("SELECT *, false AS changed FROM old ORDER BY shard, video_id", writer)
        return self._shards("SELECT DISTINCT split_part(shard, '-', 2)::BIGINT FROM old ORDER BY 1", dataset)

    def plan(
        self, recipe: Recipe, storage: Storage | None, forgotten: Forgotten, settling: Settling | None
    ) -> IndexPlan:
        """Reads the source and gives every video its shard; writes nothing yet."""
        self._old(recipe.dataset)
        rows, left_out, unsettled = self._spill(recipe, storage, forgotten, settling)
        self._name()
        contradictions = self._merge()
        self._place(recipe.shard.videos)
        counted = self._one(
            """
            SELECT count(*) FILTER (NOT rejected), count(*) FILTER (NOT rejected AND was IS NULL),
                   count(*) FILTER (was = 'removed'), count(*) FILTER (rejected)
            FROM placed
            """
        )
        new = self._shards(
            "SELECT DISTINCT number FROM placed WHERE number NOT IN (SELECT DISTINCT number FROM known) ORDER BY 1",
            recipe.dataset,
        )
        every = self._shards(
            "SELECT DISTINCT number FROM (FROM placed SELECT number UNION ALL FROM known SELECT number) ORDER BY 1",
            recipe.dataset,
        )
        present, added, restored, rejected = counted
        return IndexPlan(
            recipe.dataset,
            new,
            every,
            rows_read=rows,
            present=present,
            added=added,
            restored=restored,
            rejected=rejected,
            contradictions=dict(sorted(contradictions.items())),
            forgotten=left_out,
            unsettled=unsettled,
        )

    def write(self, plan: IndexPlan, writer: pq.ParquetWriter) -> IndexPlan:
        """Writes the planned rows, sorted; returns the plan with the counts that only show now."""
        dataset = _text(plan.dataset)
        (removed,) = self._one("SELECT count(*) FROM known ANTI JOIN placed USING (video_id) WHERE was <> 'rejected'")
        changed = self._stream(
            f"""
            SELECT {dataset} AS dataset, video_id, format('{{}}-{{:0{DIGITS}d}}', {dataset}, number) AS shard,
                   CASE WHEN rejected THEN 'rejected' ELSE 'present' END AS status, source, line,
                   coalesce(merged.record, listed.record) AS record, error,
                   was = 'present' AND digest <> hash(coalesce(merged.record, listed.record)) AS changed
            FROM placed JOIN listed USING (seq, video_id) LEFT JOIN merged USING (video_id)
            UNION ALL
            SELECT dataset, video_id, shard, 'removed', source, line, record, NULL, false
            FROM old ANTI JOIN placed USING (video_id) WHERE status <> 'rejected'
            ORDER BY shard, video_id
            """,
            writer,
        )
        return replace(plan, removed=removed, changed=changed)

    def write_secrets(self, plan: IndexPlan, folder: Path | None) -> IndexPlan:
        """Writes the full URLs of the planned videos whose record holds less; returns the plan with their number.

        A record's URL is that of the video's first row, so the full one is too.
        """
        (count,) = self._one("SELECT count(*) FROM placed JOIN spilled USING (seq) WHERE secret IS NOT NULL")
        if count and folder is not None:
            found = self._db.sql(
                f"""
                SELECT format('{{}}-{{:0{DIGITS}d}}', {_text(plan.dataset)}, number) AS shard, placed.video_id, secret AS url
                FROM placed JOIN spilled USING (seq) WHERE secret IS NOT NULL ORDER BY ALL
                """
            )
            with pq.ParquetWriter(folder / f"{plan.dataset}.parquet", SECRETS, compression="zstd") as writer:
                for batch in found.to_arrow_reader(ROW_GROUP):
                    writer.write_table(pa.Table.from_batches([batch]).cast(SECRETS))
        return replace(plan, secrets=count)

    def _old(self, dataset: str) -> None:
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW old AS SELECT * FROM previous WHERE dataset = {_text(dataset)}")
        self._db.execute(
            """
            CREATE OR REPLACE TEMP TABLE known AS
            SELECT video_id, split_part(shard, '-', 2)::BIGINT AS number, status AS was, hash(record) AS digest FROM old
            """
        )

    def _spill(
        self, recipe: Recipe, storage: Storage | None, forgotten: Forgotten, settling: Settling | None
    ) -> tuple[int, int, int]:
        """Reads the source to disk, and adds what was known of files that may still be being written.

        Returns:
            How many rows there are, how many were left out, and how many files are unsettled.
        """
        left_out = 0
        unsettled: list[Unsettled] = []

        def wanted() -> Iterator[SourceRow | RejectedLine]:
            nonlocal left_out
            for row in read_source(recipe.source, storage, settling):
                if isinstance(row, Unsettled):
                    unsettled.append(row)
                elif forgotten.row(recipe.dataset, row):
                    left_out += 1
                else:
                    yield row

        path = self._folder / "source.parquet"
        count = 0
        with pq.ParquetWriter(path, _SPILLED, compression="lz4", write_statistics=False) as writer:
            for batch in _batches(_limited(wanted(), recipe.source.limit)):
                writer.write_batch(batch, row_group_size=SPILL_ROWS)
                count += batch.num_rows
        kept = self._keep(unsettled, count) if unsettled else None
        also = f"UNION ALL BY NAME SELECT * FROM {_parquet(kept)}" if kept else ""
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW spilled AS SELECT * FROM {_parquet(path)} {also}")
        return count, left_out, len(unsettled)

    def _keep(self, unsettled: Sequence[Unsettled], first: int) -> Path:
        """Writes the old rows of unsettled files as rows of the source, numbered from `first` on."""
        path = self._folder / "kept.parquet"
        files = pa.table({n: pa.array([getattr(u, n) for u in unsettled], pa.string()) for n in ("source", "location")})
        self._db.register("unsettled", files)
        found = self._db.sql(
            f"""
            SELECT {first} + row_number() OVER (ORDER BY shard, video_id) - 1 AS seq, video_id, location, uri, source, line, record, error,
                   NULL AS secret
            FROM (SELECT shard, source, line, record, error, {STORED} FROM old WHERE status <> 'removed')
            WHERE source IN (SELECT source FROM unsettled) OR location IN (SELECT location FROM unsettled WHERE location IS NOT NULL)
            """
        )
        with pq.ParquetWriter(path, _SPILLED, compression="lz4") as writer:
            for batch in found.to_arrow_reader(SPILL_ROWS):
                writer.write_table(pa.Table.from_batches([batch]).cast(_SPILLED))
        self._db.unregister("unsettled")
        return path

    def _name(self) -> None:
        """Decides the ids that depend on the other rows: of videos in storage, and of lines that are rejected more than once."""
        self._db.execute(
            """
            CREATE OR REPLACE TEMP TABLE names AS
            SELECT seq, video_id || '-' || nth AS video_id
            FROM (SELECT seq, video_id, row_number() OVER (PARTITION BY video_id ORDER BY seq) AS nth FROM spilled WHERE error IS NOT NULL)
            WHERE nth > 1
            """
        )
        if self._one("SELECT count(location) FROM spilled") != (0,):
            self._name_stored()
        renamed = self._one("SELECT count(*) FROM names") != (0,)
        self._db.execute(
            "CREATE OR REPLACE TEMP VIEW listed AS "
            + (
                """
                SELECT seq, coalesce(names.video_id, spilled.video_id) AS video_id, source, line, record, error
                FROM spilled LEFT JOIN names USING (seq)
                """
                if renamed
                else "SELECT seq, video_id, source, line, record, error FROM spilled"
            )
        )

    def _name_stored(self) -> None:
        self._db.create_function("short_hash", short_hash, ["VARCHAR"], "VARCHAR")
        try:
            self._db.execute(
                f"""
                INSERT INTO names
                WITH here AS (
                    SELECT location, any_value(uri) AS uri, any_value(video_id) AS stem FROM spilled WHERE location IS NOT NULL GROUP BY location
                ), before AS (
                    SELECT {STORED} FROM old WHERE status <> 'rejected'
                ), same_place AS (
                    SELECT here.location, before.video_id FROM here JOIN before USING (location)
                ), same_file AS (
                    SELECT here.location, before.video_id
                    FROM here JOIN before USING (uri)
                    WHERE here.location NOT IN (SELECT location FROM same_place) AND before.video_id NOT IN (SELECT video_id FROM same_place)
                ), recognised AS (
                    FROM same_place UNION ALL FROM same_file
                ), fresh AS (
                    SELECT location, stem, count(*) OVER (PARTITION BY stem) AS bearers FROM here ANTI JOIN recognised USING (location)
                ), named AS (
                    SELECT location, video_id FROM recognised
                    UNION ALL
                    SELECT location, CASE
                        WHEN bearers = 1 AND stem NOT IN (SELECT video_id FROM before) THEN stem
                        ELSE stem || '-' || short_hash(location) END
                    FROM fresh
                )
                SELECT seq, named.video_id FROM spilled JOIN named USING (location)
                """
            )
        finally:
            self._db.remove_function("short_hash")

    def _merge(self) -> Counter[str]:
        """Makes one record of the rows of each video; returns in which columns such rows contradict each other, by videos."""
        contradictions: Counter[str] = Counter()
        self._db.execute(
            """
            CREATE OR REPLACE TEMP TABLE firsts AS
            SELECT video_id, min(seq) AS seq, count(*) AS n, bool_or(error IS NOT NULL) AS rejected FROM listed GROUP BY video_id
            """
        )
        path = self._folder / "merged.parquet"
        form = pa.schema([("video_id", pa.string()), ("record", pa.string())])
        several = self._db.sql(
            "SELECT video_id, record FROM listed JOIN (SELECT video_id FROM firsts WHERE n > 1) USING (video_id) ORDER BY video_id, seq"
        )
        with pq.ParquetWriter(path, form, compression="lz4") as writer:
            for rows in _chunks(_merged(_pairs(several), contradictions), SPILL_ROWS):
                writer.write_batch(pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=form))
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW merged AS SELECT * FROM {_parquet(path)}")
        return contradictions

    def _place(self, videos_per_shard: int) -> None:
        """Numbers the shards: the nth new video gets place `taken + n` counted from the last shard's first place."""
        last, taken = self._one(
            """
            SELECT coalesce(max(number), 0), count(*) FILTER (was <> 'rejected')
            FROM known WHERE number = (SELECT max(number) FROM known)
            """
        )
        taken = min(taken, videos_per_shard)
        self._db.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE placed AS
            WITH compared AS (
                SELECT seq, firsts.video_id, rejected, known.number, was, digest
                FROM firsts LEFT JOIN known USING (video_id)
            ), counted AS (
                SELECT seq, sum((NOT rejected)::BIGINT) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING)::BIGINT AS nth
                FROM compared WHERE number IS NULL
            )
            SELECT seq, video_id, rejected, was, digest,
                   coalesce(number, {last} + greatest({taken} + nth - 1, 0) // {videos_per_shard}) AS number
            FROM compared LEFT JOIN counted USING (seq)
            """
        )

    def _stream(self, query: str, writer: pq.ParquetWriter) -> int:
        """Writes the rows of a sorted query; returns how many are `changed`."""
        form = schema("dataset_index").arrow
        changed = 0
        held: list[pa.RecordBatch] = []
        for batch in self._db.sql(query).to_arrow_reader(ROW_GROUP):
            changed += pc.sum(batch["changed"]).as_py() or 0
            held.append(batch.select(form.names))
            if sum(b.num_rows for b in held) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(held).cast(form), row_group_size=2 * ROW_GROUP)
                held.clear()
        if held:
            writer.write_table(pa.Table.from_batches(held).cast(form))
        return changed

    def _one(self, query: str) -> tuple[Any, ...]:
        (row,) = self._db.execute(query).fetchall()
        return row

    def _shards(self, query: str, dataset: str) -> tuple[str, ...]:
        return tuple(shard_key(dataset, number) for (number,) in self._db.execute(query).fetchall())


def _text(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _parquet(path: Path) -> str:
    return f"read_parquet({_text(str(path))})"


def _limited(rows: Iterable[SourceRow | RejectedLine], limit: int | None) -> Iterator[SourceRow | RejectedLine]:
    """`rows` up to the first one of the video after the first `limit`. Memory grows with `limit`."""
    seen: set[str | None] = set()
    for row in rows:
        if limit is not None and isinstance(row, SourceRow):
            seen.add(row.location or row.video_id or id_of_url(row.url or ""))
            if len(seen) > limit:
                return
        yield row


def _batches(rows: Iterable[SourceRow | RejectedLine]) -> Iterator[pa.RecordBatch]:
    """Rows as batches of what is spilled, numbered in order."""
    held: list[tuple[Any, ...]] = []
    for seq, row in enumerate(rows):
        if isinstance(row, SourceRow):
            try:
                held.append(_accepted(seq, row))
            except RowError as error:
                held.append(_rejected(seq, RejectedLine(row.source, row.line, excerpt(row.url or ""), str(error))))
        else:
            held.append(_rejected(seq, row))
        if len(held) == SPILL_ROWS:
            yield _batch(held)
            held = []
    if held:
        yield _batch(held)


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _SPILLED, strict=True)], schema=_SPILLED)


def _accepted(seq: int, row: SourceRow) -> tuple[Any, ...]:
    record = record_of(row)
    video_id = row.video_id or id_of_url(row.url or "")
    uri = None
    if row.location is not None:
        media = row.extra.get("media", {"tar": row.url, "offset": None})
        uri = media["tar"] if media["offset"] is None else f"{media['tar']}#{media['offset']}"
    secret = row.url if row.url and public_url(row.url) != row.url else None
    if secret and row.location is not None:
        raise RowError(
            "its location holds a password or a signature, which tables must not; correct `source.path` and give credentials through the environment"
        )
    return seq, video_id, row.location, uri, row.source, row.line, record, None, secret


def _rejected(seq: int, line: RejectedLine) -> tuple[Any, ...]:
    video_id = REJECTED + short_hash(f"{line.source}\n{line.text}")
    return seq, video_id, None, None, line.source, line.line, line.text, line.reason, None


def _pairs(relation: duckdb.DuckDBPyRelation) -> Iterator[tuple[str, str]]:
    for batch in relation.to_arrow_reader(SPILL_ROWS):
        yield from zip(batch["video_id"].to_pylist(), batch["record"].to_pylist(), strict=True)


def _merged(rows: Iterable[tuple[str, str]], contradictions: Counter[str]) -> Iterator[tuple[str, str]]:
    for video_id, group in groupby(rows, key=lambda row: row[0]):
        yield video_id, merge_records((record for _, record in group), contradictions)


def _chunks(rows: Iterable[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    held: list[tuple[str, str]] = []
    for row in rows:
        held.append(row)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
