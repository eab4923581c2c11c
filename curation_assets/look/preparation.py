"""What is made of a collection in the background while its first clips are seen already, and how far that is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from curation_resources.progress import listening


class Preparation:
    """Work in two parts: what the page waits for, and what may come later.

    Attributes:
        progress: how many units of how many are done, and what they are.
        failed: what ended the work; None if nothing did.
    """

    def __init__(self) -> None:
        self._done = threading.Event()
        self._done.set()
        self.progress = (0, 0, "")
        self.failed: Exception | None = None

    def begin(self, first: Callable[[], None], later: Callable[[], None]) -> None:
        """Begins both in a thread of their own; `later` is tried once `first` is done, and missed by nobody."""
        self._done.clear()

        def heard(done: int, total: int, unit: str, words: str) -> None:
            self.progress = (done, total, unit)

        def work() -> None:
            with listening(heard):
                try:
                    first()
                except Exception as error:  # noqa: BLE001 - whoever waits for it is told
                    self.failed = error
                    return
                finally:
                    self._done.set()
                try:
                    later()
                except Exception as error:  # noqa: BLE001 - whoever asks next is told
                    self.failed = error

        threading.Thread(target=work, daemon=True, name="look-preparation").start()

    def ready(self, timeout_s: float | None) -> bool:
        """Whether the first part is done, waiting so long for it at most; None waits until it is.

        Raises:
            Exception: what ended it.
        """
        done = self._done.wait(timeout_s)
        if done and self.failed is not None:
            raise self.failed
        return done
