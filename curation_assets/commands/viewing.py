"""`curation export-view`: a subset for LightlyStudio or FiftyOne, and their tags as labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from curation_assets.commands.installation import Commands, found_recipes, store_of
from curation_assets.recipes import RecipeError, subsets
from curation_assets.settings import Settings, SettingsError
from curation_resources.words import plural


def add(commands: Commands) -> None:
    """Adds the command."""
    view = commands.add_parser(
        "export-view",
        help="lay a subset out for LightlyStudio or FiftyOne, and read their tags back",
        description="Writes a folder with the source videos of a subset of clips, each candidate as a span with its verdict and scores, tracks, embeddings, and a script that opens it in the "
        "tool, to be run in an environment of the tool's own. With --read, makes labels of what the script wrote down of the tags that people gave there. See docs/how-to/look.md.",
    )
    view.add_argument("tool", choices=("lightly", "fiftyone"), help="lightly or fiftyone")
    view.add_argument("subset", help="<dataset>-<subset>")
    view.add_argument("folder", help="where the view goes, or lies; on this machine")
    view.add_argument("--limit", type=int, metavar="CLIPS", help="only the first so many clips")
    view.add_argument("--selected", action="store_true", help="only clips that were selected")
    view.add_argument(
        "--read", action="store_true", help="read the tags of the folder into the recipe's file of labels"
    )
    view.set_defaults(call=_view)


def _view(arguments: argparse.Namespace) -> int:
    from curation_assets.publish.viewing.laying_out import TOOLS, lay_out
    from curation_assets.publish.viewing.reading_back import NoTags, read_back
    from curation_resources.tables import MissingTable

    settings = Settings.load()
    recipes = found_recipes(settings).usable
    known = {key: subset for key, (_, subset) in subsets(recipes).items() if subset.of == "clips"}
    if arguments.subset not in known:
        raise RecipeError(
            f"no recipe declares a subset of clips {arguments.subset!r}; there are {', '.join(known) or 'none'}"
        )
    folder = Path(arguments.folder)
    if arguments.read:
        try:
            read = read_back(folder, arguments.tool, recipes)
        except NoTags as error:
            raise RecipeError(str(error)) from error
        print(f"{plural(read.given, 'label', commas=True)} given, {read.taken_back:,} taken back")
        if read.unnamed:
            print(f"no label can be made of {', '.join(map(repr, read.unnamed[:10]))}")
        return 0
    store = store_of(settings)
    try:
        view = lay_out(store, arguments.subset, folder, arguments.tool, arguments.limit, not arguments.selected)
    except MissingTable as error:
        raise RecipeError(f"{arguments.subset} was not judged yet; `curation run` does it") from error
    except FileExistsError as error:
        raise SettingsError(f"{folder} is not empty; name another folder, or remove it") from error
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written ({error.strerror})") from error
    print(
        f"{plural(view.clips, 'clip', commas=True)} of {plural(view.videos, 'video', commas=True)}, {plural(view.tracks, 'track', commas=True)} in {folder}"
    )
    for line in view.left_out:
        print(f"left out: {line}")
    print(f"open it with: python {folder / TOOLS[arguments.tool]}      in an environment of the tool's own")
    return 1 if view.left_out and not view.clips else 0
