"""How loud a clip is and how much of it is quiet, as ITU-R BS.1770 measures it, by ffmpeg's `ebur128` filter.

More than two channels are mixed to two before they are measured; mono is measured as the one channel that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, BinaryIO

import av.filter
import numpy as np

from curation_assets import recipes
from curation_assets.stages.clip_writer import ClipSound

GATE = -70.0
"""BS.1770's absolute gate, LUFS: what lies below it does not count, and sound that is all below it has no loudness."""
WARM = 3
"""Readings, one every 100 ms, before the first window of 400 ms is full."""


def estimator(params: recipes.Audio) -> str:
    """What measures, and what is taken to be quiet, for the `estimator` column."""
    return f"BS.1770 (ebur128), quiet < {params.quiet:g} LUFS"


def score(source: BinaryIO, clips: list[dict[str, Any]], params: recipes.Audio) -> Iterator[dict[str, Any]]:
    """The columns of `audio_scores` for each clip of one video; nulls and a `sound` of 0 where there is no sound."""
    with ClipSound.of(source) as sound:
        for clip in clips:
            yield {"sound": 0.0} if sound.stream is None else _measure(sound, clip["start_ms"], clip["end_ms"], params)


def _measure(sound: ClipSound, start_ms: int, end_ms: int, params: recipes.Audio) -> dict[str, Any]:
    meter, heard_s, readings = av.filter.Graph(), 0.0, list[dict[str, str]]()
    nodes = meter.add("abuffer", sound.form), meter.add("ebur128", "metadata=1:peak=sample"), meter.add("abuffersink")
    meter.link_nodes(*nodes).configure()
    for frame in chain(sound.frames(start_ms, end_ms), (None,)):
        heard_s += frame.samples / frame.sample_rate if frame is not None else 0
        meter.push(frame)
        readings += (r for r in _ready(meter) if r)  # a rest of less than 100 ms at the end reads nothing
    share = {"sound": min(1.0, heard_s * 1000 / (end_ms - start_ms))}
    if len(readings) <= WARM:
        return share
    return share | {
        "loudness": value if (value := float(readings[-1]["lavfi.r128.I"])) > GATE else None,
        "peak": float(readings[-1]["lavfi.r128.sample_peak"]),
        "silence": float(np.mean([not float(r["lavfi.r128.M"]) >= params.quiet for r in readings[WARM:]])),
    }


def _ready(meter: av.filter.Graph) -> Iterator[dict[str, str]]:
    """What the meter has finished reading."""
    with suppress(av.BlockingIOError, av.EOFError):
        while True:
            yield dict(meter.pull().metadata)
