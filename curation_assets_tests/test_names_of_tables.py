"""A table's name stands in its room, with the components that are made from it, and nowhere else: what is derived from the registry stays so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from curation_assets.registry import COMPONENTS

ROOT = Path(__file__).resolve().parents[1]
NAMES = {c.asset for c in COMPONENTS}
WORDS = {"clips", "frames", "captions", "tracks", "dedup", "labels", "concepts"}
"""Names that are also words: of columns, keys of recipes, kinds of candidates, rooms. Of these counts only what a table is asked for by."""
ASKING = {
    "base",
    "commit",
    "component",
    "dataset",
    "exists",
    "folder",
    "header",
    "headers",
    "made_of",
    "of",
    "partitions",
    "path",
    "read",
} | {"rows", "schema", "slice", "slice_hashes", "table", "usable_header"}
ALSO = {
    "publish": "subsets judge and show what all rooms say of a clip",
    "curation_assets/rules/columns.py": "which table has a column that is called otherwise there: categories, words of the source, facts of the video",
    "curation_assets/rules/measured.py": "names of rules that are worked out from one table's columns",
    "curation_assets/rules/faults.py": "what is wrong with a rule about such a column",
    "curation_assets/engine/staleness.py": "each kind of table is looked at in its own way",
    "resources/media.py": "which tables are to be made again when a tar of a bucket has changed",
    "curation_assets/dedup/comparison.py": "embeddings confirm matches and pictures of clusters are shown, where there are any",
}
"""Rooms and files that name tables which are neither theirs nor inputs of theirs, and why."""


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of every table that the code names, docstrings and prose apart."""
    asked = {
        id(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and node.args
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ASKING
    }
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or id(node) in said:
            continue
        if node.value in NAMES:
            if node.value not in WORDS or id(node) in asked:
                yield node.lineno, node.value
        else:  # in a path, a message, or a piece of an f-string; between backticks it is documentation
            yield from (
                (node.lineno, name) for name in re.findall(r"(?<![`\w])\w+", node.value) if name in NAMES - WORDS
            )


def inputs_of(room: str) -> set[str]:
    """Tables of a room and those that its components are made from."""
    own = [c for c in COMPONENTS if c.built_in and c.group == room]
    return {name for c in own for name in (c.asset, *c.inputs, *c.slices, *c.shows, *filter(None, [c.complete]))}


def test_a_table_is_named_in_its_room_and_by_what_is_made_from_it() -> None:
    strange = []
    for file in sorted(f for top in ("curation_assets", "resources", "deploy") for f in (ROOT / top).rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        room = path.split("/")[1]
        if path in ALSO or room in ALSO:
            continue
        known = inputs_of(room)
        strange += [
            f"{path}:{line} {name}"
            for line, name in named(ast.parse(file.read_text(encoding="utf-8")))
            if name not in known
        ]
    assert strange == [], "derive it from the registry, or declare it with a component"


def test_the_list_of_exceptions_is_not_longer_than_needed() -> None:
    rooms = {c.group for c in COMPONENTS}
    for place in ALSO.keys() - rooms:
        names = {n for _, n in named(ast.parse((ROOT / place).read_text(encoding="utf-8")))}
        assert names - inputs_of(place.split("/")[1]), place


def test_a_name_is_found_in_paths_and_messages_too() -> None:
    code = 'A = "raw_shards/x.tar"\nB = f"{n} wait for duplicate_clusters"\nC = "the rows of `raw_shards`"\nD = "my_raw_shards"\n'
    assert list(named(ast.parse(code))) == [(1, "raw_shards"), (2, "duplicate_clusters")]
