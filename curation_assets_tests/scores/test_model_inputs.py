"""Inputs of models that the one decode keeps beside the frames: what they are equal to, and what becomes of frames that have none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation_assets.contracts.tables import beside
from curation_assets.decode.analysis_results import AnalysisParams
from curation_assets.decode.clips import Clips
from curation_assets.decode.shard import analyse_shard
from curation_assets.schemas import schema
from curation_assets.scores.embedding import embed_frames, load_model
from curation_assets.scores.embedding_line import EmbeddingLine
from curation_assets.scores.frame_embeddings import Embeddings
from curation_assets.takedown.tar_rewriting import rewrite_tar
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.clip_model import clip_fit
from curation_resources.media import MediaRef
from curation_resources.model_input import Fit, InputFormat, ModelInput, decoded
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter
from curation_resources.torchvision_ops import ensure_torchvision

ARCHITECTURE = "ViT-S-32-alt"
"""The smallest of open_clip's own with pictures of 224 x 224."""
VIDEOS: Mapping[str, Mapping[str, Any]] = {
    "odd": {"size": (641, 359), "pix_fmt": "yuv444p"},
    "tall": {"size": (360, 642)},
    "turned": {"size": (642, 358), "rotation": 90},
    "tiny": {"size": (160, 96)},
    "large": {"size": (1922, 1080)},
}
FIT = Fit(224, (224, 224), 3)


def frames_of(root: Path, videos: Mapping[str, Path], *inputs: ModelInput) -> tuple[pa.Table, Storage]:
    """The table of frames of videos, from the one decode."""
    storage = Storage(str(root))
    raw = [
        {**dict.fromkeys(schema("raw_shards").names), "dataset": "d", "video_id": v, "status": "ok", "tar": str(path)}
        | {"size": path.stat().st_size, "duration_ms": 1000}
        for v, path in videos.items()
    ]
    metadata = [
        {**dict.fromkeys(schema("video_metadata").names), "dataset": "d", "video_id": v, "status": "ok"} for v in videos
    ]
    params = AnalysisParams(clips=Clips.model_validate({"from": "whole", "min_s": 0.1}), inputs=inputs)
    with TarWriter(storage, "frames/d-00000", "token") as writer:
        found = analyse_shard(
            pa.Table.from_pylist(raw, schema("raw_shards").arrow),
            pa.Table.from_pylist(metadata, schema("video_metadata").arrow),
            params,
            storage,
            writer,
            workers=0,
            wanted=("clips", "frames"),
        )
    assert found.errors == {}
    return found.tables["frames"], storage


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("videos")
    return {name: write_video(folder / f"{name}.mp4", (12,), crf="12", **how) for name, how in VIDEOS.items()}


def shown(path: Path, turned: bool) -> list[Image.Image]:
    """All pictures of a video as PyAV gives them."""
    with av.open(str(path)) as video:
        images = [f.to_image() for f in video.decode(video=0)]
    return [i.transpose(Image.Transpose.ROTATE_90) for i in images] if turned else images


def kept(storage: Storage, row: Mapping[str, Any], number: int = 0) -> np.ndarray:
    one = beside(row)[number]
    return decoded(storage.read_media(MediaRef(one["tar"], one["offset"], one["size"])), one["format"], FIT.size)


@pytest.mark.parametrize("form", ["zstd", "webp", "raw"])
def test_lossless_inputs_are_what_open_clips_own_transform_makes_of_the_decoded_frame(
    videos: dict[str, Path], form: InputFormat, tmp_path: Path
) -> None:
    ensure_torchvision()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    steps = image_transform_v2(PreprocessCfg(), is_train=False).transforms[:-2]
    frames, storage = frames_of(tmp_path, videos, ModelInput(FIT, form))
    pictures = {v: shown(path, v == "turned") for v, path in videos.items()}
    for row in frames.to_pylist():
        expected = pictures[row["video_id"]][row["frame"]]
        for step in steps:
            expected = step(expected)
        np.testing.assert_array_equal(kept(storage, row), np.asarray(expected), row["video_id"])
    assert {r["video_id"] for r in frames.to_pylist()} == set(videos)


def test_vectors_are_those_of_open_clip_on_the_whole_frame(videos: dict[str, Path], tmp_path: Path) -> None:
    """Of a real architecture. JPEGs are nearly as near, and nearer than the stored pictures, which is how frames without any input are read."""
    ensure_torchvision()
    import open_clip
    import torch

    torch.manual_seed(0)
    network, _, transform = open_clip.create_model_and_transforms(ARCHITECTURE)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    params = Embeddings(
        model=ARCHITECTURE, pretrained=str(tmp_path / "weights.pt"), device="cpu", precision="fp32", batch=4
    )
    fit = clip_fit(params.model, params.pretrained)
    assert fit == FIT
    model = load_model(params)
    assert model.fit == fit
    frames, storage = frames_of(tmp_path / "default", videos, ModelInput(fit))
    as_jpeg, of_jpeg = frames_of(tmp_path / "jpeg", videos, ModelInput(fit, "jpeg"))
    pictures = {v: shown(path, v == "turned") for v, path in videos.items()}
    rows = frames.to_pylist()
    with torch.inference_mode():
        batch = torch.stack([transform(pictures[r["video_id"]][r["frame"]]) for r in rows])
        expected = torch.nn.functional.normalize(network.eval().encode_image(batch), dim=-1).numpy()

    centre = expected.mean(axis=0)
    """Random weights put all pictures into one corner; told apart from there, they are harder to hit."""

    def away(vectors: np.ndarray) -> tuple[float, np.ndarray]:
        """The least cosine with what is expected, and for each one minus that of both as seen from the centre."""
        a, b = vectors - centre, expected - centre
        seen = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
        return float(((vectors * expected).sum(axis=1) / lengths).min()), 1 - seen

    def embedded(table: pa.Table, storage: Storage) -> np.ndarray:
        made, stats = embed_frames(table, EmbeddingLine(model, storage, params.batch))
        assert (stats.embedded, stats.failed) == (len(rows), 0)
        return np.array(made["embedding"].to_pylist(), np.float32)

    column = frames.schema.get_field_index("inputs")
    none = frames.set_column(column, frames.schema.field(column), pa.nulls(len(rows), frames.schema.types[column]))
    least, near = away(embedded(frames, storage))
    least_of_jpegs, of_jpegs = away(embedded(as_jpeg, of_jpeg))
    least_of_pictures, of_pictures = away(embedded(none, storage))
    assert least > 0.999999, "half precision of the table is all that is lost"
    assert near.max() < of_jpegs.max() / 10
    assert least_of_jpegs > 0.9999
    assert np.median(of_jpegs) < np.median(of_pictures) / 2
    assert least_of_pictures > 0.999
    aside = away(model.encode_images(np.stack([np.roll(kept(storage, r), 1, axis=1) for r in rows])))[1]
    assert aside.mean() > 10 * of_jpegs.mean(), "a pixel aside would be seen"


def test_inputs_go_with_their_frames_and_are_found_where_a_tar_was_written_anew(
    videos: dict[str, Path], tmp_path: Path
) -> None:
    """With ids so long that a tar says their names in headers of their own."""
    named = {f"{name}{'x' * 90}": videos[name] for name in ("tiny", "odd")}
    frames, storage = frames_of(tmp_path, named, ModelInput(FIT, "raw"), ModelInput(Fit(64, (64, 64), 3), "jpeg"))
    assert [[i["format"] for i in r["inputs"]] for r in frames.to_pylist()] == [["raw", "jpeg"]] * len(frames)
    before = {(r["video_id"], r["frame"]): kept(storage, r) for r in frames.to_pylist()}
    gone, stays = sorted(named)
    rows = [r for r in frames.to_pylist() if r["video_id"] == gone]
    offsets = {r["offset"] for r in rows}
    (tar,) = frames["tar"].unique().to_pylist()
    moved = rewrite_tar(storage, tar, "frames/d-00000/new.tar", lambda m: m.offset_data in offsets)
    assert moved is not None
    left = [r for r in frames.to_pylist() if r["video_id"] == stays]
    for row in left:
        now = {**row, "tar": "frames/d-00000/new.tar", "offset": moved[row["offset"]]}
        np.testing.assert_array_equal(kept(storage, now), before[stays, row["frame"]])
    data = storage.read("frames/d-00000/new.tar")
    assert all(before[gone, r["frame"]].tobytes()[90000:99000] not in data for r in rows)
    assert before[stays, left[0]["frame"]].tobytes()[90000:99000] in data


def test_an_input_that_is_not_the_one_that_was_written_is_no_vector(tmp_path: Path) -> None:
    params = Embeddings(model=f"local-dir:{write_tiny_clip(tmp_path / 'tiny', 32)}", device="cpu", precision="fp32")
    model = load_model(params)
    fit = clip_fit(params.model, "")
    assert fit == model.fit == Fit(64, (64, 64), 3)
    video = write_video(tmp_path / "v.mp4", (12,))
    frames, storage = frames_of(tmp_path, {"v": video}, ModelInput(fit))
    first = beside(frames.to_pylist()[0])[0]
    with open(tmp_path / first["tar"], "r+b") as file:
        file.seek(first["offset"] + 300)
        file.write(b"\0\1\2\3")
    made, stats = embed_frames(frames, EmbeddingLine(model, storage, params.batch))
    assert (stats.failed, set(stats.faults)) == (1, {"v"})
    (reason,) = [e for e in made["error"].to_pylist() if e]
    assert "SHA-256 differs" in reason
    assert str(first["offset"]) in reason
