"""Shots that a detector cut too often, joined by embeddings: against distances worked out apart from the code, on a video of known shots."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from curation_assets.decode.clips import Clips, Stitch
from curation_assets.decode.stitching import border_frames, continued
from curation_assets_tests.site import Site
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.clip_model import load_clip

SHOTS = (0, 0, 1, 2, 2, 2)
"""The scene that each shot shows, under grain of its own: a detector that compares pixels cuts the first event in two and the last in three."""
FRAMES = 10
RECIPE = """
dataset: cut
source: {{format: folder, path: {root}/videos}}
clips: {{from: detect, detector: content, weights: [0, 0, 1, 0], threshold: 20, min_scene_frames: 4, min_s: 0.2{stitch}}}
embeddings: {{model: "local-dir:{root}/model", device: cpu}}
"""


def pictures() -> list[np.ndarray]:
    """uint8 (96, 160, 3) of each frame."""
    rng = np.random.default_rng(3)
    scenes = [np.kron(rng.integers(60, 196, (6, 10, 3)), np.ones((16, 16, 1), int)) for _ in range(3)]
    grain = [rng.integers(-60, 61, (96, 160, 1)) for _ in SHOTS]
    return [
        (scenes[scene] + own).clip(0, 255).astype(np.uint8)
        for scene, own in zip(SHOTS, grain, strict=True)
        for _ in range(FRAMES)
    ]


def write(path: Path, frames: list[np.ndarray]) -> None:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.options = {"crf": "10"}
        for pixels in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))


def bounds(site: Site) -> list[tuple[int, int, str, list[tuple[int, int]] | None]]:
    rows = sorted(site.store.read("clips", "cut-00000").to_pylist(), key=lambda r: r["start_frame"])
    return [
        (
            r["start_frame"],
            r["end_frame"],
            r["origin"],
            r["shots"] and [(s["start_frame"], s["end_frame"]) for s in r["shots"]],
        )
        for r in rows
    ]


def test_shots_of_one_event_are_joined_and_name_their_parts(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    frames = pictures()
    write(tmp_path / "videos" / "v.mp4", frames)
    write_tiny_clip(tmp_path / "model", 64)
    model = load_clip(f"local-dir:{tmp_path}/model", "openai", device="cpu", precision="fp32")
    vectors = model.encode_images(np.stack([model.preprocess(Image.fromarray(f)) for f in frames]))
    shots = [(n * FRAMES, (n + 1) * FRAMES) for n in range(len(SHOTS))]
    apart = [float(np.linalg.norm(vectors[b[0]] - vectors[a[1] - 1])) for a, b in pairwise(shots)]
    same = [a == b for a, b in pairwise(SHOTS)]
    nearest, farthest = (
        max(d for d, s in zip(apart, same, strict=True) if s),
        min(d for d, s in zip(apart, same, strict=True) if not s),
    )
    assert nearest < farthest, "the network tells scenes apart better than grain"

    site = Site(tmp_path)
    site.declare(RECIPE.format(root=tmp_path, stitch=""))
    site.index()
    site.settle()
    assert bounds(site) == [(a, b, "detected", None) for a, b in shots]
    before = site.tables()
    threshold = (nearest + farthest) / 2
    site.declare(RECIPE.format(root=tmp_path, stitch=f", stitch: {{distance: {threshold}}}"))
    site.settle()
    assert bounds(site) == [
        (0, 20, "joined", shots[:2]),
        (20, 30, "detected", shots[2:3]),
        (30, 60, "joined", shots[3:]),
    ]
    assert ("clips", "cut-00000") in site.made_since(before)
    site.declare(RECIPE.format(root=tmp_path, stitch=f", shots: 2, stitch: {{distance: {threshold}}}"))
    site.settle()
    assert [b[:2] for b in bounds(site)] == [(0, 20), (20, 30), (30, 50), (50, 60)]


def test_a_shot_with_a_transition_in_it_joins_nothing() -> None:
    shots = [(0, 10), (10, 20), (20, 30), (31, 40), (40, 50)]
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    borders = np.array([[east, east], [east, north], [north, north], [north, north], [north, north]])
    assert continued(borders, shots, Stitch()) == [False, False, False, True], "a transition, then a gap"
    assert continued(borders, shots, Stitch(transition=2)) == [True, True, False, True]
    unread = borders.copy()
    unread[3, 0] = np.nan
    assert continued(unread, shots, Stitch()) == [False] * 4


def test_the_pictures_lie_where_panda_70m_takes_them() -> None:
    assert border_frames([(0, 101), (200, 221), (300, 301)]) == [(5, 95), (201, 219), (300, 300)]
    with pytest.raises(ValueError, match="`stitch` is for `from: detect`"):
        Clips.model_validate({"from": "whole", "stitch": {}})
