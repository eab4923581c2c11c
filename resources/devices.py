"""Where models compute, and in which number format."""

from __future__ import annotations

import platform
import sys
from pathlib import Path


def choose_device(device: str) -> str:
    """``auto`` is CUDA where there is one, else the CPU."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def computes_on_gpu(device: str, onnx: bool = False) -> bool:
    """Whether models that were loaded for `device` compute on a GPU; nothing is imported to find out.

    Args:
        device: auto, cpu, cuda or cuda:N, as the models take it.
        onnx: whether onnxruntime runs them rather than torch.
    """
    if device != "auto":
        return device.startswith("cuda")
    library = sys.modules.get("onnxruntime" if onnx else "torch")
    if library is None:
        return False
    return "CUDAExecutionProvider" in library.get_available_providers() if onnx else library.cuda.is_initialized()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AMX, AVX512-BF16, or the bf16 extension of Arm)."""
    if platform.system() != "Linux":
        return False
    words = set(Path("/proc/cpuinfo").read_text("utf-8", "replace").split())
    return bool(words & {"amx_bf16", "avx512_bf16", "bf16"})
