"""One way to open an ONNX model with onnxruntime: few threads, no chatter, one sentence if it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_resources.extras import require
from curation_resources.weights import WrongWeights


def open_session(model: Path | bytes, *, device: str, threads: int, what: str) -> Any:
    """An `onnxruntime.InferenceSession`.

    Args:
        model: file, or the model's bytes.
        device: auto (a GPU if onnxruntime has one), cpu, cuda or cuda:N.
        threads: threads within one run; onnxruntime would take every core, which harms when clips run side by side.
        what: what the model is, for messages.

    Raises:
        WrongWeights: not an ONNX model that onnxruntime can run.
        MissingExtra: onnxruntime is not installed.
    """
    require(what, "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads would spin between runs, at the cost of the decoder beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=_providers(device)
        )
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        where = "" if isinstance(model, bytes) else f" {model}"
        reason = str(error).strip().split("\n")[0][:200]
        raise WrongWeights(f"{what}:{where} is not an ONNX model that onnxruntime can run ({reason})") from error


def _providers(device: str) -> list[Any]:
    import onnxruntime

    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and not cuda):
        return ["CPUExecutionProvider"]
    if not cuda:
        raise ValueError(
            f"device {device} is asked for, but this onnxruntime has no CUDA; install onnxruntime-gpu or set device: cpu"
        )
    index = int(device.split(":")[1]) if ":" in device else 0
    return [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]
