"""The database in which an index is made: all that needs every row at once, as SQL that spills to disk.

What belongs here: grouping rows by id, comparing them with the previous index, giving videos their shards. The rules of it stand in `indexing.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.engine.samples import VideoSample
from curation_assets.engine.shard_keys import DIGITS, shard_key
from curation_assets.ingest.compared_rows import COMPARED, MEMBER, compare, place
from curation_assets.ingest.earlier_index import Previous, local_file
from curation_assets.ingest.fetch_urls import FORM as SECRETS
from curation_assets.ingest.index_file import ROW_GROUP, IndexFile
from curation_assets.ingest.index_plan import IndexPlan
from curation_assets.ingest.index_records import merge_records
from curation_assets.ingest.rows_in_order import InOrder, ordered, parquet, picked, text, view, with_records, write
from curation_assets.ingest.source_spool import Spooled
from curation_assets.ingest.sources import Unsettled
from curation_assets.ingest.sources.rows import short_hash
from curation_assets.ingest.spilled_rows import SPILL_ROWS, SPILLED
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_resources.storage import Storage

SORTED_BYTES = 64 << 20
"""Bytes of rows that are sorted at once."""
SCATTERED = 4
"""How many times the source may be read to write it piece by piece; where its rows are so far from the order of shards that it would be more,
the database sorts all of them at once, on disk."""
ORDERED_SHARDS = 10**DIGITS
"""Shards whose keys are in the order of their numbers."""
OF_SOURCE = pa.schema([SPILLED.field(name) for name in ("source", "line", "record", "error")])
GATHERED = pa.schema([*COMPARED, *OF_SOURCE])
MERGED = pa.schema([SPILLED.field("seq"), SPILLED.field("record")])
STORED = """
    video_id, CASE WHEN error IS NULL THEN json_extract_string(record, '$.extra.path') END AS location,
    CASE WHEN error IS NULL THEN coalesce(json_extract_string(record, '$.extra.media.tar'), json_extract_string(record, '$.url'))
        || coalesce('#' || json_extract_string(record, '$.extra.media.offset'), '') END AS uri
"""
"""Columns of a row of the index that say which file, or part of a tar, it is of; the text of a rejected line is no JSON."""


class IndexDatabase:
    """A database in a temporary folder, in which datasets are planned one after the other.

    Relations in it: `previous` (the old index), `old` (its rows of the dataset at hand), `spilled` (the source's rows as read),
    `names` (ids that are decided only when all rows are known), `named` (`spilled` with these), `listed` (those of them that count: all, or a sample), `known` (what is compared, of `old`),
    `compared` (each listed video's first row, with what is known of it), `gone` (what is known and not listed) and `members` (rows of videos with several), `merged` (records of these videos), `placed` (each video's shard). All but
    `names` are files, of which no more than a piece is in memory.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self._db, self.folder = database, folder

    def load_previous(self, previous: Previous, storage: Storage | None, whole: Previous = None) -> None:
        """Makes the old index available, and of a sample the index of the whole, so that videos in storage are called as there; `storage` resolves
        paths and URIs that are not local."""
        for name, index in (("previous", previous), ("whole", whole)):
            file = local_file(index, self.folder / f"{name}.parquet", storage)
            self._db.execute(f"CREATE VIEW {name} AS SELECT * FROM {parquet(file)}")

    def datasets(self) -> set[str]:
        """Names of the datasets in the previous index."""
        return {name for (name,) in self._db.execute("SELECT DISTINCT dataset FROM previous").fetchall()}

    def carry_over(self, dataset: str, out: IndexFile) -> tuple[str, ...]:
        """Writes the previous rows of a dataset as they are, which is in order; returns its shards."""
        self._old(dataset)
        self._stream("SELECT *, false AS changed FROM old", out)
        return self._shards("SELECT DISTINCT split_part(shard, '-', 2)::BIGINT FROM old ORDER BY 1", dataset)

    def plan(self, recipe: Recipe, source: Spooled, sample: VideoSample | None = None) -> IndexPlan:
        """Gives every video of a source its shard, or every one that is in the sample; writes nothing yet."""
        self._old(recipe.dataset)
        self._spill(source)
        stored = self._name(recipe.dataset)
        listed = self._draw(sample)
        compare(self._db, self.folder)
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
            rows_read=source.rows,
            present=present,
            listed=listed,
            added=added,
            restored=restored,
            rejected=rejected,
            contradictions=dict(sorted(contradictions.items())),
            forgotten=source.left_out,
            unsettled=len(source.unsettled),
            names_files=stored,
        )

    def write(self, plan: IndexPlan, out: IndexFile) -> IndexPlan:
        """Writes the planned rows, sorted; returns the plan with the counts that only show now."""
        dataset = text(plan.dataset)
        (removed,) = self._one("SELECT count(*) FROM gone WHERE was <> 'rejected'")
        changed = 0
        for listed, numbers, keys in self._pieces(plan.dataset):
            query = f"""
                SELECT {dataset} AS dataset, video_id, format('{{}}-{{:0{DIGITS}d}}', {dataset}, number) AS shard,
                       CASE WHEN rejected THEN 'rejected' ELSE 'present' END AS status, source, line,
                       record, error, was = 'present' AND digest <> hash(record) AS changed
                FROM ({listed})
                """
            if removed:
                query += f"""
                UNION ALL
                SELECT dataset, video_id, shard, 'removed', source, line, record, NULL, false
                FROM (FROM old WHERE {keys}) old SEMI JOIN (FROM gone WHERE {numbers} AND was <> 'rejected') gone USING (video_id)
                """
            changed += self._stream(f"{query} ORDER BY shard, video_id", out)
        return replace(plan, removed=removed, changed=changed)

    def _pieces(self, dataset: str) -> Iterator[tuple[str, str, str]]:
        """For each piece that is sorted at once, in order: its listed rows (columns of `GATHERED`), and conditions on shard numbers and on shard keys."""
        found = self._db.execute(
            """
            SELECT number, sum(n)::BIGINT, coalesce(min(seq), 0), coalesce(max(seq), -1) FROM (
                FROM placed SELECT number, 1 AS n, seq UNION ALL
                SELECT number, 1, NULL FROM gone WHERE was <> 'rejected'
            ) GROUP BY number ORDER BY number
            """
        ).fetchnumpy()
        number, count, first, last = (np.asarray(column) for column in found.values())
        if not len(number):
            return
        behind = np.cumsum(count)
        at_once = max(1, SORTED_BYTES * int(behind[-1]) // max(self._bytes, 1))
        starts = np.flatnonzero(np.diff(behind // at_once, prepend=-1))
        ends = [*(starts[1:] - 1).tolist(), len(number) - 1]
        firsts, lasts = np.minimum.reduceat(np.where(last < 0, 2**62, first), starts), np.maximum.reduceat(last, starts)
        in_order = number[-1] < ORDERED_SHARDS
        scattered = np.maximum(lasts - firsts + 1, 0).sum() > SCATTERED * behind[-1]
        if scattered or not in_order:
            self._gather()
        if not in_order:
            yield "FROM gathered", "true", "true"
            return
        for start, end, low, high in zip(starts.tolist(), ends, firsts.tolist(), lasts.tolist(), strict=True):
            a, b = int(number[start]), int(number[end])
            numbers, rows = f"number BETWEEN {a} AND {b}", f"seq BETWEEN {low} AND {high}"
            keys = f"shard BETWEEN {text(shard_key(dataset, a))} AND {text(shard_key(dataset, b))}"
            yield f"FROM gathered WHERE {numbers}" if scattered else self._joined(numbers, rows), numbers, keys

    def _joined(self, numbers: str, rows: str) -> str:
        """The listed rows of some shards, where these are rows near each other in the source."""
        merged = self._one("SELECT count(*) FROM merged") != (0,)
        return f"""
            SELECT placed.*, source, line, {"coalesce(merged.record, spilled.record)" if merged else "spilled.record"} AS record, error
            FROM (FROM placed WHERE {numbers}) placed JOIN (FROM spilled WHERE {rows}) spilled USING (seq)
            {f"LEFT JOIN (FROM merged WHERE {rows}) merged USING (seq)" if merged else ""}
            """

    def _gather(self) -> None:
        """Makes `gathered`: the listed rows, put in the order of their shards on disk."""
        placed, merged = (InOrder(self.folder / f"{name}.parquet") for name in ("placed", "merged"))
        rows = with_records(picked(self._files, OF_SOURCE.names, placed), merged)
        path = self.folder / "gathered.parquet"
        write(ordered(self._db, rows, GATHERED, "number, video_id"), path, GATHERED)
        view(self._db, "gathered", path)

    def write_secrets(self, plan: IndexPlan, folder: Path | None) -> IndexPlan:
        """Writes the full URLs of the planned videos whose record holds less; returns the plan with their number.

        A record's URL is that of the video's first row, so the full one is too.
        """
        (count,) = self._one("SELECT count(*) FROM placed JOIN spilled USING (seq) WHERE secret IS NOT NULL")
        if count and folder is not None:
            found = self._db.sql(
                f"""
                SELECT format('{{}}-{{:0{DIGITS}d}}', {text(plan.dataset)}, number) AS shard, placed.video_id, secret AS url
                FROM placed JOIN spilled USING (seq) WHERE secret IS NOT NULL ORDER BY ALL
                """
            )
            with pq.ParquetWriter(folder / f"{plan.dataset}.parquet", SECRETS, compression="zstd") as writer:
                for batch in found.to_arrow_reader(ROW_GROUP):
                    writer.write_table(pa.Table.from_batches([batch]).cast(SECRETS))
        return replace(plan, secrets=count)

    def _old(self, dataset: str) -> None:
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW old AS SELECT * FROM previous WHERE dataset = {text(dataset)}")
        self._db.execute(
            """
            CREATE OR REPLACE TEMP VIEW known AS
            SELECT video_id, split_part(shard, '-', 2)::BIGINT AS number, status AS was, hash(record) AS digest FROM old
            """
        )

    def _spill(self, source: Spooled) -> None:
        """Makes the rows of a source available, with what was known of files that may still be being written."""
        self._files = [source.path, *([self._keep(source.unsettled, source.rows)] if source.unsettled else [])]
        every = " UNION ALL BY NAME ".join(f"SELECT * FROM {parquet(file)}" for file in self._files)
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW spilled AS {every}")
        metadata = pq.read_metadata(source.path)
        self._bytes = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))

    def _keep(self, unsettled: Sequence[Unsettled], first: int) -> Path:
        """Writes the old rows of unsettled files as rows of the source, numbered from `first` on."""
        path = self.folder / "kept.parquet"
        files = pa.table({n: pa.array([getattr(u, n) for u in unsettled], pa.string()) for n in ("source", "location")})
        self._db.register("unsettled", files)
        found = self._db.sql(
            f"""
            SELECT 0 AS seq, video_id, location, uri, source, line, record, error, NULL AS secret
            FROM (SELECT shard, source, line, record, error, {STORED} FROM old WHERE status <> 'removed')
            WHERE source IN (SELECT source FROM unsettled) OR location IN (SELECT location FROM unsettled WHERE location IS NOT NULL)
            ORDER BY shard, video_id
            """
        )
        write(_numbered(found.to_arrow_reader(SPILL_ROWS), first), path, SPILLED)
        self._db.unregister("unsettled")
        return path

    def _name(self, dataset: str) -> bool:
        """Decides the ids that depend on the other rows: of videos in storage, and of lines that are rejected more than once.

        Returns:
            Whether there are videos in storage.
        """
        self._db.execute(
            """
            CREATE OR REPLACE TEMP TABLE names AS
            SELECT seq, video_id || '-' || nth AS video_id
            FROM (SELECT seq, video_id, row_number() OVER (PARTITION BY video_id ORDER BY seq) AS nth FROM spilled WHERE error IS NOT NULL)
            WHERE nth > 1
            """
        )
        stored = self._one("SELECT count(location) FROM spilled") != (0,)
        if stored:
            self._name_stored(dataset)
        renamed = self._one("SELECT count(*) FROM names") != (0,)
        self._db.execute(
            "CREATE OR REPLACE TEMP VIEW named AS "
            + (
                """
                SELECT seq, coalesce(names.video_id, spilled.video_id) AS video_id, source, line, record, error
                FROM spilled LEFT JOIN names USING (seq)
                """
                if renamed
                else "SELECT seq, video_id, source, line, record, error FROM spilled"
            )
        )
        return stored

    def _name_stored(self, dataset: str) -> None:
        self._db.create_function("short_hash", short_hash, ["VARCHAR"], "VARCHAR")
        try:
            self._db.execute(
                f"""
                INSERT INTO names
                WITH here AS (
                    SELECT location, any_value(uri) AS uri, any_value(video_id) AS stem FROM spilled WHERE location IS NOT NULL GROUP BY location
                ), of_whole AS (
                    SELECT {STORED} FROM whole WHERE status <> 'rejected' AND dataset = {text(dataset)}
                ), of_old AS (
                    SELECT {STORED} FROM old WHERE status <> 'rejected'
                ), before AS (
                    FROM of_whole UNION ALL
                    FROM of_old ANTI JOIN of_whole USING (location) ANTI JOIN of_whole AS same_id USING (video_id)
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

    def _draw(self, sample: VideoSample | None) -> int | None:
        """Makes `listed` of `named`: all of it, or what is in the sample; of one, returns how many videos there are with the others."""
        where = f"WHERE {sample.condition('video_id')}" if sample is not None else ""
        self._db.execute(f"CREATE OR REPLACE TEMP VIEW listed AS FROM named {where}")
        return self._one("SELECT count(DISTINCT video_id) FROM named WHERE error IS NULL")[0] if sample else None

    def _merge(self) -> Counter[str]:
        """Makes one record of the rows of each video; returns in which columns such rows contradict each other, by videos."""
        contradictions: Counter[str] = Counter()
        members, form = InOrder(self.folder / "members.parquet"), pa.schema([*MEMBER, OF_SOURCE.field("record")])
        several = ordered(self._db, picked(self._files, ["record"], members), form, "first, seq")
        path = self.folder / "merged.parquet"
        write(_merged(several, contradictions), path, MERGED)
        view(self._db, "merged", path)
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
        place(self._db, self.folder, last, taken, videos_per_shard)

    def _stream(self, query: str, out: IndexFile) -> int:
        """Writes the rows of a sorted query; returns how many are `changed`."""
        names = schema("dataset_index").names
        changed = 0
        for batch in self._db.sql(query).to_arrow_reader(ROW_GROUP):
            changed += pc.sum(batch["changed"]).as_py() or 0
            out.write(pa.Table.from_batches([batch.select(names)]))
        return changed

    def _one(self, query: str) -> tuple[Any, ...]:
        (row,) = self._db.execute(query).fetchall()
        return row

    def _shards(self, query: str, dataset: str) -> tuple[str, ...]:
        return tuple(shard_key(dataset, number) for (number,) in self._db.execute(query).fetchall())


def _numbered(batches: Iterable[pa.RecordBatch], first: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch.set_column(0, "seq", pa.array(np.arange(first, first + len(batch))))
        first += len(batch)


def _merged(batches: Iterable[pa.RecordBatch], contradictions: Counter[str]) -> Iterator[pa.RecordBatch]:
    """One record for each video, of its rows, which follow each other."""
    pairs = (
        pair for batch in batches for pair in zip(*(batch[n].to_pylist() for n in ("first", "record")), strict=True)
    )
    records = (
        (first, merge_records((record for _, record in group), contradictions))
        for first, group in groupby(pairs, key=itemgetter(0))
    )
    while rows := list(islice(records, SPILL_ROWS)):
        yield pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=MERGED)
