"""What a job of curation.sbatch runs: prints the arguments of `curation run` for one phase of a recipe and one array task, or nothing.
Exit codes are those of `curation run`: 1 for what may pass, 2 for input that cannot be used.

All shards must be there before anything goes on at the index, the duplicate clusters and the subsets, and at what else a recipe gathers of them.
Between them, array tasks take contiguous shares of the shards, so that each is one ranged run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from curation_assets.commands.installation import instance_home
from curation_assets.engine.plan import BY_SHARD, PHASES, everything, plan
from curation_assets.engine.shard_keys import parse_shard_key, ranged
from curation_assets.orchestration.errors import DatabaseUnusable
from curation_assets.recipes import RecipeError, load_recipes
from curation_assets.selection import in_order
from curation_assets.settings import SettingsError


def share(keys: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The array task's contiguous share of the keys; shares differ by one at most. Without an array: all."""
    first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
    tasks = int(environment.get("SLURM_ARRAY_TASK_COUNT", 1))
    task = int(environment.get("SLURM_ARRAY_TASK_ID", first)) - first
    return list(keys[len(keys) * task // tasks : len(keys) * (task + 1) // tasks])


def arguments(recipe_file: str, phase: str, environment: Mapping[str, str], known: Sequence[str]) -> str:
    """Arguments for `curation run`; empty if there is nothing for this task to do."""
    (recipe,) = load_recipes(recipe_file).values()
    mine = share([k for k in known if parse_shard_key(k)[0] == recipe.dataset], environment)
    steps = [s for s in plan(everything({recipe.dataset: recipe}, mine), mine) if s.phase == phase]
    if not steps:
        return ""
    assets = {a for step in steps for a in step.assets}
    shards = [k for step in steps for k in step.keys if k in mine]
    chosen = f"--select {','.join(in_order(assets))}"
    return f"{chosen} --shards {','.join(ranged(shards, known))}" if shards else chosen


def phases(recipe_file: str) -> list[str]:
    """The phases that a recipe has, and of each whether it is one task or an array of them."""
    (recipe,) = load_recipes(recipe_file).values()
    shard = f"{recipe.dataset}-00000"
    steps = plan(everything({recipe.dataset: recipe}, [shard]), [shard])
    found = {"index", "shards", "clusters", "scores", "subsets", *(s.phase for s in steps)}
    return [f"{p} {'array' if p in BY_SHARD else 'one'}" for p in PHASES if p in found]


def main() -> None:
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] not in PHASES):
        sys.exit(f"usage: phase.py RECIPE [{'|'.join(PHASES)}]; without a phase, those that the recipe has")
    from curation_assets.orchestration.instance import known_shards

    try:
        if len(sys.argv) == 2:
            print("\n".join(phases(sys.argv[1])))
            return
        instance_home()
        print(arguments(sys.argv[1], sys.argv[2], os.environ, known_shards()))
    except (RecipeError, SettingsError) as error:  # no try can mend it
        print(f"phase.py: {error}", file=sys.stderr)
        sys.exit(2)
    except DatabaseUnusable as error:
        sys.exit(f"phase.py: {error}")


if __name__ == "__main__":
    main()
