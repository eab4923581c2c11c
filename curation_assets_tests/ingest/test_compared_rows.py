"""What a source lists beside what is known of it."""

from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.ingest.compared_rows import COMPARED, compare, paired, place

IDS = st.sets(st.sampled_from("abcdefghij"))


@given(listed=IDS, known=IDS, cuts=st.sets(st.integers(0, 20)))
def test_rows_are_paired_however_they_come_in_batches(listed: set[str], known: set[str], cuts: set[int]) -> None:
    rows = [
        {"video_id": v, "seq": ord(v), "rejected": False}
        if new
        else {"video_id": v, "number": ord(v), "was": "present"}
        for v in sorted(listed | known)
        for new, there in ((True, listed), (False, known))
        if v in there
    ]
    table = pa.Table.from_pylist(rows, schema=COMPARED)
    places = [0, *sorted(c for c in cuts if c <= len(rows)), len(rows)]
    batches = [b for a, z in pairwise(places) for b in table.slice(a, z - a).to_batches()]
    both, gone = (pa.concat_tables(tables) for tables in zip(*paired(batches), strict=True))
    assert both["video_id"].to_pylist() == sorted(listed)
    assert both["number"].to_pylist() == [ord(v) if v in known else None for v in sorted(listed)]
    assert gone["video_id"].to_pylist() == sorted(known - listed)


def test_a_list_as_long_as_what_is_known_of_it_is_numbered_as_a_join_would(tmp_path: Path) -> None:
    """Of 20,000 listed videos every third is new and every seventh rejected; 100 places of the last shard are taken."""
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE firsts AS SELECT md5(i::VARCHAR) AS video_id, (i * 7919) % 20000 AS seq, i % 7 = 0 AS rejected FROM range(20000) AS t(i)"
        )
        database.execute(
            "CREATE TABLE known AS SELECT md5(i::VARCHAR) AS video_id, i // 1000 AS number, 'present' AS was, hash(i) AS digest FROM range(30000) AS t(i) WHERE i % 3 > 0"
        )
        compare(database, tmp_path)
        place(database, tmp_path, 9, 100, 1000)
        expected = database.execute(
            """
            WITH compared AS (SELECT seq, video_id, rejected, number, was, digest FROM firsts LEFT JOIN known USING (video_id)),
                 counted AS (SELECT seq, sum((NOT rejected)::INT) OVER (ORDER BY seq) AS nth FROM compared WHERE number IS NULL)
            SELECT video_id, seq, rejected, coalesce(number, 9 + greatest(100 + nth - 1, 0)::BIGINT // 1000), was, digest
            FROM compared LEFT JOIN counted USING (seq) ORDER BY seq
            """
        ).fetchall()
        assert database.execute("FROM placed").fetchall() == expected
        gone = "SELECT count(*), min(number), count(DISTINCT video_id) FROM gone"
        assert database.execute(gone).fetchone() == (6667, 20, 6667)
