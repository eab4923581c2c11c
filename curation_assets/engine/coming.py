"""What a run will come to after the shard that it is at, for stages that begin with it while tables are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.tables import DamagedTable, MissingTable

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard

T = TypeVar("T")


def _nothing(key: str) -> Shard | None:
    return None


@dataclass(frozen=True)
class Coming:
    """The shards that come later in a run.

    What is seen of one is a guess: its inputs may be others when it is its turn, and what is wrong with it is said then.

    Attributes:
        after: keys of the run, in order.
        here: the one that the run is at.
        seen: key -> that shard as its stage would see it if it were made now; None if it would not be.
    """

    after: Sequence[str | None] = ()
    here: str | None = None
    seen: Callable[[str], Shard | None] = _nothing

    def keys(self, count: int) -> list[str]:
        """The next `count` keys at most."""
        if self.here not in self.after:
            return []
        place = self.after.index(self.here) + 1
        return [k for k in self.after[place : place + count] if k is not None]

    def look(self, key: str, read: Callable[[Shard], T]) -> T | None:
        """What is read of the shard of a key as its stage would see it now; None if it would not be made, or cannot be looked at."""
        try:
            later = self.seen(key)
            return None if later is None else read(later)
        except (MissingTable, DamagedTable, StorageError, *READ_ERRORS):
            return None
