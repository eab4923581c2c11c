"""Of a picture that the codec or the container crops, the part that players show is what is measured, sampled and exported."""

from __future__ import annotations

import io
import random
from pathlib import Path

import av
import numpy as np
import pytest

from curation_assets_tests.decode.boxes import with_clean_aperture, with_pixel_crop
from curation_assets_tests.decode.coded_video import picture, write_video
from curation_assets_tests.decode.test_as_players_show import alike, analyse, cut, shown
from curation_resources.container_crop import ContainerCrop, container_crops

LEFT, TOP, WIDTH, HEIGHT = 48, 16, 224, 140


def cropped(folder: Path, kind: str) -> Path:
    """A numbered video of 320x180 of which the part above is shown."""
    right, bottom = 320 - LEFT - WIDTH, 180 - TOP - HEIGHT
    if kind == "clap":
        path = write_video(folder / "v.mp4", [50], g="10", crf="10")
        return with_clean_aperture(path, (WIDTH, HEIGHT), (LEFT + WIDTH // 2 - 160, TOP + HEIGHT // 2 - 90))
    if kind == "PixelCrop":
        return with_pixel_crop(write_video(folder / "v.mkv", [50], g="10", crf="10"), LEFT, TOP, right, bottom)
    codec = {"h264": "libx264", "hevc": "libx265"}[kind]
    quiet = {"x265-params": "log-level=error"} if kind == "hevc" else {}
    path = write_video(folder / "whole.mp4", [50], codec=codec, g="10", crf="10", **quiet)
    target = folder / "v.mp4"
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0], opaque=True)
        next(source.decode(video=0))
        bottom += (
            source.streams.video[0].codec_context.coded_height - 180
        )  # the edit takes the place of the encoder's own crop
        source.seek(0)
        options = f"{kind}_metadata=crop_left={LEFT}:crop_right={right}:crop_top={TOP}:crop_bottom={bottom}"
        edit = av.BitStreamFilterContext(options, source.streams.video[0], stream)
        for packet in source.demux(video=0):
            for changed in edit.filter(packet if packet.size else None):
                changed.stream = stream
                output.mux(changed)
    return target


@pytest.mark.parametrize("kind", ["clap", "PixelCrop", "h264", "hevc"])
def test_what_is_cropped_is_not_shown(kind: str, tmp_path: Path) -> None:
    path = cropped(tmp_path, kind)
    wanted = [picture(n, 0)[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH] for n in range(50)]
    found, samples = analyse(path)
    (row,) = found.rows["clips"]
    assert (row["status"], row["width"], row["height"]) == ("ok", WIDTH, HEIGHT)
    assert samples
    assert all(alike(image, wanted[n]) for n, image in samples)
    (exact,) = cut(path, [(0, 2000, 0, 50)], tmp_path / "exact")
    assert (exact.width, exact.height) == (WIDTH, HEIGHT)
    assert all(alike(image, wanted[n]) for n, image in enumerate(shown(exact)))
    (copied,) = cut(path, [(0, 2000)], tmp_path / "copied", cut="copy")
    assert (copied.width, copied.height) == (WIDTH, HEIGHT)
    _, again = analyse(Path(copied.path or ""))
    assert again
    assert all(alike(image, wanted[n]) for n, image in again), "the copy says what is shown"


def test_damaged_headers_have_no_crop_or_one_within_the_picture(tmp_path: Path) -> None:
    rng = random.Random(5)
    for name in ("clap", "PixelCrop"):
        data = cropped(tmp_path, name).read_bytes()
        assert container_crops(io.BytesIO(data)) == [ContainerCrop(LEFT, TOP, WIDTH, HEIGHT)]
        for _ in range(300):
            damaged = bytearray(data)
            for _ in range(rng.randrange(1, 9)):
                damaged[rng.randrange(len(damaged)) if rng.random() < 0.2 else rng.randrange(700)] = rng.randrange(256)
            for crop in container_crops(io.BytesIO(damaged[: rng.randrange(len(damaged))])):
                assert crop is None or min(crop.x, crop.y, crop.width - 1, crop.height - 1) >= 0


def test_the_part_keeps_its_pixel_aspect(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [20], **{"x264-params": "sar=4/3"})
    with_clean_aperture(path, (240, 180), (0, 0))
    found, samples = analyse(path)
    (row,) = found.rows["clips"]
    assert (row["width"], row["height"]) == (320, 180)
    assert {image.shape for _, image in samples} == {(180, 320, 3)}
    image = shown(cut(path, [(0, 800, 0, 20)], tmp_path / "out")[0])[0]
    assert image.shape == (180, 320, 3)
    assert np.abs(image[::2, ::4].astype(int) - picture(0, 0)[::2, 40:280:3]).mean() < 8
