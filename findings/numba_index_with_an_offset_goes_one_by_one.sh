#!/usr/bin/env bash
# numba 0.68.1, numpy 2.4.6; 2026-11-30.
# Guess: in a compiled loop `target[offset + k] = source[k]`, with `k` from `range`, costs what a copy costs, and so does `target[offset : offset + n] = source`.
# Behaviour: both go one element after the other, some ten times slower than the same loop over `target[offset:]`: an index that is a sum may be below zero, where it counts from
# the end, which is looked at each time; and an assignment to a slice is a loop over such indexes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat >"$folder/look.py" <<'P'
import time

import numba
import numpy as np


@numba.njit
def by_offset(source, target, margin, times):
    for _ in range(times):
        for k in range(len(source)):
            target[margin + k] = source[k]

@numba.njit
def by_slice(source, target, margin, times):
    inner = target[margin:]
    for _ in range(times):
        for k in range(len(source)):
            inner[k] = source[k]

@numba.njit
def assigned(source, target, margin, times):
    for _ in range(times):
        target[margin : margin + len(source)] = source

source, target = np.arange(144, dtype=np.uint8), np.zeros(156, np.int32)
took = {}
for way in (by_offset, by_slice, assigned):
    way(source, target, 6, 1)
    runs = []
    for _ in range(7):
        began = time.process_time()
        way(source, target, 6, 20_000)
        runs.append(time.process_time() - began)
    took[way.__name__] = 1e9 * min(runs) / 20_000
    assert target[6:150].tolist() == source.tolist()
print({name: round(ns) for name, ns in took.items()}, "ns")
assert min(took["by_offset"], took["assigned"]) > 3 * took["by_slice"]
P
"$folder/venv/bin/python" "$folder/look.py"
