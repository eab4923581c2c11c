"""Options of libx264 that more than one place encodes with.

What belongs here: what makes its output the same wherever it runs. What does not: quality and shape of what is encoded, which its callers say.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def repeatable() -> dict[str, str]:
    """Options with which x264 gives the same bytes every time, besides one thread.

    Its macroblock tree in AVX-512 does not (in PyAV 18.1's wheels: up to nine results in twelve runs), so AVX2 is used where the
    processor has both, as it is elsewhere.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    return {"x264-params": "asm=AVX2"} if "avx512f" in flags else {}
