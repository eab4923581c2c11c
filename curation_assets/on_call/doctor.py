"""What is wrong with an installation, and what of it can be put right without losing anything.

What belongs here: looking at an installation as a whole, read-only but for `repair`. What does not: the state of single tables
(`staleness.py`) and their bytes (`curation verify`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from curation_assets.engine.declared import undeclared
from curation_assets.engine.heads import check_disk
from curation_assets.engine.redrawing import tables_with_sheets
from curation_assets.engine.staleness import SHARDED
from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.definitions import build_definitions
from curation_assets.orchestration.errors import DatabaseUnusable
from curation_assets.orchestration.instance import Instance, make_limits, opened, pools_of
from curation_assets.recipes import Recipe, Recipes, subsets
from curation_assets.registry import BROKEN
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets.takedown.left_samples import left_samples
from curation_assets.takedown.plan import TakedownPlan
from curation_resources.encoders import ENCODERS, NoEncoder
from curation_resources.processes import Life
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.sweep import sweep_root, unfinished_files, unfinished_uploads
from curation_resources.tables import TableStore
from curation_resources.tolerant_tables import Tolerant
from curation_resources.unwritable import Unwritable
from curation_resources.words import plural

FREE_BYTES = 5 << 30
"""Less than this on a disk that is written to is worth a word: raw shards roll their tars at one gigabyte, and workers keep several open."""
SHEETS = 32
"""Tables of each asset whose contact sheets are looked for."""
PROBE = "curation-doctor.probe"
FAMILIES = (("dagster", "dagster-webserver", "dagster-graphql"), ("dagster-aws", "dagster-k8s", "dagster-postgres"))
"""Packages of Dagster that are released together, under one version each."""


@dataclass(frozen=True)
class Ailment:
    """Something that is wrong.

    Attributes:
        about: storage, instance, runs, pools, recipes, encoders, packages, datasets, leftovers or versions.
        text: one sentence.
        remedy: what to do about it.
        repair: puts it right, for what `--fix` may do by itself; nothing that was made is lost by it.
    """

    about: str
    text: str
    remedy: str
    repair: Callable[[], None] | None = None


def examine(settings: Settings, found: Recipes) -> Iterator[Ailment]:
    """What is wrong with the installation that the settings and DAGSTER_HOME name. Where the storage or the database cannot be reached, or no
    recipe is at hand, what depends on it is left out."""
    recipes = found.usable
    yield from _versions()
    for fault in found.faults:
        left_out = "its dataset is left out until then" if recipes else "without a recipe no dataset is looked at"
        yield Ailment("recipes", fault.message, f"correct that; {left_out}")
    for broken in BROKEN:
        yield Ailment("packages", str(broken), "correct or remove that package; what it brings is left out until then")
    yield from _encoders(settings, recipes)
    store = Tolerant(table_store(settings))
    unreachable = list(_storage(store))
    yield from unreachable
    if not unreachable:
        yield from _leftovers(store)
        yield from _takedown(store)
        yield from _sheets(store)
        for left in undeclared(store, recipes, settings) if recipes else ():
            yield Ailment("datasets", left.text, left.remedy)
        yield from _foreign_code(store)
        for damaged in store.damaged:
            what, _, remedy = damaged.partition("; ")
            yield Ailment("storage", what, f"{remedy}; `curation verify` looks at every table")
    try:
        with opened() as instance:
            yield from _runs(instance)
            yield from _pools(instance, settings, recipes)
            yield from _home(instance)
    except DatabaseUnusable as error:
        yield Ailment("instance", str(error), "start it, or correct what the instance file says of it")


def _encoders(settings: Settings, recipes: Mapping[str, Recipe]) -> Iterator[Ailment]:
    """Encoders that exports name and that do not open here. On Kubernetes clips are cut in pods of their own, of which nothing can be told from here."""
    if settings.executor == "k8s":
        return
    for key, (_, subset) in subsets(recipes).items():
        clips = subset.export.clips
        if clips is not None and clips.cut != "copy":
            try:
                ENCODERS[clips.encoder].check()
            except NoEncoder as error:
                yield Ailment("encoders", f"{key}: {error}", "no clip is cut here until then; what is published stays")


def _storage(store: TableStore) -> Iterator[Ailment]:
    """Whether the root can be listed, written and read."""
    storage = store.storage
    try:
        check_disk(storage)
    except Unwritable as error:
        yield Ailment("storage", str(error), "nothing is made there until then")
        return
    try:
        storage.write(PROBE, b"curation")
        same = storage.read(PROBE) == b"curation"
        storage.remove(PROBE)
    except (*READ_ERRORS, StorageError) as error:
        yield Ailment(
            "storage",
            f"{storage.root} cannot be written and read: {error}",
            "see CURATION_STORAGE, CURATION_S3_ENDPOINT and the keys of the store"
            if str(storage.root).startswith("s3://")
            else "see CURATION_STORAGE, and who may write there",
        )
        return
    if not same:
        yield Ailment(
            "storage",
            f"{storage.root} gives back other bytes than were written",
            "do not write to it; ask whoever runs the store",
        )
    if storage.is_local:
        yield from _space(storage.root)


def _space(folder: str) -> Iterator[Ailment]:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        yield Ailment(
            "storage",
            f"{folder} has {free / 1e9:.1f} GB left",
            "make room; runs that find none fail without losing what was made",
        )


def _leftovers(store: TableStore) -> Iterator[Ailment]:
    files = list(unfinished_files(store.storage))
    uploads = _uploads(store)
    if files or uploads:
        text = f"{plural(len(files), 'unfinished file')} and {plural(uploads, 'unfinished upload')} of dead runs lie in {store.storage.root}"
        yield Ailment("leftovers", text, "the next run removes them", lambda: sweep_root(store.storage))


def _takedown(store: TableStore) -> Iterator[Ailment]:
    plan = TakedownPlan.load(store)
    if plan is not None:
        text = f"a takedown of {plural(len(plan.videos), 'video')} was begun and is not finished"
        yield Ailment("leftovers", text, "`curation forget` without arguments finishes it")
    for left in left_samples(store, tars=False):
        remedy = "`curation forget` without arguments removes them, and looks into tars too"
        yield Ailment("leftovers", f"a takedown left in {left}", remedy)


def _sheets(store: TableStore) -> Iterator[Ailment]:
    """Whether contact sheets are gone, told from some tables of each asset: what removes pictures, such as a rule of the store, removes many."""
    looked = list(tables_with_sheets(store, SHEETS))
    gone = [header for header, there in looked if not there]
    if gone:
        first = " ".join(filter(None, (gone[0].asset, gone[0].partition)))
        text = f"{len(gone)} of {len(looked)} contact sheets that were looked for are gone, the first of {first}; the tables are whole"
        yield Ailment("storage", text, "`curation verify` names all, `curation pictures --redraw` draws them again")


def _uploads(store: TableStore) -> int:
    try:
        return len(list(unfinished_uploads(store.storage)))
    except (*READ_ERRORS, NotImplementedError):  # not every store lists uploads
        return 0


def _foreign_code(store: TableStore) -> Iterator[Ailment]:
    """Tables of a stage that were made by a later version of its code than this one: somebody works on the root with a newer release."""
    for asset, part in SHARDED.items():
        keys = store.partitions(asset)
        header = store.header(asset, keys[-1]) if keys else None
        made, own = (header.provenance.code_version if header else ""), part.code_version
        if made.isdigit() and own.isdigit() and int(made) > int(own):
            text = f"{asset} of {keys[-1]} was made by code version {made}, this installation has {own}"
            yield Ailment(
                "versions", text, "install the newer release here too, or both make each other's tables again"
            )


def _versions() -> Iterator[Ailment]:
    for family in FAMILIES:
        found = {name: v for name in family if (v := _version(name))}
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{name} {v}" for name, v in found.items())
            yield Ailment(
                "versions",
                f"packages of one release differ: {listed}",
                "install them with the project's constraints.txt",
            )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _runs(instance: Instance) -> Iterator[Ailment]:
    for holder in dead_runs.holders(instance):
        pools = ", ".join(sorted({s.pool for s in holder.slots if s.held}))
        keeps = f" and keeps a slot of {pools}" if pools else ""
        clear = _clearing(holder)
        if holder.life is Life.DEAD or holder.run is None or (holder.run.is_finished and pools):
            state = "was deleted" if holder.run is None else "has ended" if holder.run.is_finished else "is dead"
            yield Ailment(
                "runs",
                f"{holder} {state}{keeps}",
                "`curation doctor --fix` marks it and frees its slots; so does the next run",
                clear,
            )
        elif holder.life is Life.UNKNOWN and not holder.queued:
            yield Ailment(
                "runs",
                f"{holder} is at work by Dagster's account{keeps}, and whether its process lives cannot be told from here",
                "look on that machine; if it is dead, run `curation doctor --fix` there, or mark the run as failed in the UI",
            )


def _clearing(holder: dead_runs.Holder) -> Callable[[], None]:
    def clear() -> None:
        with opened() as instance:
            dead_runs.clear(instance, [holder])

    return clear


def _pools(instance: Instance, settings: Settings, recipes: Mapping[str, Recipe]) -> Iterator[Ailment]:
    """Pools of the graph without a limit: where there is none, every run computes at once."""
    if not recipes or not instance.event_log_storage.supports_global_concurrency_limits:
        return
    pools = pools_of(build_definitions(settings, recipes))
    known = {limit.name for limit in instance.event_log_storage.get_pool_limits()}
    missing = sorted(pools - known)
    if not missing:
        return
    listed = ", ".join(missing)
    if instance.global_op_concurrency_default_limit is None:
        remedy = "set concurrency.pools.default_limit in dagster.yaml, or `dagster instance concurrency set POOL N`"
        yield Ailment("pools", f"no limit is set for {listed}", remedy)
    elif not dead_runs.of_one_machine(instance):  # there, first runs at once do not collide when they make it

        def make() -> None:
            with opened() as own:
                make_limits(own, missing)

        yield Ailment("pools", f"the default limit has not been made for {listed}", "the next run makes it", make)


def _home(instance: Instance) -> Iterator[Ailment]:
    if dead_runs.of_one_machine(instance):
        yield from _space(instance.root_directory)
