"""`curation validate` and `diff`: whether recipes can be used, and what would be made again with another one."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from curation_assets.commands.installation import Commands, beside, home, store_of
from curation_assets.recipes import RecipeError, load_recipes, named_recipes, subset_key
from curation_assets.settings import Settings
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.recipes import Recipe


def add(commands: Commands) -> None:
    """Adds the commands."""
    validate = commands.add_parser(
        "validate",
        help="whether recipes can be used; with --schema, their JSON Schema for editors",
        description="Reads recipes as a run does and names file, key and what is allowed for all that is wrong, weights, vocabularies and lists that are named and not there among it, and what "
        "does not run on this machine or may not be meant; nothing is made or fetched. An editor checks and completes "
        "recipes as they are written, with `curation validate --schema > recipe.schema.json` and the line `# yaml-language-server: $schema=recipe.schema.json` at their head.",
    )
    validate.add_argument("recipe", nargs="*", help="recipe files or folders; default: CURATION_RECIPES")
    validate.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of recipes, of installed packages' keys too"
    )
    validate.set_defaults(call=_validate)

    diff = commands.add_parser(
        "diff",
        help="what a run would make again with another version of a recipe",
        description="Compares two recipes of one dataset: the keys that differ, and by the fingerprints that runs go by, which tables in storage would be made again with the "
        "second one, and because of which parameter. What depends on those waits: it is made again where its inputs come out otherwise. Nothing is made.",
    )
    diff.add_argument("before", help="recipe file, as it is in use")
    diff.add_argument("after", help="recipe file, as it would be")
    diff.add_argument("--json", action="store_true", help="a JSON object: the keys that differ, and the tables")
    diff.add_argument("--exit-code", action="store_true", help="exit with 1 if anything would be made")
    diff.set_defaults(call=_diff)


def _validate(arguments: argparse.Namespace) -> int:
    from curation_assets.recipe_schema import recipe_schema
    from curation_assets.remarks import Kind, remarks
    from curation_assets.stores import storage_options

    if arguments.schema:
        print(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
        return 0
    settings = Settings.load()
    wrong = 0
    for uri in arguments.recipe or [settings.recipes]:
        try:
            found = named_recipes(uri, storage_options(settings, uri))
        except RecipeError as error:
            print(error, file=sys.stderr)
            wrong += 1
            continue
        for recipe in found.usable.values():
            file = recipe.declared_in.removeprefix("file://")
            said = list(remarks(recipe, settings))
            lacking = [r for r in said if r.kind is Kind.FAULT]
            if not lacking:
                subsets = ", ".join(subset_key(recipe.dataset, name) for name in recipe.subsets) or "none"
                print(f"{file}: can be used; dataset {recipe.dataset}, subsets: {subsets}")
            for remark in said:
                print(f"{file}: {remark.text}", file=sys.stderr)
            wrong += len(lacking)
        for fault in found.faults:
            print(fault.message, file=sys.stderr)
            wrong += 1
    return 2 if wrong else 0


def _one(settings: Settings, uri: str) -> Recipe:
    from curation_assets.stores import storage_options

    found = load_recipes(uri, storage_options(settings, uri))
    if len(found) != 1:
        raise RecipeError(f"{uri}: holds {plural(len(found), 'recipe')} ({', '.join(found)}); name one file")
    return next(iter(found.values()))


def _diff(arguments: argparse.Namespace) -> int:
    from curation_assets.outcome import text_table
    from curation_assets.recipe_diff import recipe_diff

    home()
    settings = Settings.load()
    before, after = (_one(settings, uri) for uri in (arguments.before, arguments.after))
    others = {n: r for n, r in beside(settings).items() if n != before.dataset}
    found = recipe_diff(store_of(settings), settings, (before, after), others)
    code = 1 if arguments.exit_code and found.makes else 0
    if arguments.json:
        print(json.dumps(asdict(found), ensure_ascii=False))
        return code
    print("\n".join(found.keys) or "the recipes say the same")
    if any(key.startswith("source.") for key in found.keys):
        print("each run reads its sources: which videos come, go or change is known then")
    if found.tables:
        print()
        head = ("table", "again", "perhaps", "new", "not any more", "because")
        rows = [
            (t.asset, *(n or "" for n in (t.again, t.perhaps, t.new, t.dropped)), "; ".join(t.because))
            for t in found.tables
        ]
        print(text_table(head, rows))
        print(
            "again: made from something else; perhaps: only if an input comes out otherwise. What is not asked for any more stays until it is removed."
        )
    elif found.keys:
        print("\nno table that is in storage would be made again")
    return code
