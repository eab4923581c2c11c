"""What a server prints is an address that opens, whatever it listens on."""

from __future__ import annotations

import urllib.request
from threading import Thread

import pytest

from curation_assets.commands.addresses import opening
from curation_assets.commands.look import _listening
from curation_assets.settings import SettingsError


def test_an_address_of_one_interface_is_printed_as_it_is() -> None:
    assert opening("127.0.0.1") == ["127.0.0.1"]
    assert opening("192.0.2.7") == ["192.0.2.7"]
    assert opening("2001:db8::1") == ["[2001:db8::1]"]


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_for_all_interfaces_each_address_that_is_printed_opens(address: str) -> None:
    try:
        listener = _listening(f"[{address}]:0" if ":" in address else f"{address}:0")
    except SettingsError as error:
        pytest.skip(f"this machine has no {address} ({error})")
    with listener:
        hosts = opening(address)
        assert hosts[0] in ("127.0.0.1", "[::1]")
        assert not {address, f"[{address}]"} & set(hosts)

        def answer() -> None:
            for _ in hosts:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhere")

        thread = Thread(target=answer, daemon=True)
        thread.start()
        for host in hosts:
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://{host}:{listener.getsockname()[1]}/", timeout=240) as found:
                assert found.read() == b"here"
        thread.join(10)
