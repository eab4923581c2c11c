"""`curation compare`: what two storage roots say differently, row by row."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from curation_assets.commands.installation import Commands, store_of
from curation_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    from curation_assets.comparing.row_differences import Differences, Tolerance


def add(commands: Commands) -> None:
    """Adds the command."""
    compare = commands.add_parser(
        "compare",
        help="what two storage roots say differently, row by row",
        description="Holds the tables of two roots against each other: made by two recipes, two versions of this package or of what it uses. Clips whose boundaries moved are "
        "matched by the span that they have in common. Ends with 1 if rows appeared, vanished or changed by more than the tolerance. Nothing is made.",
    )
    compare.add_argument("a", help="a storage root: a folder or a bucket")
    compare.add_argument("b", help="the other one")
    compare.add_argument(
        "--table", action="append", default=[], metavar="NAME", help="only this table; may be given several times"
    )
    compare.add_argument("--only", metavar="DATASET", help="only shards and subsets of this dataset")
    compare.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="[COLUMN=]SHARE",
        help="by how much numbers may differ, as a share of the larger one, of all columns or of one; may be given several times; default: not at all",
    )
    compare.add_argument("--json", action="store_true", help="a JSON object per table")
    compare.set_defaults(call=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from curation_assets.comparing.roots import compare_roots
    from curation_assets.outcome import text_table
    from curation_assets.schemas import SCHEMAS
    from curation_assets.showing.text import listed

    unknown = [name for name in arguments.table if name not in SCHEMAS]
    if unknown:
        raise SettingsError(f"--table {unknown[0]}: no table is called so; {listed(unknown[0], SCHEMAS)}")
    settings = Settings.load()
    a, b = (store_of(settings.model_copy(update={"storage": root})) for root in (arguments.a, arguments.b))
    for root in (a, b):
        if not any(root.partitions(asset) for asset in SCHEMAS):
            raise SettingsError(
                f"{root.storage.root}: there are no tables; name a storage root, as CURATION_STORAGE does"
            )
    only = arguments.only
    found = list(
        compare_roots(
            (a, b),
            arguments.table or list(SCHEMAS),
            _tolerance(arguments.tolerance),
            lambda partition: only is None or partition.partition("-")[0] == only,
        )
    )
    code = 1 if any(one.any for _, one, _ in found) else 0
    if arguments.json:
        for asset, one, moved in found:
            print(json.dumps({"table": asset, "moved": moved, **asdict(one)}, ensure_ascii=False, default=str))
        return code
    head = ("table", "rows A", "rows B", "only A", "only B", "changed", "moved")
    rows = [(t, d.rows_a, d.rows_b, *(n or "" for n in (d.vanished, d.appeared, d.changed, m))) for t, d, m in found]
    print(text_table(head, rows))
    for asset, one, _ in found:
        print(_said(asset, one), end="")
    if not code:
        print("\nthey say the same" + (" within the tolerance" if arguments.tolerance else ""))
    return code


def _tolerance(given: Sequence[str]) -> Tolerance:
    from curation_assets.comparing.row_differences import Tolerance

    every, of_column = 0.0, {}
    for text in given:
        column, _, share = text.rpartition("=")
        try:
            value = float(share)
            if not 0 <= value < float("inf"):
                raise ValueError
        except ValueError as error:
            raise SettingsError(f"--tolerance {text}: a share of 0 or more is wanted, or COLUMN=SHARE") from error
        if column:
            of_column[column] = value
        else:
            every = value
    return Tolerance(every, of_column)


def _said(asset: str, one: Differences) -> str:
    """Rows that only one has, and the columns that changed, each with its largest changes."""
    from curation_assets.showing.text import as_text

    lines = list(one.examples)
    for name, column in one.columns.items():
        if not column.beyond:
            continue
        mean = "" if column.mean is None else f", {as_text(column.mean)} on average"
        lines.append(f"{name}: {column.beyond:,} of {column.rows:,}{mean}")
        said = [c for c in column.largest if not isinstance(c.a if c.b is None else c.b, list | dict | bytes)]
        lines += [f"  {c.row}: {as_text(c.a)} -> {as_text(c.b)}" for c in said]
    return "".join([f"\n{asset}\n", *(f"  {line}\n" for line in lines)]) if lines else ""
