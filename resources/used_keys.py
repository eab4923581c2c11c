"""Which keys were used already, of more than fit into memory."""

from __future__ import annotations

import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

from curation_resources.scratch import scratch_root

HELD = 500_000
"""Keys in memory, at most."""
FILES = 256
"""Files among which keys on disk are divided: that many times `HELD` are looked through with no more in memory."""


class UsedKeys:
    """Keys that must differ. The first `HELD` are told at once when they come again; with more of them, at the latest by `close`.

    Keys have no line breaks.
    """

    def __init__(self) -> None:
        self._new: set[str] = set()
        self._folder: TemporaryDirectory[str] | None = None

    def add(self, key: str) -> None:
        """Notes a key.

        Raises:
            ValueError: it was used before.
        """
        if key in self._new:
            raise _used(key)
        self._new.add(key)
        if len(self._new) >= HELD:
            self._spill()

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="keys-", dir=scratch_root())
        divided: list[list[str]] = [[] for _ in range(FILES)]
        for key in self._new:
            divided[zlib.crc32(key.encode()) % FILES].append(key)
        self._new.clear()
        for number, keys in enumerate(divided):
            with open(self._path(number), "a", encoding="utf-8") as file:
                file.writelines(f"{key}\n" for key in keys)

    def _path(self, number: int) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / f"{number:03d}"

    def close(self) -> None:
        """Looks through all keys, and forgets them.

        Raises:
            ValueError: one was used twice.
        """
        if self._folder is None:
            self._new.clear()
            return
        try:
            self._spill()
            for number in range(FILES):
                seen: set[str] = set()
                with open(self._path(number), encoding="utf-8") as file:
                    for line in file:
                        if line in seen:
                            raise _used(line.removesuffix("\n"))
                        seen.add(line)
        finally:
            self._folder.cleanup()
            self._folder = None


def _used(key: str) -> ValueError:
    return ValueError(f"sample {key!r} was written already")
