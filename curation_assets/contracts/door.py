"""The door for other people's packages: entry points of installed distributions, by kind and name.

What belongs here: finding and loading them. What does not: what the graph asks of a component (`plugins.py`), or of a detector or a
criterion, which is said where it is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

PREFIX = "curation_assets."
COMPONENTS = f"{PREFIX}components"
KINDS = {
    "sources": "layouts of sources",
    "downloaders": "downloaders",
    "shot_detectors": "shot detectors",
    "captioners": "captioners",
    "object_detectors": "object detectors",
    "aesthetic_heads": "aesthetic heads",
    "criteria": "selection criteria",
    "export_formats": "export formats",
    "reporters": "reporters",
}
"""Entry point groups besides components, without their prefix, and what their entries are."""


@dataclass(frozen=True)
class Broken:
    """What an installed package brought and cannot be used.

    Attributes:
        package: the distribution, with its version.
        name: of the entry point.
        reason: one sentence.
    """

    package: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.package}: its entry point {self.name!r} is left out: {self.reason}"


def package_of(entry: EntryPoint) -> str:
    """Name and version of the distribution that an entry point comes from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"


@cache
def _installed() -> Any:
    """The entry points of all installed distributions, looked for once: each look goes through all of their files."""
    return entry_points()


@cache
def entries(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group, in order of packages and names, without loading them."""
    found: Iterable[EntryPoint] = _installed().select(group=group)
    return tuple(sorted(found, key=lambda e: (package_of(e), e.name)))


def load(entry: EntryPoint) -> Any:
    """What an entry point names.

    Raises:
        ValueError: it cannot be imported; the message is one sentence.
    """
    try:
        return entry.load()
    except Exception as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{entry.value} cannot be imported ({type(error).__name__}: {said})") from error


def named(kind: str) -> dict[str, EntryPoint]:
    """What installed packages bring of a kind, by name, without loading it; names that two claim are left out."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entries(PREFIX + kind):
        found.setdefault(entry.name, []).append(entry)
    return {n: e[0] for n, e in found.items() if len(e) == 1}


def brought(kind: str, name: str) -> Any:
    """What a package brings under a name.

    Raises:
        LookupError: none does.
        ValueError: it cannot be imported; the message names the package.
    """
    entry = named(kind)[name]
    try:
        return load(entry)
    except ValueError as error:
        raise ValueError(str(Broken(package_of(entry), name, str(error)))) from error


def claimed_twice() -> Iterator[Broken]:
    """Names of all kinds that two packages claim."""
    for kind, about in KINDS.items():
        owners: dict[str, list[EntryPoint]] = {}
        for entry in entries(PREFIX + kind):
            owners.setdefault(entry.name, []).append(entry)
        for name, several in owners.items():
            if len(several) > 1:
                both = " and by ".join(map(package_of, several))
                yield Broken(package_of(several[0]), name, f"{name!r} of the {about} is claimed by {both}")
