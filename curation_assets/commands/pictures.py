"""`curation pictures`: the contact sheets beside the tables, for the links in Dagster's events."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from urllib.parse import urlsplit

from curation_assets.commands.addresses import opening
from curation_assets.commands.installation import Commands, end_with, store_of, usable_recipes
from curation_assets.settings import Settings, SettingsError

PORT = 3030


def add(commands: Commands) -> None:
    """Adds the command."""
    pictures = commands.add_parser(
        "pictures",
        help="show the contact sheets of tables, to which the UI links",
        description="Answers requests for the contact sheets that lie beside the tables, and for nothing else, until interrupted; `curation ui` starts "
        "it too. Links in Dagster's events lead to CURATION_PICTURES_URL. There is no login: before it listens to other machines, put what asks who is there in front of it.",
    )
    pictures.add_argument("--serve", metavar="[ADDRESS:]PORT", help=f"default: {PORT}; loopback unless told")
    pictures.add_argument(
        "--redraw",
        action="store_true",
        help="draw the contact sheets again that are gone, from the tables that they are of, and end; no table is made again",
    )
    pictures.add_argument("--of", type=int, help=argparse.SUPPRESS)
    pictures.set_defaults(call=_pictures)


def _pictures(arguments: argparse.Namespace) -> int:
    from curation_assets.commands.picture_server import PictureServer

    settings = Settings.load()
    if arguments.redraw:
        return _redraw(settings)
    address, _, port = (arguments.serve or str(PORT)).rpartition(":")
    address = address.strip("[]") or "127.0.0.1"
    store = store_of(settings)
    try:
        server = PictureServer(store, (address, int(port)))
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", None) or "that is no [ADDRESS:]PORT"
        raise SettingsError(f"--serve {address}:{port}: {why}; name another port") from error
    for shown in opening(str(server.server_address[0])):
        print(f"contact sheets on http://{shown}:{server.server_port}", flush=True)
    if arguments.of is not None:
        end_with(arguments.of, server.shutdown)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


def _redraw(settings: Settings) -> int:
    """1 if some cannot be drawn now."""
    from collections import Counter

    from curation_assets.engine.redrawing import can_be_redrawn, redraw, tables_with_sheets
    from curation_assets.engine.shard import Shard
    from curation_assets.engine.shard_keys import dataset_of
    from curation_resources.presence import at_work
    from curation_resources.storage_errors import StorageError

    store, recipes = store_of(settings, writing=True), usable_recipes(settings)
    drawn, left, whole = Counter[str](), Counter[str](), 0
    for header, there in tables_with_sheets(store):
        asset, key = header.asset, header.partition
        if there:
            whole += 1
            continue
        recipe = recipes.get(dataset_of(key)) if key is not None and can_be_redrawn(asset) else None
        if key is None or recipe is None:
            left[asset] += 1
            continue
        try:
            with at_work(store.storage, [key]):
                done = redraw(Shard(key, recipe, store, settings, None), header)
        except (LookupError, StorageError) as error:
            print(f"curation: {asset} {key}: {error}", file=sys.stderr)
            done = False
        (drawn if done else left)[asset] += 1
    lines = [f"{asset}: {count} drawn again" for asset, count in drawn.items()]
    for asset, count in left.items():
        lines.append(
            f"{asset}: {count} cannot be drawn from what is stored; the next making of each table draws another"
        )
    print("\n".join([*lines, f"{whole} contact sheets are there"]))
    return 1 if left else 0


def beside_the_ui(settings: Settings) -> None:
    """Starts this server, and that of `curation look`, in processes that end with this one, where links lead to this machine; that one cannot begin is
    said and no more."""
    for command, url in (("pictures", settings.pictures_url), ("look", settings.look_url)):
        where = urlsplit(url)
        if where.hostname in ("127.0.0.1", "localhost"):
            words = [command, "--serve", f"127.0.0.1:{where.port or 80}", "--of", str(os.getpid())]
            subprocess.Popen([sys.executable, "-m", "curation_assets.cli", *words], stdin=subprocess.DEVNULL)
