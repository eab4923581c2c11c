"""What is behind and can be made now, from how all tables stand: tables by shard, those gathered of all shards, subsets; and why something waits.

What belongs here: the decision. What does not: in which order and ranges it is made (`plan.py`), cursors and requests (`sensors.py`), how a
table stands (`staleness.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from curation_assets.engine.completeness import Incomplete, allowed, described, gaps
from curation_assets.engine.plan import Work
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.staleness import MISSING, RETRY, SHARDED, STALE, WAITING, Graph, State
from curation_assets.engine.standing import Standing
from curation_assets.recipes import subsets
from curation_assets.registry import GATHERED, component
from curation_assets.rules.columns import inputs_of
from curation_assets.selection import assets_of_subset
from curation_assets.settings import Settings

PAUSE_SECONDS = 300.0
"""Before a second attempt at a table; doubles with each further one."""
LATER_SECONDS = 86_400.0
"""Before each attempt beyond the cap: what a server, weights or a disk that was away held back goes on by itself when it is there again."""


@dataclass
class Tries:
    """How often tables were attempted; forgotten when they come up to date or would be made from something else.

    Attributes:
        made: (asset, shard) -> fingerprint wanted, attempts, time of the last.
        now: seconds since the epoch.
    """

    made: dict[tuple[str, str], tuple[str, int, int]]
    now: int
    _current: dict[tuple[str, str], tuple[str, int, int]] = field(default_factory=dict)

    def count(self, asset: str, shard: str, fingerprint: str) -> int:
        """Attempts so far at making this."""
        known = self.made.get((asset, shard))
        if known is None or known[0] != fingerprint[:12]:
            return 0
        self._current[asset, shard] = known
        return known[1]

    def pausing(self, asset: str, shard: str, cap: int) -> bool:
        """Whether it is too early for another attempt, of which `cap` follow each other closely."""
        _, count, last = self.made[asset, shard]
        pause = PAUSE_SECONDS * 2 ** (count - 1) if count < cap else LATER_SECONDS
        return self.now < last + pause

    def add(self, asset: str, shard: str, fingerprint: str) -> None:
        count = self.count(asset, shard, fingerprint)
        self._current[asset, shard] = (fingerprint[:12], count + 1, self.now)

    def saved(self) -> dict[str, list[Any]]:
        """Those that were asked for in this tick, as JSON."""
        return {f"{a} {s}": list(t) for (a, s), t in sorted(self._current.items())}


@dataclass
class Behind:
    """What a tick found to do.

    Attributes:
        work: what can be made now: of shards, assets in graph order all of whose inputs exist or are made by the same run; of what is made
            over many shards, assets that are made from what lies there.
        first: shard, subset or gathered table -> those among the assets that are made from what lies there; they count as attempts.
        given_up: tables that reached the cap of attempts; they are tried again a day later.
        pausing: tables that wait for their next attempt.
        resting: datasets with such tables.
        held: gathered table -> shards that wait for it.
        blocked: reasons why tables cannot be made at all.
        waiting: subset -> why it is not published now.
        states: how the tables stand.
    """

    work: Work = field(default_factory=Work)
    first: dict[str, tuple[str, ...]] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    pausing: list[str] = field(default_factory=list)
    resting: set[str] = field(default_factory=set)
    held: dict[str, list[str]] = field(default_factory=dict)
    blocked: set[str] = field(default_factory=set)
    waiting: dict[str, str] = field(default_factory=dict)
    states: Standing | None = None

    def attempted(self, key: str) -> list[tuple[str, str]]:
        """(asset, fingerprint) of what a run over a key attempts, as in `first`."""
        assert self.states is not None
        own = None if key in GATHERED else key
        return [(asset, self.states.fingerprint(asset, own)) for asset in self.first[key]]


@dataclass(frozen=True)
class Busy:
    """What open runs are at work on, or will be.

    Attributes:
        shards: shards of their ranges.
        inputs: gathered table -> those of them whose part of it may come out new.
        subsets: keys of the subsets that they publish.
        gathered: gathered tables that they make.
    """

    shards: frozenset[str] = frozenset()
    inputs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    subsets: frozenset[str] = frozenset()
    gathered: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Gathered:
    """What a table over all shards gathers, and what of it it has seen: shard -> content hash of each."""

    asset: str
    inputs: Mapping[str, str]
    seen: Mapping[str, str]
    fitted: bool

    @property
    def source(self) -> str:
        """The table of a shard that it gathers."""
        return component(self.asset).inputs[0]

    def knows(self, shard: str) -> bool:
        """Whether it has seen a shard as it is."""
        return shard in self.inputs and self.seen.get(shard) == self.inputs[shard]


def what_is_behind(graph: Graph, settings: Settings, tries: Tries, busy: Busy) -> Behind:
    """What is to be done next, from how the tables stand.

    Whatever one dataset lacks holds back nobody but itself: clusters are made when some dataset has all the fingerprints that it can have
    now, and so with the other tables over all shards; a subset when what it uses of its own datasets is complete.
    """
    states = graph.look()
    plan = Behind(states=states)
    gathered = [_gathered(graph, a) for a in GATHERED if states.get(a, None) is not None]
    attempt = _Attempts(plan, settings, tries)
    tried = {shard for _, shard in tries.made}
    apart = np.zeros(len(graph.shards), np.int64)
    for at, shard in enumerate(graph.shards):
        if shard in tried:
            apart[at] = at + 2
        else:
            apart[at] = -sum(g.knows(shard) << bit for bit, g in enumerate(gathered))
    for shards, behind in states.shards_behind(apart):
        _plan_shards(graph, shards, behind, [g for g in gathered if not g.knows(shards[0])], attempt)
    changing = {g.asset: _changing(g, plan, busy) for g in gathered}
    working = {dataset_of(s) for s in busy.shards | set(plan.work.shards)}
    for shard in set(plan.work.shards) & busy.shards:
        del plan.work.shards[shard]
    for one in gathered:
        state = states.get(one.asset, None)
        if state is None or one.asset in busy.gathered:
            continue
        nothing_comes = not graph.shards and state.state == MISSING and graph.indexed >= graph.recipes.keys()
        if nothing_comes or _worth_gathering(one, state, changing[one.asset]):
            _plan_whole(one.asset, [state], attempt)
    coming = plan.work.gathered | busy.gathered  # what they hold comes next, and subsets show it
    working |= {dataset_of(s) for asset in coming for s in plan.held.get(asset, ())}
    for key in sorted(subsets(graph.recipes)):
        if key not in busy.subsets:
            _plan_subset(graph, states, key, working, attempt)
    return plan


def _gathered(graph: Graph, asset: str) -> _Gathered:
    part = component(asset)
    assert part.gathering is not None
    return _Gathered(asset, graph.known.hashes(part.inputs[0]), graph.seen_by(asset), part.gathering.fitted)


def _changing(gathered: _Gathered, plan: Behind, busy: Busy) -> set[str]:
    """Datasets of which something that a table gathers is on the way. What is fitted once waits for all that can come of a dataset."""
    shards = busy.inputs.get(gathered.asset, frozenset()) | {
        s for s, assets in plan.work.shards.items() if gathered.source in assets
    }
    found = {dataset_of(s) for s in shards}
    if gathered.fitted:
        before = GATHERED[: GATHERED.index(gathered.asset)]
        held = [s for a in before for s in plan.held.get(a, ())]
        found |= {dataset_of(s) for s in (*busy.shards, *plan.work.shards, *held)} | plan.resting
    return found


def _worth_gathering(gathered: _Gathered, state: State, waits: Collection[str]) -> bool:
    """Whether a dataset that does not wait has what the table has not seen as it is, or lost some of it."""
    if state.state not in (MISSING, STALE) or not state.fingerprint:
        return False
    inputs, seen = gathered.inputs, gathered.seen
    changed = {dataset_of(s) for s in {*inputs, *seen} if inputs.get(s) != seen.get(s)}
    return bool(inputs) and (bool(changed - set(waits)) or not (changed or waits))


def _plan_subset(
    graph: Graph,
    states: Standing,
    key: str,
    working: Collection[str],
    attempt: _Attempts,
) -> None:
    """The tables of a subset that are out of date and whose inputs are complete, or may be incomplete and will not get better by themselves."""
    recipe, subset = subsets(graph.recipes)[key]
    datasets = set(subset.datasets or [recipe.dataset])
    behind = [
        s
        for a in assets_of_subset(subset)
        if (s := states.get(a, key)) is not None and s.state in (MISSING, STALE, RETRY)
    ]
    chosen: list[State] = []
    for state in behind:
        found = gaps(graph, states, key, state.asset)
        found = [g for g in found if (g.asset, g.shown) not in {(s.asset, (s.partition,)) for s in chosen}]
        try:
            allowed(found, key, state.asset, subset)
        except Incomplete:
            attempt.plan.waiting.setdefault(key, f"{state.asset} waits for {'; '.join(described(found))}")
            break
        if found and datasets & (set(working) | attempt.plan.resting):
            attempt.plan.waiting.setdefault(
                key, f"{state.asset} waits while its inputs are still tried: {'; '.join(described(found))}"
            )
            break
        if state.fingerprint:
            chosen.append(state)
    if chosen and datasets & set(working):
        attempt.plan.waiting.setdefault(key, f"runs are at work on {', '.join(sorted(datasets & set(working)))}")
    elif chosen:
        _plan_whole(key, chosen, attempt)


@dataclass
class _Attempts:
    """Decides whether a table that could be made is to be made now; notes in the plan why not."""

    plan: Behind
    settings: Settings
    tries: Tries

    def __call__(self, state: State) -> bool:
        where = state.partition or ""
        count = self.tries.count(state.asset, where, state.fingerprint)
        name = f"{state.asset} of {where}" if where else state.asset
        cap = self.settings.max_attempts
        if not count or not self.tries.pausing(state.asset, where, cap):
            return True
        if count >= cap:
            self.plan.given_up.append(name)
        else:
            self.plan.pausing.append(name)
            if state.asset in SHARDED:
                self.plan.resting.add(dataset_of(where))
        return False


def _plan_shards(
    graph: Graph, shards: Sequence[str], states: Sequence[State], unseen: Sequence[_Gathered], attempt: _Attempts
) -> None:
    """Walks through the tables of shards that are not fresh, in graph order, and takes those that can be made.

    Args:
        shards: whose tables stand alike, and of which nothing was attempted yet; or one.
        states: of the first of them.
        unseen: tables over all shards that have not seen them as they are.
    """
    plan = attempt.plan
    recipe = graph.recipes[dataset_of(shards[0])]
    unmet = {g.asset for g in unseen}
    sources = {a: component(a).inputs[0] for a in GATHERED}
    will: list[str] = []
    first: list[str] = []
    left: set[str] = set()
    held: set[str] = set()
    for state in states:
        asset, part = state.asset, SHARDED[state.asset]
        inputs = set(inputs_of(part, recipe))
        if inputs & left:
            left.add(asset)
        elif waits := {s for s in part.slices if s in unmet or (s in sources and sources[s] in will)}:
            left.add(asset)
            held |= waits
        elif inputs.intersection(will):
            will.append(asset)
        elif state.state == WAITING:
            if not state.fingerprint:
                left.add(asset)
                plan.blocked |= {f"{asset}: {r}" for r in state.reasons if not r.startswith("waits for")}
        elif attempt(state):
            will.append(asset)
            first.append(asset)
        else:
            left.add(asset)
    if will:
        plan.work.shards |= dict.fromkeys(shards, tuple(will))
        plan.first |= dict.fromkeys(shards, tuple(first))
        why = ", ".join(f"{s.asset} is {s.state}" for s in states if s.asset in will)
        plan.work.why |= dict.fromkeys(shards, why)
    else:
        for gathered in held:
            plan.held.setdefault(gathered, []).extend(shards)


def _plan_whole(key: str, states: Sequence[State], attempt: _Attempts) -> None:
    """A gathered table, or the tables of one subset that are ready."""
    chosen = [s for s in states if attempt(s)]
    if not chosen:
        return
    plan = attempt.plan
    plan.first[key] = tuple(s.asset for s in chosen)
    plan.work.why[key] = ", ".join(f"{s.asset} is {s.state}" for s in chosen)
    if key in GATHERED:
        plan.work.gathered.add(key)
    else:
        plan.work.subsets[key] = tuple(s.asset for s in chosen)
