#!/usr/bin/env bash
# numba 0.68.1, numpy 2.4.6; 2026-11-29.
# Guess: a compiled loop that searches hashes and seldom writes what it finds costs the same whether the array that is written to is handed in or is
# replaced by a larger one when it is full: the replacement hardly ever happens, and the inner search is a function of its own.
# Behaviour: where the array is a variable that is assigned again anywhere in the function, each turn of the loop pays for it (slices of other
# arrays made in the loop keep their reference counts, which are atomic): 3 to 6 times the CPU time with the same result. A function that is
# handed the array, counts on when it is full and is called again with a larger one does not pay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check numba==0.68.1 numpy==2.4.6
cat >"$folder/look.py" <<'P'
import sys
import time

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def bits(context, value):
    return types.uint64(types.uint64), lambda context, builder, signature, given: builder.ctpop(given[0])


@numba.njit
def least(values, one):
    found = np.uint64(64)
    for k in range(len(values)):
        found = min(found, bits(values[k] ^ one))
    return found


@numba.njit
def twice_as_large(values):
    out = np.empty(2 * len(values), np.uint64)
    out[: len(values)] = values
    return out


@numba.njit
def handed(values, bucket, near):
    count = 0
    for begin in range(0, len(values), bucket):
        for k in range(begin, begin + bucket):
            if least(values[k + 1 : begin + bucket], values[k]) <= 12:
                if count < len(near):
                    near[count] = values[k]
                count += 1
    return count


@numba.njit
def growing(values, bucket):
    near, count = np.empty(16, np.uint64), 0
    for begin in range(0, len(values), bucket):
        for k in range(begin, begin + bucket):
            if least(values[k + 1 : begin + bucket], values[k]) <= 12:
                if count == len(near):
                    near = twice_as_large(near)
                near[count] = values[k]
                count += 1
    return near[:count]


def cpu(work):
    spent = []
    for _ in range(9):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return min(spent)


values, near = np.random.default_rng(0).integers(0, 2**64, 1 << 19, np.uint64), np.empty(1 << 10, np.uint64)
same = growing(values, 64)
assert handed(values, 64, near) == len(same) > 0 and (near[: len(same)] == same[: len(near)]).all()
one, other = cpu(lambda: handed(values, 64, near)), cpu(lambda: growing(values, 64))
print(f"{len(same)} found; handed an array {1e3 * one:.2f} ms, growing one {1e3 * other:.2f} ms: {other / one:.1f} times")
sys.exit(other < 1.5 * one)
P
"$folder/venv/bin/python" "$folder/look.py"
