"""Reporters that a setting names are told of every table that is made: rates, yields, failures by class.

What belongs here: which numbers there are, and that no run fails by a reporter. What does not: the services (`curation_resources.reporters`, and
packages that bring others by the entry point `curation_assets.reporters`).
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from curation_assets.contracts.door import brought, named
from curation_assets.engine.making import Outcome
from curation_assets.settings import Settings, SettingsError
from curation_resources.reporters import ServiceReporter, own

log = logging.getLogger("curation.reporters")
MOST_NUMBERS = 200
"""Of one table: a table that counts by name, such as one of labels, would else make a chart for each."""


def makers(settings: Settings) -> dict[str, Callable[[Mapping[str, str]], ServiceReporter]]:
    """Name -> what makes each reporter that the settings name.

    Raises:
        SettingsError: there is none of that name, or it cannot be imported.
    """
    found: dict[str, Callable[[Mapping[str, str]], ServiceReporter]] = {}
    for name in filter(None, (n.strip() for n in settings.reporters.split(","))):
        if name in own():
            found[name] = own()[name]
            continue
        if name not in named("reporters"):
            there = ", ".join([*own(), *named("reporters")])
            raise SettingsError(f"CURATION_REPORTERS: no reporter is called {name!r}; there are {there}")
        try:
            found[name] = brought("reporters", name)
        except ValueError as error:
            raise SettingsError(f"CURATION_REPORTERS: {error}") from error
    return found


class Reporting:
    """The reporters of this process.

    Args:
        settings: they name the reporters.

    Raises:
        SettingsError, MissingExtra: one cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        began = time.strftime("%Y-%m-%d %H:%M:%S")
        about = {
            "name": f"curation {began}",
            "host": socket.gethostname(),
            "storage": settings.storage,
            "process": str(os.getpid()),
        }
        self._reporters: dict[str, ServiceReporter] = {name: make(about) for name, make in makers(settings).items()}
        self._made = 0
        self._rows: dict[str, float] = {}

    def committed(self, outcome: Outcome) -> None:
        """Tells all reporters of a table that was made. One that fails is left out from then on, and the log says so."""
        if not self._reporters:
            return
        self._made += 1
        asset, rows = outcome.asset, outcome.header.rows
        self._rows[asset] = self._rows.get(asset, 0) + rows
        said = dict(numbers(asset, rows, outcome.header.stats))
        said |= {f"{asset}/rows_so_far": self._rows[asset], "tables_made": self._made}
        self._each(lambda reporter: reporter.report(said, self._made))

    def close(self) -> None:
        """Says that the process ends."""
        self._each(lambda reporter: reporter.close())
        self._reporters.clear()

    def _each(self, tell: Callable[[ServiceReporter], None]) -> None:
        for name, reporter in list(self._reporters.items()):
            try:
                tell(reporter)
            except Exception as error:  # noqa: BLE001 - a service that is away must not cost a run
                log.warning("the reporter %s is told nothing more: %s: %s", name, type(error).__name__, error)
                del self._reporters[name]


def numbers(asset: str, rows: int, stats: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a table by name: its rows, rows a second, and what its footer counts, failures by class among it."""
    yield f"{asset}/rows", float(rows)
    wall = stats.get("wall_s")
    if isinstance(wall, int | float) and wall > 0:
        yield f"{asset}/rows_per_s", rows / wall
    found = list(_flat(asset, stats))
    yield from found[:MOST_NUMBERS]


def _flat(prefix: str, said: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in said.items():
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}/{name}", float(value)
        elif isinstance(value, Mapping) and all(isinstance(v, int | float) for v in value.values()):
            yield from _flat(f"{prefix}/{name}", value)


@cache
def reporting(settings: Settings) -> Reporting:
    """The reporters of this process, made at the first call and closed when it ends.

    Raises:
        SettingsError, MissingExtra: one cannot be had.
    """
    made = Reporting(settings)
    atexit.register(made.close)
    return made
