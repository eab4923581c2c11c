#!/usr/bin/env bash
# av 18.1.0 (FFmpeg 8.1.2 inside), numpy 2.2.6; 2026-11-29.
# Guess: packets of an AVI file have presentation times like those of other containers, so that a stream copy keeps the order of pictures.
# Behaviour: AVI stores the order of decoding and nothing else. FFmpeg gives each packet of H.264 with B-frames the next packet's decoding time as
# its presentation time: they rise in the order of decoding, so a muxer that is handed them shows the pictures in the wrong order; and
# the first decoded frame is late. The times of decoded frames in their order can be had from `frame.dts`, less the delay of the first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.2.6
cat >"$folder/look.py" <<'P'
import sys
from fractions import Fraction

import av
import numpy as np

path = f"{sys.argv[1]}/v.avi"
with av.open(path, "w") as output:
    stream = output.add_stream("libx264", rate=25, options={"bf": "2", "x264-params": "b-adapt=0:scenecut=0"})
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for n in range(30):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * n, np.uint8), format="rgb24")
        frame.pts, frame.time_base = n, Fraction(1, 25)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
with av.open(path) as media:
    packets = [p for p in media.demux(video=0) if p.size]
    base = media.streams.video[0].time_base
with av.open(path) as media:
    frames = [(f.pts, f.dts, round(f.to_ndarray(format="gray").mean() / 8)) for f in media.decode(video=0)]
stated = [p.pts for p in packets]
order = [number for _, _, number in frames]
delay = frames[0][1] - packets[0].dts
placed = [dts - delay for _, dts, _ in frames if dts is not None]
print("packets, in the order of the file:", stated[:8])
print("frames (pts, dts, number painted):", frames[:6])
print("first frame at", float(frames[0][0] * base), "s by its pts,", float(placed[0] * base), "s by its dts less the delay")
wrong = stated == sorted(stated) and frames[0][0] > 0
right = order == sorted(order) and placed == [p.dts for p in packets][: len(placed)]
sys.exit(not (wrong and right))
P
"$folder/venv/bin/python" "$folder/look.py" "$folder"
