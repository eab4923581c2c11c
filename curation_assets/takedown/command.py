"""`curation forget`: asks, takes down, and reports every place that was looked at, what was removed and what is out of reach."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curation_assets.engine.heads import reach
from curation_assets.finding import by_id, by_name, was_taken_down
from curation_assets.ingest.forgotten import add_tombstones, domain_keys
from curation_assets.orchestration.alone import alone
from curation_assets.orchestration.events import Pages
from curation_assets.orchestration.instance import Instance
from curation_assets.orchestration.taken_down import forget_in_events, forget_in_home, report_again
from curation_assets.recipes import Recipe, RecipeError
from curation_assets.registry import DOWNLOADS
from curation_assets.selection import SUBSET_ASSETS
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets.takedown.exports import forget_in_exports, samples_in_versions
from curation_assets.takedown.large_tables import rows_of
from curation_assets.takedown.left_samples import LeftSamples, left_samples, remove_left
from curation_assets.takedown.plan import PATH, SHARD_ASSETS, NothingFound, Query, TakedownPlan, lines, make_plan
from curation_assets.takedown.same_bytes import add_bytes
from curation_assets.takedown.tables import Done, forget_in_tables
from curation_resources.tables import TableStore
from curation_resources.words import plural

OUT_OF_REACH = (
    "backups, snapshots and older versions of objects that the storage keeps by itself",
    "copies that others made of published versions: they learn from README.md and removed.json of the version",
    "models that were trained on it, and what a caption server or a log collector keeps",
    "sources: what lists or holds the video is left as it is; tombstones keep it out",
)


def forget(arguments: argparse.Namespace, settings: Settings, recipes: Mapping[str, Recipe], home: Path) -> int:
    """0 if all was removed, 1 if something is left or the answer was no, 2 if nothing is what was asked for."""
    store = table_store(settings)
    reach(store)
    plan = TakedownPlan.load(store)
    query = _query(arguments)
    begun = plan is not None
    if plan is not None:
        print(
            f"a takedown of {_count(plan)} was not finished; "
            + ("it is finished first" if query.names_something else "goes on with it")
        )
    else:
        if not query.names_something and (found := list(left_samples(store, tars=True))):
            return _finish(store, found, arguments)
        plan = _asked(store, recipes, query, arguments.reason)
        if plan is None:
            return 2
    for line in _stored(store, recipes, plan):
        print(line)
    if arguments.dry_run:
        return 0
    if not arguments.yes and not _confirmed(plan):
        print("nothing was removed")
        return 1
    with alone(store.storage) as instance:
        saved = TakedownPlan.load(store)
        now = saved if begun or saved else _asked(store, recipes, query, arguments.reason)
        if now is None or now.names != plan.names or begun != (saved is not None):
            raise RecipeError(
                "what is to be removed is not what was shown, since a run or another takedown has ended meanwhile: give the command again"
            )
        try:
            left = take_down(store, recipes, settings, now, instance, home, print)
        except KeyboardInterrupt:
            print("curation: the takedown is not finished; `curation forget` goes on with it", file=sys.stderr)
            raise
    for line in left:
        print(f"STILL THERE {line}")
    return 1 if left else 0


def _finish(store: TableStore, found: Sequence[LeftSamples], arguments: argparse.Namespace) -> int:
    """Removes what takedowns of before left in versions; 0 if all of it went."""
    print("\n".join(map(str, found)))
    if arguments.dry_run:
        return 0
    if not arguments.yes and not _agreed("remove these samples?"):
        print("nothing was removed")
        return 1
    with alone(store.storage):
        for left in left_samples(store, tars=True):
            remove_left(store, left, print)
    still = list(left_samples(store, tars=True))
    for left in still:
        print(f"STILL THERE {left}")
    return 1 if still else 0


def take_down(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    plan: TakedownPlan,
    instance: Instance,
    home: Path,
    say: Callable[[str], Any],
) -> list[str]:
    """Does what the plan says; what is left and where. The order is such that a run that is killed is gone on with by calling it again."""
    add_bytes(store, plan, say)
    plan.save(store)
    new = add_tombstones(store, [*plan.keys, *(k for v in plan.videos for k in v.keys)], plan.reason)
    say(f"tombstones: {new} new")
    if not plan.videos:  # nothing to look for: a search for no video would find it everywhere
        store.storage.remove(PATH)
        return []
    done: Done = forget_in_tables(store, recipes, settings, plan, say)
    done += forget_in_exports(store, recipes, plan, say)
    left = []
    if not forget_in_events(instance, plan, recipes, say):
        left.append("Dagster's events: they lie in a storage that cannot be rewritten from here")
    say(f"Dagster: {plural(report_again(instance, store, recipes, done, Pages.of(settings)), 'table')} reported again")
    left += forget_in_home(home, plan, say)
    left += _found_still(store, plan)
    say("out of reach:")
    for line in (*OUT_OF_REACH, *_sources(plan), *_copies(plan)):
        say(f"  {line}")
    if not left:
        store.storage.remove(PATH)
    return left


def _query(arguments: argparse.Namespace) -> Query:
    ids, listed = list(arguments.id), list[str]()
    if arguments.list:
        try:
            text = Path(arguments.list).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"--list: {arguments.list} cannot be read ({error})") from error
        listed = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not all(i.strip() for i in ids):
        raise RecipeError("an id is empty; give ids as tables have them, or addresses")
    if arguments.list and not listed:
        raise RecipeError(f"--list: {arguments.list} names no video; an id or address is wanted per line")
    if not all(c.strip() for c in arguments.channel):
        raise RecipeError(f"--channel: a channel's name is wanted, as `channel` of {DOWNLOADS} has it")
    return Query(
        tuple(dict.fromkeys(ids)),
        tuple(dict.fromkeys(listed)),
        tuple(arguments.channel),
        tuple(map(_domain, arguments.domain)),
        arguments.removed,
        arguments.dataset,
    )


def _domain(given: str) -> str:
    """The host that is named, as tombstones have it."""
    host = given.strip().lower().strip(".")
    if f"domain {host}" not in domain_keys(f"https://{host}/"):
        raise RecipeError(
            f"--domain: {given!r} is no domain; a host such as videos.example.org is wanted, without scheme, port and path"
        )
    return host


def _asked(store: TableStore, recipes: Mapping[str, Recipe], query: Query, reason: str) -> TakedownPlan | None:
    if not query.names_something:
        print("curation: name videos, --list, --channel, --domain or --removed", file=sys.stderr)
        return None
    try:
        plan = make_plan(store, recipes, query, reason)
    except NothingFound as error:
        told = {name: list(_no_video(store, recipes, name, query.dataset)) for name in error.lost}
        rest = [] if all(told.values()) else [str(error)]
        for line in (*(line for own in told.values() for line in own), *rest):
            print(f"curation: {line}", file=sys.stderr)
        return None
    if not plan.videos and not plan.keys:
        print("curation: no video is what was asked for", file=sys.stderr)
        return None
    return plan


def _no_video(store: TableStore, recipes: Collection[str], given: str, dataset: str | None) -> Iterator[str]:
    """What a word is that no video is called by: one of its clips, tracks or samples, a file, or a video that was taken down already."""
    if said := was_taken_down(store, given, [dataset] if dataset else recipes):
        yield f"{said} already"
        return
    track = re.fullmatch(r"(.+_\d+_\d+)_\d{4,}", given)
    found, of_clip = by_id(store, given)
    if not found and track is not None:
        found, of_clip = by_id(store, track[1])
    named = found or list(by_name(store, given))
    meant = {(m.video["dataset"], m.video["video_id"]) for m in named}
    meant = meant or {(v["dataset"], v["video_id"]) for v in of_clip}
    for name, video in sorted(meant):
        if dataset is None or name == dataset:
            shown = video if not video.startswith("-") else f"-- {video}"
            if named and not any(m.clip for m in named) and track is None:
                yield f"{given} names the video {video} of {name}, and takedowns go by its id: `curation forget {shown}`"
                continue
            yield (
                f"{given} is of the video {video} of {name}, and takedowns are by video: `curation forget {shown}` removes all that was made of it, "
                "other clips among it; rules of a subset, or its `exclude`, leave out a single clip"
            )


def _count(plan: TakedownPlan) -> str:
    return plural(len(plan.videos), "video")


def _confirmed(plan: TakedownPlan) -> bool:
    return _agreed(f"remove everything of {_count(plan)}?")


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        print("curation: say --yes to remove it, or --dry-run to look", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _stored(store: TableStore, recipes: Mapping[str, Recipe], plan: TakedownPlan) -> list[str]:
    """What is stored of the videos, a line per table and per published version, older ones included."""
    absent = [f"of no video here, and kept out if it comes later: {lines(plan.absent, 20)}"] if plan.absent else []
    if not plan.videos:
        return absent or ["no video is stored of what was named; what comes of it later is kept out"]
    found = [f"{_count(plan)}: {lines(v.video_id for v in plan.videos)}"]
    for asset in SHARD_ASSETS:
        rows = sum(_rows(store, plan, asset, s) for s in plan.shards if store.exists(asset, s))
        if rows:
            found.append(f"  {asset}: {plural(rows, 'row')} in {lines(plan.shards)}")
    for asset in SUBSET_ASSETS:
        for key in store.partitions(asset):
            rows = _rows(store, plan, asset, key)
            found += [f"  {asset} of {key}: {plural(rows, 'row')}"] if rows else []
    found += [
        f"  version {folder}: {plural(count, 'sample')}" for folder, count in samples_in_versions(store, recipes, plan)
    ]
    return found + [f"  {line}" for line in _copies(plan)] + absent


def _rows(store: TableStore, plan: TakedownPlan, asset: str, partition: str) -> int:
    return int(rows_of(store, plan.of, asset, partition).num_rows)


def _found_still(store: TableStore, plan: TakedownPlan) -> list[str]:
    """Tables that have rows of the videos after all: something wrote them meanwhile."""
    found = []
    for asset in SHARD_ASSETS:
        found += [f"{asset} of {s}" for s in plan.shards if store.exists(asset, s) and _rows(store, plan, asset, s)]
    for asset in SUBSET_ASSETS:
        found += [f"{asset} of {k}" for k in store.partitions(asset) if _rows(store, plan, asset, k)]
    return found


def _sources(plan: TakedownPlan) -> Sequence[str]:
    sources = dict.fromkeys(s for v in plan.videos for s in v.sources)
    return [f"the video itself where it came from: {s}" for s in list(sources)[:20]]


def _copies(plan: TakedownPlan) -> list[str]:
    """Other videos that show the same: only a person can say whether they are meant too."""
    own = {f"{v.dataset} {v.video_id}" for v in plan.videos}
    copies = sorted({c for v in plan.videos for c in v.copies} - own)
    return (
        [f"near-duplicates of its clips are stored under other ids, which stay: {lines(copies, 20)}"] if copies else []
    )
