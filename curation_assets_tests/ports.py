"""Ports for servers that take no port that is already bound: those of other programs, and commands that are given a number.

What serves in this process asks for port 0 and keeps what it gets, as `served` does.
"""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def free_port() -> int:
    """A port of loopback that for a minute is nobody's but whose who binds it by its number, with SO_REUSEADDR, as servers do.

    A connection to it was closed from its side, and until packets of that one are surely gone the system gives the port to no other program that
    wants any.
    """
    with socket.create_server((HOST, 0), backlog=1) as listener, socket.create_connection(listener.getsockname()):
        listener.accept()[0].close()
        return int(listener.getsockname()[1])
