"""Over HTTP: media byte by byte from a folder and a bucket, and nothing that no table names; who may ask; what is said of a wrong question."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from starlette.testclient import TestClient

from curation_assets.cli import main
from curation_assets.engine.heads import check_disk
from curation_assets.engine.staleness import known_tables
from curation_assets.look.app import look_app
from curation_assets.look.guard import COOKIE
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import FILM, RECIPE, fill, picture, recipes, served
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

RULES = json.dumps([["keep", True], ["motion >= 0.4", True]])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path_factory.mktemp("root"))))
    fill(made)
    return made


@pytest.fixture(scope="module")
def address(store: TableStore) -> Iterator[str]:
    with served(store) as found:
        yield found


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.data = response.status, response.read()
        self.headers = {k.lower(): v for k, v in response.getheaders()}

    @property
    def told(self) -> dict[str, object]:
        return json.loads(self.data)  # type: ignore[no-any-return]


def get(address: str, path: str, headers: dict[str, str] | None = None, **query: object) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=240)
    try:
        connection.request("GET", f"{path}?{urlencode(query)}" if query else path, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def test_a_root_whose_disk_is_away_is_said_and_is_there_again_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    root = tmp_path / "root"
    made = table_store(Settings(storage=str(root)))
    fill(made)
    known_tables(made)
    page = TestClient(look_app(made, recipes(), there=lambda: check_disk(made.storage)), "http://127.0.0.1")
    assert page.get("/api/collection?key=toy").status_code == 200
    root.rename(tmp_path / "away")
    for left in (False, True):
        if left:
            root.mkdir()
        for path in ("collection?key=toy", "collection?key=toy-hq", "failed?key=toy&at=0"):
            answer = page.get(f"/api/{path}")
            assert answer.status_code == 502
            assert f"the storage root {root} is gone; bring it back" in answer.json()["error"]
    root.rmdir()
    (tmp_path / "away").rename(root)
    assert page.get("/api/collection?key=toy").status_code == 200


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_media_are_those_of_the_tables(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind == "bucket":
        server = request.getfixturevalue("s3_server")
        store = TableStore(Storage(f"{server.bucket()}/store", server.options), SCHEMAS)
    else:
        store = TableStore(Storage(str(tmp_path)), SCHEMAS)
    fill(store)
    with served(store) as address:
        assert get(address, "/frame", shard="toy-00000", clip="v1_500_1000").data == picture(5)
        film = {"shard": "toy-00001", "video": "v3"}
        whole = get(address, "/video", **film)
        assert (whole.status, whole.headers["content-type"], whole.data) == (200, "video/webm", FILM)
        size = len(FILM)
        for asked, first, last in (
            ("bytes=0-99", 0, 99),
            ("bytes=100-", 100, size - 1),
            ("bytes=-7", size - 7, size - 1),
            (f"bytes=50-{9 * size}", 50, size - 1),
        ):
            part = get(address, "/video", {"Range": asked}, **film)
            assert (part.status, part.headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
            assert part.data == FILM[first : last + 1], "not a byte of what lies beside it in the tar"
        assert get(address, "/video", {"Range": f"bytes={size}-"}, **film).status == 416
        assert get(address, "/video", {"Range": "lines=1-2"}, **film).status == 200
        rows = get(address, "/api/collection", key="toy-hq").told["rows"]
        assert rows == 16


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/frame", {"shard": "../secret.txt", "clip": "v0_0_500"}),
        ("/frame", {"shard": "toy-00000/../../clips/toy-00000", "clip": "v0_0_500"}),
        ("/frame", {"shard": "toy-00000", "clip": "../../secret.txt"}),
        ("/frame", {"shard": "toy-00009", "clip": "v0_0_500"}),
        ("/video", {"shard": "..", "video": "secret.txt"}),
        ("/video", {"shard": "toy-00000", "video": "/etc/hostname"}),
        ("/video", {"shard": "toy-00001", "video": "lost"}),
        ("/sample", {"key": "../raw_shards", "dataset": "toy", "clip": "v0"}),
        ("/sample", {"key": "toy-hq", "dataset": "toy", "clip": "v0_0_500"}),
        ("/page/../../app.py", {}),
        ("/page/%2e%2e/app.py", {}),
        ("/secret.txt", {}),
        ("/api/collection", {"key": "../x"}),
        ("/api/failed", {"dataset": "../x"}),
    ],
)
def test_what_no_table_names_is_not_there(address: str, path: str, query: dict[str, str]) -> None:
    answer = get(address, path, **query)
    assert answer.status == 404
    assert b"in no table" not in answer.data
    assert b"Traceback" not in answer.data


def test_a_wrong_question_is_one_sentence(address: str) -> None:
    opened = get(address, "/api/collection", key="toy-hq").told
    known = {"key": "toy-hq", "version": opened["version"]}
    for path, query, status, said in (
        (
            "/api/judge",
            {"rules": '[["motoin > 3", true]]'},
            400,
            "no table has the column 'motoin'; did you mean motion?",
        ),
        ("/api/judge", {"rules": '[["motion >", true]]'}, 400, "expected a column, a number or a quoted text"),
        ("/api/judge", {"rules": "motion"}, 400, "rules are a list as JSON"),
        ("/api/judge", {"rules": '[{"a": 1}]'}, 400, "pairs of a text"),
        ("/api/rows", {"where": "caption > 3", "rules": RULES}, 400, "cannot be compared"),
        ("/api/rows", {"sort": "clip_id", "rules": RULES}, 200, ""),
        ("/api/rows", {"sort": "drop_reason", "rules": RULES}, 200, ""),
        ("/api/rows", {"offset": "-1"}, 400, "offset is a number"),
        ("/api/rows", {"show": "nothing"}, 400, "there is nothing to show that is called 'nothing'"),
        ("/api/near", {"rules": RULES, "rule": "0", "number": "0"}, 400, "no such number"),
        ("/api/clip", {"shard": "toy-00000", "id": "v9"}, 404, "toy-hq has no candidate v9 in toy-00000"),
        ("/api/judge", {"version": "x", "rules": RULES}, 409, "toy-hq was made again"),
    ):
        answer = get(address, path, **{**known, **query})
        assert answer.status == status, (path, query, answer.data)
        assert said in str(answer.told.get("error", "")), (path, answer.data)


def test_a_clip_has_all_that_is_known(address: str) -> None:
    opened = get(address, "/api/collection", key="toy-hq").told
    clip = get(
        address, "/api/clip", key="toy-hq", version=opened["version"], rules=RULES, shard="toy-00000", id="v0_1500_2000"
    ).told
    assert clip["times"] == [1700]
    assert clip["rules"] == [
        {"rule": "keep", "values": {"keep": "false"}, "passes": False},
        {"rule": "motion >= 0.4", "values": {"motion": "0.5"}, "passes": True},
    ]
    (copy,) = clip["copies"]  # type: ignore[misc]
    assert (copy["clip_id"], copy["keep"], copy["relation"], copy["end_ms"]) == ("v0_0_500", True, "copy", 500)
    assert ["dropped by: keep"] in [[v for n, v in lines if n == "v0_1500_2000"] for _, lines in clip["sections"]]  # type: ignore[attr-defined]
    none = {"key": "toy-hq", "version": opened["version"], "rules": RULES, "show": "copies", "where": "duration_s > 9"}
    assert get(address, "/api/rows", **none).told["items"] == []
    rows = get(address, "/api/rows", key="toy-hq", version=opened["version"], rules=RULES, show="copies").told["items"]
    assert [(r["id"], r["copy"]["clip_id"]) for r in rows] == [
        ("v0_1500_2000", "v0_0_500"),
        ("v2_1500_2000", "v2_0_500"),
    ]  # type: ignore[attr-defined]
    failed = get(address, "/api/failed", dataset="toy").told["rows"]
    assert [(r["video_id"], r["why"]) for r in failed] == [("lost", "gone")]  # type: ignore[attr-defined]


def test_this_machine_alone_may_ask_unless_there_is_a_token(store: TableStore, address: str) -> None:
    assert get(address, "/", {"Host": "elsewhere.example"}).status == 403
    plain = get(address, "/")
    assert plain.status == 200
    assert "default-src 'none'" in plain.headers["content-security-policy"]
    with served(store, token="a-secret") as guarded:
        for path in ("/", "/api/collections", "/frame?shard=toy-00000&clip=v0_0_500", "/?token=another"):
            assert get(guarded, path).status == 401
        let = get(guarded, "/?token=a-secret")
        assert (let.status, let.headers["location"]) == (303, "/")
        assert "httponly" in let.headers["set-cookie"].lower()
        assert (
            get(guarded, "/api/collections", {"Cookie": f"{COOKIE}=a-secret", "Host": "elsewhere.example"}).status
            == 200
        )
        assert get(guarded, "/api/collections", {"Cookie": f"{COOKIE}=a-secre"}).status == 401


def test_a_port_that_is_taken_is_one_sentence(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy.yaml").write_text(RECIPE)
    monkeypatch.setenv("CURATION_STORAGE", str(tmp_path))
    monkeypatch.setenv("CURATION_RECIPES", str(tmp_path / "toy.yaml"))
    port = urlsplit(address).port
    assert main(["look", "--serve", str(port)]) == 2
    assert main(["look", "--serve", "somewhere"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"curation: --serve {port}: Address already in use")
    assert said[1].startswith("curation: --serve somewhere: that is no [ADDRESS:]PORT")


def test_a_fault_of_the_server_is_said_as_one(
    store: TableStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("curation_assets.look.app.with_copies", lambda *_: {}["gone"])
    with served(store) as address:
        version = get(address, "/api/collection", key="toy-hq").told["version"]
        answer = get(address, "/api/rows", key="toy-hq", version=version, rules="[]", show="copies")
    assert answer.status == 500
    assert "a fault of the page's server, whose log says more (KeyError: 'gone')" in str(answer.told["error"])
    assert "Traceback" in caplog.text


def test_failures_are_looked_for_a_few_tables_at_a_time(
    store: TableStore, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = get(address, "/api/failed", dataset="toy").told
    assert (whole["next"], whole["looked"], whole["more"]) == (None, whole["tables"], False)  # type: ignore[index]
    monkeypatch.setattr("curation_assets.look.app.FAILURES_S", -1.0)
    rows, begin, asked = [], 0, 0
    while begin is not None:
        told = get(address, "/api/failed", **{"dataset": "toy", "from": str(begin)}).told
        rows += told["rows"]
        asked += 1
        assert told["looked"] == asked, "a table at a time"
        begin = told["next"]
    assert asked == whole["tables"]  # type: ignore[index]
    assert asked > 2
    assert rows == whole["rows"]  # type: ignore[index]
