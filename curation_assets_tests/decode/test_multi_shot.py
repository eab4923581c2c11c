"""Clips of several shots, from a video of known shots to the JSON of what is published."""

from __future__ import annotations

import json
import tarfile
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from curation_assets_tests.site import Site

SHOTS = (10, 14, 8, 12, 9)
"""Frames of each shot."""
RECIPE = """
dataset: cut
source: {{format: folder, path: {root}/videos}}
clips: {{from: detect, detector: content, min_scene_frames: 4, min_s: 0.2, shots: 3}}
subsets:
  several: {{where: ["shot_count >= 3"], export: {{clips: {{}}}}}}
  all: {{where: ["shot_count >= 1"]}}
"""


def video_of_shots(path: Path) -> None:
    """Noise of another mean colour in each shot, 10 frames a second."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for frames in SHOTS:
            coarse = np.kron(rng.integers(0, 256, (6, 10, 3)), np.ones((16, 16, 1)))
            for _ in range(frames):
                pixels = (coarse + rng.integers(-4, 5, coarse.shape)).clip(0, 255).astype(np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))


def test_a_clip_of_several_shots_is_published_with_its_shots_named(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    video_of_shots(tmp_path / "videos" / "v.mp4")
    site = Site(tmp_path)
    site.declare(RECIPE.format(root=tmp_path))
    site.index()
    site.settle()
    edges = np.cumsum([0, *SHOTS]).tolist()
    rows = site.store.read("clips", "cut-00000").to_pylist()
    rows.sort(key=lambda r: r["start_frame"])
    assert [r["origin"] for r in rows] == ["joined", "joined"]
    named = [[(s["start_frame"], s["end_frame"]) for s in r["shots"]] for r in rows]
    assert named == [list(pairwise(edges[:4])), list(pairwise(edges[3:]))]
    curated = {r["clip_id"]: r for r in site.store.read("curated_clips", "cut-several").to_pylist()}
    assert [curated[r["clip_id"]]["selected"] for r in rows] == [True, False]
    assert all(r["selected"] for r in site.store.read("curated_clips", "cut-all").to_pylist())
    (tar,) = (tmp_path / "data/clip_dataset/cut-several").rglob("*.tar")
    with tarfile.open(tar) as samples:
        (name,) = [n for n in samples.getnames() if n.endswith(".json")]
        record = json.load(samples.extractfile(name))  # type: ignore[arg-type]
    assert record["shots"] == [[0, 10], [10, 24], [24, 32]]
    assert record["clip"]["shots"] == rows[0]["shots"]
