"""The `curation` command: what people and `make` call. Each subcommand is a function that takes settings and arguments and returns an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dotenv import load_dotenv

from curation_assets.recipes import RecipeError
from curation_assets.settings import Settings, SettingsError


def home() -> Path:
    """DAGSTER_HOME as an absolute folder that exists; `.dagster` here if it is not set."""
    path = Path(os.environ.get("DAGSTER_HOME") or ".dagster").expanduser().absolute()
    path.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(path)
    return path


def _run(arguments: argparse.Namespace) -> int:
    from curation_assets.runner import run_recipes

    home()
    return run_recipes(
        [Settings.load(recipes=r) for r in arguments.recipe],
        select=arguments.select.split(",") if arguments.select else None,
        shards=arguments.shards.split(",") if arguments.shards else None,
        force=arguments.force,
    )


def _demo(arguments: argparse.Namespace) -> int:
    from curation_assets.demo import run_demo

    home()
    return run_demo(Path(arguments.folder))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="curation", description="Curates video datasets; the same graph as in the Dagster UI."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="index recipes and materialize their shards and subsets, in this process")
    run.add_argument("recipe", nargs="+", help="recipe files")
    run.add_argument("--select", help="assets, separated by commas; default: what the recipe asks for")
    run.add_argument("--shards", help="shard keys, separated by commas; default: all of the recipe's dataset")
    run.add_argument("--force", action="store_true", help="make again what is up to date")
    run.set_defaults(call=_run)

    demo = commands.add_parser("demo", help="generate sample videos and run the graph on them")
    demo.add_argument("--folder", default=".demo", help="where the sample videos go")
    demo.set_defaults(call=_demo)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 if all went well, 1 if something failed, 2 for input that cannot be used."""
    load_dotenv(".env")
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.call(arguments))
    except (RecipeError, SettingsError) as error:
        print(f"curation: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
