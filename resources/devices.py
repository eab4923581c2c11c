"""Where models compute, and in which number format."""

from __future__ import annotations

import platform
from pathlib import Path


def choose_device(device: str) -> str:
    """``auto`` is CUDA where there is one, else the CPU."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AMX, AVX512-BF16, or the bf16 extension of Arm)."""
    if platform.system() != "Linux":
        return False
    words = set(Path("/proc/cpuinfo").read_text("utf-8", "replace").split())
    return bool(words & {"amx_bf16", "avx512_bf16", "bf16"})
