"""What a browser is to open to reach a server that listens on an address: one that stands for all of a machine's is none that opens."""

from __future__ import annotations

import ipaddress
import socket


def opening(address: str) -> list[str]:
    """Hosts to write into a URL, of a server that listens on `address`: that one, or where it stands for all of this machine's, this machine's own name for
    itself, and then the address under which others most likely reach it."""
    found = ipaddress.ip_address(address)
    if not found.is_unspecified:
        return [f"[{address}]" if found.version == 6 else address]
    here = "[::1]" if found.version == 6 else "127.0.0.1"
    return list(dict.fromkeys([here, _seen_by_others()]))


def _seen_by_others() -> str:
    """This machine's address on the way to others; its name where it has no way. Nothing is sent: a datagram socket is bound by connecting it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of RFC 5737, which belongs to nobody
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
