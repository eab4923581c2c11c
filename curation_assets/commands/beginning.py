"""`curation init`, `ui`, `completion` and `--version`: what a person says before there is anything to run."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import sys
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from curation_assets import starter
from curation_assets.commands.installation import Commands, home
from curation_assets.commands.pictures import beside_the_ui
from curation_assets.contracts.door import COMPONENTS, KINDS, PREFIX, entries, package_of
from curation_assets.recipes import parse_recipe
from curation_assets.settings import Settings, SettingsError
from curation_resources import extras
from curation_resources.urls import redact

FILES = {"recipe", "list", "what", "source", "before", "after", "parquet"}
"""Arguments, by their names, for which a shell completes names of files."""
SHELLS = ("bash", "zsh", "fish", "tcsh")


def add(commands: Commands, top: argparse.ArgumentParser) -> None:
    """Adds the commands; `top` is the whole command line, for completion."""
    init = commands.add_parser(
        "init",
        help="write a commented recipe and the settings of an installation into this folder",
        description="Writes recipes/DATASET.yaml, .env and the instance file of Dagster into the working directory, and says what to run next. "
        "Nothing that is there is changed. Of a list that lies here the first records are looked at: its format and what its columns mean are written down as guessed.",
    )
    init.add_argument("source", nargs="?", help="your videos: a folder, a bucket (s3://...), or a list of URLs or ids")
    init.add_argument("--dataset", help="name of the dataset; default: that of the source")
    init.add_argument("--storage", help="where what is made goes: a folder or a bucket; ./data")
    init.set_defaults(call=_init)

    ui = commands.add_parser("ui", help="open the Dagster UI on this machine")
    ui.add_argument("--port", type=int, default=3000, help="default: 3000")
    ui.set_defaults(call=_ui)

    completion = commands.add_parser(
        "completion",
        help="print a script with which a shell completes commands and options",
        description="bash: put `source <(curation completion bash)` into ~/.bashrc. zsh: write it to `_curation` in a folder of $fpath. "
        "fish: write it to ~/.config/fish/completions/curation.fish.",
    )
    completion.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))
    completion.set_defaults(call=lambda arguments: _completion(arguments, top))


class Version(argparse.Action):
    """`--version`: this package's and those on which what is made depends most."""

    def __init__(self, option_strings: Any, dest: str, **options: Any) -> None:
        super().__init__(
            option_strings, dest, nargs=0, help="print the version, which extras are installed, and what packages bring"
        )

    def __call__(self, parser: argparse.ArgumentParser, *ignored: Any) -> None:
        having = [extra for extra in extras.EXTRAS if extras.has(extra)]
        print(
            f"curation-assets {version('curation-assets')} [{', '.join(having) or 'core'}]; dagster {version('dagster')}"
        )
        for package, brings in sorted(plug_ins().items()):
            print(f"with {package}: {', '.join(brings)}")
        parser.exit()


def plug_ins() -> dict[str, list[str]]:
    """Package with its version -> what it brings, as entry points name it; nothing is loaded."""
    found: dict[str, list[str]] = {}
    for group in (COMPONENTS, *(f"{PREFIX}{kind}" for kind in KINDS)):
        for entry in entries(group):
            found.setdefault(package_of(entry), []).append(f"{group.removeprefix(PREFIX)} {entry.name}")
    return found


def _init(arguments: argparse.Namespace) -> int:
    source, spans = _source(arguments.source)
    dataset = arguments.dataset or _name_of(arguments.source)
    recipe = Path("recipes") / f"{dataset}.yaml"
    text = starter.filled(
        "recipe.yaml", {"dataset": _word(dataset), "source": source, "cut": "given" if spans else "detect"}
    )
    parse_recipe(text, "--dataset" if arguments.dataset else f"{arguments.source or recipe}")
    folder = home()
    written = {
        recipe: starter.write_text(recipe, text),
        Path(".env"): starter.write_text(Path(".env"), _environment(arguments.storage or "./data")),
        folder / "dagster.yaml": starter.write_instance(folder),
    }
    for file, new in written.items():
        print(f"{'wrote' if new else 'left as it is:'} {starter.seen_from_here(file)}")
    if arguments.storage and not written[Path(".env")]:
        print(f"put CURATION_STORAGE={arguments.storage} into .env yourself")
    for extra in starter.left_out(text):
        print(f"lines of the recipe are commented out for want of an extra; to use them: {extras.command(extra)}")
    name = starter.program()
    if "  # columns: " in source:
        print(f"{starter.seen_from_here(recipe)}: say there which columns of the list mean what")
    print(
        f"\nLook into {recipe}, then:"
        f"\n  {name} run {recipe}      indexes the source, does what is needed, publishes the subset"
        f"\n  {name} report {dataset}      what came in, what each rule dropped, seconds and cost"
        f"\n  {name} ui      the same in the browser"
    )
    return 0


def _source(given: str | None) -> tuple[str, bool]:
    """The `source` section, a line per key, for a path or URI that a person gave, and whether it names spans. Of a list that lies here its first records are looked at.

    Raises:
        SettingsError: nothing is there, or it cannot be read.
    """
    if given is None:
        return "format: folder\n  path: ./videos               # put your folder or bucket here, s3://... too", False
    if "://" not in given and not Path(given).expanduser().exists():
        raise SettingsError(
            f"{given}: no such file or folder; name where your videos are, or leave it out and write it into the recipe"
        )
    from curation_assets.ingest.sources import ids, records, webdataset

    path = json.dumps(given, ensure_ascii=False)
    endings = {e.lower() for e in PurePosixPath(given.split("?")[0]).suffixes}
    if Path(given).expanduser().is_dir():
        endings = set()
    if endings & set(records.LIST_ENDINGS):
        return _list(given, path)
    if endings & set(ids.LIST_ENDINGS):
        return f"format: ids                   # an id or address per line\n  path: {path}", False
    return f"format: {'webdataset' if endings & set(webdataset.LIST_ENDINGS) else 'folder'}\n  path: {path}", False


def _list(given: str, path: str) -> tuple[str, bool]:
    """As `_source`, of a table."""
    from curation_assets.ingest.sources.guessed import guessed_list
    from curation_assets.ingest.sources.rows import SourceError

    unknown = "# columns: {id: id, url: url, caption: caption}     # what the columns of your list are called"
    if "://" in given:
        return f"format: table\n  path: {path}\n  {unknown}", False
    try:
        found = guessed_list(given)
    except SourceError as error:
        raise SettingsError(str(error)) from error
    names = ", ".join(re.sub(r"[^\x20-\x7e]", "?", name)[:40] for name in found.names[:12])
    has = f"the list has {names}{', ...' if len(found.names) > 12 else ''}"
    if found.format != "table":
        return f"format: {found.format}                  # by its first records; {has}\n  path: {path}", found.spans
    if not {"id", "url"} & found.columns.keys():
        return f"format: table\n  path: {path}\n  {unknown}; {has}", False
    columns = ", ".join(f"{key}: {_quoted(column)}" for key, column in found.columns.items())
    unit = "\n  time_unit: ms" if found.time_unit == "ms" else ""
    return (
        f"format: table\n  path: {path}\n  columns: {{{columns}}}{unit}\n  # guessed by their names, please check; {has}",
        found.spans,
    )


def _quoted(column: str) -> str:
    """A column's name within a mapping on one line of YAML."""
    return (
        _word(column)
        if re.fullmatch(r"[A-Za-z_][\w. -]*\w|[A-Za-z]", column)
        else json.dumps(column, ensure_ascii=False)
    )


def _name_of(source: str | None) -> str:
    """A dataset's name from the last part of a path or URI."""
    last = PurePosixPath((redact(source) if source else "").split("?")[0].rstrip("/")).name.split(".")[0]
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_") or "mine"


def _word(name: str) -> str:
    """A name as YAML takes it for a word: `00000` would be a number, `on` a truth value."""
    return name if isinstance(yaml.safe_load(name), str) else json.dumps(name)


def _value(text: str) -> str:
    """A value as a line of `.env` takes it: in quotes where a space or a hash would end it."""
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return text if re.fullmatch(r"[\w.:/@+~-]+", text) else f"'{quoted}'"


def _environment(storage: str) -> str:
    lines = [
        "# Settings of this installation; docs/reference/settings.md of the project has them all. The environment goes before this file.",
        f"CURATION_STORAGE={_value(storage)}",
        "CURATION_RECIPES=./recipes",
        "# CURATION_WORKERS=8",
        "# DAGSTER_HOME=/absolute/path      default: .dagster in the working directory",
    ]
    if storage.startswith("s3://"):
        lines += ["# CURATION_S3_ENDPOINT=https://...      for stores other than AWS", "# CURATION_S3_PROFILE=default"]
    return "\n".join(lines) + "\n"


def _ui(arguments: argparse.Namespace) -> int:
    folder = home()
    starter.write_instance(folder)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", arguments.port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or "there is no such port"
            raise SettingsError(f"--port {arguments.port}: {why}; name another port") from error
    # Dagster does at SIGTERM what it does at SIGINT, which a shell that runs a script has its background jobs ignore, and so could not be
    # ended (findings/dagster_sigterm_in_the_background.sh).
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    beside_the_ui(Settings.load())
    words = ["dev", "-m", "curation_assets.definitions", "-h", "127.0.0.1", "-p", str(arguments.port)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "dagster", *words])


def _completion(arguments: argparse.Namespace, top: argparse.ArgumentParser) -> int:
    import shtab

    for action in _actions(top):
        if action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(top, arguments.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of a parser and of all its commands."""
    found: list[argparse.Action] = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                found += _actions(command)
    return found
