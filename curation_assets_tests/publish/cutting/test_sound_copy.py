"""Sound that is copied into clips: the samples of the source, to the sample, and encoded wherever that is in doubt."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.mp3_packets import Mp3Packet, begun, opening, samples_of
from curation_assets.publish.cutting.seam_check import SeamFault
from curation_assets.publish.cutting.smart_clip import _Heard
from curation_assets.publish.cutting.sound_copy import MOST_BEFORE, CopiedSound, copied_sound
from curation_assets.publish.cutting.sound_file import FORMATS, write_sound
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.publish.cutting.test_clip_cutting import cut, make

RATE = 44100
SPANS = ((1000, 3920), (400, 2440), (0, 1160), (3000, 4800))
"""Of pictures at 25 a second; none but the third begins on a packet of 1024 samples."""


def with_noise(video: Path, path: Path, *, codec: str = "aac", channels: int = 2, rate: int = RATE, **how: Any) -> Path:
    """`video` with 4.8 s of tones and noise, no packet like another.

    Args:
        how: `jump`: whether a second of silence stands within, so that an encoder saves bits for what follows; `begins`: seconds before the sound begins; `gap`: that long a hole in its times after the 60th packet; `damaged`: places of
            packets that are none; `bits`: of the sound, a second.
    """
    random, begins, gap, damaged = (
        np.random.default_rng(5),
        how.get("begins", 0),
        how.get("gap", 0),
        how.get("damaged", ()),
    )
    time = np.arange(round(4.8 * rate)) / rate
    wave = [0.3 * np.sin(2 * np.pi * (200 + 90 * c + 300 * time) * time) for c in range(channels)]
    samples = (np.array(wave) + 0.02 * random.standard_normal((channels, len(time)))).astype(np.float32)
    if how.get("jump"):
        samples[:, round(0.2 * rate) : round(0.9 * rate)] = 0
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(str(video)) as source, av.open(str(path), "w") as output:
        picture = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream(codec, rate=rate, layout=layout)
        if bits := how.get("bits"):
            sound.codec_context.bit_rate = bits
        if codec == "aac":
            sound.options = {"aac_pns": "0"}  # noise that every decoder makes up for itself could not be compared
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for number, packet in enumerate([*sound.encode(frame), *sound.encode(None)]):
            more = round((begins + (gap if number > 60 else 0)) / packet.time_base)
            given = av.Packet(random.bytes(packet.size)) if number in damaged else packet
            given.pts, given.dts, given.duration = packet.pts + more, packet.dts + more, packet.duration
            given.time_base, given.stream = packet.time_base, sound
            output.mux(given)
    return path


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("silent")
    return write_video(folder / "silent.mp4", [120], g="20", bf="2")


def heard(path: str | Path) -> tuple[int, NDArray[np.float32]]:
    """When the sound begins, in samples after the pictures do, and its samples (channels, n)."""
    with av.open(str(path)) as media:
        video = media.streams.video[0]
        zero = Fraction(video.start_time or 0) * video.time_base
        frames = list(media.decode(audio=0))
    assert frames[0].pts is not None
    begins = round((frames[0].pts * frames[0].time_base - zero) * frames[0].sample_rate)
    return begins, np.concatenate([f.to_ndarray() for f in frames], axis=1)


def same(a: NDArray[np.float32], b: NDArray[np.float32]) -> bool:
    """Whether they are the same as far as both go."""
    end = min(a.shape[1], b.shape[1])
    return end > 0 and np.array_equal(a[:, :end], b[:, :end])


def packets(path: str | Path) -> list[tuple[int, int, bytes]]:
    with av.open(str(path)) as media:
        return [(p.pts or 0, p.duration or 0, bytes(p)) for p in media.demux(audio=0) if p.size]


@pytest.mark.parametrize(
    ("ending", "channels", "rate"), [("mp4", 2, RATE), ("mkv", 2, RATE), ("mov", 1, 48000), ("mp4", 1, 22050)]
)
def test_samples_are_the_sources(ending: str, channels: int, rate: int, silent: Path, tmp_path: Path) -> None:
    path = with_noise(silent, tmp_path / f"v.{ending}", channels=channels, rate=rate)
    begins, source = heard(path)
    own = {data for _, _, data in packets(path)}
    # By Matroska's milliseconds the packet that it says to skip reaches into a clip from 0 on, whose sound is encoded.
    spans = [s for s in SPANS if ending != "mkv" or s[0]]
    cuts = [cut(f"{a}", a, b, a // 40, b // 40) for a, b in spans]
    made = make(path, cuts, tmp_path / "out", cut="smart")
    for (a, b), c in zip(spans, cuts, strict=True):
        clip = made[c.key].path or ""
        assert made[c.key].cut == "smart"
        first, samples = heard(clip)
        length = round(Fraction(b - a, 1000) * rate)
        from_sample = round(Fraction(a, 1000) * rate) - begins
        assert first == 0
        # Matroska rounds times to milliseconds: then the sound is as far off as that of `cut: exact`.
        away = range(-45, 46) if ending == "mkv" else (0,)
        places = [from_sample + n for n in away if from_sample + n >= 0]
        assert any(same(samples[:, :length], source[:, n : n + length]) for n in places)
        assert samples.shape[1] < length + 1024
        written = packets(clip)
        assert {data for _, _, data in written} <= own
        assert written[-1][0] + written[-1][1] <= length
        assert written[0][0] > -2048


@pytest.mark.parametrize(
    ("ending", "channels", "rate", "bits"),
    [("mp4", 2, RATE, 128_000), ("mov", 2, 48000, 320_000), ("mp4", 1, 22050, 32_000), ("mkv", 2, RATE, 128_000)],
)
def test_samples_of_mp3_are_the_sources(
    ending: str, channels: int, rate: int, bits: int, silent: Path, tmp_path: Path
) -> None:
    path = with_noise(
        silent, tmp_path / f"v.{ending}", codec="libmp3lame", channels=channels, rate=rate, bits=bits, jump=True
    )
    read = [Mp3Packet.of(data) for _, _, data in packets(path)]
    assert max(p.back for p in read if p is not None) > 100, "packets lean on the data of others"
    begins, source = heard(path)
    own = {data for _, _, data in packets(path)}
    for a, b in [s for s in SPANS if ending != "mkv" or 0 < s[0] < 3000]:
        one = make(path, [cut("c", a, b, a // 40, b // 40)], tmp_path / "out", cut="smart")["c"]
        first, samples = heard(one.path or "")
        length, from_sample = round(Fraction(b - a, 1000) * rate), round(Fraction(a, 1000) * rate) - begins
        away = range(-45, 46) if ending == "mkv" else (0,)
        assert first == 0
        assert any(same(samples[:, :length], source[:, from_sample + n :][:, :length]) for n in away)
        written = packets(one.path or "")
        shown = [data for at, _, data in written if at + samples_of(rate) > 0]
        assert {*shown} <= own
        with av.open(
            one.path or ""
        ) as media:  # FFmpeg says of the last packet what its header says, and not what the file does
            assert media.streams.audio[0].duration == length
        assert -(MOST_BEFORE + 1) * samples_of(rate) < written[0][0] <= -samples_of(rate)


def test_mp3_that_leans_on_what_is_not_there_is_encoded(silent: Path, tmp_path: Path) -> None:
    whole = with_noise(silent, tmp_path / "v.mp4", codec="libmp3lame", bits=128_000, jump=True)
    assert way(whole) == way(whole, (0, 1160)) == "copied"
    assert way(whole, audio_rate=22050) == "encoded"
    low = with_noise(silent, tmp_path / "low.mp4", codec="libmp3lame", rate=RATE, channels=1, bits=32_000, jump=True)
    _, _, data = packets(low)[60]
    read = Mp3Packet.of(data)
    assert read is not None
    assert opening([read.silent(0)] * 7) is not None, "silent ones lean on none"
    assert (opening([data]) is None) == (read.back > 0)
    for packet in packets(whole)[1:]:
        checked = bytes([packet[2][0], packet[2][1] & 0xFE]) + packet[2][2:]
        assert Mp3Packet.of(checked) is None, "with a checksum nothing can be changed"
    assert begun(b"\xff\xfb") is None


def way(path: Path, span: tuple[int, int] = SPANS[0], **options: Any) -> str:
    """Whether the sound of a span is copied."""
    with ClipSound(str(path), Fraction(0)) as sound:
        copied = copied_sound(sound, cut("s", *span, None, None), ClipExport(**options))
    return "encoded" if copied is None else "copied"


def test_what_is_in_doubt_is_encoded(silent: Path, tmp_path: Path) -> None:
    plain = with_noise(silent, tmp_path / "v.mp4")
    assert way(plain) == way(plain, audio_rate=RATE) == "copied"
    assert way(plain, audio_rate=22050) == "encoded"
    assert way(with_noise(silent, tmp_path / "v.ts")) == "encoded", "ADTS says nothing outside of its packets"
    assert way(with_noise(silent, tmp_path / "ac3.mp4", codec="ac3")) == "encoded"
    assert way(with_noise(silent, tmp_path / "surround.mp4", channels=6)) == "encoded"
    late = with_noise(silent, tmp_path / "late.mp4", begins=0.5)
    assert way(late, (0, 2000)) == "encoded", "it begins after the clip"
    assert way(late, (2000, 4000)) == "copied"
    holed = with_noise(silent, tmp_path / "holed.mkv", gap=0.3)
    assert way(holed) == "encoded"
    assert way(holed, (200, 1200)) == "copied", "before the hole"
    damaged = with_noise(silent, tmp_path / "damaged.mp4", damaged=range(100, 110))
    assert way(damaged, (1000, 3920)) == "encoded"
    assert way(damaged, (200, 2000)) == way(damaged, (2720, 4000)) == "copied"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("1210", "copied"),
        ("121056e500", "copied"),  # says that there is no more
        ("121056e580", "encoded"),  # twice the rate for those who understand it
        ("1214", "encoded"),  # 960 samples
        ("2b920800", "encoded"),  # HE-AAC, as a type of its own
        ("1190", "encoded"),  # another rate
        ("1208", "encoded"),  # another number of channels
        ("12", "encoded"),
    ],
)
def test_the_files_own_words_of_its_sound(data: str, kind: str, silent: Path, tmp_path: Path) -> None:
    path = with_noise(silent, tmp_path / "v.mp4")
    with ClipSound(str(path), Fraction(0)) as sound:
        assert sound.stream is not None
        sound.stream.codec_context.extradata = bytes.fromhex(data)
        copied = copied_sound(sound, cut("s", *SPANS[0], None, None), ClipExport())
    assert ("encoded" if copied is None else "copied") == kind


@pytest.mark.parametrize("fault", ["a packet", "a time", "an end"])
def test_sound_that_arrives_otherwise_is_a_fault(
    fault: str, silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_noise(silent, tmp_path / "v.mp4")
    of = _Heard.of

    def wrong(*arguments: Any) -> _Heard:
        right = of(*arguments)
        assert right.copied is not None
        given = list(right.copied.packets)
        written = replace(right.copied, packets=given[:-1]) if fault == "an end" else right.copied
        if fault == "a packet":
            written = replace(right.copied, packets=[*given[:5], given[6], *given[6:]])
        if fault == "a time":
            written = replace(right.copied, first=right.copied.first + 7)

        class Written(type(right.copied)):  # type: ignore[misc]
            def written(self) -> list[av.Packet]:
                return written.written()

        return replace(right, copied=Written(**vars(right.copied)))

    monkeypatch.setattr(_Heard, "of", staticmethod(wrong))
    clip = make(path, [cut("f", *SPANS[0], 25, 98)], tmp_path / "out", cut="smart")["f"]
    assert clip.error is None
    assert clip.cut == "exact"
    assert "its sound" in (clip.encoded_because or ""), SeamFault
    assert clip.encoded_frames == 73


def test_sound_is_copied_where_pictures_are_encoded_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = write_video(tmp_path / "long.mp4", [120], g="500", bf="2")
    path = with_noise(long, tmp_path / "v.mp4", codec="libmp3lame")
    one = cut("w", *SPANS[0], 25, 98)
    smart, exact = (make(path, [one], tmp_path / way, cut=way)["w"] for way in ("smart", "exact"))
    assert (smart.cut, smart.encoded_frames) == (exact.cut, exact.encoded_frames) == ("exact", 73)
    begins, source = heard(path)
    first, samples = heard(smart.path or "")
    assert first == 0
    assert same(samples[:, : round(2.92 * RATE)], source[:, RATE - begins :])
    assert {data for _, _, data in packets(smart.path or "")}.isdisjoint(
        data for _, _, data in packets(exact.path or "")
    )

    def other(*_: Any) -> None:
        raise SeamFault("its sound is not heard at its times")

    monkeypatch.setattr(CopiedSound, "check", other)
    again = make(path, [one], tmp_path / "again", cut="smart")["w"]
    assert again.error is None
    assert packets(again.path or "") == packets(exact.path or ""), "sound that did not arrive is encoded"
    assert again.frames == 73


@pytest.mark.parametrize("ending", FORMATS)
def test_a_clip_without_sound_in_its_span_has_no_file_of_it(ending: str, silent: Path, tmp_path: Path) -> None:
    """Sound often begins after the pictures, or ends before them: such a clip goes without, whatever a container writes before its first packet."""
    video = with_noise(silent, tmp_path / "video.mp4", begins=2.0)
    lacking, having = (tmp_path / f"{name}.{ending}" for name in ("lacking", "having"))
    with open(video, "rb") as media, ClipSound.of(media) as sound:
        assert not write_sound(sound, (0, 1000), lacking)
        assert write_sound(sound, (3000, 4000), having)
    assert not lacking.exists()
    assert having.stat().st_size
