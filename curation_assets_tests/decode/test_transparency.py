"""Video with an alpha channel is shown on black, whatever colours lie under its transparent parts."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets_tests.decode.coded_video import picture
from curation_assets_tests.decode.test_as_players_show import analyse, cut, shown

CODED = {
    "prores_ks": ("mov", "yuva444p10le", {"profile": "4444"}),
    "qtrle": ("mov", "argb", {}),
    "png": ("mov", "rgba", {}),
    "ffv1": ("mkv", "bgra", {}),
    "utvideo": ("avi", "gbrap", {}),
    "libvpx-vp9": ("webm", "yuva420p", {"deadline": "realtime", "cpu-used": "8", "b": "4M"}),
    "libvpx": ("webm", "yuva420p", {"auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "8", "b": "4M"}),
}


def alpha() -> NDArray[np.uint8]:
    """Opaque on the left, then fading, and nothing on the right."""
    return np.broadcast_to((np.clip((200 - np.arange(320)) * 4, 0, 255)).astype(np.uint8), (180, 320))


def transparent(path: Path, codec: str, frames: int = 25) -> Path:
    _, pix_fmt, options = CODED[codec]
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 180, pix_fmt
        for number in range(frames):
            image = np.dstack([picture(number, 1), alpha()])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=pix_fmt)))
        output.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("codec", CODED)
def test_transparent_parts_are_black(codec: str, tmp_path: Path) -> None:
    path = transparent(tmp_path / f"v.{CODED[codec][0]}", codec)
    wanted = [picture(n, 1) * (alpha()[..., None] / 255.0) for n in range(25)]
    with ClipReader(str(path)) as reader:
        read = [reader.rgb(frame) for frame in reader.frames(0, 1000)]
        assert len(read) == 25
        assert max(float(np.abs(a - b).mean()) for a, b in zip(read, wanted, strict=True)) < 3
        later = next(reader.frames(400, 600))
        assert np.abs(reader.rgb(later) - wanted[10]).mean() < 3, "after a seek"
    found, samples = analyse(path)
    assert [r["status"] for r in found.rows["clips"]] == ["ok"]
    exported = shown(cut(path, [(0, 1000, 0, 25)], tmp_path / "out")[0])
    for number, image in [*samples, *enumerate(exported)]:
        assert image[:, 210:].max() < 12
        assert np.abs(image - wanted[number]).mean() < 5


def test_a_channel_that_nobody_filled_in_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "bgra"
        for number in range(10):
            image = np.dstack([picture(number, 1), np.zeros((180, 320), np.uint8)])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba").reformat(format="bgra")))
        output.mux(stream.encode(None))
    with ClipReader(str(path)) as reader:
        assert all(
            np.abs(reader.rgb(f).astype(int) - picture(n, 1)).max() < 2 for n, f in enumerate(reader.frames(0, 400))
        )


def test_a_copy_would_lose_what_lies_beside_the_pictures(tmp_path: Path) -> None:
    path = transparent(tmp_path / "v.webm", "libvpx-vp9")
    (clip,) = cut(path, [(0, 1000)], tmp_path / "out", cut="copy")
    assert "transparent" in (clip.error or "")
    assert "cut: exact" in (clip.error or "")
