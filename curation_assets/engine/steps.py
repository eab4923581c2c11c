"""Carries out the steps of a plan in this process, without Dagster.

What belongs here: the order of makers within a step, and what a failure holds up. What does not: the loop over keys (`loop.py`), which steps
there are (`plan.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from curation_assets.engine.events import Event, TableChecked
from curation_assets.engine.loop import bring_up_to_date
from curation_assets.engine.maker import Key, Maker, NotMade
from curation_assets.engine.plan import PlanStep
from curation_assets.engine.run import Run
from curation_resources.presence import at_work


@dataclass(frozen=True)
class StepFailed:
    """Tables of a step that could not be made, or were not tried since what they are made from could not be made.

    Attributes:
        error: why; None if they were not tried.
    """

    step: PlanStep
    assets: tuple[str, ...]
    error: NotMade | None


def carry_out(steps: Iterable[PlanStep], run: Run, makers: Mapping[str, Maker]) -> Iterator[Event | StepFailed]:
    """Brings the tables of each step up to date, parents before children.

    A table that could not be made, or does not pass a blocking check, holds up those of the same step that are made from it; the steps that
    follow are tried all the same.

    Args:
        steps: of `plan`.
        run: what it has at hand.
        makers: asset -> who makes it.

    Raises:
        Unwritable: storage takes nothing more.
    """
    for step in steps:
        held: set[str] = set()
        for maker in dict.fromkeys(makers[asset] for asset in step.assets):
            wanted = tuple(a for a in maker.assets if a in step.assets)
            parents = maker.parents(run.recipes)
            if held & {p for a in wanted for p in parents[a]}:
                held |= set(wanted)
                yield StepFailed(step, wanted, None)
                continue
            try:
                for event in _made(maker, step, wanted, run):
                    if isinstance(event, TableChecked) and event.finding.blocking and not event.finding.passed:
                        held.add(event.asset)
                    yield event
            except NotMade as error:
                held |= set(wanted)
                yield StepFailed(step, wanted, error)


def _made(maker: Maker, step: PlanStep, wanted: tuple[str, ...], run: Run) -> Iterator[Event]:
    keys: tuple[Key, ...] = step.keys or (None,)
    with at_work(run.store.storage, [key or maker.name for key in keys]):
        _make_batches(maker, keys, run)
        yield from bring_up_to_date(maker, keys, run, wanted)
        for key in step.keys:
            maker.clear(run, key)


def _make_batches(maker: Maker, keys: tuple[Key, ...], run: Run) -> None:
    """Does all batches; what some could not do is said together, once the others are done.

    Raises:
        NotMade: something could not be done.
    """
    failed: list[NotMade] = []
    for key, number in maker.batches(run, keys):
        try:
            maker.make_batch(run, key, number)
        except NotMade as error:
            failed.append(error)
    if failed:
        raise NotMade("\n".join(map(str, failed)), all(e.permanent for e in failed))
