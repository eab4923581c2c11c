"""Loudness and silence of clips against sounds whose level is known, against real videos, and through the graph into a subset."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from curation_assets.scores.audio_scores import Audio
from curation_assets.scores.loudness import score
from curation_assets_tests.installation import Installation
from curation_assets_tests.shared_data import shared

RATE = 48_000


def tone(amplitude: float, seconds: float) -> NDArray[np.float32]:
    """997 Hz: at full scale in one channel it reads -3.01 LUFS (ITU-R BS.1770, annex 1)."""
    return (amplitude * np.sin(2 * np.pi * 997 / RATE * np.arange(round(seconds * RATE)))).astype(np.float32)


def video(sound: NDArray[np.float32] | None, seconds: float = 6.0, channels: int = 1) -> bytes:
    """Matroska with uncompressed 16-bit sound, the same in all channels; None writes no audio track."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        layout = "mono" if channels == 1 else "stereo"
        track = None if sound is None else output.add_stream("pcm_s16le", rate=RATE, layout=layout)
        noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        for number in range(round(seconds * 10)):
            image = av.VideoFrame.from_ndarray(np.roll(noise, number, axis=1), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 10)
            output.mux(picture.encode(image))
            if track is None or sound is None:
                continue
            piece = np.round(32767 * sound[number * RATE // 10 : (number + 1) * RATE // 10]).astype(np.int16)
            if len(piece):
                samples = av.AudioFrame.from_ndarray(np.repeat(piece, channels)[None], format="s16", layout=layout)
                samples.sample_rate, samples.pts, samples.time_base = RATE, number * RATE // 10, Fraction(1, RATE)
                output.mux(track.encode(samples))
        output.mux(picture.encode(None))
    return file.getvalue()


def scores(data: bytes, *spans: tuple[int, int], quiet: float = -50) -> list[dict[str, Any]]:
    clips = [{"start_ms": start, "end_ms": end} for start, end in spans or [(0, 6000)]]
    return list(score(io.BytesIO(data), clips, Audio(quiet=quiet)))


@pytest.mark.parametrize(("amplitude", "channels", "lufs"), [(1.0, 1, -3.01), (0.1, 1, -23.01), (0.1, 2, -20.0)])
def test_a_tone_reads_what_the_standard_says(amplitude: float, channels: int, lufs: float) -> None:
    (found,) = scores(video(tone(amplitude, 6), channels=channels))
    assert found["loudness"] == pytest.approx(lufs, abs=0.05)
    assert found["peak"] == pytest.approx(amplitude, abs=0.001)
    assert (found["silence"], found["sound"]) == (0, pytest.approx(1, abs=0.001))


def surround(layout: str, levels: dict[int, float]) -> bytes:
    """Six seconds of a 997 Hz tone: in each channel at its amplitude, in 32-bit floats. MOV says which channel is which, Matroska does not."""
    container = "matroska" if layout.endswith(" channels") else "mov"
    count = av.AudioLayout(layout).nb_channels
    sound = np.zeros((6 * RATE, count), np.float32)
    for place, amplitude in levels.items():
        sound[:, place] = tone(amplitude, 6)
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream("pcm_f32le", rate=RATE, layout=layout)
        for number in range(60):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 10)
            output.mux(picture.encode(image))
            piece = sound[number * RATE // 10 : (number + 1) * RATE // 10]
            samples = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece).reshape(1, -1), format="flt", layout=layout
            )
            samples.sample_rate, samples.pts, samples.time_base = RATE, number * RATE // 10, Fraction(1, RATE)
            output.mux(track.encode(samples))
        output.mux(picture.encode(None))
    return file.getvalue()


SURROUND_DB = 10 * np.log10(1.41)
"""What BS.1770's weight of surround channels adds."""


@pytest.mark.parametrize(
    ("layout", "channel", "lufs"),
    [
        ("5.1", 0, -23.01),
        ("5.1", 2, -23.01),
        ("5.1", 3, None),
        ("5.1", 4, -23.01 + SURROUND_DB),
        ("5.1(side)", 5, -23.01 + SURROUND_DB),
        ("5.0", 4, -23.01 + SURROUND_DB),
        ("quad", 2, -23.01 + SURROUND_DB),
        ("2.1", 2, None),
        ("7.1", 2, -23.01),
        ("7.1", 6, -23.01 + SURROUND_DB),
        ("6 channels", 4, -23.01 + SURROUND_DB),
        ("3 channels", 2, -23.01),
    ],
)
def test_channels_weigh_what_the_standard_says(layout: str, channel: int, lufs: float | None) -> None:
    """A surround weighs 1.41, the low-frequency channel nothing, and neither does mixing change them."""
    (found,) = scores(surround(layout, {channel: 0.1}))
    assert found["loudness"] == (None if lufs is None else pytest.approx(lufs, abs=0.02))
    assert found["peak"] == pytest.approx(0.1, abs=0.001), "of any channel, and of each as it is"


def test_the_channels_of_surround_sound_add_up() -> None:
    """EBU Tech 3341, case 6: 1 kHz at -28, -24 and -30 dBFS in front, centre and surround is -23 LUFS."""
    decibels = {0: -28, 1: -28, 2: -24, 4: -30, 5: -30}
    (found,) = scores(surround("5.1", {channel: 10 ** (value / 20) for channel, value in decibels.items()}))
    assert found["loudness"] == pytest.approx(-23, abs=0.1)


def test_each_clip_is_measured_within_its_own_span() -> None:
    sound = np.concatenate([tone(0.5, 2), np.zeros(2 * RATE, np.float32), tone(0.01, 2)])
    loud, mute, faint, half = scores(video(sound), (0, 2000), (2000, 4000), (4000, 6000), (1000, 3000))
    assert loud["loudness"] == pytest.approx(-9.03, abs=0.05)
    assert faint["loudness"] == pytest.approx(-43.01, abs=0.05)
    assert (loud["silence"], mute["silence"], faint["silence"]) == (0, 1, 0)
    assert (mute["loudness"], mute["peak"], mute["sound"]) == (None, 0, pytest.approx(1, abs=0.001))
    assert 0.3 < half["silence"] < 0.5, (
        "of a second of silence, the moments that still hold some of the tone are not quiet"
    )
    assert scores(video(sound), (4000, 6000), quiet=-40)[0]["silence"] == 1


def test_what_has_no_sound_has_no_score() -> None:
    assert scores(video(None)) == [{"sound": 0}]
    before, after = scores(video(tone(0.1, 3)), (0, 6000), (4000, 6000))
    assert before["loudness"] == pytest.approx(-23.01, abs=0.05), "what there is counts"
    assert before["sound"] == pytest.approx(0.5, abs=0.01)
    assert after == {"sound": 0}
    whole = video(tone(0.1, 6))
    (truncated,) = scores(whole[: len(whole) * 3 // 4])
    assert truncated["loudness"] == pytest.approx(-23.01, abs=0.05)
    assert truncated["sound"] == pytest.approx(0.75, abs=0.05)
    short = scores(whole, (0, 300))[0]
    assert short == {"sound": pytest.approx(1, abs=0.01)}, "too short for a reading"


def test_a_real_film_and_a_real_track_of_zeros() -> None:
    film, zeros = shared("videos/big_buck_bunny_0_30.webm"), shared("videos/01_dog.mp4")
    opening, fuller = scores(film.read_bytes(), (0, 5000), (5000, 30000))
    assert -40 < opening["loudness"] < -30 < fuller["loudness"] < -20, "it begins with birds and wind"
    (nothing,) = scores(zeros.read_bytes(), (0, 9000))
    assert (nothing["loudness"], nothing["silence"], nothing["sound"]) == (None, 1, 1)


def test_only_a_recipe_that_asks_runs_it_and_a_subset_judges_by_it(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    whole = video(tone(0.2, 6))
    written = {"loud": whole, "mute": video(None), "zeros": video(tone(0, 6)), "half": video(tone(0.2, 3))}
    for name, data in written.items():
        (folder / f"{name}.mkv").write_bytes(data)
    recipe = f"dataset: heard\nsource: {{format: folder, path: {folder}}}\nclips: {{from: whole, min_s: 1}}\n"
    installation = Installation(tmp_path)
    installation.declare(recipe)
    assert installation.run("index")
    installation.settle()
    assert not installation.store.exists("audio_scores", "heard-00000")

    installation.declare(recipe + "subsets: {talking: {where: ['loudness between -30 and -5', 'sound > 0.9']}}\n")
    installation.settle()
    assert installation.failed == []
    table = installation.store.read("audio_scores", "heard-00000")
    assert table["video_id"].to_pylist() == ["half", "loud", "mute", "zeros"]
    assert table["error"].null_count == 4
    assert table.filter(pc.is_valid(table["loudness"]))["video_id"].to_pylist() == ["half", "loud"]
    curated = {r["video_id"]: r for r in installation.store.read("curated_clips", "heard-talking").to_pylist()}
    assert [v for v, r in curated.items() if r["selected"]] == ["loud"]
    assert curated["half"]["drop_reason"] == "sound > 0.9"
    assert curated["loud"]["loudness"] == pytest.approx(-16.99, abs=0.05)
    assert curated["zeros"]["drop_reason"].startswith("loudness between")

    (folder / "loud.mkv").write_bytes(b"gone")
    installation.declare(recipe + "audio: {quiet: -40}\n")
    before = installation.tables()
    installation.settle()
    assert {t for t, _ in installation.made_since(before)} == {"audio_scores"}
    errors = {r["video_id"]: r["error"] for r in installation.store.read("audio_scores", "heard-00000").to_pylist()}
    assert "materialize raw_shards again" in errors["loud"]
    assert errors["mute"] is errors["zeros"] is errors["half"] is None
