"""Which runs are at work on a storage root, so that none removes what another may still name.

A run at work keeps a small file in `.runs/` whose name says who it is and which partitions it may use, and touches it every minute. A
file that no table names is removed only while no other run at work covers its partition. A run is dead when its process is gone (on this
host) or its file has not been touched for `DEAD_S` (on others, by the clock of the store).

What belongs here: who is at work. What does not: what is removed (`tables.py`, `sweep.py`).
"""

from __future__ import annotations

import threading
import time
import urllib.parse
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field

from curation_resources.owners import identity, owner_alive
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.unwritable import gone
from curation_resources.words import plural

FOLDER = ".runs"
BEAT_S = 60.0
"""How often a run at work says so."""
DEAD_S = 900.0
"""A run of another host that has not said so for this long is dead: fifteen beats, more than a store's usual outage."""
EVERYTHING = "*"
ALONE = "*!"
"""As `EVERYTHING`, and nobody may be at work beside it."""
COVER_LENGTH = 120
"""Longest cover that is spelled out; a longer one becomes `EVERYTHING`. File names have at most 255 bytes."""


class Occupied(StorageError):
    """Somebody is at work on the root beside whom the caller must not be."""


def _numbered(key: str) -> tuple[str, int]:
    name, _, number = key.rpartition("-")
    return (name, int(number)) if name and number.isdigit() else (key, -1)


def cover_of(keys: Iterable[str]) -> str:
    """A short text that covers at least these partition keys: ranges of numbered ones, others by name."""
    ranges: dict[str, list[int]] = {}
    for name, number in map(_numbered, keys):
        ranges.setdefault(name, []).append(number)
    parts = []
    for name, numbers in sorted(ranges.items()):
        quoted = urllib.parse.quote(name, safe="")
        parts.append(quoted if max(numbers) < 0 else f"{quoted}={max(0, min(numbers))}..{max(numbers)}")
        if min(numbers) < 0 <= max(numbers):
            parts.append(quoted)
    text = ",".join(parts)
    return text if text and len(text) <= COVER_LENGTH else EVERYTHING


def covers(cover: str, key: str | None) -> bool:
    """Whether a cover has a partition key; None, an unpartitioned table, is covered by every run."""
    if cover in (EVERYTHING, ALONE) or key is None:
        return True
    name, number = _numbered(key)
    for part in cover.split(","):
        quoted, _, bounds = part.partition("=")
        if urllib.parse.unquote(quoted) != name:
            continue
        first, _, last = bounds.partition("..")
        if (not bounds and number < 0) or (bounds and int(first) <= number <= int(last)):
            return True
    return False


@dataclass
class Presence:
    """A run at work; made by `at_work`."""

    storage: Storage
    cover: str
    path: str = field(init=False)
    _beat_at: float = field(init=False, default=0.0)
    _stop: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.path = f"{FOLDER}/{identity()}-{uuid.uuid4().hex[:8]}~{self.cover}"

    def beat(self) -> None:
        """Says that this run is at work."""
        self.storage.write(self.path, b"")
        self._beat_at = _clock()

    def ensure(self) -> None:
        """Says so again if others may have taken this run for dead, as after a machine slept: before it names media.

        Raises:
            Unwritable: the root went away, and what is in its place is not what this run has begun on.
        """
        if self.age() > DEAD_S / 2:
            self.beat()
        elif self._lost():
            raise gone(self.storage.root)

    def _lost(self) -> bool:
        """Whether the file that nobody may have removed yet is not there: so another folder is, as below a mount that went away."""
        return self.storage.is_local and not self.storage.exists(self.path)

    def age(self) -> float:
        """Seconds since it was last said."""
        return _clock() - self._beat_at

    def start(self) -> None:
        self.beat()
        threading.Thread(target=self._run, name="presence", daemon=True).start()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                if self.age() > DEAD_S / 2 or not self._lost():
                    self.beat()
            except Exception:  # noqa: BLE001 - storage is away for a while; `ensure` decides what follows
                continue

    def stop(self) -> None:
        self._stop.set()
        try:
            self.storage.remove(self.path)
        except READ_ERRORS:
            return  # the next run sees that this process is gone


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_current: ContextVar[Presence | None] = ContextVar("presence", default=None)


@contextmanager
def at_work(storage: Storage, keys: Collection[str] | None, alone: bool = False) -> Iterator[None]:
    """Within the block, this run is known to be at work on these partitions; None is on everything.

    Nested blocks of one run whose partitions are covered cost nothing. The outermost sweeps what dead runs left when it begins, and once
    more when it ends without an error: an upload whose beginning was not answered is known to nobody.

    Args:
        alone: nobody else may be at work meanwhile; `keys` is None then.

    Raises:
        Occupied: somebody is at work and the caller wants to be alone, or the other way about. Each says that it is there before it looks, so
            that of two that begin at the same moment one at least is refused.
    """
    cover = ALONE if alone else EVERYTHING if keys is None else cover_of(keys)
    held = _current.get()
    if held is not None and held.storage.root == storage.root and _within(keys, held.cover):
        yield
        return
    presence = Presence(storage, cover)
    presence.start()
    token = _current.set(presence)
    try:
        if held is None:
            from curation_resources.sweep import sweep_root

            _make_way(storage, alone)
            sweep_root(storage)
        yield
        if held is None:
            with suppress(*READ_ERRORS):
                sweep_root(storage)
    finally:
        _current.reset(token)
        presence.stop()


def _make_way(storage: Storage, alone: bool) -> None:
    living = at_work_now(storage)
    if alone and living:
        raise Occupied(
            f"{plural(len(living), 'run is', 'runs are')} at work on {storage.root} and could write again what is removed: wait for their end or end them (first {living[0][0]})"
        )
    above = next((name for name, cover in living if cover == ALONE), None)
    if above is not None:
        raise Occupied(
            f"videos are being taken down, or a dataset removed or renamed, in {storage.root} ({above}): wait for its end, then run again"
        )


def _within(keys: Collection[str] | None, cover: str) -> bool:
    return cover in (EVERYTHING, ALONE) or (keys is not None and all(covers(cover, k) for k in keys))


def ensure(storage: Storage) -> None:
    """See `Presence.ensure`; nothing where the caller is not `at_work`."""
    held = _current.get()
    if held is not None and held.storage.root == storage.root:
        held.ensure()


def check_root() -> None:
    """Raises Unwritable if the root on which the caller is at work went away; nothing where it is not `at_work`."""
    held = _current.get()
    if held is not None:
        held.ensure()


def others(storage: Storage, key: str | None) -> list[str]:
    """The other runs at work that cover a partition; files of dead ones are removed."""
    return [name for name, cover in at_work_now(storage) if covers(cover, key)]


def at_work_now(storage: Storage) -> list[tuple[str, str]]:
    """(name, cover) of every run at work but the caller's own."""
    held = _current.get()
    mine = held.path.rsplit("/", 1)[-1] if held is not None and held.storage.root == storage.root else None
    found = {n: modified for n, (_, modified) in storage.entries(FOLDER).items() if "~" in n}
    now = time.time()
    if held is not None and mine in found:  # the store's clock, which may not be ours
        now = found[mine] + held.age()
    living = []
    for name, modified in sorted(found.items()):
        if name == mine:
            continue
        alive = owner_alive(name)
        if alive is None:
            alive = now - modified < DEAD_S
        if alive:
            living.append((name, name.split("~", 1)[1]))
        else:
            storage.remove(f"{FOLDER}/{name}")
    return living
