#!/usr/bin/env bash
# Versions: pyarrow 26.0.1. Date: 2026-11-30.
# Guess: ParquetFile.iter_batches holds a batch, or a row group at most.
# Behaviour: it has the column chunks of all row groups that it is asked for buffered, and keeps them to the end: the whole file. Asked for one row group after another, or with
# pre_buffer=False, it holds one.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check pyarrow==26.0.1 numpy
cat > write.py <<'PY'
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

rng = np.random.default_rng(0)
with pq.ParquetWriter("t.parquet", pa.schema([(f"c{i}", pa.float64()) for i in range(16)])) as writer:
    for _ in range(20):
        writer.write_table(pa.table({f"c{i}": rng.random(100_000) for i in range(16)}))
PY
cat > read.py <<'PY'
import resource
import sys

import pyarrow.parquet as pq

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with pq.ParquetFile("t.parquet", pre_buffer=sys.argv[1] != "unbuffered") as file:
    asked = [[g] for g in range(file.num_row_groups)] if sys.argv[1] == "each" else [list(range(file.num_row_groups))]
    for groups in asked:
        for _ in file.iter_batches(16_384, row_groups=groups):
            pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
PY
env/bin/python write.py
size=$(($(stat -c %s t.parquet) >> 20))
all=$(env/bin/python read.py all); each=$(env/bin/python read.py each); unbuffered=$(env/bin/python read.py unbuffered)
echo "a file of $size MB: all at once $all MB, each row group by itself $each MB, without buffering $unbuffered MB"
[ "$all" -gt "$size" ] && [ "$each" -lt $((size / 2)) ] && [ "$unbuffered" -lt $((size / 2)) ]
