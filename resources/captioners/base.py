"""What every captioner is asked and answers.

A captioner takes requests and gives one answer per request, by its key and in any order. A request that fails is an answer with an error; only
what makes every request fail (no weights, no server, a refused key) is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol


@dataclass(frozen=True)
class CaptionRequest:
    """One question.

    Attributes:
        key: identifies the answer.
        prompt: the text.
        load: gives the JPEGs in time order, when their turn comes; raises OSError or ValueError if they cannot be had.
    """

    key: str
    prompt: str
    load: Callable[[], Sequence[bytes]] = field(default=tuple, repr=False)


UNREADABLE = "frames cannot be read"
"""How the error of an answer begins where nobody was asked, since storage did not give the pictures."""


@dataclass(frozen=True)
class CaptionAnswer:
    """What came of a request: `text` (may be empty) or `error`, never both.

    Attributes:
        prompt_tokens, completion_tokens: as the backend counts them; None if it does not say.
        attempts: requests made.
        seconds: from the first attempt to the answer; of a batch, its share.
    """

    key: str
    text: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    attempts: int = 1
    seconds: float = 0.0


class Captioner(Protocol):
    """A backend. `identity` names the model for the table's `model` column."""

    @property
    def identity(self) -> str: ...

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request, as they come."""
        ...


class LazyCaptioner:
    """A backend that is loaded when the first question comes."""

    def __init__(self, load: Callable[[], Captioner]) -> None:
        self._load = cache(load)

    @property
    def identity(self) -> str:
        return self._load().identity

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """As the backend; raises what its loading raises."""
        return self._load().answer(requests)
