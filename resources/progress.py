"""How far a long piece of work is: said by the code that does it, to whoever listens in its thread; nobody by default.

What belongs here: the channel. What does not: what is shown of it (`curation_assets/engine/progress.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Listener = Callable[[int, int, str, str], None]
"""Called with the number done, the number of all, what is counted, and further words."""

_here = threading.local()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within the block, what this thread tells goes to `listener`."""
    before = getattr(_here, "listener", None)
    _here.listener = listener
    try:
        yield
    finally:
        _here.listener = before


def tell(done: int, total: int, unit: str, words: str = "") -> None:
    """Says that `done` of `total` units are done."""
    listener: Listener | None = getattr(_here, "listener", None)
    if listener is not None:
        listener(done, total, unit, words)


def told(items: Iterable[Item], total: int, unit: str) -> Iterator[Item]:
    """Yields the items, each of which counts as done when the next one is asked for."""
    tell(0, total, unit)
    for done, item in enumerate(items, 1):
        yield item
        tell(done, total, unit)
