"""`curation doctor`, `metrics` and `purge`: what is wrong with an installation, numbers about it, and what it need not keep."""

from __future__ import annotations

import argparse
import json
import sys
import threading
from datetime import UTC, datetime, timedelta

from curation_assets.commands.installation import Commands, instance_home
from curation_assets.recipes import RecipeError, RecipeFault, Recipes, read_recipes
from curation_assets.settings import Settings, SettingsError
from curation_resources.words import plural


def add(commands: Commands) -> None:
    """Adds the commands."""
    doctor = commands.add_parser("doctor", help="what is wrong with this installation, and what to do about it")
    doctor.add_argument("--fix", action="store_true", help="put right what can be without losing anything")
    doctor.add_argument("--json", action="store_true", help="a JSON object per line")
    doctor.set_defaults(call=_doctor)

    purge = commands.add_parser(
        "purge",
        help="remove Dagster's events of runs that ended long ago",
        description="Removes the events and logs of runs that ended long ago, but for the latest materialization of each partition and the latest outcome of each "
        "check, which the UI shows. Tables and published versions are not touched. See docs/how-to/operations.md.",
    )
    purge.add_argument("--days", type=float, help="since they ended; default: CURATION_KEEP_RUNS_DAYS")
    purge.add_argument("--dry-run", action="store_true", help="say how much that is, and remove nothing")
    purge.set_defaults(call=_purge)

    metrics = commands.add_parser("metrics", help="numbers for Prometheus: what is behind, failures, cost, dead runs")
    where = metrics.add_mutually_exclusive_group()
    where.add_argument(
        "--textfile", metavar="FILE", help="write them to a file, for node_exporter's textfile collector"
    )
    where.add_argument(
        "--serve", metavar="[ADDRESS:]PORT", help="answer requests until interrupted; loopback unless told"
    )
    metrics.set_defaults(call=_metrics)


def _purge(arguments: argparse.Namespace) -> int:
    from curation_assets.orchestration.instance import opened
    from curation_assets.orchestration.retention import Unpurgeable, purge

    instance_home()
    days = Settings.load().keep_runs_days if arguments.days is None else arguments.days
    if days <= 0:
        raise SettingsError("--days: a number above 0 is wanted")
    try:
        with opened() as instance:
            done = purge(instance, datetime.now(UTC) - timedelta(days=days), arguments.dry_run)
    except Unpurgeable as error:
        raise SettingsError(str(error)) from error
    said = "would be removed" if arguments.dry_run else "removed"
    print(
        f"{plural(done.runs, 'run')} ended more than {days:g} days ago: {plural(done.events, 'event')} {said}, and {done.removed} of the runs with all that was left of them; "
        "the latest events of partitions and checks stay"
    )
    return 0


def _all_recipes(settings: Settings) -> Recipes:
    """The recipes of the settings. That there are none, or only one that cannot be used, is one more fault: neither doctor nor numbers end there."""
    from curation_assets.stores import storage_options

    try:
        return read_recipes(settings.recipes, storage_options(settings, settings.recipes))
    except RecipeError as error:
        return Recipes({}, (RecipeFault(settings.recipes, str(error)),))


def _doctor(arguments: argparse.Namespace) -> int:
    from curation_assets.on_call.doctor import examine

    instance_home()
    settings = Settings.load()
    left = 0
    for ailment in examine(settings, _all_recipes(settings)):
        mended = arguments.fix and ailment.repair is not None
        if mended and ailment.repair is not None:
            ailment.repair()
        left += not mended
        if arguments.json:
            told = {"about": ailment.about, "text": ailment.text, "remedy": ailment.remedy, "fixed": mended}
            print(json.dumps(told, ensure_ascii=False))
        else:
            print(f"{ailment.about}: {ailment.text}\n  -> {'put right' if mended else ailment.remedy}")
    if not left and not arguments.json:
        print("nothing is wrong that could be told from here")
    return 1 if left else 0


def _metrics(arguments: argparse.Namespace) -> int:
    from prometheus_client import generate_latest, start_http_server, write_to_textfile

    from curation_assets.on_call.metrics import registry

    instance_home()
    settings = Settings.load()
    for fault in _all_recipes(settings).faults:
        print(f"curation: left out: {fault.message}", file=sys.stderr)
    numbers = registry(settings, lambda: _all_recipes(settings))
    if arguments.textfile:
        write_to_textfile(arguments.textfile, numbers)
    elif arguments.serve:
        address, _, port = arguments.serve.rpartition(":")
        try:
            server, _ = start_http_server(int(port), address or "127.0.0.1", numbers)
        except (OSError, OverflowError, ValueError) as error:
            why = getattr(error, "strerror", None) or "that is no [ADDRESS:]PORT"
            raise SettingsError(f"--serve {arguments.serve}: {why}; name another port") from error
        print(f"metrics on http://{address or '127.0.0.1'}:{server.server_port}/metrics", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
        finally:
            server.shutdown()
    else:
        print(generate_latest(numbers).decode(), end="")
    return 0
