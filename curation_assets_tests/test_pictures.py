"""Contact sheets beside tables: kept with the table that names them, shown over HTTP, and nothing else is shown."""

from __future__ import annotations

import http.client
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from curation_assets.commands.picture_server import PictureServer
from curation_assets.engine.sheets import drop_old_sheet, put_sheet, sheet_hash, sheet_path
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_assets.verify import Verifier
from curation_assets_tests.conftest import S3Server
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

KEY = "d-00000"


def sheet(shade: int) -> Sheet:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 0, 0)).save(buffer, "JPEG")
    found = contact_sheet([(buffer.getvalue(), str(shade))])
    assert found is not None
    return found


def commit(store: TableStore, shown: Sheet | None, asset: str = "motion_scores", key: str = KEY) -> TableHeader:
    """As the engine commits a table: the sheet first."""
    base = store.standing(asset, key)[1]
    stats = put_sheet(store, asset, key, {"clips": shown, "n": 1})
    header = store.commit(asset, key, SCHEMAS[asset].empty(), Provenance(str(shown)), stats, base)
    drop_old_sheet(store, header, base)
    return header


@contextmanager
def listening(store: TableStore, address: str = "127.0.0.1") -> Iterator[PictureServer]:
    with PictureServer(store, (address, 0)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: PictureServer, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)) as connection:
        connection.putrequest(method, path, skip_host=host is not None)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get_content_type()


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(Storage(str(tmp_path / "data")), SCHEMAS)


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_link_opens_the_sheet_of_its_own_table_and_no_other(
    where: str, store: TableStore, s3_server: S3Server
) -> None:
    if where == "s3":
        store = TableStore(Storage(s3_server.bucket(), s3_server.options), SCHEMAS)
    first = commit(store, sheet(10))
    path = sheet_path(store, "motion_scores", KEY)
    assert first.sheet == sheet_hash(store.storage.read(path))
    with listening(store) as server:
        link = f"/{path}?sheet={first.sheet}"
        status, body, kind = ask(server, link)
        assert (status, kind) == (200, "image/jpeg")
        assert body == store.storage.read(path)
        assert ask(server, link, "HEAD")[:2] == (200, b"")
        second = commit(store, sheet(200))
        status, body, kind = ask(server, link)
        assert (status, kind) == (404, "text/plain")
        assert b"latest event" in body
        assert ask(server, f"/{path}?sheet={second.sheet}")[0] == 200
        commit(store, None)
        assert not store.storage.exists(path)
        assert ask(server, f"/{path}?sheet={second.sheet}")[0] == 404


def test_nothing_but_contact_sheets_can_be_asked_for(store: TableStore, tmp_path: Path) -> None:
    header = commit(store, sheet(10))
    secret = b"\xff\xd8 not yours"
    (tmp_path / "sheet.jpg").write_bytes(secret)
    digest = sheet_hash(secret)
    store.storage.write("frames/d-00000/sheet.jpg", b"no picture")
    with listening(store) as server:
        for path in (
            "/",
            "/motion_scores.parquet",
            f"/motion_scores/{KEY}.parquet?sheet={header.sheet}",
            f"/motion_scores/{KEY}/sheet.jpg",
            f"/motion_scores/{KEY}/sheet.jpg?sheet=",
            f"/motion_scores/{KEY}/sheet.jpg?sheet={digest}",
            f"/frames/{KEY}/sheet.jpg?sheet={sheet_hash(b'no picture')}",
            f"/motion_scores/../../sheet.jpg?sheet={digest}",
            f"/motion_scores/..%2f../sheet.jpg?sheet={digest}",
            f"/../sheet.jpg?sheet={digest}",
            f"//{tmp_path}/sheet.jpg?sheet={digest}",
            f"{tmp_path}/sheet.jpg?sheet={digest}",
            f"file://{tmp_path}/sheet.jpg?sheet={digest}",
            f"/../../motion_scores/{KEY}/sheet.jpg?sheet={header.sheet}",
            f"/.runs/sheet.jpg?sheet={digest}",
            "//[/sheet.jpg",
        ):
            assert ask(server, path)[0] in (400, 404), path
        link = f"/motion_scores/{KEY}/sheet.jpg?sheet={header.sheet}"
        assert ask(server, link)[0] == 200
        assert ask(server, link, "POST")[0] == 501
        assert ask(server, link, host="evil.example")[0] == 403
        assert ask(server, link, host="[")[0] == 400
        assert ask(server, link, host=f"localhost:{server.server_port}")[0] == 200
    with listening(store, "0.0.0.0") as server:
        assert ask(server, link, host="pictures.example")[0] == 200, "whoever lets others in says by which name"


def test_a_sheet_is_swept_verified_and_taken_for_no_table(store: TableStore) -> None:
    """Beside media, where the folder is swept at every commit, and beside none."""
    for asset in ("frames", "motion_scores"):
        for shown in (sheet(10), sheet(90)):
            header = commit(store, shown, asset)
        assert store.partitions(asset) == [KEY]
        assert store.sweep(header, store.files(asset, KEY)) == []
    assert list(Verifier(store, {}, deep=True).faults()) == []
    path = sheet_path(store, "motion_scores", KEY)
    store.storage.write(path, sheet(50).jpeg)
    (fault,) = Verifier(store, {}, deep=True).faults()
    assert (fault.kind, fault.file) == ("left over", path)
    store.storage.remove(path)
    assert list(Verifier(store, {}, deep=True).faults()) == [], "nothing is made from a sheet"
    store.storage.write(f"tracks/{KEY}/sheet.jpg", sheet(50).jpeg)
    (fault,) = Verifier(store, {}).faults()
    assert fault.file == f"tracks/{KEY}/sheet.jpg"


def test_the_command_listens_until_whoever_started_it_ends(store: TableStore, tmp_path: Path) -> None:
    header = commit(store, sheet(10))
    code = (
        "import os, subprocess, sys\n"
        "words = [sys.executable, '-m', 'curation_assets.cli', 'pictures', '--serve', '0', '--of', str(os.getpid())]\n"
        "subprocess.Popen(words)\n"
        "sys.stdin.read()\n"
    )
    environment = {**os.environ, "CURATION_STORAGE": store.storage.root, "CURATION_RECIPES": str(tmp_path)}
    starter = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert starter.stdin is not None
    assert starter.stdout is not None
    port = int(starter.stdout.readline().rsplit(":", 1)[1])
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", f"/motion_scores/{KEY}/sheet.jpg?sheet={header.sheet}")
        assert connection.getresponse().status == 200
    starter.stdin.close()
    starter.wait()
    starter.stdout.read()  # its end: the server has it open until it ends too
