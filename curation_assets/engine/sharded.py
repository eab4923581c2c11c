"""Makers of the tables by shard, from what they declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from curation_assets.contracts.component import Stage
from curation_assets.engine.coming import Coming
from curation_assets.engine.loop import PLAIN
from curation_assets.engine.maker import Key, Maker, NotMade
from curation_assets.engine.making import Outcome, as_made, bring_shard
from curation_assets.engine.run import Run
from curation_assets.engine.shard import Shard
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import inputs_of
from curation_resources.tables import MissingTable
from curation_resources.words import plural

SHOWN_REASONS = 20
"""Reasons why shards failed that a message tells apart."""


class ShardMaker(Maker):
    """Makes the tables of a stage. A shard that fails hides none of the others, whatever it fails for."""

    collected = (Exception,)

    def __init__(self, stage: Stage) -> None:
        self.stage, self.name = stage, stage.name
        self.assets = tuple(p.asset for p in stage.parts)

    def bring(self, run: Run, key: Key, wanted: Sequence[str]) -> Iterator[Outcome]:
        assert key is not None
        shard = self._shard(run, key)
        shard.coming = Coming(run.order, key, lambda later: as_made(self.stage, wanted, self._shard(run, later)))
        yield from bring_shard(self.stage, wanted, shard)

    def _shard(self, run: Run, key: str) -> Shard:
        dataset, _ = parse_shard_key(key)
        if dataset not in run.recipes:
            known = ", ".join(run.recipes) or "none"
            raise MissingTable(
                f"shard {key} belongs to dataset {dataset!r}, but no recipe declares it; recipes: {known}"
            )
        return Shard(key, run.recipes[dataset], run.store, run.settings, run.log, run.force, run.models).among(
            run.recipes
        )

    def parents(self, recipes: Mapping[str, Recipe]) -> dict[str, dict[str, bool]]:
        found = {}
        for part in self.stage.parts:
            tables = dict.fromkeys(part.inputs) | {t: None for r in recipes.values() for t in inputs_of(part, r)}
            found[part.asset] = dict.fromkeys(tables, True) | dict.fromkeys(part.slices, False)
        return found

    def failure(self, failures: Mapping[Key, Exception], keys: Sequence[Key]) -> NotMade:
        return failed_shards(self.name, failures, len(keys), "the others are committed")


def failed_shards(name: str, failures: Mapping[Key, Exception], total: int, others: str) -> NotMade:
    """What is said of the shards that failed. Equal reasons are said once, with the first shards and how many there are more.

    Args:
        name: of the work.
        failures: shard -> why.
        total: shards that were tried.
        others: what is true of the others, if there are any.
    """
    said = {str(k): str(e) if isinstance(e, PLAIN) else f"{type(e).__name__}: {e}" for k, e in failures.items()}
    by_reason: dict[str, list[str]] = {}
    for key, reason in said.items():
        by_reason.setdefault(reason.replace(key, "..."), []).append(key)
    lines = [f"{_some(own)}: {said[own[0]] if len(own) == 1 else reason}" for reason, own in by_reason.items()]
    more = f"\n... and {plural(len(lines) - SHOWN_REASONS, 'reason')} more" if len(lines) > SHOWN_REASONS else ""
    rest = f"; {others}" if len(said) < total else ""
    return NotMade(
        f"{name} failed for {len(said)} of {plural(total, 'shard')}{rest}\n" + "\n".join(lines[:SHOWN_REASONS]) + more,
        all(isinstance(e, PLAIN) for e in failures.values()),
        {"failed": said},
    )


def _some(keys: Sequence[str]) -> str:
    """The first keys, and how many there are more."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
