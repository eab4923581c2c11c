#!/usr/bin/env bash
# av 18.1.0 (FFmpeg 8.1.2 inside), numpy 2.2.6; 2026-11-29.
# Guess: `frame.rotation` says how a picture is to be shown, so that turning by it gives what a player shows.
# Behaviour: it is the angle of the display matrix alone. A picture that is mirrored left to right (front cameras) has the same -180 as one
# that stands on its head, one that is mirrored top to bottom has 0 as an upright one, and a transposed one has that of a quarter turn.
# The nine numbers of the matrix are in the frame's side data; the sign of a*d - b*c tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.2.6
cat >"$folder/look.py" <<'P'
import struct
import sys

import av
import numpy as np

MATRICES = {
    "upright": (1, 0, 0, 1),
    "mirrored top to bottom": (1, 0, 0, -1),
    "half turn": (-1, 0, 0, -1),
    "mirrored left to right": (-1, 0, 0, 1),
    "quarter turn": (0, 1, -1, 0),
    "transposed": (0, 1, 1, 0),
}
path = f"{sys.argv[1]}/v.mp4"
with av.open(path, "w") as output:
    stream = output.add_stream("mpeg4", rate=25)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
    output.mux(stream.encode(None))
data = bytearray(open(path, "rb").read())
at = data.index(b"tkhd") + 4 + 4 + 20 + 16
seen = {}
for name, (a, b, c, d) in MATRICES.items():
    left, top = (64 * min(0, a) + 48 * min(0, c), 64 * min(0, b) + 48 * min(0, d))
    struct.pack_into(">9i", data, at, a << 16, b << 16, 0, c << 16, d << 16, 0, -left << 16, -top << 16, 1 << 30)
    open(path, "wb").write(data)
    with av.open(path) as media:
        frame = next(media.decode(video=0))
    matrix = frame.side_data.get("DISPLAYMATRIX")
    numbers = struct.unpack("=9i", bytes(matrix)) if matrix else (1, 0, 0, 0, 1, 0, 0, 0, 1)
    seen[name] = frame.rotation
    sign = numbers[0] * numbers[4] - numbers[1] * numbers[3]
    print(f"{name:24} rotation {frame.rotation:5}  determinant {'-' if sign < 0 else '+'}")
same = [("upright", "mirrored top to bottom"), ("half turn", "mirrored left to right"), ("quarter turn", "transposed")]
sys.exit(any(seen[x] != seen[y] for x, y in same))
P
"$folder/venv/bin/python" "$folder/look.py" "$folder"
