"""Formats that packages bring: what goes wrong in one costs its own dataset, and is a sentence that names the format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from curation_assets.ingest.dataset_index import Source
from curation_assets.ingest.sources import RejectedLine, SourceError, SourceRow, read_source


class Faulty:
    """One row, and then what it was made with."""

    def __init__(self, then: Any) -> None:
        self.then = then

    def read(self, source: Source, options: None, storage: None) -> Iterator[Any]:
        yield SourceRow("v0", "https://example.org/0.mp4", source.path[0], 1)
        if isinstance(self.then, Exception):
            raise self.then
        yield self.then


def told(monkeypatch: pytest.MonkeyPatch, then: Any) -> list[Any]:
    monkeypatch.setattr(Source, "chosen", lambda self: (Faulty(then), None))
    return list(read_source(Source(format="ids", path="nowhere")))


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (KeyError("colour"), "the source format 'ids' failed (KeyError: 'colour'); correct the package that brings it"),
        (FileNotFoundError("no list"), "the source format 'ids' failed (FileNotFoundError: no list)"),
        ({"id": "v1"}, "the source format 'ids' failed (TypeError: it gave dict, and not SourceRow or RejectedLine)"),
        (SourceError("line 7 is torn"), "line 7 is torn"),
        (
            httpx.ConnectError("All connection attempts failed"),
            "the source format 'ids' cannot be read now (ConnectError: All connection attempts failed): what its package asks does not answer; run again when it does, or correct its address",
        ),
    ],
)
def test_what_fails_in_a_package_is_a_fault_of_its_source(
    monkeypatch: pytest.MonkeyPatch, then: Any, said: str
) -> None:
    with pytest.raises(SourceError) as error:
        told(monkeypatch, then)
    assert str(error.value).startswith(said)


def test_rows_and_rejected_lines_come_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    row, line = told(monkeypatch, RejectedLine("nowhere", 2, "?", "not a number"))
    assert (row.url, line.reason) == ("https://example.org/0.mp4", "not a number")
