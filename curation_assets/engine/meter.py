"""What a piece of work takes: wall, CPU and GPU seconds, peak memory, and what that costs."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

from curation_assets.settings import Settings

LOOK_S = 0.5
"""Between two looks at the memory of a process and its children."""
PROC = Path("/proc")
MB = 1 << 20


class Meter:
    """Measures the block that it is the context of, child processes included.

    Attributes:
        wall, cpu: seconds.
        peak_mb: largest memory, in MiB, that the process and its children held together at one moment: what a pod for this work must
            have. What they share (libraries) counts once. Looked at twice a second; where there is no /proc, the largest size of any
            single process so far instead.
    """

    def __init__(self) -> None:
        self.wall = self.cpu = self.peak_mb = 0.0

    def __enter__(self) -> Meter:
        self._wall, self._times = time.perf_counter(), os.times()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Reads the clocks; leaving the block does so too."""
        now = os.times()
        self.wall = time.perf_counter() - self._wall
        self.cpu = sum(now[:4]) - sum(self._times[:4])
        if not self._over.is_set():
            self._over.set()
            self._watch.join()
            self._note(held_mb([os.getpid()]))

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            self._note(held_mb(family(os.getpid())))

    def _note(self, mb: float | None) -> None:
        self.peak_mb = round(max(self.peak_mb, largest_mb() if mb is None else mb), 1)

    def seconds(self) -> dict[str, float]:
        """What was measured, as `add` takes it."""
        return {"wall": round(self.wall, 3), "cpu": round(self.cpu, 3), "peak_mb": self.peak_mb}

    def add(self, wall: float, cpu: float, peak_mb: float) -> None:
        """Counts work in that was measured elsewhere, perhaps at the same time."""
        self.wall, self.cpu, self.peak_mb = self.wall + wall, self.cpu + cpu, max(self.peak_mb, peak_mb)

    def spent(self, settings: Settings, share: int = 1, gpus: int = 0, gpu_s: float = 0.0) -> dict[str, float]:
        """What is kept with a table, by the names under which the UI shows it.

        Args:
            settings: the prices.
            share: number of tables among which seconds and cost are divided.
            gpus: devices that were held; each costs its wall time, busy or not.
            gpu_s: seconds for which devices were held in a part of the work, on top of that.
        """
        gpu_s += self.wall * gpus
        found = {
            "wall_s": round(self.wall / share, 3),
            "cpu_s": round(self.cpu / share, 3),
            "peak_rss_mb": self.peak_mb,
            "cost": round(price(settings, self.cpu, gpu_s) / share, 6),
        }
        return found | ({"gpu_s": round(gpu_s / share, 3)} if gpus or gpu_s else {})


def price(settings: Settings, cpu_s: float, gpu_s: float) -> float:
    """Cost of seconds at the settings' prices."""
    return (cpu_s * settings.price_core_hour + gpu_s * settings.price_gpu_hour) / 3600


def largest_mb() -> float:
    """Largest size that this process, or any child that has ended, ever had."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def family(process: int) -> list[int]:
    """A process and everything that it started, by id; empty without /proc."""
    parents: dict[int, list[int]] = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        parents.setdefault(parent, []).append(int(folder.name))
    found = [process] if parents else []
    for one in found:
        found += parents.get(one, [])
    return found


def held_mb(processes: list[int]) -> float | None:
    """Memory that processes hold together, in MiB: their own pages, and the largest number of shared ones. None without /proc."""
    own, shared = 0, 0
    known = False
    for process in processes:
        try:
            resident, mapped = map(int, (PROC / str(process) / "statm").read_text().split()[1:3])
        except (OSError, ValueError):
            continue
        known = True
        own, shared = own + resident - mapped, max(shared, mapped)
    return (own + shared) * resource.getpagesize() / MB if known else None
