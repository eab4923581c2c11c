"""Every kind of exported clip, cut out of numbered videos, with what a reader has to find in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from curation_assets.decode.reading.clip_frames import ROUNDING_MS
from curation_assets.publish.cutting.track_pictures import TrackBoxes
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.publish.cutting.test_clip_cutting import cut, make, with_sound

NTSC = Fraction(30000, 1001)


@dataclass(frozen=True)
class Expected:
    """A clip and what is in it.

    Attributes:
        path: the file.
        numbers: of its pictures in order of display; None where they do not say them.
        times: seconds at which they are shown, from the first on.
        end: seconds at which the last one ends.
        sound: whether there is a sound track.
    """

    path: Path
    numbers: list[int] | None
    times: list[Fraction]
    end: Fraction
    sound: bool = False

    @property
    def shown(self) -> list[tuple[float, float]]:
        """Time and duration of each picture in seconds."""
        until = [*self.times[1:], self.end]
        return [(round(float(t), 6), round(float(u - t), 6)) for t, u in zip(self.times, until, strict=True)]


def every_kind(folder: Path) -> dict[str, Expected]:
    """Kind -> a clip of 50 pictures, coded as the recipe's defaults say: with B-frames where the rate allows it."""
    made: dict[str, Expected] = {}

    def add(
        kind: str, source: Path, first: int, end: int, times: Sequence[Fraction], sound: bool = False, **options: Any
    ) -> None:
        span = [round(1000 * times[n]) for n in (first, end)]
        track, numbers = options.pop("track", None), options.pop("numbers", None)
        if track:  # a track's span ends with its last box, whose picture is part of the clip
            span[1] = track.times_ms[-1] + 1 + ROUNDING_MS
        frames = (None, None) if track else (first, end)
        one = cut(kind, *span, *frames, track=track)
        clip = make(source, [one], folder / kind, **{"preset": "veryfast", **options})[kind]
        assert clip.error is None, clip.error
        assert clip.cut == options.get("cut", "exact"), clip.encoded_because
        if options.get("cut") == "copy":
            assert clip.frames is not None
            first = first // 20 * 20
            end = first + clip.frames
        shown = list(range(first, end))
        if "fps" in options:
            rate = Fraction(options["fps"])
            at = [Fraction(i) / rate for i in range(-int(-(times[end] - times[first]) * rate))]
            shown = [max(n for n in shown if times[n] - times[first] <= t) for t in at]
            made[kind] = Expected(Path(clip.path or ""), shown, at, len(at) / rate, sound)
            return
        at = [times[n] - times[first] for n in shown]
        seen = None if track else [n if numbers is None else numbers[n] for n in shown]
        made[kind] = Expected(Path(clip.path or ""), seen, at, times[end] - times[first], sound)

    steady = [Fraction(n, 25) for n in range(121)]
    ntsc = [n / NTSC for n in range(121)]
    options = {"g": "20", "bf": "3"}
    silent = write_video(folder / "silent.mp4", [50, 70], **options)
    mp4 = with_sound(silent, folder / "sound.mp4", [1.0, 2.5], 4.8)
    add("exact", mp4, 25, 75, steady, sound=True)
    add("of one picture", mp4, 25, 26, steady, sound=True)
    add("scaled", mp4, 25, 75, steady, sound=True, short_side=90)
    add("other rate", mp4, 25, 75, steady, sound=True, fps=12.5)
    add("searched for faces", mp4, 25, 75, steady, sound=True, blur_faces=True)
    add("copied", mp4, 25, 75, steady, sound=True, cut="copy")
    add("smart", mp4, 25, 75, steady, sound=True, cut="smart")
    boxes = TrackBoxes([1000, 1960], [[20.0, 20.0, 90.0, 90.0]] * 2)
    add("track", mp4, 25, 50, steady, sound=True, track=boxes)
    for container in ("mkv", "ts"):
        source = write_video(folder / f"ntsc.{container}", [120], rate=NTSC, **options)
        add(f"exact from {container}", source, 25, 75, ntsc)
        add(f"copied from {container}", source, 25, 75, ntsc, cut="copy")
        add(f"smart from {container}", source, 25, 75, ntsc, cut="smart")
    hevc = write_video(
        folder / "hevc.mp4", [120], codec="libx265", g="20", **{"x265-params": "log-level=0:open-gop=0:keyint=20"}
    )
    add("copied HEVC", hevc, 25, 75, steady, cut="copy")
    for depth, pix_fmt in ((8, "yuv420p"), (10, "yuv420p10le")):
        main = write_video(
            folder / f"main-{depth}.mp4", [120], profile="main" if depth == 8 else "high10", pix_fmt=pix_fmt, **options
        )
        add(f"smart of {depth} bits", main, 25, 75, steady, cut="smart")
        opened = write_video(
            folder / f"hevc-{depth}.mp4", [120], codec="libx265", pix_fmt=pix_fmt,
            **{"x265-params": "log-level=0:open-gop=1:keyint=20:min-keyint=20:bframes=3"},
        )  # fmt: skip
        add(f"smart HEVC of {depth} bits", opened, 25, 75, steady, cut="smart")
    standing = [n // 4 for n in range(120)]
    still = write_video(folder / "slides.mp4", [120], each=4, g="40", bf="0", qp="12")
    add("smart of slides", still, 25, 75, steady, cut="smart", numbers=standing)
    av1 = write_video(folder / "av1.mp4", [120], codec="libsvtav1", g="20", preset="10")
    add("copied AV1", av1, 25, 75, steady, cut="copy")
    steps = np.random.default_rng(3).integers(20, 90, 120)
    uneven = [Fraction(int(t), 1000) for t in (0, *np.cumsum(steps))]
    vfr = write_video(
        folder / "vfr.mkv", [120], times=[int(1000 * t) for t in uneven[:-1]], time_base=Fraction(1, 1000), **options
    )
    add("variable", vfr, 25, 75, uneven, preset="ultrafast")  # whose encoder gives each picture at once
    in_order = write_video(
        folder / "in-order.mkv",
        [120],
        times=[int(1000 * t) for t in uneven[:-1]],
        time_base=Fraction(1, 1000),
        g="20",
        bf="0",
    )
    add("smart, variable", in_order, 25, 75, uneven, cut="smart")
    return made
