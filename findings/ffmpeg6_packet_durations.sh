#!/usr/bin/env bash
# PyAV 12.3.0 (FFmpeg 6.1) beside PyAV 18.1.0 (FFmpeg 8): durations of the packets of an mp4 file with B-frames.
# Guess: a packet of an mp4 file has the duration that the file's table of times (stts) gives.
# Behaviour: with B-frames FFmpeg 6 takes it from the tick in the H.264 headers, which libx264 sets to the encoder's time base. With
# a time base of 1/12800 every packet has duration 0; with 1/25 it has 512 of 12800. FFmpeg 8 reads the table. Without
# B-frames both do. 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for pins in "old av==12.3.0 numpy==1.26.4" "new av==18.1.0 numpy==2.4.6"; do
  set -- $pins
  python3 -m venv "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check "$2" "$3"
done
cat > make.py <<'PY'
from fractions import Fraction
import av, numpy as np
for name, tick, bframes in (("source_tick", Fraction(1, 12800), "2"), ("picture_tick", Fraction(1, 25), "2"), ("no_bframes", Fraction(1, 12800), "0")):
    with av.open(f"{name}.mp4", "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": bframes, "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.time_base = tick
        for i in range(20):
            image = np.full((96, 160, 3), 40 + 5 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(Fraction(i, 25) / tick), tick
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
PY
cat > read.py <<'PY'
import av
for name in ("source_tick", "picture_tick", "no_bframes"):
    with av.open(f"{name}.mp4") as file:
        print(name, sorted({p.duration for p in file.demux(video=0) if p.size}))
PY
new/bin/python make.py
old/bin/python read.py | tee old.txt
new/bin/python read.py | tee new.txt
diff old.txt - <<'END'
source_tick [0]
picture_tick [512]
no_bframes [512]
END
diff new.txt - <<'END'
source_tick [512]
picture_tick [512]
no_bframes [512]
END
