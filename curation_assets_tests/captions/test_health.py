"""The health of caption sets: each fault that is laid is counted, of the right clips, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation_assets.captions.health import captions_of, frozen, health
from curation_assets.cli import main
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.test_explain import commit
from curation_resources.tables import TableStore

GOOD = "A man in a red coat walks a small dog along the beach."
SAID = {
    "v_0_1": GOOD,
    "v_1_2": "Two children play chess in a park, a crowd appears behind them.",
    "v_2_3": "I'm sorry, but I can't see the video.",
    "v_3_4": "As an AI language model, I do not have access to images.",
    "v_4_5": "A person, possibly a cook, seems to stir a pot.",
    "v_5_6": "A car drives through the rain while the camera slowly",
    "w_0_1": "An aerial view of a city.",
    "w_1_2": "An aerial view of a city.",
    "w_2_3": "An aerial view of a city.",
    "w_3_4": "Ein Hund läuft am Strand.",
}
MATCH = {"v_0_1": 30.0, "v_1_2": 28.0, "v_2_3": 14.0}


def fill(store: TableStore, said: dict[str, str], match: dict[str, float]) -> None:
    for number, video in enumerate("vw"):
        key = f"toy-0000{number}"
        rows: list[dict[str, Any]] = [
            {"video_id": video, "clip_id": c, "caption": t, "caption_raw": t, "status": "ok", "backend": "b"}
            | {"language": "de" if t.startswith("Ein ") else "en"}
            for c, t in said.items()
            if c[0] == video
        ]
        more = (
            [("empty", "8_9"), ("failed", "9_10"), ("skipped", "10_11"), ("skipped", "11_12")] if video == "v" else []
        )
        rows += [{"video_id": video, "clip_id": f"v_{c}", "status": s, "backend": "b"} for s, c in more]
        commit(store, "captions", rows, key)
        scores = [
            {"video_id": video, "clip_id": c, "match": m, "model": "m"} for c, m in match.items() if c[0] == video
        ]
        commit(store, "caption_scores", scores, key)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path / "data")))
    fill(made, SAID, MATCH)
    (tmp_path / "r.yaml").write_text("dataset: toy\nsource: {format: folder, path: films}\n")
    monkeypatch.chdir(tmp_path)
    for variable, value in (("STORAGE", "data"), ("RECIPES", "r.yaml")):
        monkeypatch.setenv(f"CURATION_{variable}", value)
    return made


def test_what_ails_captions_is_counted(store: TableStore, capsys: pytest.CaptureFixture[str]) -> None:
    found = health(store, "toy")
    assert found is not None
    assert found.status == {"ok": 10, "empty": 1, "failed": 1, "skipped": 2}
    clips = {kind: {clip for clip, _ in kept} for kind, kept in found.examples.items()}
    assert clips == {"refusal": {"v_2_3", "v_3_4"}, "doubt": {"v_4_5"}, "unfinished": {"v_5_6"}}
    assert (found.refusals, found.doubtful, found.unfinished) == (2, 1, 1)
    assert (found.repeated, found.texts) == (3, [("An aerial view of a city.", 3)])
    assert found.languages == {"en": 9, "de": 1}
    assert (found.length(0), found.length(0.5), found.length(1)) == (5, 8, 13)
    assert (found.match, found.matched) == (pytest.approx(24.0), 3)
    assert main(["captions"]) == 0
    said = capsys.readouterr().out
    assert "same words as another's      3      30.0%" in said
    assert "v_2_3: I'm sorry" in said
    assert health(store, "other") is None


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "A sign says sorry in large letters.",
        "A woman who can see the sea raises her hand.",
        "The video shows an artificial lake.",
        "Hands provide food to a bird that waits.",
    ],
)
def test_good_captions_are_not_taken_for_bad_ones(text: str, tmp_path: Path) -> None:
    store = table_store(Settings(storage=str(tmp_path)))
    fill(store, {"v_0_1": text}, {})
    found = health(store, "toy")
    assert found is not None
    assert (found.examples, found.match) == ({}, None)


def test_two_sets_are_held_against_each_other_and_a_frozen_one_stays(
    store: TableStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["captions", "toy", "--freeze", "gold.jsonl", "--count", "4"]) == 0
    lines = [json.loads(line) for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    chosen = {line["clip_id"]: line["caption"] for line in lines}
    assert len(chosen) == 4
    assert chosen == {c: SAID[c] for c in chosen}
    assert frozen(dict.fromkeys(reversed(captions_of(store, "toy")), "other words"), 4).keys() == chosen.keys()
    assert main(["captions", "toy", "--freeze", "gold.jsonl"]) == 2, "what is frozen stays"
    other = table_store(Settings(storage=str(tmp_path / "other")))
    fill(other, SAID | {"v_0_1": "A dog on the beach.", "x_0_1": "None."}, {"v_0_1": 20.0, "v_1_2": 29.0})
    capsys.readouterr()
    assert main(["captions", "--against", "other", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert (one["both"], one["same"], one["only_a"], one["only_b"]) == (10, 9, 0, 0)
    assert (one["match"], one["matched"], one["better"]) == ([24.5, 29.0], 2, 1)
    ours = {"a", "man", "in", "red", "coat", "walks", "small", "dog", "along", "the", "beach"}
    theirs = {"a", "dog", "on", "the", "beach"}
    assert one["overlap"] == pytest.approx((9 + len(ours & theirs) / len(ours | theirs)) / 10)
    assert main(["captions", "--against", "gold.jsonl"]) == 0
    assert "4 clips have one in both, 0 only there, 0 only here" in capsys.readouterr().out
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert main(["captions", "--against", "bad.jsonl"]) == 2
    assert "line 1 is no JSON object" in capsys.readouterr().err
