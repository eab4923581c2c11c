"""`curation list`: which clips were selected or dropped and what failed, as a table, JSON or Parquet."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from curation_assets.commands.installation import Commands, beside, found_recipes, store_of
from curation_assets.recipes import RecipeError, subset_key
from curation_assets.settings import Settings, SettingsError
from curation_resources.words import plural

if TYPE_CHECKING:
    import pyarrow as pa

    from curation_assets.recipes import Recipe

SHOWN = 1000
"""Rows of the table; JSON and Parquet have all."""


def add(commands: Commands) -> None:
    """Adds the command."""
    listing = commands.add_parser(
        "list",
        help="which clips were selected or dropped and why, and what failed",
        description="dropped: the candidates of subsets that were not selected, each with the first rule that dropped it and what it has there. selected: those that "
        "were, with the keys of their samples. failed: videos and clips that some table could not be made for, and videos that gave no clip, each with the reason.",
    )
    listing.add_argument("what", choices=("dropped", "failed", "selected"), help="dropped, failed or selected")
    listing.add_argument("recipe", nargs="*", help="recipe files; default: CURATION_RECIPES")
    listing.add_argument(
        "--subset",
        action="append",
        default=[],
        metavar="NAME",
        help="only this subset, or <dataset>-<subset>; may be given several times",
    )
    listing.add_argument(
        "--why",
        metavar="RULE",
        default="",
        help="only what this rule dropped, or a rule that names this column; of failures, of this class or in this table",
    )
    how = listing.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="a JSON object per row")
    how.add_argument("--parquet", metavar="FILE", help="write all rows to this file")
    listing.set_defaults(call=_list)


def _list(arguments: argparse.Namespace) -> int:
    from curation_assets.listing import FORMS, Listing, listed_rows, reasons
    from curation_assets.showing.text import listed

    settings = Settings.load()
    recipes = found_recipes(settings, arguments.recipe).usable
    usable = {**beside(settings), **recipes} if arguments.recipe else recipes
    if arguments.what == "selected" and arguments.why:
        raise RecipeError("--why: what is selected passed all rules; it is for `dropped` and `failed`")
    store = store_of(settings)
    wanted = Listing(arguments.what, list(recipes), _subsets(recipes, arguments.subset), arguments.why)
    parts = listed_rows(store, usable, wanted)
    if arguments.parquet:
        count = _write(parts, FORMS[arguments.what], arguments.parquet)
        print(f"{plural(count, 'row', commas=True)} in {arguments.parquet}")
    else:
        count = _print(_rows(parts), arguments)
        if not (count or arguments.json or arguments.why) and recipes:
            print(f"nothing is {arguments.what}")
    if not count and arguments.why:
        raise RecipeError(
            f"--why {arguments.why}: nothing is listed for that; {listed(arguments.why, reasons(store, usable, wanted))}"
        )
    return 0


def _subsets(recipes: Mapping[str, Recipe], given: Iterable[str]) -> list[str]:
    """Keys of the subsets that are meant: by their keys, or by names that one recipe or several have."""
    found = []
    for name in given:
        keys = [subset_key(d, s) for d, r in recipes.items() for s in r.subsets if name in (s, subset_key(d, s))]
        if not keys:
            there = ", ".join(subset_key(d, s) for d, r in recipes.items() for s in r.subsets)
            raise RecipeError(f"--subset {name}: no recipe declares it; there are {there or 'none'}")
        found += keys
    return found


def _rows(parts: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
    for part in parts:
        for row in part.to_pylist():
            if row.get("values"):
                row["values"] = json.loads(row["values"])
            yield row


def _print(rows: Iterator[dict[str, Any]], arguments: argparse.Namespace) -> int:
    """Prints the rows; returns how many there are."""
    from curation_assets.outcome import text_table
    from curation_assets.showing.text import as_text

    if arguments.json:
        count = 0
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
            count += 1
        return count
    shown = list(islice(rows, SHOWN))
    columns = [n for n in (shown[0] if shown else ()) if any(r[n] is not None for r in shown) and n != "shard"]
    for row in shown:
        if row.get("values"):
            row["values"] = ", ".join(f"{n} {as_text(v)}" for n, v in row["values"].items())
    if shown:
        print(text_table(columns, [["" if r[n] is None else r[n] for n in columns] for r in shown]))
    more = sum(1 for _ in rows)
    if more:
        print(f"and {more:,} more; --json prints all, --parquet FILE writes them")
    return len(shown) + more


def _write(parts: Iterable[pa.Table], form: pa.Schema, file: str) -> int:
    import pyarrow.parquet as pq

    count = 0
    try:
        with pq.ParquetWriter(file, form, compression="zstd") as writer:
            for part in parts:
                writer.write_table(part)
                count += part.num_rows
    except OSError as error:
        raise SettingsError(f"--parquet {file}: cannot be written ({error.strerror or error})") from error
    return count
