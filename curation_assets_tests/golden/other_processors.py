"""How far the golden tables lie apart when the libraries work as on other processors: `python -m curation_assets_tests.golden.other_processors`.

Libraries choose among kernels by what the processor can do, and add up in another order in each. Most can be told to do without some of it; ONNX Runtime cannot, but its optimizations of graphs can be
left out, and its threads changed. Each line of `PROCESSORS` is a process of its own that makes the tables; what moved, of which column, by how much as a share, is printed, and by it the tolerances of
`making.py` were set: at least twice of what is seen.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from curation_assets.comparing.row_differences import Tolerance, differences
from curation_assets.schemas import SCHEMAS
from curation_assets_tests.golden.making import SETS, kept, make, read, write

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "OPENCV_CPU_DISABLE": "AVX512-COMMON,AVX512-SKX,AVX512-CNL,AVX512-CLX,AVX512-ICL",
    "NUMBA_CPU_NAME": "haswell",
    "ARROW_USER_SIMD_LEVEL": "AVX2",
    "FFMPEG_LEFT_OUT": "avx512",
}
SSE = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": f"{AVX2['NPY_DISABLE_CPU_FEATURES']} AVX2 FMA3 F16C AVX",
    "OPENCV_CPU_DISABLE": f"{AVX2['OPENCV_CPU_DISABLE']},AVX2,AVX,FMA3,FP16",
    "NUMBA_CPU_NAME": "nehalem",
    "ARROW_USER_SIMD_LEVEL": "SSE4_2",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX,-AVX512F",
    "FFMPEG_LEFT_OUT": "avx",
}
PROCESSORS: Mapping[str, Mapping[str, str]] = {
    "as it is": {},
    "one thread": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
    "AVX2": AVX2,
    "SSE4": SSE,
    "no SIMD in FFmpeg": {"FFMPEG_LEFT_OUT": "all"},
}  # fmt: skip
FLAGS = {
    "all": 0,
    "avx": 0x1 | 0x2 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x1000,
    "avx512": ~0x100000 & ~0x200000,
}
"""What FFmpeg may use, as its AV_CPU_FLAG_* count it: nothing; MMX to SSE4.2; all but AVX-512."""


def force_ffmpeg(left_out: str) -> None:
    """Has the FFmpeg of PyAV's wheel do without instructions, before it is first used."""
    import av

    folder = Path(av.__file__).parents[1] / "av.libs"
    (library,) = folder.glob("libavutil*.so*")
    util = ctypes.CDLL(str(library))
    flags = FLAGS[left_out]
    util.av_force_cpu_flags(flags if flags >= 0 else util.av_get_cpu_flags() & flags)


def measure(name: str, folder: Path) -> dict[str, tuple[float, str]]:
    """Column -> how far it moved at most as a share, and of which row from what to what; rows that only one has as such."""
    told: dict[str, tuple[float, str]] = {}
    for asset in (p.stem for p in sorted(folder.glob("*.jsonl"))):
        table = read(folder / f"{asset}.jsonl", asset)
        key = [n for n in SCHEMAS[asset].key if n in table.column_names]
        one = differences((kept(name, asset), table), key, frozenset(), Tolerance())
        for example in one.examples:
            told[f"{asset} {example}"] = (float("inf"), "")
        for column, changes in one.columns.items():
            most = changes.largest[0]
            told[f"{asset}.{column}"] = (
                most.size,
                f"{changes.differ} of {changes.rows}; {most.row}: {most.a} -> {most.b}",
            )
    return told


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--only", nargs="+", default=list(PROCESSORS))
    parser.add_argument("--make", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        left_out = os.environ.get("FFMPEG_LEFT_OUT")
        if left_out:
            force_ffmpeg(left_out)
        (name,) = arguments.sets
        with tempfile.TemporaryDirectory() as scratch:
            write(name, make(Path(scratch), name), Path(arguments.make))
        return
    for name in arguments.sets:
        for processor in arguments.only:
            with tempfile.TemporaryDirectory() as folder:
                words = ["-m", "curation_assets_tests.golden.other_processors", "--sets", name, "--make", folder]
                done = subprocess.run(
                    [sys.executable, *words],
                    env={**os.environ, **PROCESSORS[processor]},
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    print(f"{name}, {processor}: {done.stderr.strip().splitlines()[-1:]}", flush=True)
                    continue
                told = measure(name, Path(folder))
            print(
                f"{name}, {processor}: {'the same' if not told else json.dumps(len(told)) + ' columns moved'}",
                flush=True,
            )
            for column, (size, words_of_it) in sorted(told.items(), key=lambda one: -one[1][0]):
                print(f"  {size:9.5f}  {column}  {words_of_it}", flush=True)


if __name__ == "__main__":
    main()
