#!/usr/bin/env bash
# libx264 of PyAV 18.1.0 on a processor with AVX-512.
# Guess: x264 with one thread gives the same bytes for the same pictures and options; it is known for that.
# Behaviour: with the macroblock tree (presets veryfast and slower) and AVX-512 it does not: some of 60 runs differ. With asm=AVX2, or with
# mbtree=0, all are equal. Which pictures show it depends on what memory holds. 2026-11-29.
set -euo pipefail
if ! grep -q avx512f /proc/cpuinfo; then
  echo "this processor has no AVX-512: nothing to see"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > try.py <<'PY'
import hashlib, sys
import av, numpy as np

def pictures():
    shade = np.random.default_rng(0).integers(0, 56, (9, 32))
    texture = np.kron(shade, np.ones((20, 20))).astype(np.uint8) + 90
    for i in range(50):
        yield np.repeat(texture[:, i : i + 320, None], 3, axis=2)

with av.open("a.mp4", "w") as out:
    stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast", "bf": "2", "g": "20"})
    stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
    for image in pictures():
        out.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
    out.mux(stream.encode(None))

def encoded(more):
    said = hashlib.sha256()
    with av.open("a.mp4") as file, av.open("b.mp4", "w") as out:
        options = {"preset": "veryfast", "crf": "30", "threads": "1"} | ({"x264-params": more} if more else {})
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        stream.codec_context.thread_count = 1
        packets = []
        for number, frame in enumerate(file.decode(video=0)):
            frame = av.VideoFrame.from_ndarray(frame.to_ndarray(), format="yuv420p")
            frame.pts = number
            packets += stream.encode(frame)
        for packet in packets + stream.encode(None):
            said.update(bytes(packet))
    return said.hexdigest()

for more in ("", "asm=AVX2", "mbtree=0"):
    print(more or "as it comes:", "one result" if len({encoded(more) for _ in range(60)}) == 1 else "several results")
PY
env/bin/python try.py 2> /dev/null | tee seen.txt
diff seen.txt - <<'END'
as it comes: several results
asm=AVX2 one result
mbtree=0 one result
END
