"""Which step a command of an installation is in, as Dagster's own records tell: in the SQLite files of its runs, or in PostgreSQL.

What belongs here: reading records while a command writes them. What does not: what is done to the command.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from curation_assets_tests.faults.shipped import Shipped

BEGIN = "STEP_START"
KINDS = (BEGIN, "STEP_SUCCESS", "STEP_FAILURE")
Stage = tuple[int, str]
"""The position of a run among those of its command, and the key of a step: the subsets of a recipe are runs that follow each other."""


@dataclass(frozen=True)
class Seen:
    """A step that has begun: which, and how long its work took, in seconds; None while it is not done."""

    stage: Stage
    seconds: float | None


@dataclass
class Steps:
    """The steps of an installation's runs, all of them or those that began since `forget`.

    Args:
        shipped: the installation.
        database: the variables that its instance file reads, if its instance is in PostgreSQL.
    """

    shipped: Shipped
    database: Mapping[str, str] | None = None
    _known: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """What was seen up to now does not count any more."""
        self._known |= {run for run, *_ in self._events()}

    def seen(self) -> list[Seen]:
        """In the order in which they began."""
        events = self._events()
        runs = list(dict.fromkeys(run for run, *_ in events))
        began = {(run, step): at for run, step, kind, at in reversed(events) if kind == BEGIN}
        ended = {(run, step): at for run, step, kind, at in events if kind != BEGIN}
        order = sorted(began, key=lambda key: began[key])
        return [
            Seen((runs.index(run), step), ended[run, step] - began[run, step] if (run, step) in ended else None)
            for run, step in order
        ]

    def _events(self) -> list[tuple[str, str, str, float]]:
        """(run, step, kind of event, seconds) in the order of time, of runs that are not known."""
        rows = self._of_files() if self.database is None else self._of_database(self.database)
        found = [(run, step, kind, datetime.fromisoformat(str(at)).timestamp()) for run, step, kind, at in rows]
        return sorted(found, key=lambda row: row[3])

    def _of_files(self) -> list[tuple[str, str, str, Any]]:
        found = []
        for path in (self.shipped.home / "history/runs").glob("*.db"):
            if path.stem in self._known or path.stem == "index":
                continue
            connection = sqlite3.connect(path, timeout=30)
            try:
                rows = connection.execute(
                    f"SELECT step_key, dagster_event_type, timestamp FROM event_logs WHERE dagster_event_type IN {KINDS}"
                ).fetchall()
            except sqlite3.OperationalError:
                continue  # it is being made
            finally:
                connection.close()
            found += [(path.stem, *row) for row in rows]
        return found

    def _of_database(self, variables: Mapping[str, str]) -> list[tuple[str, str, str, Any]]:
        import psycopg2

        connection: Any = psycopg2.connect(
            host=variables["DAGSTER_PG_HOST"],
            port=variables["DAGSTER_PG_PORT"],
            user=variables["DAGSTER_PG_USERNAME"],
            password=variables["DAGSTER_PG_PASSWORD"],
            dbname=variables["DAGSTER_PG_DB"],
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT to_regclass('event_logs')")
                if cursor.fetchone()[0] is None:
                    return []
                cursor.execute(
                    "SELECT run_id, step_key, dagster_event_type, timestamp FROM event_logs "
                    "WHERE dagster_event_type IN %s AND NOT run_id = ANY(%s)",
                    (KINDS, list(self._known)),
                )
                return list(cursor.fetchall())
        finally:
            connection.close()
