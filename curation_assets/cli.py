"""The `curation` command: what people and `make` call. Each subcommand is a function that takes settings and arguments and returns an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dotenv import load_dotenv

from curation_assets.on_call import commands as on_call
from curation_assets.orchestration.errors import DatabaseUnusable
from curation_assets.orchestration.supervisor import supervised
from curation_assets.recipes import Recipe, RecipeError, read_recipes, subsets
from curation_assets.registry import BROKEN
from curation_assets.settings import Settings, SettingsError
from curation_assets.starter import commands as starter
from curation_resources.extras import MissingExtra
from curation_resources.processes import ProcessId, leave
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.unwritable import Unwritable, full_folder

if TYPE_CHECKING:
    from curation_resources.tables import TableStore

GO_ON = "The same command goes on where it stopped"
PIPE_CLOSED = 141
"""What a shell reports of a command that SIGPIPE ended."""


def home() -> Path:
    """DAGSTER_HOME as an absolute folder that exists; `.dagster` here if it is not set.

    Raises:
        SettingsError: it cannot be made or written.
    """
    path = Path(os.environ.get("DAGSTER_HOME") or ".dagster").expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"DAGSTER_HOME: {path} cannot be made ({error.strerror})") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise SettingsError(f"DAGSTER_HOME: {path} may not be written; correct its permissions or name another folder")
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
        partial=arguments.partial,
        settled=arguments.settled,
    )


def _stopped(process: ProcessId, asked: bool) -> None:
    """Marks the runs of a process that was stopped, if `asked`, or killed, and frees their slots."""
    from curation_assets.orchestration import dead_runs
    from curation_assets.orchestration.instance import opened

    try:
        with opened() as instance:
            dead_runs.clear(instance, dead_runs.of_process(instance, process), canceled=asked)
    except Exception as error:  # noqa: BLE001 - nothing is lost: the next run does it
        print(f"curation: its runs could not be marked in Dagster, the next run will do it: {error}", file=sys.stderr)


def _store(settings: Settings) -> TableStore:
    """The tables of the installation, for commands that only read them.

    Raises:
        StorageError: the storage root cannot be reached.
    """
    from curation_assets.stores import table_store

    store = table_store(settings)
    store.storage.check(writing=False)
    return store


def _demo(arguments: argparse.Namespace) -> int:
    from curation_assets.demo import run_demo

    return run_demo(Path(arguments.folder), home())


def _samples(arguments: argparse.Namespace) -> int:
    from curation_assets.demo import run_samples

    return run_samples(Path(arguments.folder))


def _recipes(settings: Settings, given: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of the files given, or of the settings; those that cannot be used are named on standard error."""
    from curation_assets.stores import storage_options

    found: dict[str, Recipe] = {}
    for uri in given or [settings.recipes]:
        recipes = read_recipes(uri, storage_options(settings, uri))
        found |= recipes.usable
        for fault in recipes.faults:
            print(f"curation: left out: {fault.message}", file=sys.stderr)
    return found


def _stale(arguments: argparse.Namespace) -> int:
    from curation_assets.engine.staleness import FRESH, STATES, shard_states
    from curation_assets.outcome import text_table

    home()
    settings = Settings.load()
    recipes = _recipes(settings, arguments.recipe)
    states = list(shard_states(_store(settings), recipes, settings, why=arguments.why or arguments.json))
    behind = [s for s in states if s.state != FRESH]
    code = 1 if behind and arguments.exit_code else 0
    if arguments.json:
        print(on_call.states_json(states))
        return code
    rows = []
    for asset in dict.fromkeys(s.asset for s in states):
        counts = Counter(s.state for s in states if s.asset == asset)
        rows.append((asset, *(counts[state] or "" for state in STATES)))
    print(text_table(("asset", *STATES), rows))
    if arguments.why and behind:
        print()
        lines = [(s.asset, s.partition or "", s.state, "; ".join(s.reasons)) for s in behind]
        print(text_table(("asset", "partition", "state", "because"), lines))
    if not arguments.recipe:
        _print_undeclared(settings, recipes)
    return code


def _report(arguments: argparse.Namespace) -> int:
    from curation_assets.report import dataset_report, render
    from curation_resources.tolerant_tables import Tolerant

    settings = Settings.load()
    recipes = _recipes(settings, [])
    if arguments.dataset and arguments.dataset not in recipes:
        raise RecipeError(f"no recipe declares the dataset {arguments.dataset!r}; there are {', '.join(recipes)}")
    chosen = [arguments.dataset] if arguments.dataset else list(recipes)
    store = Tolerant(_store(settings))
    reports = [dataset_report(store, recipes[name], settings) for name in chosen]
    code = 1 if arguments.exit_code and any(r.failures or any(s.left_out for s in r.subsets) for r in reports) else 0
    if arguments.json:
        print("\n".join(map(on_call.report_json, reports)))
        return code
    print("\n\n".join(render(report, settings) for report in reports))
    for line in store.damaged:
        print(f"DAMAGED {line}")
    if not arguments.dataset:
        _print_undeclared(settings, recipes)
    return code


def _print_undeclared(settings: Settings, recipes: Mapping[str, Recipe]) -> None:
    """What lies in storage that no recipe of the installation names, after an empty line."""
    from curation_assets.engine.declared import undeclared
    from curation_assets.stores import table_store

    left = list(undeclared(table_store(settings), recipes, settings))
    if left:
        print()
        print("\n".join(map(str, left)))


def _remove(arguments: argparse.Namespace) -> int:
    from curation_assets.orchestration.instance import current
    from curation_assets.renaming import holdings, remove
    from curation_assets.stores import table_store

    home()
    settings = Settings.load()
    recipes = _recipes(settings, [])
    if arguments.name in recipes or arguments.name in subsets(recipes):
        raise RecipeError(
            f"{arguments.name} is declared by a recipe; take it out of there first, or it would be made again"
        )
    store = table_store(settings)
    with current() as instance:
        found = holdings(store, instance, arguments.name)
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
        remove(store, instance, found)
    print("removed; runs and events of it stay in Dagster until they are deleted there")
    return 0


def _rename(arguments: argparse.Namespace) -> int:
    from curation_assets.orchestration.instance import current
    from curation_assets.renaming import rename
    from curation_assets.stores import table_store

    home()
    settings = Settings.load()
    with current() as instance:
        rename(table_store(settings), instance, _recipes(settings, []), settings, arguments.old, arguments.new)
    print(
        f"renamed; the next run brings duplicates and subsets up to date. What was published as {arguments.old} stays until "
        f"`curation remove {arguments.old}`; subsets of other recipes that draw on it must name {arguments.new}"
    )
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    from curation_assets.explain import UnknownId, explain, render

    settings = Settings.load()
    try:
        print(render(explain(_store(settings), _recipes(settings, []), arguments.id)))
    except UnknownId as error:
        print(f"curation: {error}", file=sys.stderr)
        return 2
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from curation_assets.verify import Verifier, report

    settings = Settings.load()
    given: str | None = arguments.what
    is_file = given is not None and (given.endswith((".yaml", ".yml")) or Path(given).exists())
    recipes = _recipes(settings, [given] if is_file and given else [])
    datasets = set(recipes) if is_file else {given} if given else None
    store = _store(settings)
    verifier = Verifier(store, recipes, datasets, arguments.deep, given if is_file and given else "RECIPE")
    text, code = report(verifier, arguments.json)
    print(text)
    return code


def _forget(arguments: argparse.Namespace) -> int:
    from curation_assets.takedown.command import forget

    folder = home()
    settings = Settings.load()
    return forget(arguments, settings, _recipes(settings, []), folder)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="curation", description="Curates video datasets; the same graph as in the Dagster UI."
    )
    top.add_argument("--version", action=starter.Version)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    starter.add(commands, home, parser)

    run = commands.add_parser("run", help="index recipes and materialize their shards and subsets, in this process")
    run.add_argument("recipe", nargs="+", help="recipe files")
    run.add_argument("--select", help="assets, separated by commas; default: what the recipe asks for")
    run.add_argument("--shards", help="shard keys, separated by commas; default: all of the recipe's dataset")
    run.add_argument("--force", action="store_true", help="make again what is up to date")
    run.add_argument(
        "--partial", action="store_true", help="publish subsets although inputs are missing, stale or not read in full"
    )
    run.add_argument(
        "--settled",
        action="store_true",
        help="leave files of sources that changed within source.settle_s, and may still be being written, for a later run",
    )
    run.set_defaults(call=_run)

    stale = commands.add_parser("stale", help="what is missing or out of date, and because of what")
    stale.add_argument("recipe", nargs="*", help="recipe files; default: CURATION_RECIPES")
    stale.add_argument("--why", action="store_true", help="list the partitions and what has changed")
    stale.add_argument(
        "--json", action="store_true", help="a JSON object per partition that is behind, then the counts"
    )
    stale.add_argument("--exit-code", action="store_true", help="exit with 1 if anything is behind")
    stale.set_defaults(call=_stale)

    report = commands.add_parser("report", help="funnel, failures, seconds and cost of datasets")
    report.add_argument("dataset", nargs="?", help="default: all of CURATION_RECIPES")
    report.add_argument("--json", action="store_true", help="a JSON object per dataset")
    report.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if videos failed or a subset was published without something",
    )
    report.set_defaults(call=_report)

    verify = commands.add_parser("verify", help="whether what lies in storage is what was committed")
    verify.add_argument("what", nargs="?", help="a recipe file or a dataset; default: the whole root")
    verify.add_argument("--deep", action="store_true", help="read every byte: tables, members of tars, published files")
    verify.add_argument("--json", action="store_true", help="print the faults as JSON")
    verify.set_defaults(call=_verify)

    explain = commands.add_parser("explain", help="the whole history of a video or clip")
    explain.add_argument("id", help="video_id or clip_id")
    explain.set_defaults(call=_explain)

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

    on_call.add(commands, home)

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

    demo = commands.add_parser("demo", help="generate sample videos and run the graph on them")
    demo.add_argument("--folder", default=".demo", help="where the sample videos go")
    demo.set_defaults(call=_demo)

    samples = commands.add_parser("samples", help="write a few small videos to try things on")
    samples.add_argument("folder", help="where they go; what is there already stays")
    samples.set_defaults(call=_samples)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 if all went well, 1 if something failed, 2 for input that cannot be used, 130 or 143 after SIGINT or SIGTERM.

    Args:
        argv: None is the process's own; then what makes runs is done in a child that can be stopped at once, and the process ends here.
    """
    if argv is None:
        leave(_command(sys.argv[1:], alone=True))
    return _command(list(argv), alone=False)


def _command(given: list[str], alone: bool) -> int:
    load_dotenv(".env")
    # The commands say themselves which recipes are left out: the log would say it a second time.
    logging.getLogger("dagster.recipes").setLevel(logging.ERROR)
    if given[:1] == ["explain"] and len(given) == 2 and given[1] not in ("-h", "--help"):
        given.insert(1, "--")  # ids may begin with a dash
    arguments = parser().parse_args(given)
    for broken in BROKEN:
        print(f"curation: {broken}", file=sys.stderr)
    if getattr(
        arguments, "recipe", None
    ):  # the code location is built when it is imported: not of other recipes that may lie here
        os.environ["CURATION_RECIPES"] = arguments.recipe[0]
    try:
        if alone and arguments.call in (_run, _demo):
            home()
            code = supervised(lambda: int(arguments.call(arguments)), _stopped, GO_ON)
        else:
            code = int(arguments.call(arguments))
        sys.stdout.flush()
        return code
    except (RecipeError, SettingsError, StorageError, Unwritable, DatabaseUnusable, MissingExtra) as error:
        print(f"curation: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so again when it exits
        return PIPE_CLOSED
    except READ_ERRORS as error:
        full = full_folder(str(error), os.environ.get("DAGSTER_HOME"))
        print(f"curation: {full or f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
