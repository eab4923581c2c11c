"""Who makes a table: the one interface of sharded, global and subset tables, which differ in their keys and in how they are judged and made.

What belongs here: what the loop (`loop.py`) asks of every table. What does not: any table's own work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from curation_assets.engine.making import Outcome
from curation_assets.engine.run import Run
from curation_assets.recipes import Recipe, RecipeError
from curation_resources.provenance import Provenance
from curation_resources.table_headers import TableHeader
from curation_resources.tables import Base, DamagedTable, MissingTable, TableStore
from curation_resources.weights import MissingWeights, WrongWeights
from curation_resources.words import plural

Key = str | None
"""Of a partition: a shard or a subset; None is an unpartitioned table."""


class Refused(RuntimeError):
    """Something that is not made, for a reason that trying again does not change; the message is one sentence that says which, and what to do."""


class Incomplete(Refused):
    """A subset whose inputs are not complete."""


class NotMade(Exception):
    """What a run could not make, said once all the others are committed.

    Attributes:
        permanent: whether trying again would change nothing.
        details: name -> JSON-able, for whoever shows the failure.
    """

    def __init__(self, message: str, permanent: bool = True, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.permanent, self.details = permanent, details or {}


SAID = (Refused, MissingTable, DamagedTable, MissingWeights, WrongWeights, RecipeError)
"""Errors whose message says all there is to say, whoever raises them; trying again changes nothing."""


class Maker(ABC):
    """Makes one table, or several that come from the same work, key by key.

    Attributes:
        name: of the work, as messages give it.
        assets: the tables, in graph order.
        collected: errors of one key that do not keep the others from being made; they are raised together at the end.
    """

    name: str
    assets: tuple[str, ...]
    collected: tuple[type[Exception], ...] = SAID

    @abstractmethod
    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        """Brings the wanted tables of one key up to date and commits them, one by one.

        Raises:
            Superseded: another run has committed meanwhile; it is called again.
        """

    @abstractmethod
    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        """Table -> the tables that it is made from -> whether from the one of the same key, else from all of them."""

    def said(self, outcome: Outcome) -> str:
        """What the log says of a table that is up to date now."""
        return f"{plural(outcome.header.rows, 'row')}, {'unchanged' if outcome.made is None else 'made'}"

    def failure(self, failures: Mapping[Key, Exception], keys: Sequence[Key]) -> NotMade:
        """What is said at the end of the keys that failed."""
        return NotMade("\n".join(map(str, failures.values())))

    def batches(self, run: Run, keys: Sequence[Key]) -> Iterator[tuple[str, int]]:
        """(key, number) of the batches of work that must be done before `bring`, in any order or place."""
        yield from ()

    def make_batch(self, run: Run, key: str, number: int) -> None:
        """Does one of the `batches`, as far as it is not done.

        Raises:
            NotMade: not all of it could be done.
        """
        raise NotImplementedError(f"{self.name} is made in one piece")

    def rests(self, store: TableStore, recipes: Mapping[str, Recipe], key: Key) -> bool:
        """Whether `bring` would leave all that lies beside a fresh table as it is. Of a table by shard it is told from its files (`narrowing.py`)."""
        return True

    def clear(self, run: Run, key: str) -> None:  # noqa: B027 - most tables have none
        """Removes what the batches of a key left, once all keys of the run are up to date."""


def settle(
    store: TableStore,
    asset: str,
    key: Key,
    provenance: Provenance,
    make: Callable[[Base], tuple[TableHeader, Any]],
    fresh: Callable[[TableHeader], bool],
) -> tuple[TableHeader, Any]:
    """The table in force, if it is made from `provenance` and `fresh` agrees, else what `make` commits over it; and what was made, if anything."""
    header, base = store.standing(asset, key)
    if header is not None and header.fingerprint == provenance.fingerprint and fresh(header):
        return header, None
    return make(base)
