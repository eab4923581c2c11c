"""Counts agree with their nouns: no message says `1 rows`, since one helper puts the two together, everywhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets.engine.progress import Reporter
from curation_resources.words import plural, units

ROOT = Path(__file__).resolve().parents[1]
NOUNS = [
    "attempts",
    "batches",
    "boxes",
    "candidates",
    "captions",
    "clips",
    "columns",
    "concepts",
    "copies",
    "entries",
    "events",
    "faults",
    "files",
    "folders",
    "frames",
    "images",
    "labels",
    "lines",
    "logs",
    "members",
    "models",
    "packages",
    "pairs",
    "partitions",
    "pieces",
    "questions",
    "reasons",
    "recipes",
    "rows",
    "runs",
    "samples",
    "scenes",
    "shards",
    "sources",
    "spans",
    "subsets",
    "tables",
    "tags",
    "tars",
    "tracks",
    "triples",
    "uploads",
    "videos",
    "words",
]
COUNTED = re.compile(rf" ((more|new|other|unfinished|published|rejected) )?({'|'.join(NOUNS)})\b")
OF_ROWS = (
    "curation_assets/decode/analysis.py",
    "curation_assets/decode/clip_spans.py",
    "curation_assets/ingest/sources",
)
"""What is said there becomes the error of a row that no run makes again: other words would make other rows of the same input."""


def counted(text: str) -> Iterator[tuple[int, str]]:
    """(line, words) of each place in a module where a value is followed by a noun in the plural. Constants are left out: they are never one."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, after in zip(node.values, node.values[1:], strict=False):
            if not isinstance(value, ast.FormattedValue) or not isinstance(after, ast.Constant):
                continue
            said = ast.unparse(value.value)
            found = COUNTED.match(str(after.value))
            if found and not re.fullmatch(r"([\w.]+\.)?[A-Z_]+|self\.\w+", said):
                yield value.lineno, f"{{{said}}}{found[0]}"


def test_a_count_is_told_from_its_noun() -> None:
    text = 'A = f"{n} rows"\nB = f"{plural(n, \'row\')} here"\nC = f"{MOST} rows"\nD = f"{name} leads"\nE = f"{len(x):,} more tables"\n'
    assert [line for line, _ in counted(text)] == [1, 5]


def test_counts_and_nouns_are_put_together_by_one_helper() -> None:
    found = []
    for path in sorted([*(ROOT / "curation_assets").rglob("*.py"), *(ROOT / "resources").rglob("*.py")]):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(OF_ROWS):
            found += [f"{name}:{line}: {words}" for line, words in counted(path.read_text())]
    assert found == [], "say it by curation_resources.words.plural"


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (plural(1, "row"), "1 row"),
        (plural(0, "row"), "0 rows"),
        (plural(2, "entry", "entries"), "2 entries"),
        (plural(1, "clip is", "clips are"), "1 clip is"),
        (plural(12345, "clip", commas=True), "12,345 clips"),
        (units(1, "tables of hashes"), "table of hashes"),
        (units(1, "batches of pairs compared"), "batch of pairs compared"),
        (units(1, "shards that came"), "shard that came"),
        (units(2, "videos"), "videos"),
        (Reporter("decode", str).text(0, 1, "videos", ""), "decode: 0 of 1 video"),
    ],
)
def test_one_and_many(said: str, wanted: str) -> None:
    assert said == wanted
