"""What an empty folder begins with: files that this package carries, written for what is installed and never over a file that is there.

What belongs here: the files (`demo.yaml`, `demo_web.yaml`, `recipe.yaml`, the instance of one machine `dagster.yaml`) and how they are
written. `recipes/` and `deploy/` of the repository link to them. What does not: the videos of the demo, which `demo` makes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from string import Template

from curation_assets.settings import SettingsError
from curation_resources import extras

FOLDER = Path(__file__).parent
MARKED = re.compile(
    r"^(?P<indent> *)(?P<off># )?(?P<text>[^#\n]*\S)(?P<mark> +# (?P<when>with|without) \[(?P<extra>\w+)\].*)$"
)
"""A line that counts only where an extra is installed, or where it is not. Suggestions say `needs [extra]`, and nobody switches them on."""


def as_installed(text: str) -> str:
    """The text of a starter file with each marked line switched on or off by what is installed.

    A line that ends in `# with [extra]` is commented out where that extra is not installed, one in `# without [extra]` where it is.
    """

    def switched(line: str) -> str:
        found = MARKED.match(line)
        if found is None:
            return line
        wanted = extras.has(found["extra"]) == (found["when"] == "with")
        return f"{found['indent']}{'' if wanted else '# '}{found['text']}{found['mark']}"

    return "\n".join(map(switched, text.split("\n")))


def left_out(text: str) -> list[str]:
    """The extras that lines of a starter file ask for and that are not installed."""
    asked = {found["extra"] for found in map(MARKED.match, text.split("\n")) if found and found["when"] == "with"}
    return sorted(extra for extra in asked if not extras.has(extra))


def text_of(name: str) -> str:
    """A starter file as it stands in the package."""
    return (FOLDER / name).read_text("utf-8")


def filled(name: str, values: Mapping[str, str]) -> str:
    """A starter file for what is installed, with values for its `$name`s."""
    return Template(as_installed(text_of(name))).substitute(values)


def write(target: Path, name: str) -> bool:
    """Writes a starter file for what is installed, unless there is such a file already, and says whether it did.

    Raises:
        SettingsError: it cannot be written.
    """
    return write_text(target, as_installed(text_of(name)))


def write_text(target: Path, text: str) -> bool:
    """Writes `text` unless there is such a file already, and says whether it did; raises as `write`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise SettingsError(f"{target} cannot be written ({error.strerror}); begin in a folder of your own") from error
    return True


def write_instance(home: Path) -> bool:
    """The instance file of one machine in DAGSTER_HOME, unless it has one; raises as `write`."""
    return write(home / "dagster.yaml", "dagster.yaml")


def program() -> str:
    """How this command was called, as a person would type it here."""
    called = seen_from_here(Path(sys.argv[0]))
    return "curation" if Path(called).is_absolute() else called


def seen_from_here(path: Path) -> str:
    """A path without the working directory before it, if it lies below it; else the whole of it."""
    whole = path.absolute()
    return str(whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole)
