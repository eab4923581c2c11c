"""What happens while tables are made, as the loop tells it; whoever runs the loop shows it in its own way."""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.contracts.checks import Finding
from curation_assets.engine.making import Outcome


@dataclass(frozen=True)
class TableCommitted:
    """A table was made and is in force."""

    key: str | None
    outcome: Outcome


@dataclass(frozen=True)
class TableUnchanged:
    """A table was found up to date and left as it is."""

    key: str | None
    outcome: Outcome


@dataclass(frozen=True)
class TableChecked:
    """The outcome of a check of a table in force."""

    asset: str
    key: str | None
    finding: Finding


@dataclass(frozen=True)
class KeyFailed:
    """The tables of a key could not be made; the others go on, and the loop raises `NotMade` after them.

    Attributes:
        plain: whether the error's message says all there is to say.
    """

    key: str | None
    error: Exception
    plain: bool


Event = TableCommitted | TableUnchanged | TableChecked | KeyFailed
