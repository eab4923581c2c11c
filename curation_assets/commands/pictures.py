"""`curation pictures`: the contact sheets beside the tables, for the links in Dagster's events."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from urllib.parse import urlsplit

from curation_assets.commands.installation import Commands, end_with, store_of
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
    pictures.add_argument("--of", type=int, help=argparse.SUPPRESS)
    pictures.set_defaults(call=_pictures)


def _pictures(arguments: argparse.Namespace) -> int:
    from curation_assets.commands.picture_server import PictureServer

    settings = Settings.load()
    address, _, port = (arguments.serve or str(PORT)).rpartition(":")
    address = address.strip("[]") or "127.0.0.1"
    try:
        server = PictureServer(store_of(settings), (address, int(port)))
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", None) or "that is no [ADDRESS:]PORT"
        raise SettingsError(f"--serve {address}:{port}: {why}; name another port") from error
    print(f"contact sheets on http://{address}:{server.server_port}", flush=True)
    if arguments.of is not None:
        end_with(arguments.of, server.shutdown)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0


def beside_the_ui(settings: Settings) -> None:
    """Starts this server, and that of `curation look`, in processes that end with this one, where links lead to this machine; that one cannot begin is
    said and no more."""
    for command, url in (("pictures", settings.pictures_url), ("look", settings.look_url)):
        where = urlsplit(url)
        if where.hostname in ("127.0.0.1", "localhost"):
            words = [command, "--serve", f"127.0.0.1:{where.port or 80}", "--of", str(os.getpid())]
            subprocess.Popen([sys.executable, "-m", "curation_assets.cli", *words], stdin=subprocess.DEVNULL)
