"""Survivors, the stored index, and that neither depends on the order in which shards arrive."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.dedup import common
from curation_assets.dedup.clusters import build_clusters, dedup_view
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput
from curation_assets.schemas import schema
from curation_assets_tests.dedup.fingerprint_rows import clip, near, random_hashes, shard, table
from curation_resources.content_hash import content_hash
from curation_resources.storage import Storage

INDEX = "duplicate_clusters/index"


def _clusters(root: str | Path, shards: Sequence[ShardInput], **params: Any) -> pa.Table:
    return build_clusters(Storage(str(root)), INDEX, shards, Dedup(**params)).clusters


def _fates(clusters: pa.Table) -> dict[str, str | None]:
    """Clip to the clip it duplicates; None for survivors."""
    return dict(zip(clusters["clip_id"].to_pylist(), clusters["duplicate_of"].to_pylist(), strict=True))


def _library(seed: int, families: int) -> list[dict[str, Any]]:
    """Clips of several families: copies, parts, better and worse ones, exact files, blank ones, mirrored ones (of which only dataset d knows),
    and resemblances of resemblances."""
    rng = np.random.default_rng(seed)
    rows = []
    for family in range(families):
        frames = random_hashes(rng, int(rng.integers(3, 9)))
        mirror = random_hashes(rng, len(frames))
        for member in range(int(rng.integers(1, 5))):
            first = int(rng.integers(0, len(frames) - 2))
            last = int(rng.integers(first + 2, len(frames) + 1))
            bits = int(rng.choice([0, 3, 7]))
            hashes, flipped = (near(rng, side[first:last], bits) for side in (frames, mirror))
            if rng.random() < 0.2:
                hashes, flipped = flipped, hashes
            dataset = str(rng.choice(["d", "e"]))
            if rng.random() < 0.3:
                frames = near(rng, frames, 5)
            rows.append(
                clip(
                    f"f{family}m{member}",
                    hashes,
                    flipped_hashes=flipped if dataset == "d" else None,
                    dataset=dataset,
                    height=int(rng.choice([360, 720])),
                    quality=float(rng.choice([1.0, 2.0])),
                    video_sha256=str(rng.choice(["s1", "s2"])) if rng.random() < 0.2 else None,
                    blank=[bool(b) for b in rng.random(len(hashes)) < 0.1],
                )
            )
    return rows


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_result_is_that_of_the_set_of_shards(seed: int, shards: int, random: Any) -> None:
    rows = _library(seed, 6)
    names = [f"{row['dataset']}-{random.randrange(shards):05d}" for row in rows]
    parts = [shard(n, [r for r, of in zip(rows, names, strict=True) if of == n]) for n in sorted(set(names))]
    with tempfile.TemporaryDirectory() as at_once, tempfile.TemporaryDirectory() as one_by_one:
        expected = _clusters(at_once, parts, flipped=True)
        arrival = random.sample(parts, len(parts))
        for count in range(1, len(arrival) + 1):
            present = random.sample(arrival[:count], count)
            last = _clusters(one_by_one, present, flipped=True)
        assert last.equals(expected)
        gone = random.choice(parts)
        rest = [p for p in parts if p is not gone]
        without = _clusters(one_by_one, rest, flipped=True)
        assert without.equals(_clusters(at_once, rest, flipped=True)), "a shard that leaves takes its matches along"
        assert _clusters(one_by_one, parts, flipped=True).equals(expected), "and brings them back"


def _files_of_twins(rows: Sequence[dict[str, Any]], clip_id: str) -> set[str]:
    """SHA-256 of the files of all clips whose fingerprint is that of `clip_id`."""
    keys = ("hashes", "blank", "hash_ms")
    one = next(r for r in rows if r["clip_id"] == clip_id)
    return {r["video_sha256"] for r in rows if all(r[k] == one[k] for k in keys)} - {None}


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_every_duplicate_names_a_kept_clip_that_it_matches(seed: int) -> None:
    rows = _library(seed, 8)
    with tempfile.TemporaryDirectory() as root:
        clusters = _clusters(root, [shard("d-00000", rows)])
        for row in clusters.filter(pc.invert(clusters["keep"])).to_pylist():
            pair = [r for r in rows if r["clip_id"] in (row["clip_id"], row["survivor"])]
            assert row["duplicate_of"] == row["survivor"]
            alone = _fates(_clusters(Path(root, row["clip_id"]), [shard("d-00000", pair)]))
            if alone.get(row["clip_id"]) != row["survivor"]:
                files = [_files_of_twins(rows, row[name]) for name in ("clip_id", "survivor")]
                assert files[0] & files[1], "else a clip with the very same fingerprint comes from the same file"
        kept = set(clusters.filter(clusters["keep"])["clip_id"].to_pylist())
        assert kept == {r["survivor"] for r in clusters.to_pylist()}


@settings(max_examples=10)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_first_seen_never_displaces_what_is_kept(seed: int, shards: int) -> None:
    rows = _library(seed, 6)
    rng = np.random.default_rng(seed)
    home = rng.integers(0, shards, len(rows))
    parts = [shard(f"d-{9 - n:05d}", [r for r, h in zip(rows, home, strict=True) if h == n]) for n in range(shards)]
    with tempfile.TemporaryDirectory() as root:
        kept: set[str] = set()
        for count in range(1, shards + 1):
            fates = _fates(_clusters(root, parts[:count][::-1], survivor="first_seen"))
            dropped = {c for c, of in fates.items() if of is not None}
            assert not dropped & kept
            present = {r["clip_id"] for r, h in zip(rows, home, strict=True) if h < count}
            kept = present - dropped


def test_the_best_clip_survives(tmp_path: Path) -> None:
    frames = random_hashes(np.random.default_rng(0), 10)
    ranked = [
        clip("high", frames[:8], height=1080),
        clip("long", frames, height=720),
        clip("sharp", frames[:9], height=720, quality=3.0),
        clip("a", frames[:9], height=720, quality=2.0),
        clip("b", frames[:9], height=720, quality=2.0),
        clip("unknown", frames[:9], height=720, quality=None),
    ]
    for n in range(len(ranked) - 1):
        fates = _fates(_clusters(tmp_path / str(n), [shard("d-00000", ranked[n:][::-1])]))
        assert fates == {r["clip_id"]: None if r is ranked[n] else ranked[n]["clip_id"] for r in ranked[n:]}


def test_relations(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frames = random_hashes(rng, 10)
    rows = [
        clip("best", frames[:7], height=1080, video_sha256="x", flipped_hashes=random_hashes(rng, 7)),
        clip("same_file", frames[:7], video_sha256="x", flipped_hashes=random_hashes(rng, 7)),
        clip("copy", near(rng, frames[:7], 4), flipped_hashes=random_hashes(rng, 7)),
        clip("part", near(rng, frames[2:5], 4), flipped_hashes=random_hashes(rng, 3)),
        clip("whole", near(rng, frames, 4), flipped_hashes=random_hashes(rng, 10)),
    ]
    rows.append(clip("mirror", near(rng, rows[0]["flipped_hashes"], 3), flipped_hashes=near(rng, frames[:7], 3)))
    clusters = _clusters(tmp_path, [shard("d-00000", rows)], flipped=True)
    relation = dict(zip(clusters["video_id"].to_pylist(), clusters["relation"].to_pylist(), strict=True))
    assert relation == {
        "best": None,
        "same_file": "exact",
        "copy": "copy",
        "part": "contained",
        "whole": "contains",
        "mirror": "flipped",
    }
    assert clusters["confirmed_by"].to_pylist().count("sha256") == 1


def test_mirrored_copies_are_found_among_those_that_ask(tmp_path: Path) -> None:
    rng = np.random.default_rng(17)
    frames, mirror = random_hashes(rng, 6), random_hashes(rng, 6)
    rows = [
        clip("plain", frames, flipped_hashes=mirror, height=720),
        clip("mirror", near(rng, mirror, 3), flipped_hashes=near(rng, frames, 3)),
        clip("silent", near(rng, mirror, 20), dataset="e"),
        clip("unasked", near(rng, frames, 3), dataset="e"),
    ]
    fates = _fates(_clusters(tmp_path, [shard("d-00000", rows[:2]), shard("e-00000", rows[2:])], flipped=True))
    assert fates.keys() == {"plain_0_6000", "mirror_0_6000", "unasked_0_6000"}
    apart = [shard("d-00000", rows[1:2]), shard("e-00000", rows[2:])]
    assert _fates(_clusters(tmp_path / "apart", apart, flipped=True)) == {}, (
        "no mirrored hashes of the clip of the other dataset"
    )


def test_a_short_excerpt_does_not_cost_the_long_clip(tmp_path: Path) -> None:
    frames = random_hashes(np.random.default_rng(2), 12)
    rows = [clip("long", frames, height=360), clip("excerpt", frames[:4], height=1080)]
    assert _fates(_clusters(tmp_path, [shard("d-00000", rows)])) == {}


def test_no_clip_is_dropped_along_a_chain(tmp_path: Path) -> None:
    """b resembles a and c, which do not resemble each other: only b goes."""
    rng = np.random.default_rng(3)
    a = random_hashes(rng, 4)
    b = near(rng, a, 8)
    c = [x ^ y for x, y in zip(b, near(rng, [0] * 4, 8), strict=True)]
    rows = [clip("a", a, height=720), clip("b", b, height=480), clip("c", c, height=360)]
    assert min((x ^ y).bit_count() for x, y in zip(a, c, strict=True)) > 10
    assert _fates(_clusters(tmp_path, [shard("d-00000", rows)])) == {"a_0_4000": None, "b_0_4000": "a_0_4000"}


def test_exact_copies_need_no_picture(tmp_path: Path) -> None:
    black = {"blank": [True] * 3, "hash_ms": [0, 500, 900]}
    rows = [
        clip("a", [1, 2, 3], **black, video_sha256="x"),
        clip("b", [4, 5, 6], **black, video_sha256="x"),
        clip("c", [1, 2, 3], **black, video_sha256="y"),
        clip("d", [1, 2, 3], **black),
        clip("e", [1, 2, 3], **black),
        clip("f", [], video_sha256="z"),
        clip("g", [], video_sha256="z"),
    ]
    clusters = _clusters(tmp_path, [shard("d-00000", rows)])
    assert _fates(clusters) == {"a_0_3000": None, "b_0_3000": "a_0_3000", "f_0_1000": None, "g_0_1000": "f_0_1000"}
    assert set(clusters["relation"].to_pylist()) == {None, "exact"}


def test_other_methods_are_not_compared(tmp_path: Path) -> None:
    frames = random_hashes(np.random.default_rng(5), 5)
    assert _fates(_clusters(tmp_path, [shard("d-0", [clip("a", frames), clip("b", frames, method="dhash")])])) == {}


def test_the_centre_alone_suffices(tmp_path: Path) -> None:
    """A large logo changes the whole picture's hash, not the centre's."""
    rng = np.random.default_rng(6)
    centre, clear = random_hashes(rng, 5), [False] * 5
    rows = [
        clip("a", random_hashes(rng, 5), center_hashes=centre, center_blank=clear),
        clip("b", random_hashes(rng, 5), center_hashes=near(rng, centre, 4), center_blank=clear),
        clip("old", random_hashes(rng, 5)),
    ]
    clusters = _clusters(tmp_path, [shard("d-00000", rows)])
    assert _fates(clusters) == {"a_0_5000": None, "b_0_5000": "a_0_5000"}
    assert "center hashes" in clusters["confirmed_by"].to_pylist()
    assert _fates(_clusters(tmp_path, [shard("d-00000", rows)], center=False)) == {}


def test_an_unlike_centre_refuses_an_unsure_match(tmp_path: Path) -> None:
    """The same large logo on two dark clips makes the whole pictures alike; bars move the centre, but not the picture inside."""
    rng = np.random.default_rng(15)
    whole, centre, clear = random_hashes(rng, 5), random_hashes(rng, 5), [False] * 5
    first = clip("a", whole, center_hashes=centre, center_blank=clear)

    def dropped(bits: int, centre: list[int], blank: bool) -> bool:
        second = clip("b", near(rng, whole, bits), center_hashes=centre, center_blank=[blank] * 5)
        return len(_fates(_clusters(tmp_path, [shard("d-00000", [first, second], f"{bits} {centre} {blank}")]))) == 2

    other = random_hashes(rng, 5)
    assert not dropped(8, other, False)
    assert dropped(3, other, False)
    assert dropped(8, near(rng, centre, 18), False)
    assert dropped(8, other, True)


def test_embeddings_can_refuse_a_match(tmp_path: Path) -> None:
    frames = random_hashes(np.random.default_rng(7), 4)
    rng = np.random.default_rng(8)
    rows = [clip("a", frames), clip("b", near(rng, frames, 3)), clip("c", near(rng, frames, 3))]
    cosines = {("a", "b"): 0.97, ("a", "c"): 0.2}

    def cosine(one: pa.Table, other: pa.Table) -> np.ndarray:
        pairs = zip(one["clip_id"].to_pylist(), other["clip_id"].to_pylist(), strict=True)
        return np.array([cosines.get(tuple(sorted((x[0], y[0]))), np.nan) for x, y in pairs])

    found = build_clusters(Storage(str(tmp_path)), INDEX, [shard("d-00000", rows)], Dedup(confirm_cosine=0.8), cosine)
    assert _fates(found.clusters) == {"a_0_4000": None, "b_0_4000": "a_0_4000"}
    row = found.clusters.filter(pc.equal(found.clusters["video_id"], "b")).to_pylist()[0]
    assert row["embedding_similarity"] == pytest.approx(0.97)
    assert row["confirmed_by"] == "hashes and embeddings"
    assert found.stats["unconfirmed"] == 1


def test_known_shards_are_not_read_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    frames = random_hashes(rng, 5)
    first = shard("d-00000", [clip("a", frames, height=720), clip("x", random_hashes(rng, 5))])
    before = build_clusters(Storage(str(tmp_path)), INDEX, [first], Dedup()).clusters

    def unreadable() -> pa.Table:
        raise AssertionError("read again")

    known = ShardInput("d-00000", "1", unreadable)
    second = shard("d-00001", [clip("b", near(rng, frames, 3)), clip("y", random_hashes(rng, 5))])
    after = build_clusters(Storage(str(tmp_path)), INDEX, [known, second], Dedup())
    later = after.clusters
    assert _fates(later) == {"a_0_5000": None, "b_0_5000": "a_0_5000"}
    assert after.stats["shards"] == ["d-00000", "d-00001"]
    assert (after.stats["kept_shards"], after.stats["new_shards"]) == (1, 1)

    clips = table([clip("x", [1]), clip("a", frames, height=720)])
    old, new = (dedup_view(rows, clips) for rows in (before, later))
    assert old["keep"].to_pylist() == new["keep"].to_pylist() == [True, True]

    third = shard("d-00002", [clip("z", random_hashes(rng, 5))])
    both = [known, ShardInput("d-00001", "1", unreadable)]
    last = build_clusters(Storage(str(tmp_path)), INDEX, [*both, third], Dedup())
    assert content_hash(dedup_view(last.clusters, clips)) == content_hash(new), "a shard elsewhere changes nothing here"
    files = [len(Storage(str(tmp_path)).list(folder)) for folder in (f"{INDEX}/parts", f"{INDEX}/chosen", INDEX)]
    assert files == [3, 1, 3], "nothing old is left behind"


def test_a_changed_shard_replaces_its_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    frames = random_hashes(rng, 5)
    a, b = shard("d-00000", [clip("a", frames)]), shard("d-00001", [clip("b", near(rng, frames, 3))])
    assert len(_fates(_clusters(tmp_path, [a, b]))) == 2
    other = shard("d-00001", [clip("b", random_hashes(rng, 5))], version="2")
    assert _fates(_clusters(tmp_path, [a, other])) == {}


def test_changed_parameters_compare_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    frames = random_hashes(rng, 6)
    parts = [shard("d-00000", [clip("a", frames), clip("b", near(rng, frames, 10))])]
    assert len(_fates(_clusters(tmp_path, parts, distance=4, agree=4))) == 0
    assert len(_fates(_clusters(tmp_path, parts))) == 2


def test_common_hashes_are_bounded_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "COMMON", 5)
    rng = np.random.default_rng(12)
    card = random_hashes(rng, 1)
    rows = [clip(f"v{k:02d}", card + random_hashes(rng, 4)) for k in range(40)]
    rows += [clip("copy", near(rng, rows[7]["hashes"], 2))]
    found = build_clusters(Storage(str(tmp_path)), INDEX, [shard("d-00000", rows)], Dedup())
    assert found.stats["common_hashes"] == 1
    assert found.stats["common_pairs_left_out"] == 35 * 35
    assert found.stats["pairs_compared"] < 300
    assert len(_fates(found.clusters)) == 2, "the copy is found by its other frames"


def test_the_audit_shows_the_same_moments(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    frames = random_hashes(rng, 12)
    intro = random_hashes(rng, 2)
    rows = [
        clip("whole", frames, start_ms=50_000),
        clip("part", near(rng, frames[4:9], 2), start_ms=7_000),
        clip("one", intro + random_hashes(rng, 4)),
        clip("other", near(rng, intro, 1) + random_hashes(rng, 4)),
    ]
    found = build_clusters(Storage(str(tmp_path)), INDEX, [shard("d-00000", rows)], Dedup())
    pairs = {(r["video_id_a"], r["video_id_b"], r["kind"]): r for r in found.audit.to_pylist()}
    closest = pairs["part", "whole", "closest"]
    assert [b - a for a, b in zip(closest["times_a"], closest["times_b"], strict=True)] == [50_000 + 4_000 - 7_000] * 3
    doubtful = [r for r in found.audit.to_pylist() if not r["accepted"]]
    assert [{r["video_id_a"], r["video_id_b"]} for r in doubtful] == [{"one", "other"}]


def test_views_of_shards(tmp_path: Path) -> None:
    rng = np.random.default_rng(14)
    frames = random_hashes(rng, 5)
    rows = [
        clip("a", frames, dataset="e", height=720),
        clip("b", near(rng, frames, 4)),
        clip("c", random_hashes(rng, 5)),
    ]
    clusters = _clusters(tmp_path, [shard("e-00000", rows[:1]), shard("d-00000", rows[1:])])
    view = dedup_view(clusters, table(rows[1:]))
    assert view.schema.equals(schema("dedup").arrow)
    b, c = view.to_pylist()
    assert (b["keep"], b["duplicate_of"], b["duplicate_dataset"], b["relation"]) == (False, "a_0_5000", "e", "copy")
    assert b["similarity"] == pytest.approx(1 - 4 / 64)
    assert (c["keep"], c["duplicate_of"], c["cluster_id"], c["similarity"]) == (True, None, None, None)
    assert clusters.schema.equals(schema("duplicate_clusters").arrow)


def test_broken_input_is_named(tmp_path: Path) -> None:
    row = clip("a", [1, 2, 3])
    with pytest.raises(ValueError, match=r"shard d-00000: clip a_0_3000 has lists .* of different lengths"):
        _clusters(tmp_path, [shard("d-00000", [row | {"blank": [False]}])])
    with pytest.raises(ValueError, match="d-00001 was given twice"):
        _clusters(tmp_path, [shard("d-00001", []), shard("d-00001", [])])


def test_no_clips_at_all(tmp_path: Path) -> None:
    found = build_clusters(Storage(str(tmp_path)), INDEX, [], Dedup())
    assert (found.clusters.num_rows, found.audit.num_rows, found.stats["shards"]) == (0, 0, [])
    assert build_clusters(Storage(str(tmp_path)), INDEX, [shard("d-0", [])], Dedup()).clusters.num_rows == 0


def test_the_index_lies_in_any_storage() -> None:
    rng = np.random.default_rng(16)
    frames = random_hashes(rng, 5)
    first, second = shard("d-00000", [clip("a", frames)]), shard("d-00001", [clip("b", near(rng, frames, 3))])
    root = "memory://dedup-index"
    assert _fates(_clusters(root, [first])) == {}
    assert _fates(_clusters(root, [first, second])) == {"a_0_5000": None, "b_0_5000": "a_0_5000"}
