"""What a run of the truth benchmark was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Choices that every area understands.

    Attributes:
        folder: of labelled material; None to generate it.
        kinds: only kinds of footage whose name contains this.
        halves: of `first` and `second`.
        seed: of whatever is drawn at random.
        small: less of everything, so that a run takes a minute.
    """

    folder: Path | None
    kinds: str
    halves: tuple[str, ...]
    seed: int
    small: bool
