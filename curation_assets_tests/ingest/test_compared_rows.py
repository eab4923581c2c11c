"""What a source lists beside what is known of it, and files of rows beside each other."""

from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.ingest.compared_rows import ROWS, by_video, compare, place
from curation_assets.ingest.rows_in_order import InOrder, picked, with_records

IDS = st.sets(st.sampled_from("abcdefghij"))
LISTED = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.booleans()), max_size=20)


@given(listed=LISTED, known=IDS, cuts=st.sets(st.integers(0, 30)))
def test_rows_are_put_together_however_they_come_in_batches(
    listed: list[tuple[str, bool]], known: set[str], cuts: set[int]
) -> None:
    rows = [{"video_id": v, "seq": seq, "rejected": rejected, "n": 1} for seq, (v, rejected) in enumerate(listed)] + [
        {"video_id": v, "rejected": False, "number": ord(v), "was": "present", "n": 0} for v in known
    ]
    rows.sort(key=lambda row: (row["video_id"], row.get("seq", 99)))
    table = pa.Table.from_pylist(rows, schema=ROWS)
    places = [0, *sorted(c for c in cuts if c <= len(rows)), len(rows)]
    batches = [b for a, z in pairwise(places) for b in table.slice(a, z - a).to_batches()]
    compared, gone, members = (pa.concat_tables(tables) for tables in zip(*by_video(batches), strict=True))
    of = {v: [n for n, (other, _) in enumerate(listed) if other == v] for v, _ in listed}
    assert compared["video_id"].to_pylist() == sorted(of)
    assert compared["seq"].to_pylist() == [min(of[v]) for v in sorted(of)]
    assert compared["rejected"].to_pylist() == [any(listed[n][1] for n in of[v]) for v in sorted(of)]
    assert compared["number"].to_pylist() == [ord(v) if v in known else None for v in sorted(of)]
    assert gone["video_id"].to_pylist() == sorted(known - set(of))
    expected = sorted((n, min(seqs)) for seqs in of.values() if len(seqs) > 1 for n in seqs)
    assert sorted(zip(*members.to_pydict().values(), strict=True)) == expected


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    group=st.integers(1, 5),
    wanted=st.sets(st.integers(0, 35)),
    others=st.sets(st.integers(0, 35)),
)
def test_rows_are_picked_as_a_join_would(
    tmp_path_factory: object, sizes: list[int], group: int, wanted: set[int], others: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("rows")  # type: ignore[attr-defined]
    files, begin = [], 0
    for number, size in enumerate(sizes):
        seqs = range(begin, begin + size)
        files.append(folder / f"{number}.parquet")
        pq.write_table(pa.table({"seq": seqs, "record": [f"r{n}" for n in seqs]}), files[-1], row_group_size=group)
        begin += size
    there = sorted(n for n in wanted if n < begin)
    about, changed = folder / "about.parquet", folder / "changed.parquet"
    pq.write_table(pa.table({"seq": pa.array(there, pa.int64()), "shard": pa.array(there, pa.int64())}), about)
    new = sorted(others & set(there))
    pq.write_table(
        pa.table({"seq": pa.array(new, pa.int64()), "record": pa.array([f"new{n}" for n in new], pa.string())}), changed
    )
    tables = list(with_records(picked(files, ["record"], InOrder(about)), InOrder(changed)))
    found = [row for table in tables for row in table.to_pylist()]
    assert found == [{"seq": n, "shard": n, "record": f"new{n}" if n in others else f"r{n}"} for n in there]


def test_a_list_as_long_as_what_is_known_of_it_is_numbered_as_a_join_would(tmp_path: Path) -> None:
    """Of 20,000 listed videos every third is new and every seventh rejected, every fifth has two rows; 100 places of the last shard are taken."""
    with duckdb.connect() as database:
        database.execute(
            """
            CREATE TABLE listed AS
            SELECT md5(i::VARCHAR) AS video_id, (i * 7919) % 20000 AS seq, CASE WHEN i % 7 = 0 THEN 'no' END AS error FROM range(20000) AS t(i)
            UNION ALL SELECT md5(i::VARCHAR), 20000 + i, NULL FROM range(0, 20000, 5) AS t(i)
            """
        )
        database.execute(
            "CREATE TABLE known AS SELECT md5(i::VARCHAR) AS video_id, i // 1000 AS number, 'present' AS was, hash(i) AS digest FROM range(30000) AS t(i) WHERE i % 3 > 0"
        )
        compare(database, tmp_path)
        place(database, tmp_path, 9, 100, 1000)
        expected = database.execute(
            """
            WITH firsts AS (SELECT video_id, min(seq) AS seq, bool_or(error IS NOT NULL) AS rejected FROM listed GROUP BY ALL),
                 pairs AS (SELECT seq, video_id, rejected, number, was, digest FROM firsts LEFT JOIN known USING (video_id)),
                 counted AS (SELECT seq, sum((NOT rejected)::INT) OVER (ORDER BY seq) AS nth FROM pairs WHERE number IS NULL)
            SELECT video_id, seq, rejected, coalesce(number, 9 + greatest(100 + nth - 1, 0)::BIGINT // 1000), was, digest
            FROM pairs LEFT JOIN counted USING (seq) ORDER BY seq
            """
        ).fetchall()
        assert database.execute("FROM placed").fetchall() == expected
        gone = "SELECT count(*), min(number), count(DISTINCT video_id) FROM gone"
        assert database.execute(gone).fetchone() == (6667, 20, 6667)
        assert database.execute("SELECT count(*), count(DISTINCT first) FROM members").fetchone() == (8000, 4000)
