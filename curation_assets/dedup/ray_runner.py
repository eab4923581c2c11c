"""Pieces of a search for near hashes on Ray: on this machine, or on a cluster that Ray knows.

What belongs here: handing pieces to Ray. What does not: what a piece is (`search`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from curation_assets.dedup.search import Pairs, Search

PACKAGE = "curation-assets[ray]"


class NoRay(RuntimeError):
    """Ray is not installed; the message says what to do."""


def on_ray(address: str | None = None, **options: Any) -> RayRunner:
    """Connects to Ray, or starts it here, and gives what runs pieces there.

    Args:
        address: of a cluster; None is that of the variable RAY_ADDRESS, or else a Ray that is started on this machine and ends with the process.
        options: further ones of `ray.init`.

    Raises:
        NoRay: see there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise NoRay(
            f"the search for duplicates is to run on Ray, which is not installed: pip install '{PACKAGE}'"
        ) from error
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False, **options)
    return RayRunner()


class RayRunner:
    """Runs each piece as a task of one core. The hashes are put into Ray's object store once for each search: workers of one machine share them,
    and each sorts one piece of its own (12 bytes a hash, divided by `Search.rounds`)."""

    def __call__(self, search: Search, pieces: Sequence[tuple[int, int]]) -> Iterator[Pairs]:
        import ray

        shared = ray.put(search)
        task = ray.remote(num_cpus=1, max_retries=3)(_run)
        waiting = [task.remote(shared, piece) for piece in pieces]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)


def _run(search: Search, piece: tuple[int, int]) -> Pairs:
    return search.run(piece)
