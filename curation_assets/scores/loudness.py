"""How loud a clip is and how much of it is quiet, as ITU-R BS.1770 measures it, by ffmpeg's `ebur128` filter.

The channels are those of the track. Surrounds weigh 1.41 and the low-frequency channel is left out, mono is measured as the one channel
that it is. Beyond 5.1 the weights are the filter's: every side and rear channel has 1.41, where BS.1770-4 gives rear ones beside side ones 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any, BinaryIO

import av.filter
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.scores.audio_scores import Audio

GATE = -70.0
"""BS.1770's absolute gate, LUFS: what lies below it does not count, and sound that is all below it has no loudness."""
WARM = 3
"""Readings, one every 100 ms, before the first window of 400 ms is full."""


def estimator(params: Audio) -> str:
    """What measures, and what is taken to be quiet, for the `estimator` column."""
    return f"BS.1770 (ebur128), quiet < {params.quiet:g} LUFS"


def score(source: BinaryIO, clips: list[dict[str, Any]], params: Audio) -> Iterator[dict[str, Any]]:
    """The columns of `audio_scores` for each clip of one video; nulls and a `sound` of 0 where there is no sound."""
    with ClipSound.of(source) as sound:
        for clip in clips:
            yield {"sound": 0.0} if sound.stream is None else _measure(sound, clip["start_ms"], clip["end_ms"], params)


def _measure(sound: ClipSound, start_ms: int, end_ms: int, params: Audio) -> dict[str, Any]:
    assert sound.stream is not None
    rate, layout = sound.stream.codec_context.sample_rate, sound.layout
    form = f"sample_rate={rate}:sample_fmt=flt:channel_layout={layout.replace(' channels', 'C')}:time_base=1/{rate}"
    meter, heard, readings = av.filter.Graph(), 0, list[dict[str, str]]()
    nodes = meter.add("abuffer", form), meter.add("ebur128", "metadata=1:peak=sample"), meter.add("abuffersink")
    meter.link_nodes(*nodes).configure()
    for samples in chain(sound.samples(start_ms, end_ms), (None,)):
        frame = None if samples is None else _packed(samples, heard, layout, rate)
        heard += frame.samples if frame is not None else 0
        meter.push(frame)
        readings += (r for r in _ready(meter) if r)  # a rest of less than 100 ms at the end reads nothing
    share = {"sound": min(1.0, heard / rate * 1000 / (end_ms - start_ms))}
    if len(readings) <= WARM:
        return share
    return share | {
        "loudness": value if (value := float(readings[-1]["lavfi.r128.I"])) > GATE else None,
        "peak": float(readings[-1]["lavfi.r128.sample_peak"]),
        "silence": float(np.mean([not float(r["lavfi.r128.M"]) >= params.quiet for r in readings[WARM:]])),
    }


def _packed(samples: NDArray[np.float32], place: int, layout: str, rate: int) -> av.AudioFrame:
    """A frame of samples (channels, n) of which `place` came before."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, place, Fraction(1, rate)
    return frame


def _ready(meter: av.filter.Graph) -> Iterator[dict[str, str]]:
    """What the meter has finished reading."""
    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            yield dict(meter.pull().metadata)
