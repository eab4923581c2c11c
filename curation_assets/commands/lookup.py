"""`curation explain` and `verify`: what storage has of one video or clip, and whether it has what was committed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from curation_assets.commands.installation import Commands, beside, is_recipe_file, store_of, usable_recipes
from curation_assets.recipes import RecipeError
from curation_assets.settings import Settings
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.verify import Discrepancy, Verifier
    from curation_resources.tables import TableStore


def add(commands: Commands) -> None:
    """Adds the commands."""
    verify = commands.add_parser("verify", help="whether what lies in storage is what was committed")
    verify.add_argument("what", nargs="?", help="a recipe file or a dataset; default: the whole root")
    verify.add_argument(
        "--deep",
        action="store_true",
        help="read every byte: tables, members of tars, published files; look into tars of versions for what takedowns left; and ask after referenced videos of other machines, not only of this one",
    )
    verify.add_argument("--json", action="store_true", help="print the faults as JSON")
    verify.set_defaults(call=_verify)

    explain = commands.add_parser("explain", help="the whole history of a video or clip")
    explain.add_argument(
        "id",
        help="video_id or clip_id; or the key or file of a published sample, the file of a source (a name, a path or a file: address), or an address",
    )
    explain.add_argument("recipe", nargs="*", help="recipe files whose subsets are told of; default: CURATION_RECIPES")
    explain.set_defaults(call=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    from curation_assets.explain import UnknownId, explain, render
    from curation_resources.tolerant_tables import Tolerant

    settings = Settings.load()
    store = Tolerant(store_of(settings))
    try:
        recipes = usable_recipes(settings, arguments.recipe)
        if arguments.recipe:
            recipes = {**beside(settings), **recipes}
        print(render(explain(store, recipes, arguments.id)))
    except UnknownId as error:
        print(f"curation: {error}", file=sys.stderr)
        return 2
    finally:
        for line in store.damaged:
            print(f"DAMAGED {line}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from curation_assets.verify import Verifier, report

    settings = Settings.load()
    given: str | None = arguments.what
    is_file = given is not None and is_recipe_file(given)
    recipes = usable_recipes(settings, [given] if is_file and given else [])
    datasets = set(recipes) if is_file else {given} if given else None
    store = store_of(settings)
    verifier = Verifier(store, recipes, datasets, arguments.deep, given if is_file and given else "RECIPE")
    if given and not is_file and given not in recipes and given not in (stored := verifier.stored()):
        there = ", ".join(sorted({*recipes, *stored})) or "none"
        raise RecipeError(f"neither a recipe nor a table is of the dataset {given!r}; there are {there}")
    text, code = report(verifier, arguments.json, _left_by_takedowns(store, verifier))
    print(text)
    return code


def _left_by_takedowns(store: TableStore, verifier: Verifier) -> Iterator[Discrepancy]:
    """What takedowns have still to remove: one that was not finished, and samples that versions hold in spite of one; in tars only where all is read."""
    from curation_assets.takedown.left_samples import left_samples
    from curation_assets.takedown.plan import PATH, TakedownPlan
    from curation_assets.verify import DAMAGE, Discrepancy

    plan = TakedownPlan.load(store)
    if plan is not None:
        what = f"a takedown of {plural(len(plan.videos), 'video')} was begun and is not finished"
        yield Discrepancy(DAMAGE, "", None, PATH, what, "finish it with: curation forget")
    for left in left_samples(store, tars=verifier.deep):
        asset, key, _ = left.folder.split("/")
        if verifier.looks_at(asset, key):
            yield Discrepancy(DAMAGE, asset, key, left.folder, left.what, "remove them with: curation forget")
