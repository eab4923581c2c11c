"""What the commands ask of the installation: its Dagster home, its recipes, its tables."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets import starter
from curation_assets.recipes import Recipe, RecipeError, RecipeFault, Recipes, named_recipes, read_recipes
from curation_assets.settings import PREFIX, SAMPLES, Settings, SettingsError

if TYPE_CHECKING:
    from curation_resources.tables import TableStore

Commands = Any
"""What `add_subparsers` gives; argparse has no public name for it."""


def home() -> Path:
    """DAGSTER_HOME as an absolute folder that exists; `.dagster` here if it is not set. A sample has a folder of its own in it, so that the shards and
    events of a sample are in no list of the whole's.

    Raises:
        SettingsError: it cannot be made or written.
    """
    path = _home()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"DAGSTER_HOME: {path} cannot be made ({error.strerror})") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise SettingsError(f"DAGSTER_HOME: {path} may not be written; correct its permissions or name another folder")
    os.environ["DAGSTER_HOME"] = str(path)
    return path


def _home() -> Path:
    """Where it is, or would be."""
    path = Path(os.environ.get("DAGSTER_HOME") or ".dagster").expanduser().absolute()
    sample = Settings.load().sample
    if sample is None or path.parts[-2:] == (SAMPLES, f"{sample:g}"):
        return path
    return path / SAMPLES / f"{sample:g}"


def instance_home() -> Path:
    """`home`, with the instance file of one machine if it has none: Dagster's own defaults have no limits for pools, and telemetry.

    Raises:
        SettingsError: as `home`.
    """
    folder = home()
    if starter.write_instance(folder):
        file = starter.seen_from_here(folder / "dagster.yaml")
        print(f"curation: wrote {file}, the settings of Dagster for one machine", file=sys.stderr)
    return folder


def add_sample(commands: Commands) -> None:
    """Gives each command that works on what is stored the option `--sample`."""
    for name, command in commands.choices.items():
        if name not in WITHOUT_SAMPLE:
            command.add_argument(
                "--sample",
                type=float,
                metavar="SHARE",
                help="work on this share of each source's videos, above 0 and below 1, instead of all: apart from all that is made of the whole",
            )


WITHOUT_SAMPLE = ("init", "completion", "samples", "demo", "validate", "diff", "doctor", "compare", "pack")
"""Commands that know no installation, or only the whole one."""


@contextmanager
def of_sample(share: float | None) -> Iterator[None]:
    """Within the block the installation is the sample of it, if one is given, also for processes that are started there.

    Raises:
        SettingsError: it is no share, or the settings cannot be used.
    """
    if share is None:
        yield
        return
    if not 0 < share < 1:
        raise SettingsError(
            f"--sample {share:g}: say a share of the videos, above 0 and below 1; without the option it is all of them"
        )
    with _kept(f"{PREFIX}SAMPLE", "DAGSTER_HOME"):
        os.environ[f"{PREFIX}SAMPLE"] = f"{share:g}"
        Settings.load()
        yield


@contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """Within the block DAGSTER_HOME is this folder."""
    with _kept("DAGSTER_HOME"):
        os.environ["DAGSTER_HOME"] = str(folder)
        yield


@contextmanager
def _kept(*names: str) -> Iterator[None]:
    """After the block variables of the environment are what they were."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end_with(parent: int, end: Callable[[], object]) -> None:
    """Calls `end` when the process that started this one has ended."""

    def wait() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        end()

    threading.Thread(target=wait, daemon=True).start()


def store_of(settings: Settings, writing: bool = False) -> TableStore:
    """The tables of the installation, for commands that read them, or change what is there too.

    Raises:
        StorageError: the storage root cannot be reached.
        Unwritable: its disk is away, as far as this machine knows of tables there.
    """
    from curation_assets.engine.heads import reach
    from curation_assets.stores import table_store

    home = _home()
    if os.path.isdir(home):  # it knows of the tables; nobody needs one to read, or may be kept out of it
        os.environ["DAGSTER_HOME"] = str(home)
    store = table_store(settings)
    reach(store, writing)
    return store


def found_recipes(settings: Settings, given: Sequence[str] = ()) -> Recipes:
    """The recipes of the files given, or of the settings; those that cannot be used are named on standard error."""
    from curation_assets.stores import storage_options

    usable: dict[str, Recipe] = {}
    faults: list[RecipeFault] = []
    read = named_recipes if given else read_recipes
    for uri in given or [settings.recipes]:
        found = read(uri, storage_options(settings, uri))
        usable |= found.usable
        faults += found.faults
    for fault in faults:
        print(f"curation: left out: {fault.message}", file=sys.stderr)
    return Recipes(usable, tuple(faults))


def usable_recipes(settings: Settings, given: Sequence[str] = ()) -> dict[str, Recipe]:
    """As `found_recipes`, for commands that go on without those that cannot be used."""
    return found_recipes(settings, given).usable


def is_recipe_file(given: str) -> bool:
    """Whether a word names a recipe file or a folder of recipes, and no dataset: one may be called as the folder of its videos is."""
    path = Path(given)
    return given.endswith((".yaml", ".yml")) or path.is_file() or any(path.glob("*.y*ml"))


def beside(settings: Settings) -> dict[str, Recipe]:
    """The recipes of the settings, if there are any, for commands that are given one: a subset may draw on datasets of the others."""
    try:
        return usable_recipes(settings)
    except RecipeError:
        return {}


def print_undeclared(settings: Settings, recipes: Mapping[str, Recipe], store: TableStore | None = None) -> None:
    """What lies in storage that no recipe of the installation names, after an empty line; `store` is one that has listed it already."""
    from curation_assets.engine.declared import undeclared
    from curation_assets.stores import table_store

    left = list(undeclared(store or table_store(settings), recipes, settings))
    if left:
        print()
        print("\n".join(map(str, left)))
