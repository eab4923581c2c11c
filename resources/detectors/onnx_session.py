"""One way to open an ONNX model with onnxruntime, and to keep it busy: few threads, no chatter, weights that are constants, one sentence if it cannot be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from curation_resources.extras import installed, require
from curation_resources.overlapped import IN_FLIGHT, pinned
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
        MissingExtra: onnx or onnxruntime is not installed.
    """
    require(what, "onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads would spin between runs, at the cost of the decoder beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        constant = with_constant_weights(model)
        return onnxruntime.InferenceSession(
            constant if isinstance(constant, bytes) else str(constant), options, providers=_providers(device)
        )
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        where = "" if isinstance(model, bytes) else f" {model}"
        reason = str(error).strip().split("\n")[0][:200]
        raise WrongWeights(f"{what}:{where} is not an ONNX model that onnxruntime can run ({reason})") from error


def with_constant_weights(model: Path | bytes) -> Path | bytes:
    """The model with no weight among the inputs of its graph; the very argument where that is so already.

    Before version 4 of ONNX's IR every initializer had to be an input too, so that a caller could give another one. onnxruntime takes such
    weights for variables and leaves out what it does for constants, above all the blocked layout of convolutions: CenterFace takes
    2.2 times the CPU. Weights in files beside the model are left as they are.
    """
    import onnx
    from onnx.external_data_helper import uses_external_data

    proto = (
        onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(str(model), load_external_data=False)
    )
    weights = {w.name for w in proto.graph.initializer}
    inputs = [given for given in proto.graph.input if given.name not in weights]
    if len(inputs) == len(proto.graph.input) or any(uses_external_data(w) for w in proto.graph.initializer):
        return model
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    proto.ir_version = max(proto.ir_version, 4)
    return bytes(proto.SerializeToString())


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


Batch = TypeVar("Batch")
Found = TypeVar("Found")


def on_gpu(session: Any) -> bool:
    """Whether a GPU computes for an `onnxruntime.InferenceSession`."""
    return "CUDAExecutionProvider" in session.get_providers()


def overlapped_runs(batches: Iterable[Batch], work: Callable[[Batch], Found], ahead: bool) -> Iterator[Found]:
    """What `work` makes of each batch, in order.

    Args:
        batches: each must stay as it is until its result is given, at most `IN_FLIGHT` batches later.
        work: prepares a batch, runs a session on it and reads its answers. Threads may call it at the same time: onnxruntime computes without Python's lock, so that one
            batch is prepared or read, and copied, while another is computed.
        ahead: whether the next batches are begun with; else each is worked on when it is asked for.
    """
    if not ahead:
        yield from map(work, batches)
        return
    with ThreadPoolExecutor(IN_FLIGHT + 1, thread_name_prefix="onnx") as threads:
        flying: deque[Future[Found]] = deque()
        for batch in batches:
            flying.append(threads.submit(work, batch))
            if len(flying) > IN_FLIGHT:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()


def input_memory(session: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An array for what a session is to take: in memory from which a GPU copies by itself where torch is there to give such memory."""
    if on_gpu(session) and installed("torch"):
        import torch

        if torch.cuda.is_available():
            return pinned("cuda")((4 * int(np.prod(shape)),)).view(np.float32).reshape(shape)
    return np.empty(shape, np.float32)
