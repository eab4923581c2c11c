"""Clips as Chromium shows them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from curation_assets_tests.readers import blocks

SHOW = """
async ([source, times]) => {
  const video = document.querySelector("video"), canvas = document.createElement("canvas");
  const loaded = new Promise((yes, no) => { video.onloadeddata = yes; video.onerror = () => no(video.error.message); });
  let shown = -1, told = () => {};
  const note = (_, said) => { shown = said.mediaTime; video.requestVideoFrameCallback(note); told(); };
  video.requestVideoFrameCallback(note);
  video.src = source;
  await loaded;
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const pen = canvas.getContext("2d", {willReadFrequently: true}), rows = [];
  for (const [begins, time] of times) {
    const there = new Promise(yes => { video.onseeked = yes; });
    video.currentTime = time;
    await there;
    // Chromium says `seeked` before it has put the picture up: on a busy machine the one before is still there then, whatever the file.
    await new Promise(yes => { told = () => Math.abs(shown - begins) < 0.005 && yes(); told(); setTimeout(yes, 10000); });
    pen.drawImage(video, 0, 0);
    const side = canvas.width / 12, row = [];
    for (let bit = 0; bit < 12; bit++) row.push(pen.getImageData((bit + 0.5) * side, side / 2, 1, 1).data[1]);
    rows.push(row);
  }
  return [video.duration, rows];
}
"""
"""A page that seeks into each picture of a clip, by the times at which it begins and within it, and gives the clip's length and what is seen."""


def shown(page: Any, mp4: bytes, times: Sequence[tuple[float, float]]) -> tuple[float, list[int]]:
    """The length of a clip in seconds, and the number of the picture that is seen after seeking to the second of each two times; it begins at the first."""
    page.set_content(blocks.lines("page", "chromium"))
    source = f"data:video/mp4;base64,{base64.b64encode(mp4).decode()}"
    duration, rows = page.evaluate(SHOW, [source, [list(t) for t in times]])
    return duration, [sum((v > 128) << bit for bit, v in enumerate(row)) for row in rows]


HEAR = """
async ([source, rate]) => {
  const bytes = await (await fetch(source)).arrayBuffer();
  const heard = await new OfflineAudioContext(1, rate, rate).decodeAudioData(bytes);
  return [heard.length, Array.from(heard.getChannelData(0).slice(0, rate))];
}
"""
"""What a page hears of a clip: how many samples, and those of the first second."""


def heard(page: Any, mp4: bytes, rate: int) -> tuple[int, list[float]]:
    """The samples of a clip's first channel: how many there are, and the first second of them."""
    source = f"data:video/mp4;base64,{base64.b64encode(mp4).decode()}"
    length, samples = page.evaluate(HEAR, [source, rate])
    return int(length), samples
