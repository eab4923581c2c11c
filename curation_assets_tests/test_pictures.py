"""Contact sheets beside tables: kept with the table that names them, shown over HTTP, and nothing else is shown."""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from curation_assets.commands.picture_server import PictureServer
from curation_assets.engine.redrawing import redraw, tables_with_sheets
from curation_assets.engine.shard import Shard
from curation_assets.engine.sheets import drop_old_sheet, put_sheet, sheet_hash, sheet_path
from curation_assets.on_call.doctor import _sheets
from curation_assets.recipes import Recipe
from curation_assets.registry import component
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.showing.sheets import Sheet, contact_sheet
from curation_assets.verify import UNSHOWN, Verifier
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
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=240)) as connection:
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


def frames_with_sheet(store: TableStore) -> TableHeader:
    """A table of frames of two clips with the sheet that its component shows, as the engine commits it."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 10, 10)).save(buffer, "JPEG")
    jpeg, folder = buffer.getvalue(), f"frames/{KEY}"
    store.storage.write(f"{folder}/a-00000.tar", 2 * jpeg)
    ids = {"dataset": "d", "video_id": "v", "time_ms": 0, "frame": 0, "position": 0.5, "size": len(jpeg)}
    place = {"tar": f"{folder}/a-00000.tar", "sha256": hashlib.sha256(jpeg).hexdigest()}
    rows = [{**ids, **place, "clip_id": f"v_{n}_{n + 1}", "offset": n * len(jpeg)} for n in range(2)]
    table = pa.Table.from_pylist(rows, schema=SCHEMAS["frames"].arrow)
    _, shown = component("frames").shown(shard_of(store), table)
    return store.commit("frames", KEY, table, Provenance("1"), {**put_sheet(store, "frames", KEY, shown), "n": 1})


def shard_of(store: TableStore) -> Shard:
    recipe = Recipe.model_validate({"dataset": "d", "source": {"format": "ids", "path": "x"}})
    return Shard(KEY, recipe, store, Settings(storage=store.storage.root), None)


@pytest.mark.parametrize("same", [True, False])
def test_a_sheet_that_is_gone_is_told_and_drawn_again(store: TableStore, same: bool) -> None:
    header = frames_with_sheet(store)
    if not same:  # as another version of what draws and encodes had it
        table = store.read("frames", KEY)
        store.storage.write(sheet_path(store, "frames", KEY), b"another picture")
        stats = {**header.stats, "sheet": sheet_hash(b"another picture")}
        header = store.commit("frames", KEY, table, header.provenance, stats)
    assert list(Verifier(store, {}, deep=True).faults()) == []
    assert list(tables_with_sheets(store)) == [(header, True)]
    assert list(_sheets(store)) == []
    store.storage.remove(sheet_path(store, "frames", KEY))
    (fault,) = Verifier(store, {}).faults()
    assert (fault.kind, fault.file) == (UNSHOWN, f"frames/{KEY}/sheet.jpg")
    assert "curation pictures --redraw" in fault.repair
    (ailment,) = _sheets(store)
    assert ailment.text.startswith(f"1 of 1 contact sheets that were looked for are gone, the first of frames {KEY}")
    assert redraw(shard_of(store), header)
    now = store.header("frames", KEY)
    assert now is not None
    assert (now.tag == header.tag) is same, "a table whose picture came out the same is not written"
    assert (now.content_hash, now.fingerprint, now.stats["n"]) == (header.content_hash, header.fingerprint, 1)
    assert list(Verifier(store, {}, deep=True).faults()) == []


def test_a_sheet_that_does_not_follow_from_its_table_is_left_to_the_next_making(store: TableStore) -> None:
    header = commit(store, sheet(10), "raw_shards")
    store.storage.remove(sheet_path(store, "raw_shards", KEY))
    before = store.header("raw_shards", KEY)
    assert not redraw(shard_of(store), header)
    assert store.header("raw_shards", KEY) == before
    assert not store.storage.exists(sheet_path(store, "raw_shards", KEY))


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
    assert (fault.kind, fault.file) == (UNSHOWN, path)
    store.storage.remove(path)
    (fault,) = Verifier(store, {}, deep=True).faults()
    assert (fault.kind, fault.what) == (UNSHOWN, "the contact sheet is gone; the table is whole")
    store.storage.write(path, sheet(90).jpeg)
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
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=240)) as connection:
        connection.request("GET", f"/motion_scores/{KEY}/sheet.jpg?sheet={header.sheet}")
        assert connection.getresponse().status == 200
    starter.stdin.close()
    starter.wait()
    starter.stdout.read()  # its end: the server has it open until it ends too
