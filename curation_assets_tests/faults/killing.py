"""Commands that are killed in each step of the graph, given again until they end, and held against an undisturbed one.

What belongs here: choosing the moments, and what must hold in the end. What does not: on what instance and storage it is tried.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from curation_assets_tests.faults.shipped import Shipped, kill_group
from curation_assets_tests.faults.steps import Stage, Steps
from curation_assets_tests.faults.whole_graph import RUN, Holdings, holdings, left_over, remaining, undisturbed


def resumed(shipped: Shipped, expected: Holdings) -> None:
    """The same command goes on to the same end and leaves nothing over."""
    done = shipped.curation(*RUN, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    now = holdings(shipped)
    assert now.tables == expected.tables
    assert now.media == expected.media
    assert now.exports == expected.exports
    assert now.names == expected.names
    assert left_over(shipped) == []


def spread(stages: Sequence[Stage], kills: int, chance: random.Random) -> Counter[Stage]:
    """How often a command is to be killed in each step: equally often, what does not divide in some that are drawn."""
    each, more = divmod(kills, len(stages))
    return Counter(dict.fromkeys(stages, each)) + Counter(chance.sample(list(stages), more))


def kill_in(shipped: Shipped, steps: Steps, stage: Stage, delay_s: float) -> Stage | None:
    """Starts the command and kills its whole group a moment after a step has begun.

    Returns:
        the step that was in progress then, which may be a later one; the run and `between steps` if none was; None if the command ended before.
    """
    steps.forget()
    process = shipped.start(RUN)
    while process.poll() is None and stage not in {s.stage for s in steps.seen()}:
        time.sleep(0.02)
    time.sleep(delay_s)
    if process.poll() is not None:
        out, err = process.communicate()
        assert process.returncode == 0, out + err
        return None
    kill_group(process)
    assert remaining(shipped) == []
    last = steps.seen()[-1]
    return last.stage if last.seconds is None else (last.stage[0], "between steps")


def kill_through(
    root: Path,
    installed: Callable[[Path], Shipped],
    given: Path,
    whole: Path,
    kills: int,
    seed: int,
    ended: Callable[[Shipped, Holdings], None] = resumed,
    database: Mapping[str, str] | None = None,
) -> None:
    """Kills commands in each step of the graph, one step after the other, in as many installations as it takes; each is brought to its end
    at last.

    Args:
        root: where installations are made.
        installed: makes one in a folder.
        given: the source of all of them.
        whole: of the undisturbed one.
        kills: how many, at least.
        seed: which moments, and which steps if there are fewer kills than steps.
        ended: brings an installation to its end and holds it against the undisturbed one.
        database: where the instance is, if it is in PostgreSQL.
    """
    expected, chance = undisturbed(whole, given, True), random.Random(seed)
    lasted = {s.stage: s.seconds or 0.0 for s in Steps(Shipped(whole)).seen()}
    wanted, fell, round_ = spread(list(lasted), kills, chance), Counter[Stage](), 0
    while wanted and fell.total() < 2 * kills:
        shipped = installed(root / f"round{round_}")
        steps = Steps(shipped, database)
        round_ += 1
        for stage in [s for s in lasted if wanted[s]]:
            if wanted[stage]:
                where = kill_in(shipped, steps, stage, chance.uniform(0, 0.9 * lasted[stage]))
                fell.update([where] if where else [])
                wanted = wanted - Counter([where])
        ended(shipped, expected)
        print(f"{fell.total()} kills in {round_} installations; steps still to come: {dict(wanted)}", flush=True)
    for stage in [*lasted, *sorted(set(fell) - set(lasted))]:
        print(f"{fell[stage]} in {stage[1]} of run {stage[0]}")
    assert fell.total() >= kills
