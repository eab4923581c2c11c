"""Which hosts a list of others may send us to: connections to public addresses alone, where that is asked for.

A list that came over the network can name whatever it likes: a cloud's metadata service, a database on this machine, a printer in the
office. A name is resolved once, every address that it has is judged, and the connection goes to one of those that were judged, so that
a name which answers differently the next time gains nothing. Redirects are connections like any other.
"""

from __future__ import annotations

import ipaddress
import socket

from curation_resources.download_errors import DownloadError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv6 addresses that stand for an IPv4 one (RFC 6052)."""
_COMPATIBLE = ipaddress.ip_network("::/96")
_HOSTS = frozenset({ipaddress.ip_address("168.63.129.16")})
"""Public by number alone: the host that an Azure machine runs on."""


def not_public(address: str) -> str | None:
    """What kind of address `address` is if not a public one; None if it is public.

    IPv6 addresses that hold an IPv4 one (mapped, compatible, NAT64, 6to4, Teredo) are judged by that one too.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64 or (ip in _COMPATIBLE and int(ip) > 1):
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        found = [kind for held in inner if held is not None and (kind := not_public(str(held)))]
        if found or ip.ipv4_mapped is not None or ip in _NAT64:
            return found[0] if found else None
    if ip.is_unspecified or ip.is_loopback:
        return "an address of this machine"
    if ip.is_link_local:
        return "a link-local address"
    if ip.is_multicast:
        return "a multicast address"
    if ip.is_private or (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local) or ip in _HOSTS:
        return "an address of a private network"
    if not ip.is_global or ip.is_reserved:
        return "a reserved address"
    return None


def _resolved(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]  # IPv6 has four parts


def public_addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """(family, address) of every address of a host.

    Raises:
        DownloadError: unsupported, if any of them is not public.
        OSError: the name has no address.
    """
    found = _resolved(host, port)
    for _, address in found:
        if kind := not_public(str(address[0])):
            leads = f"{host} is" if host.strip("[]") == address[0] else f"{host} leads to {address[0]},"
            raise DownloadError(
                "unsupported",
                f"{leads} {kind}, and videos of this list are fetched from public addresses only; "
                "`download.allow_private: true` in the recipe allows all",
            )
    return found


def check_name(host: str, port: int) -> None:
    """`public_addresses` for a host that a proxy resolves once more: a name that is unknown here is the proxy's to judge."""
    try:
        public_addresses(host, port)
    except OSError:
        return


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to one of the host's addresses, all of which are public.

    Raises:
        DownloadError, OSError: as `public_addresses`, or nobody answers.
    """
    failed: OSError | None = None
    for family, address in public_addresses(host, port):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(address)
            return sock
        except OSError as error:
            sock.close()
            failed = error
    raise failed or OSError("the name has no address")
