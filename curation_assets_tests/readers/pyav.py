"""What PyAV says of clips: with today's FFmpeg when a test imports it, with another as `python -m ... CLIP...`, which prints JSON."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from typing import Any

import av

from curation_assets_tests.frame_numbers import number_in


def seconds(ticks: int, base: Fraction) -> float:
    return round(float(ticks * base), 6)


def facts(path: str) -> dict[str, Any]:
    """Of a clip: start, mean rate and end of its pictures; per picture its time, duration and number, in order of display; the sound."""
    with av.open(path) as clip:
        video = clip.streams.video[0]
        base = video.time_base
        packets = sorted((p.pts, p.duration) for p in clip.demux(video) if p.size)
        said: dict[str, Any] = {
            "start": seconds(video.start_time, base),
            "rate": float(video.average_rate),
            "stream_end": seconds(video.start_time + video.duration, base),
            "packets": [(seconds(t, base), seconds(d, base)) for t, d in packets],
        }
    with av.open(path) as clip:
        frames = [(f.pts, number_in(f.to_ndarray(format="gray"))) for f in clip.decode(video=0)]
    said["frames"] = [(seconds(t, base), n) for t, n in frames]
    with av.open(path) as clip:
        if clip.streams.audio:
            heard = [(f.pts * f.time_base, f.samples, f.sample_rate) for f in clip.decode(audio=0)]
            said["sound"] = (float(heard[0][0]), float(heard[-1][0] + Fraction(heard[-1][1], heard[-1][2])))
    return said


if __name__ == "__main__":
    print(json.dumps({path: facts(path) for path in sys.argv[1:]}))
