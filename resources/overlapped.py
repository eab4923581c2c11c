"""Batches through a network on a device, copied while it computes.

On CUDA a batch is copied in a stream of its own while the one before is computed, its result comes back without anybody waiting, and the caller
gets it when the next ones are on their way: the device waits for nobody who keeps up. On a CPU each batch is computed when it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

IN_FLIGHT = 2
"""Batches on their way through a GPU: one is copied while one is computed."""


def pinned(device: str) -> Callable[[tuple[int, ...]], np.ndarray]:
    """What makes arrays of bytes from which a device copies while others go on; for a CPU, arrays."""
    if not device.startswith("cuda"):
        return lambda shape: np.empty(shape, np.uint8)
    import torch

    return lambda shape: np.asarray(torch.empty(shape, dtype=torch.uint8, pin_memory=True).numpy())


def overlapped(
    batches: Iterable[np.ndarray], device: str, compute: Callable[[torch.Tensor], Sequence[torch.Tensor]]
) -> Iterator[list[np.ndarray]]:
    """What `compute` makes of each batch on the device, in order.

    Args:
        batches: arrays; on CUDA they must stay as they are until their result is given, `IN_FLIGHT` batches later. Of `pinned` memory they are copied
            while others are computed.
        device: cpu, cuda or cuda:N.
        compute: one batch on the device -> its results there, any number of any sizes.
    """
    if not device.startswith("cuda"):
        for batch in batches:
            yield _on_cpu(batch, compute)
        return
    import torch

    copies = torch.cuda.Stream(device)
    flying: deque[tuple[list[torch.Tensor], Any]] = deque()
    for batch in batches:
        flying.append(_on_cuda(batch, device, copies, compute))
        if len(flying) > IN_FLIGHT:
            yield _landed(*flying.popleft())
    while flying:
        yield _landed(*flying.popleft())


def _on_cpu(batch: np.ndarray, compute: Callable[[torch.Tensor], Sequence[torch.Tensor]]) -> list[np.ndarray]:
    import torch

    with torch.inference_mode():
        return [np.asarray(made.numpy()) for made in compute(torch.from_numpy(np.ascontiguousarray(batch)))]


def _on_cuda(
    batch: np.ndarray,
    device: str,
    copies: torch.cuda.Stream,
    compute: Callable[[torch.Tensor], Sequence[torch.Tensor]],
) -> tuple[list[torch.Tensor], Any]:
    """Results on their way back to the host, and what happens when they are there."""
    import torch

    with torch.inference_mode(), torch.cuda.device(torch.device(device)):
        host = torch.from_numpy(np.ascontiguousarray(batch))
        with torch.cuda.stream(copies):
            there = (host if host.is_pinned() else host.pin_memory()).to(device, non_blocking=True)
        now = torch.cuda.current_stream()
        now.wait_stream(copies)
        there.record_stream(now)
        back = []
        for made in compute(there):
            landing = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
            landing.copy_(made, non_blocking=True)
            back.append(landing)
        done = torch.cuda.Event()
        done.record(now)
    return back, done


def _landed(back: list[torch.Tensor], done: Any) -> list[np.ndarray]:
    done.synchronize()
    return [np.array(made.numpy()) for made in back]
