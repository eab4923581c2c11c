"""`curation run`, `demo` and `samples`."""

from __future__ import annotations

import argparse
from pathlib import Path

from curation_assets.commands.installation import Commands, instance_home
from curation_assets.demo import EXAMPLE_NAMES, FOLDER
from curation_assets.settings import Settings


def add(commands: Commands) -> None:
    """Adds the commands."""
    run = commands.add_parser("run", help="index recipes and materialize their shards and subsets, in this process")
    run.add_argument("recipe", nargs="+", help="recipe files")
    run.add_argument("--select", help="assets, separated by commas; default: what the recipe asks for")
    run.add_argument(
        "--shards", help="shard keys, and ranges FIRST..LAST, separated by commas; default: all of the recipe's dataset"
    )
    run.add_argument("--force", action="store_true", help="make again what is up to date")
    run.add_argument(
        "--partial", action="store_true", help="publish subsets although inputs are missing, stale or not read in full"
    )
    run.add_argument(
        "--settled",
        action="store_true",
        help="leave files of sources that changed within source.settle_s, and may still be being written, for a later run",
    )
    run.set_defaults(call=_run, makes_runs=True)

    demo = commands.add_parser("demo", help="generate sample videos and run the graph on them")
    demo.add_argument("--folder", default=FOLDER, help="where the sample videos go")
    demo.set_defaults(call=_demo, makes_runs=True)

    samples = commands.add_parser("samples", help="write a few small videos to try things on")
    samples.add_argument("folder", help="where they go; what is there already stays")
    samples.add_argument(
        "--example",
        choices=EXAMPLE_NAMES,
        metavar="NAME",
        help=f"ten rows for an example recipe ({', '.join(EXAMPLE_NAMES)}) in the format of its list, over nine videos and one that is not there",
    )
    samples.add_argument(
        "--port",
        type=int,
        default=8017,
        help="of this machine, on which the folder is served for lists of addresses; 8017",
    )
    samples.set_defaults(call=_samples)


def _run(arguments: argparse.Namespace) -> int:
    from curation_assets.runner import run_recipes

    instance_home()
    return run_recipes(
        [Settings.load(recipes=r) for r in arguments.recipe],
        select=arguments.select.split(",") if arguments.select else None,
        shards=arguments.shards.split(",") if arguments.shards else None,
        force=arguments.force,
        partial=arguments.partial,
        settled=arguments.settled,
    )


def _demo(arguments: argparse.Namespace) -> int:
    from curation_assets.demo.running import run_demo

    instance_home()
    return run_demo(Path(arguments.folder))


def _samples(arguments: argparse.Namespace) -> int:
    from curation_assets.demo.running import run_example_rows, run_samples

    if arguments.example:
        return run_example_rows(Path(arguments.folder), arguments.example, arguments.port)
    return run_samples(Path(arguments.folder))
