"""The one loop: each key of a run is brought up to date, committed, checked and reported on its own; failures come together at the end.

What belongs here: what sharded, global and subset tables share. What does not: how a table is judged and made (`Maker`), and how it is shown.
"""

from __future__ import annotations

import traceback
from collections.abc import Generator, Iterator, Sequence
from functools import partial

from curation_assets.checks import further
from curation_assets.engine.events import Event, KeyFailed, TableChecked, TableCommitted, TableUnchanged
from curation_assets.engine.maker import SAID, Key, Maker
from curation_assets.engine.making import Outcome, over_others
from curation_assets.engine.progress import Pace, Reporter
from curation_assets.engine.run import Run
from curation_resources.progress import listening
from curation_resources.unwritable import Unwritable

PLAIN = (*SAID, ValueError)
"""Errors whose message says all there is to say; trying again changes nothing."""


def bring_up_to_date(
    maker: Maker, keys: Sequence[Key], run: Run, wanted: Sequence[str] | None = None
) -> Generator[Event]:
    """Brings the wanted tables of each key up to date: those that are not are made, checked and committed.

    Args:
        maker: who makes them.
        keys: partitions; `[None]` for an unpartitioned table.
        run: what it has at hand.
        wanted: of the maker's tables; None is all.

    Raises:
        NotMade: tables of some keys could not be made; those of the others are committed and reported.
        Unwritable: storage takes nothing more; nothing further is tried.
    """
    assets = list(maker.assets if wanted is None else wanted)
    failures: dict[Key, Exception] = {}
    run.order[:] = keys
    pace = Pace()
    for position, key in enumerate(keys, 1):
        place = f" {key} ({position} of {len(keys)}{pace.left(position - 1, len(keys))})" if key else ""
        try:
            with Reporter(f"{maker.name}{place}", run.log.info) as reporter, listening(reporter):
                for outcome in over_others(run.log, key, assets, partial(maker.bring, run, key)):
                    yield from _told(run, key, outcome)
                    run.log.info(f"{outcome.asset}{place}: {maker.said(outcome)}")
        except Unwritable:
            raise
        except maker.collected as error:
            failures[key] = error
            failed = KeyFailed(key, error, isinstance(error, PLAIN))
            trace = "" if failed.plain else f"\n{traceback.format_exc()}"
            run.log.error(f"{maker.name} {key or ''}: {error}{trace}")
            yield failed
    if failures:
        raise maker.failure(failures, keys)


def _told(run: Run, key: Key, outcome: Outcome) -> Iterator[Event]:
    """The events of a table that is up to date now: whether it was made, and then what came of each of its checks."""
    if outcome.made is None:
        yield TableUnchanged(key, outcome)
        yield from (TableChecked(outcome.asset, key, finding) for finding in outcome.findings)
        return
    yield TableCommitted(key, outcome)
    for finding in (*outcome.findings, *further(run.store, outcome.header)):
        yield TableChecked(outcome.asset, key, finding)
