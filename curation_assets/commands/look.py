"""`curation look`: a page on which clips are seen, and rules moved before anything is made."""

from __future__ import annotations

import argparse
import getpass
import ipaddress
import secrets
import socket
from contextlib import closing

from curation_assets.commands.addresses import opening
from curation_assets.commands.installation import Commands, beside, end_with, found_recipes, store_of
from curation_assets.settings import Settings, SettingsError

PORT = 3031


def add(commands: Commands) -> None:
    """Adds the command."""
    look = commands.add_parser(
        "look",
        help="see clips, and what rules would keep, in a browser",
        description="Serves a page over what is in storage, until interrupted: clips that play, each rule on the histogram of its score, what moving it would keep, and "
        "all that is known of a clip. It runs nothing, and writes nothing but the labels that are given on it. It answers to this machine alone; listening on another address it wants the token of the address that it prints.",
    )
    look.add_argument("recipe", nargs="*", help="recipe files; default: CURATION_RECIPES")
    look.add_argument(
        "--serve", metavar="[ADDRESS:]PORT", default=str(PORT), help=f"default: {PORT}; loopback unless told"
    )
    look.add_argument(
        "--who", help="whose labels those are that are given on the page; default: the user of this process"
    )
    look.add_argument("--of", type=int, help=argparse.SUPPRESS)
    look.set_defaults(call=_look)


def _look(arguments: argparse.Namespace) -> int:
    import uvicorn

    from curation_assets.engine.heads import check_disk
    from curation_assets.look.app import look_app
    from curation_assets.look.column_cache import GIGABYTE, ColumnCache
    from curation_resources.weights import cache_folder

    settings = Settings.load()
    recipes = found_recipes(settings, arguments.recipe).usable
    if arguments.recipe:
        recipes = {**recipes, **{n: r for n, r in beside(settings).items() if n not in recipes}}
    with closing(_listening(arguments.serve)) as listener:
        address, port = listener.getsockname()[:2]
        token = None if ipaddress.ip_address(address).is_loopback else secrets.token_urlsafe(24)
        cache = ColumnCache(cache_folder() / "look", int(settings.look_cache_gb * GIGABYTE))
        store = store_of(settings)
        app = look_app(store, recipes, token, arguments.who or _user(), cache, lambda: check_disk(store.storage))
        for shown in opening(address):
            print(f"look at http://{shown}:{port}/{f'?token={token}' if token else ''}", flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
        if arguments.of is not None:
            end_with(arguments.of, lambda: setattr(server, "should_exit", True))
        server.run(sockets=[listener])
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return ""


def _listening(given: str) -> socket.socket:
    """A socket on an address of the form [ADDRESS:]PORT."""
    address, _, port = given.rpartition(":")
    address = address.strip("[]") or "127.0.0.1"
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # `opening` gives others an address of IPv4
        return socket.create_server((address, int(port)), family=family, dualstack_ipv6=both)
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", None) or "that is no [ADDRESS:]PORT"
        raise SettingsError(f"--serve {given}: {why}; name another port") from error
