"""`curation compare`: what two storage roots, recipes, published versions or commits say differently, row by row."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.commands.installation import Commands, beside, store_of
from curation_assets.recipes import RecipeError, load_recipes
from curation_assets.settings import Settings, SettingsError

if TYPE_CHECKING:
    from curation_assets.comparing.row_differences import ColumnChanges, Differences, Tolerance
    from curation_resources.tables import TableStore

    Compared = list[tuple[str, Differences, int]]
    Stores = tuple[TableStore, ...]

SHOWN = 3
"""Rows that are printed of those that only one has, and of each column; --json and --pictures have more."""


def add(commands: Commands) -> None:
    """Adds the command."""
    compare = commands.add_parser(
        "compare",
        help="what two storage roots, recipes, published versions or commits say differently, row by row",
        description="Holds two of a kind against each other. Storage roots: all tables, made by two recipes, two versions of this package or of what it uses. Recipe files of one dataset: "
        "what the subsets of each select of what is stored. Published versions, by their folders: the samples. Commits of the git repository of the working directory, with --commits: all "
        "tables, made of each commit's recipes in a root of its own, and by its code if the repository is that of this package. Clips whose boundaries moved are "
        "matched by the span that they have in common. Ends with 1 if rows appeared, vanished or changed by more than the tolerance. But for commits nothing is made.",
    )
    compare.add_argument(
        "a",
        help="a storage root, a recipe file, the folder of a published version, or with --commits a commit as git names it",
    )
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
    compare.add_argument(
        "--commits", action="store_true", help="A and B are commits; the tables of each are made first"
    )
    compare.add_argument(
        "--recipe",
        action="append",
        default=[],
        dest="recipes_of",
        metavar="FILE",
        help="with --commits: this recipe, or folder of them, as each commit has it, or as it lies here if it is not in the repository; may be given several times; default: CURATION_RECIPES",
    )
    compare.add_argument(
        "--videos",
        metavar="FOLDER",
        help="with --commits: work on the videos of this folder instead of the recipes' sources",
    )
    compare.add_argument(
        "--keep",
        metavar="FOLDER",
        help="with --commits: keep both roots here; given again, only what is not there yet is made. Default: they are removed",
    )
    compare.add_argument("--pictures", metavar="FILE", help="a JPEG of the clips that differ most, with both values")
    compare.add_argument("--json", action="store_true", help="a JSON object per table")
    compare.set_defaults(call=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from curation_assets.comparing.versions import is_version
    from curation_assets.schemas import SCHEMAS
    from curation_assets.showing.text import listed

    unknown = [name for name in arguments.table if name not in SCHEMAS]
    if unknown:
        raise SettingsError(f"--table {unknown[0]}: no table is called so; {listed(unknown[0], SCHEMAS)}")
    settings, tolerance = Settings.load(), _tolerance(arguments.tolerance)
    if arguments.commits:
        return _commits(settings, arguments, tolerance)
    for option in ("recipes_of", "videos", "keep"):
        if getattr(arguments, option):
            raise SettingsError(f"--{option.removesuffix('s_of')} is for two commits: add --commits")
    pair = (arguments.a, arguments.b)
    files = [name.endswith((".yaml", ".yml")) for name in pair]
    folders = [
        not file and is_version(store_of(settings.model_copy(update={"storage": n})).storage)
        for n, file in zip(pair, files, strict=True)
    ]
    if all(files):
        found, pictured = _recipes(pair, settings, arguments, tolerance)
    elif all(folders):
        found, pictured = _versions(pair, settings, tolerance)
    elif any(files) or any(folders):
        raise SettingsError(
            f"{pair[0]} and {pair[1]} are not of one kind; name two storage roots, two recipe files, or the folders of two published versions"
        )
    else:
        found, pictured = _roots(pair, settings, arguments, tolerance)
    return _told(found, pictured, arguments)


def _told(found: Compared, pictured: Stores, arguments: argparse.Namespace) -> int:
    _print(found, arguments)
    if arguments.pictures:
        _write_pictures(arguments.pictures, found, pictured)
    return 1 if any(one.any for _, one, _ in found) else 0


def _commits(settings: Settings, arguments: argparse.Namespace, tolerance: Tolerance) -> int:
    from curation_assets.comparing.commits import CommitError, Commits, ToMake, environment_of_runs, wants_exports
    from curation_resources.scratch import scratch_folder

    if arguments.keep:
        Path(arguments.keep).mkdir(parents=True, exist_ok=True)
    with nullcontext(arguments.keep) if arguments.keep else scratch_folder("compare-") as folder:
        try:
            both = Commits(
                (arguments.a, arguments.b),
                Path(folder).absolute(),
                lambda text: print(text, file=sys.stderr, flush=True),
            )
            asked = ToMake(arguments.recipes_of or [settings.recipes], arguments.videos, wants_exports(arguments.table))
            roots = [str(root) for root in both.roots(asked, environment_of_runs())]
        except CommitError as error:
            raise RecipeError(str(error)) from error
        found, pictured = _roots(roots, settings, arguments, tolerance)
        return _told(found, pictured, arguments)


def _roots(
    pair: Sequence[str], settings: Settings, arguments: argparse.Namespace, tolerance: Tolerance
) -> tuple[Compared, Stores]:
    from curation_assets.schemas import SCHEMAS

    a, b = (store_of(settings.model_copy(update={"storage": root, "sample": None})) for root in pair)
    for root in (a, b):
        if not any(root.partitions(asset) for asset in SCHEMAS):
            raise SettingsError(
                f"{root.storage.root}: there are no tables; name a storage root, as CURATION_STORAGE does"
            )
    return _stores((a, b), arguments, tolerance), (a, b)


def _stores(stores: tuple[TableStore, TableStore], arguments: argparse.Namespace, tolerance: Tolerance) -> Compared:
    from curation_assets.comparing.roots import compare_roots
    from curation_assets.schemas import SCHEMAS

    only = arguments.only
    chosen = arguments.table or list(SCHEMAS)
    return list(
        compare_roots(stores, chosen, tolerance, lambda partition: only is None or partition.partition("-")[0] == only)
    )


def _recipes(
    pair: Sequence[str], settings: Settings, arguments: argparse.Namespace, tolerance: Tolerance
) -> tuple[Compared, Stores]:
    from curation_assets.comparing.recipes import judged
    from curation_assets.stores import storage_options

    recipes = []
    for file in pair:
        (recipe,) = load_recipes(file, storage_options(settings, file)).values()
        recipes.append(recipe)
    if recipes[0].dataset != recipes[1].dataset:
        raise SettingsError(
            f"{pair[0]} and {pair[1]} declare {recipes[0].dataset} and {recipes[1].dataset}; two recipes of one dataset are wanted"
        )
    store = store_of(settings)
    try:
        with judged(store, (recipes[0], recipes[1]), beside(settings)) as sides:
            return _stores(sides, arguments, tolerance), (store,)
    except ValueError as error:
        raise RecipeError("; ".join([str(error), *getattr(error, "__notes__", [])])) from error


def _versions(pair: Sequence[str], settings: Settings, tolerance: Tolerance) -> tuple[Compared, Stores]:
    from curation_assets.comparing.versions import compare_versions

    a, b = (store_of(settings.model_copy(update={"storage": folder})).storage for folder in pair)
    one, moved = compare_versions((a, b), tolerance)
    return [("samples", one, moved)], (store_of(settings),)


def _print(found: Compared, arguments: argparse.Namespace) -> None:
    from curation_assets.outcome import text_table

    if arguments.json:
        for asset, one, moved in found:
            print(json.dumps({"table": asset, "moved": moved, **asdict(one)}, ensure_ascii=False, default=str))
        return
    head = ("table", "rows A", "rows B", "only A", "only B", "changed", "moved")
    rows = [(t, d.rows_a, d.rows_b, *(n or "" for n in (d.vanished, d.appeared, d.changed, m))) for t, d, m in found]
    print(text_table(head, rows))
    for asset, one, _ in found:
        print(_said(asset, one), end="")
    if not any(one.any for _, one, _ in found):
        print("\nthey say the same" + (" within the tolerance" if arguments.tolerance else ""))


def _write_pictures(file: str, found: Compared, stores: Stores) -> None:
    from curation_assets.comparing.pictures import largest, sheet

    made = sheet(stores, largest({asset: one for asset, one, _ in found}))
    if made is None:
        print("no picture of what differs is stored", file=sys.stderr)
        return
    try:
        Path(file).write_bytes(made.jpeg)
    except OSError as error:
        raise SettingsError(f"--pictures {file} cannot be written ({error.strerror})") from error
    print(f"pictures of what differs most: {file}", file=sys.stderr)


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


def _ways(column: ColumnChanges) -> str:
    """In which direction values changed, where they have one."""
    truths = any(isinstance(v, bool) for c in column.largest for v in (c.a, c.b))
    words = ("came to be true", "are true no more") if truths else ("up", "down")
    said = [f"{count:,} {word}" for count, word in zip((column.up, column.down), words, strict=True) if count]
    return f" ({', '.join(said)})" if said else ""


def _said(asset: str, one: Differences) -> str:
    """Rows that only one has, and the columns that changed, each with its largest changes."""
    from curation_assets.showing.text import as_text

    lines = [e for sign in "-+" for e in [e for e in one.examples if e[0] == sign][:SHOWN]]
    for name, column in one.columns.items():
        if not column.beyond:
            continue
        mean = "" if column.mean is None else f", {as_text(column.mean)} on average"
        lines.append(f"{name}: {column.beyond:,} of {column.rows:,}{_ways(column)}{mean}")
        said = [c for c in column.largest if not isinstance(c.a if c.b is None else c.b, list | dict | bytes)]
        lines += [f"  {c.row}: {as_text(c.a)} -> {as_text(c.b)}" for c in said[:SHOWN]]
    return "".join([f"\n{asset}\n", *(f"  {line}\n" for line in lines)]) if lines else ""
