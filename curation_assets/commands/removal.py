"""`curation remove`, `rename` and `forget`: what is stored under a name goes, gets another, or goes with a video."""

from __future__ import annotations

import argparse

from curation_assets.commands.installation import Commands, instance_home, of_sample, store_of, usable_recipes
from curation_assets.recipes import RecipeError, subsets
from curation_assets.settings import Settings


def add(commands: Commands) -> None:
    """Adds the commands."""
    remove = commands.add_parser("remove", help="remove what is stored of a dataset or subset that no recipe names")
    remove.add_argument("name", help="dataset, or <dataset>-<subset>")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    remove.set_defaults(call=_remove)

    rename = commands.add_parser(
        "rename", help="give a dataset the name that its recipe has now, and keep all that was made"
    )
    rename.add_argument("old", help="name under which it is stored")
    rename.add_argument("new", help="name that its recipe declares")
    rename.set_defaults(call=_rename)

    forget = commands.add_parser(
        "forget",
        help="take videos down: remove everything that was made of them, and keep them from coming back",
        description="Removes rows, bytes, pictures, scores, captions, tracks, exported samples of all versions, and what Dagster wrote down of "
        "the videos. Nothing is fetched or decoded again. Without arguments it goes on with a takedown that was interrupted. See docs/how-to/takedown.md.",
    )
    forget.add_argument("id", nargs="*", help="video ids or addresses; after -- where one begins with a dash")
    forget.add_argument("--list", help="a file with an id or address per line")
    forget.add_argument("--channel", action="append", default=[], help="all videos of a channel, now and later")
    forget.add_argument("--domain", action="append", default=[], help="all videos fetched from a domain, now and later")
    forget.add_argument("--removed", action="store_true", help="all videos that their source no longer lists")
    forget.add_argument("--dataset", help="only of this dataset; default: of all")
    forget.add_argument("--reason", default="", help="kept with the tombstones, for whoever reads them: no names")
    forget.add_argument("--dry-run", action="store_true", help="say what is stored of them, and remove nothing")
    forget.add_argument("--yes", action="store_true", help="do not ask")
    forget.set_defaults(call=_forget)


def _remove(arguments: argparse.Namespace) -> int:
    from curation_assets.orchestration.alone import alone
    from curation_assets.orchestration.instance import opened
    from curation_assets.renaming import holdings, remove

    instance_home()
    settings = Settings.load()
    recipes = usable_recipes(settings)
    if arguments.name in recipes or arguments.name in subsets(recipes):
        raise RecipeError(
            f"{arguments.name} is declared by a recipe; take it out of there first, or it would be made again"
        )
    store = store_of(settings, writing=True)
    with opened() as instance:
        found = holdings(store, instance, arguments.name)
        if not found:
            remove(store, instance, found)  # what one that was killed at its very end has left
    if not found:
        print(f"nothing of {arguments.name} is stored in {settings.storage}")
        return 0
    print(f"of {arguments.name} in {settings.storage}:")
    print("\n".join(f"  {line}" for line in found.lines()))
    if not arguments.yes:
        try:
            answer = input("Remove all of it for good? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was removed; --yes does not ask")
            return 1
    with alone(store.storage) as instance:
        remove(store, instance, holdings(store, instance, arguments.name))
    print("removed; runs and events of it stay in Dagster until they are deleted there")
    return 0


def _rename(arguments: argparse.Namespace) -> int:
    from curation_assets.orchestration.alone import alone
    from curation_assets.renaming import rename

    instance_home()
    settings = Settings.load()
    recipes = usable_recipes(settings)
    store = store_of(settings, writing=True)
    with alone(store.storage) as instance:
        rename(store, instance, recipes, settings, arguments.old, arguments.new)
    print(
        f"renamed; the next run brings duplicates and subsets up to date. What was published as {arguments.old} stays until "
        f"`curation remove {arguments.old}`; subsets of other recipes that draw on it must name {arguments.new}"
    )
    return 0


def _forget(arguments: argparse.Namespace) -> int:
    from curation_assets.engine.samples import samples_of
    from curation_assets.takedown.command import forget
    from curation_assets.takedown.plan import TakedownPlan

    recipes = usable_recipes(Settings.load())
    codes = [forget(arguments, Settings.load(), recipes, instance_home())]
    asked = arguments.id or arguments.list or arguments.channel or arguments.domain or arguments.removed
    storage = store_of(Settings.load()).storage
    for share in [] if arguments.sample else samples_of(storage):
        with of_sample(share):
            if asked or TakedownPlan.load(store_of(Settings.load())) is not None:
                print(f"sample {share:g}:")
                codes.append(forget(arguments, Settings.load(), recipes, instance_home()))
    return 1 if 1 in codes else min(codes)
