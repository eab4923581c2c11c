#!/usr/bin/env bash
# PyAV 18.1.0: the bitstream filter h264_metadata=tick_rate=... in copying an mp4 file.
# Guess: a filter made with the input stream changes the headers of what is written, as `ffmpeg -bsf:v` does.
# Behaviour: the headers of mp4 stand in avcC, which the output stream took from its template. They change only if the filter gets the
# output stream too (`out_stream`), before the first packet is written; else avcC is as without the filter.
# FFmpeg copies the input's codec tag with them, so for MPEG-TS (tag 27) the filter must be given the output stream as input, or the
# muxer refuses the stream. 2026-11-29.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > try.py <<'PY'
import av, numpy as np
from av.bitstream import BitStreamFilterContext

def make(path):
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for i in range(20):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((96, 160, 3), 40 + 5 * i, np.uint8), format="rgb24")))
        out.mux(stream.encode(None))

def copy(source, target, how):
    with av.open(source) as file, av.open(target, "w", options={"fflags": "+bitexact"}) as out:
        video = file.streams.video[0]
        stream = out.add_stream_from_template(video, opaque=True)
        given = {"in": (video,), "in and out": (video, stream), "out and out": (stream, stream)}
        changed = BitStreamFilterContext("h264_metadata=tick_rate=100/1", *given[how]) if how else None
        for packet in file.demux(video):
            if packet.size:
                for one in changed.filter(packet) if changed else [packet]:
                    one.time_base, one.stream = video.time_base, stream
                    out.mux(one)
    data = open(target, "rb").read()
    at = data.index(b"avcC")
    return data[at : at + int.from_bytes(data[at - 4 : at], "big") - 4]

make("a.mp4")
make("a.ts")
plain = copy("a.mp4", "plain.mp4", None)
for how in ("in", "in and out", "out and out"):
    print("mp4", how, "the same avcC" if copy("a.mp4", "b.mp4", how) == plain else "changed")
for how in ("in and out", "out and out"):
    try:
        copy("a.ts", "c.mp4", how)
        print("ts", how, "written")
    except av.FFmpegError as error:
        print("ts", how, "refused")
PY
env/bin/python try.py 2> /dev/null | tee seen.txt
diff seen.txt - <<'END'
mp4 in the same avcC
mp4 in and out changed
mp4 out and out changed
ts in and out refused
ts out and out written
END
