"""Videos that are referenced where they lie: `verify` and `stale --videos` say which are gone or are others now."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from curation_assets.cli import main
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import RECIPE, SHARDS, commit, fill
from curation_resources.table_headers import KEPT_FILE
from curation_resources.tables import TableStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableStore:
    """Three videos of a folder, two of them in one tar, in the first shard of a small root."""
    made = table_store(Settings(storage=str(tmp_path / "data")))
    fill(made)
    rows: list[dict[str, Any]] = []
    for video, file in (("v0", "v0.mp4"), ("v1", "two.tar"), ("v1b", "two.tar")):
        path = tmp_path / "films" / file
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(file.encode() * 9)
        rows.append({"video_id": video, "tar": str(path), "etag": made.storage.etag(str(path)), "size": 3})
    rows[2] |= {"offset": 3}
    rows.append({"video_id": "never", "status": "failed", "error_class": "gone", "error": "it is not there"})
    commit(made, "raw_shards", SHARDS[0], rows)
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    for name, value in (("STORAGE", str(tmp_path / "data")), ("RECIPES", "r.yaml")):
        monkeypatch.setenv(f"CURATION_{name}", value)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return made


def faults(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """`file what` of the videos that `verify` finds fault with."""
    capsys.readouterr()
    main(["verify", "--json", *words])
    found = json.loads(capsys.readouterr().out)
    assert found["looked_at"]["referenced"] == 2, "a tar of two videos is asked for once"
    return [f"{Path(f['file']).name} {f['what']}" for f in found["faults"] if f["repair"].startswith("put it back")]


def behind(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    capsys.readouterr()
    main(["stale", "--json", *words])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [
        f"{t['shard']} {t['video_id']} {Path(t['file']).name} {t['what'].split(' (')[0]}" for t in told if "file" in t
    ]


@pytest.mark.parametrize("deep", [[], ["--deep"]])
def test_a_video_that_is_gone_or_another_is_named(
    store: TableStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], deep: list[str]
) -> None:
    assert faults(capsys, *deep) == []
    assert behind(capsys, "--videos") == []
    (tmp_path / "films/v0.mp4").unlink()
    os.utime(tmp_path / "films/two.tar", (1, 1))
    gone, other = faults(capsys, *deep)
    assert gone == "v0.mp4 is gone"
    assert other.startswith("two.tar has changed since it was registered (")
    assert main(["verify", *deep]) == 1
    assert "v0.mp4: is gone; put it back, or let the source be read again: curation run" in capsys.readouterr().out

    assert behind(capsys) == [], "they are asked for where somebody wants to know"
    assert behind(capsys, "--videos") == [
        f"{SHARDS[0]} v0 v0.mp4 is gone",
        f"{SHARDS[0]} v1 two.tar has changed since it was registered",
    ]
    main(["stale", "--videos"])
    assert "v0.mp4   is gone" in capsys.readouterr().out


def test_what_is_kept_beside_a_table_is_no_left_over(store: TableStore, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (KEPT_FILE, "nobody.bin"):
        store.storage.write(f"frames/{SHARDS[0]}/{name}", b"x")
    capsys.readouterr()
    main(["verify", "--json"])
    left = [f["file"] for f in json.loads(capsys.readouterr().out)["faults"] if f["kind"] == "left over"]
    assert left == [f"frames/{SHARDS[0]}/nobody.bin"]
