"""Draws the asset graph of the code location: `make graph` writes docs/images/graph.png; needs Graphviz (Debian's package `graphviz`).

Full arrows are what an asset is made from whatever the recipe, dashed ones what it reads besides because rules of the example recipes ask
for it. An arrow that follows from others is left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from curation_assets.definitions import build_definitions
from curation_assets.recipes import Recipe, load_recipes
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings

ROOT = Path(__file__).parent.parent
COLOURS = {
    "ingest": "#e8eef7",
    "decode": "#e3f1ec",
    "dedup": "#f6efdc",
    "scores": "#efe8f6",
    "captions": "#fbe9e7",
    "tracks": "#e4f2f7",
    "publish": "#e9eceb",
}
"""Group -> its ground, in reading order."""

Edges = set[tuple[str, str]]


def edges(recipes: Mapping[str, Recipe]) -> tuple[dict[str, str], Edges]:
    """Asset -> group, and (input, asset) for every asset of the code location over these recipes."""
    graph = build_definitions(Settings(storage="memory://"), recipes).resolve_asset_graph()
    nodes = [graph.get(k) for k in graph.get_all_asset_keys()]
    groups = {n.key.to_user_string(): n.group_name for n in nodes}
    return groups, {(p.to_user_string(), n.key.to_user_string()) for n in nodes for p in n.parent_keys}


def above(asset: str, given: Edges) -> set[str]:
    """Everything that an asset is made from, directly or not."""
    parents = {p for p, child in given if child == asset}
    return parents.union(*(above(p, given) for p in parents))


def without_shortcuts(given: Edges) -> Edges:
    """The edges that do not follow from others."""
    return {
        (parent, child)
        for parent, child in given
        if not any(parent in above(other, given) for other, c in given if c == child)
    }


def dot() -> Iterator[str]:
    """The graph in Graphviz' language."""
    groups, always = edges({})
    _, with_rules = edges(load_recipes(str(ROOT / "recipes/examples")))
    yield "digraph {"
    yield 'graph [dpi=150, ranksep=0.35, nodesep=0.12, fontname="DejaVu Sans", fontsize=11, labeljust=l, pad=0.05]'
    yield 'node [shape=box, style="rounded,filled", fillcolor=white, color="#5b6b7a", fontname="DejaVu Sans", fontsize=11, height=0.32, margin="0.08,0.03"]'
    yield 'edge [color="#5b6b7a", arrowsize=0.6]'
    for group, colour in COLOURS.items():
        yield f'subgraph cluster_{group} {{ label="{group}"; style="rounded,filled"; color="{colour}"; fillcolor="{colour}"; margin=8;'
        yield from (asset for asset in SCHEMAS if groups[asset] == group)
        yield "}"
    for parent, child in sorted(without_shortcuts(always | with_rules)):
        yield f"{parent} -> {child}" + ("" if (parent, child) in always else " [style=dashed]")
    yield "}"


def main() -> None:
    if shutil.which("dot") is None:
        sys.exit("no `dot` on PATH: install Debian's package graphviz")
    path = ROOT / "docs/images/graph.png"
    subprocess.run(["dot", "-Tpng", "-o", str(path)], input="\n".join(dot()), text=True, check=True)
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
