#!/usr/bin/env bash
# pyarrow 26.0.1, numpy 2.4.6; 2026-11-30.
# Guess: `pyarrow.parquet.ParquetFile.iter_batches` holds a row group or two at a time, whatever the size of the file, so that a table of any size can be gone through.
# Behaviour: with columns of text it holds more with every row group that it has been through, about a quarter of its decoded bytes, until it ends: 37 MB
# after the first of 400 row groups, 162 MB after the last, with pre_buffer or without. Asked for one row group after the other it holds 4 MB throughout.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.6
cat >"$folder/look.py" <<'P'
import sys

import pyarrow as pa
import pyarrow.parquet as pq

GROUPS, ROWS = 400, 32_768
file = sys.argv[1]
form = pa.schema([("one", pa.string()), ("other", pa.string())])
names = [f"v{i}" for i in range(ROWS)]
with pq.ParquetWriter(file, form, compression="lz4") as writer:
    for group in range(GROUPS):
        writer.write_table(pa.table([[f"{group}{n}" for n in names], names], schema=form), row_group_size=ROWS)


def held(batches):
    """Bytes that Arrow holds after the first row group and after the last."""
    found = [pa.total_allocated_bytes() for _ in batches]
    return found[0], found[-1]


with pq.ParquetFile(file) as opened:
    whole = held(opened.iter_batches(ROWS))
with pq.ParquetFile(file) as opened:
    parts = held(b for g in range(GROUPS) for b in opened.iter_batches(ROWS, row_groups=[g]))
for what, (first, last) in (("iter_batches over the file", whole), ("row group by row group", parts)):
    print(f"{what}: {first / 1e6:.0f} MB after the first row group, {last / 1e6:.0f} MB after the last of {GROUPS}")
sys.exit(not (whole[1] > 4 * whole[0] and parts[1] < 2 * parts[0]))
P
"$folder/venv/bin/python" "$folder/look.py" "$folder/many.parquet"
