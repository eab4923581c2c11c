"""`curation stale`, `plan` and `report`: how the tables stand, what making the rest would take, and what a dataset came to."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from curation_assets.commands.installation import (
    Commands,
    beside,
    found_recipes,
    home,
    is_recipe_file,
    print_undeclared,
    store_of,
)
from curation_assets.recipes import RecipeError, subset_key
from curation_assets.settings import Settings
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.engine.staleness import Graph
    from curation_assets.ingest.referenced_videos import LostReference
    from curation_assets.recipes import Recipe
    from curation_assets.report import Report
    from curation_resources.tables import TableStore

SHOWN = 5
"""Videos that are named without --why."""


def add(commands: Commands) -> None:
    """Adds the commands."""
    stale = commands.add_parser("stale", help="what is missing or out of date, and because of what")
    stale.add_argument("recipe", nargs="*", help="recipe files; default: CURATION_RECIPES")
    stale.add_argument("--why", action="store_true", help="list the partitions and what has changed")
    stale.add_argument(
        "--videos",
        action="store_true",
        help="ask as well after the videos that are referenced where they lie: those that are gone, or are other files now, count as behind",
    )
    stale.add_argument(
        "--json", action="store_true", help="a JSON object per partition that is behind, then the counts"
    )
    stale.add_argument(
        "--exit-code", action="store_true", help="exit with 1 if anything is behind, or a recipe was left out"
    )
    stale.set_defaults(call=_stale)

    plan = commands.add_parser("plan", help="what a run would make, and what that would take")
    plan.add_argument("recipe", nargs="*", help="recipe files; default: CURATION_RECIPES")
    plan.add_argument("--videos", type=int, help="videos of a source that is not indexed yet")
    plan.add_argument("--hours-per-video", type=float, help="mean length; default: of the videos that were fetched")
    plan.add_argument("--clips-per-video", type=float, help="mean number; default: of the videos that were cut")
    plan.add_argument(
        "--selected",
        type=float,
        metavar="SHARE",
        help="share of the clips, 0 to 1, that subsets take; default: as they were last judged, or what their `count` asks for",
    )
    plan.add_argument("--json", action="store_true", help="a JSON object per table, then the sum")
    plan.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if a run would make anything, or a recipe was left out",
    )
    plan.set_defaults(call=_plan)

    report = commands.add_parser("report", help="funnel, failures, seconds and cost of datasets")
    report.add_argument("what", nargs="?", help="a recipe file or a dataset; default: all of CURATION_RECIPES")
    report.add_argument("--json", action="store_true", help="a JSON object per dataset")
    report.add_argument(
        "--exit-code",
        action="store_true",
        help="exit with 1 if videos, or what is made of their clips, failed, a subset was published without something, a table over all shards was made without some, or a recipe was left out",
    )
    report.add_argument(
        "--what-if",
        action="append",
        default=[],
        metavar="RULE",
        help="print the funnel of the dataset's subsets of clips as it would be with this rule in `where`, in place of the one that names the same columns; may be "
        "given several times; nothing is published",
    )
    report.set_defaults(call=_report)


def _stale(arguments: argparse.Namespace) -> int:
    from curation_assets.engine.staleness import FRESH, STATES, looked_at
    from curation_assets.outcome import text_table
    from curation_assets.schemas import SCHEMAS

    home()
    settings = Settings.load()
    found = found_recipes(settings, arguments.recipe)
    recipes = found.usable
    graph = looked_at(store_of(settings), recipes, settings, why=arguments.why or arguments.json)
    standing = graph.look()
    counts = {a: c for a in SCHEMAS if (c := standing.counts(a))}
    lost = list(_lost_videos(graph)) if arguments.videos else []
    behind = bool(lost) or any(c.keys() - {FRESH} for c in counts.values())
    code = 1 if arguments.exit_code and (behind or found.faults) else 0
    if arguments.json:
        for state in standing.all_behind():
            told = {"asset": state.asset, "partition": state.partition, "state": state.state, "reasons": state.reasons}
            print(json.dumps(told, ensure_ascii=False))
        for shard, one in lost:
            print(json.dumps({"shard": shard, "video_id": one.video_id, "file": one.file, "what": one.what}))
        print(json.dumps({"counts": counts}))
        return code
    print(text_table(("asset", *STATES), [(a, *(c[state] or "" for state in STATES)) for a, c in counts.items()]))
    if arguments.why and behind:
        print()
        lines = [(s.asset, s.partition or "", s.state, "; ".join(s.reasons)) for s in standing.all_behind()]
        print(text_table(("asset", "partition", "state", "because"), lines))
    if lost:
        shown = lost if arguments.why else lost[:SHOWN]
        more = f"; {len(lost) - len(shown)} more with --why" if len(shown) < len(lost) else ""
        print(f"\nvideos that are not as they were when the source was read, which the next run does again{more}")
        print(text_table(("shard", "file", "what"), [(shard, one.file, one.what) for shard, one in shown]))
    if not arguments.recipe:
        print_undeclared(settings, recipes, graph.known)
    return code


def _lost_videos(graph: Graph) -> Iterator[tuple[str, LostReference]]:
    """(shard, file) of what is referenced where it lies and is not there as it was."""
    from curation_assets.ingest.raw_shards import TABLE
    from curation_assets.ingest.referenced_videos import References

    references = References(graph.store, remote=True)
    made = set(graph.store.partitions(TABLE.asset))
    for shard in graph.shards:
        if shard in made:
            yield from ((shard, one) for one in references.lost(shard))


def _report(arguments: argparse.Namespace) -> int:
    from curation_assets.report import render, reports
    from curation_resources.tolerant_tables import Tolerant

    settings = Settings.load()
    given: str | None = arguments.what
    if given and is_recipe_file(given):
        found = found_recipes(settings, [given])
        chosen = list(found.usable)
        recipes = {**beside(settings), **found.usable}
    else:
        found = found_recipes(settings)
        recipes = found.usable
        if given and given not in recipes:
            raise RecipeError(f"no recipe declares the dataset {given!r}; there are {', '.join(recipes)}")
        chosen = [given] if given else list(recipes)
    store = Tolerant(store_of(settings))
    if arguments.what_if:
        return _what_if(arguments, store, recipes, chosen)
    if settings.sample is not None:
        return _projected(arguments, store, [recipes[name] for name in chosen], settings)
    told = list(reports(store, [recipes[name] for name in chosen], settings))
    lacking = any(s.left_out or s.failed for r in told for s in r.subsets)
    wrong = lacking or any(r.failures or r.failed or r.without for r in told) or (found.faults and not given)
    code = 1 if arguments.exit_code and wrong else 0
    if arguments.json:
        print("\n".join(map(report_json, told)))
        return code
    if told:
        print("\n\n".join(render(report, settings) for report in told))
    for line in store.damaged:
        print(f"DAMAGED {line}")
    if not given:
        print_undeclared(settings, recipes)
    return code


def _projected(arguments: argparse.Namespace, store: TableStore, chosen: Sequence[Recipe], settings: Settings) -> int:
    """What the whole would give, by a sample of it."""
    from curation_assets.projection import project
    from curation_assets.projection_text import render

    for recipe in chosen:
        try:
            found = project(store, recipe, settings)
        except LookupError as error:
            raise RecipeError(str(error.args[0])) from error
        print(json.dumps(asdict(found)) if arguments.json else f"{render(found)}\n")
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from curation_assets.estimate import estimate, not_indexed, total
    from curation_assets.estimate_size import Size
    from curation_assets.estimate_text import as_json, render
    from curation_assets.registry import INDEX
    from curation_assets.remarks import remarks

    home()
    settings = Settings.load()
    found = found_recipes(settings, arguments.recipe)
    size = Size(arguments.videos, arguments.hours_per_video, arguments.clips_per_video, arguments.selected)
    for option, given, most in (
        ("--videos", size.videos, math.inf),
        ("--hours-per-video", size.hours_per_video, math.inf),
        ("--clips-per-video", size.clips_per_video, math.inf),
        ("--selected", size.selected, 1.0),
    ):
        if given is not None and not 0 < given <= most:
            raise RecipeError(
                f"{option}: {given:g} is not {'above 0' if most == math.inf else 'above 0 and at most 1'}"
            )
    store = store_of(settings)
    lines = list(estimate(store, found.usable, settings, size))
    unknown = not_indexed(store, found.usable) if size.videos is None else []
    for recipe in found.usable.values():
        for remark in remarks(recipe, settings):
            print(f"{recipe.dataset}: {remark.text}", file=sys.stderr)
    for name in unknown:
        said = f"{name}: its source is not indexed yet, and nothing is known of its size: say --videos, or index it: curation run RECIPE --select {INDEX}"
        print(said, file=sys.stderr if arguments.json else sys.stdout)
    if arguments.json:
        print("\n".join([*map(as_json, lines), as_json(total(lines, settings))]))
    elif lines or (found.usable and not unknown):
        print(render(lines, settings))
    return 1 if arguments.exit_code and (lines or unknown or found.faults) else 0


def _what_if(
    arguments: argparse.Namespace, store: TableStore, recipes: Mapping[str, Recipe], chosen: Sequence[str]
) -> int:
    from curation_assets.outcome import text_table
    from curation_assets.publish.curating.what_if import what_if
    from curation_assets.rules.language import RuleError

    code, some = 0, False
    for dataset in chosen:
        for name, subset in recipes[dataset].subsets.items():
            if subset.of != "clips":
                continue
            try:
                found = what_if(store, recipes, recipes[dataset], name, arguments.what_if)
            except RuleError as error:
                print(f"curation: subset {subset_key(dataset, name)}, --what-if: {error}", file=sys.stderr)
                return 2
            if found.missing:
                shard, lacking = next(iter(found.missing.items()))
                said = f"{plural(len(found.missing), 'shard is', 'shards are')} left out, {shard} since {lacking}"
                print(f"curation: subset {found.key}: {said}", file=sys.stderr)
                code = 1
            if arguments.json:
                print(json.dumps(asdict(found), ensure_ascii=False))
                continue
            if some:
                print()
            some = True
            print(f"subset {found.key} if it were so; before the criterion `{subset.select.criterion}`")
            print(text_table(("step", "rows", "hours"), [(s.rule, s.rows, f"{s.hours:.3f}") for s in found.steps]))
    return code


def report_json(report: Report) -> str:
    """A report of `curation_assets.report` as one JSON object."""
    return json.dumps({**asdict(report), "cost": report.cost}, ensure_ascii=False)
