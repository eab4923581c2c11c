"""The `curation` command: what people and `make` call. Its subcommands are those of `curation_assets.commands`, each a function of its arguments
that returns an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from dotenv import load_dotenv

from curation_assets.commands import (
    beginning,
    captions,
    compare,
    listing,
    look,
    lookup,
    packing,
    pictures,
    recipes,
    removal,
    run,
    state,
    viewing,
    watching,
)
from curation_assets.commands.command_line import Parser
from curation_assets.commands.installation import add_sample, instance_home, of_sample
from curation_assets.orchestration.errors import DatabaseUnusable
from curation_assets.orchestration.supervisor import supervised
from curation_assets.recipes import RecipeError
from curation_assets.registry import BROKEN
from curation_assets.settings import SettingsError
from curation_resources.extras import MissingExtra
from curation_resources.presence import Occupied
from curation_resources.processes import ProcessId, leave
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.unwritable import Unwritable, full_folder

GO_ON = "The same command goes on where it stopped"
PIPE_CLOSED = 141
"""What a shell reports of a command that SIGPIPE ended."""


def _stopped(process: ProcessId, asked: bool) -> None:
    """Marks the runs of a process that was stopped, if `asked`, or killed, and frees their slots."""
    from curation_assets.orchestration import dead_runs
    from curation_assets.orchestration.instance import opened

    try:
        with opened() as instance:
            dead_runs.clear(instance, dead_runs.of_process(instance, process), canceled=asked)
    except Exception as error:  # noqa: BLE001 - nothing is lost: the next run does it
        print(f"curation: its runs could not be marked in Dagster, the next run will do it: {error}", file=sys.stderr)


def parser() -> Parser:
    top = Parser(prog="curation", description="Curates video datasets; the same graph as in the Dagster UI.")
    top.add_argument("--version", action=beginning.Version)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    beginning.add(commands, top)
    groups = (
        run,
        state,
        listing,
        look,
        lookup,
        recipes,
        compare,
        captions,
        viewing,
        packing,
        removal,
        watching,
        pictures,
    )
    for group in groups:
        group.add(commands)
    add_sample(commands)
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
        with of_sample(getattr(arguments, "sample", None)):
            if alone and getattr(arguments, "makes_runs", False):
                instance_home()
                code = supervised(lambda: int(arguments.call(arguments)), _stopped, GO_ON)
            else:
                code = int(arguments.call(arguments))
            sys.stdout.flush()
        return code
    except (RecipeError, SettingsError, StorageError, Unwritable, DatabaseUnusable, MissingExtra) as error:
        print(f"curation: {error}", file=sys.stderr)
        return 1 if isinstance(error, Occupied) else 2
    except KeyboardInterrupt:
        print("curation: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python says so again when it exits
        return PIPE_CLOSED
    except READ_ERRORS as error:
        full = full_folder(str(error), os.environ.get("DAGSTER_HOME"))
        print(f"curation: {full or f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
