#!/usr/bin/env bash
# Versions: av 18.1.0 (FFmpeg 8, SVT-AV1 4.1.0 inside its wheel), Linux, run as root. Date: 2026-11-29.
# Guess: encoding AV1 with libsvtav1 leaves the scheduling of the calling process alone.
# Behaviour: run as root, the encoder makes the thread that opens it a real-time one (SCHED_FIFO, priority 99) and never takes that
# back. Children inherit it, so that a busy loop started later starves every other process of the machine. As an ordinary user, and with
# libx264, the policy stays SCHED_OTHER.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
[ "$(id -u)" = 0 ] || { echo "run as root: the behaviour is root's"; exit 2; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import os, subprocess, sys
import av, numpy as np
NAMES = {os.SCHED_OTHER: "SCHED_OTHER", os.SCHED_FIFO: "SCHED_FIFO"}
def now(pid=0):
    return f"{NAMES[os.sched_getscheduler(pid)]} {os.sched_getparam(pid).sched_priority}"
def encode(codec):
    with av.open(f"{sys.argv[1]}/{codec}.mp4", "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for n in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((72, 128, 3), 40 * n, np.uint8), format="rgb24")))
        out.mux(stream.encode(None))
seen = {"before": now()}
encode("libx264"); seen["after libx264"] = now()
encode("libsvtav1"); seen["after libsvtav1"] = now()
child = subprocess.Popen(["sleep", "2"]); seen["a child"] = now(child.pid); child.kill(); child.wait()
print(seen)
assert seen == {"before": "SCHED_OTHER 0", "after libx264": "SCHED_OTHER 0", "after libsvtav1": "SCHED_FIFO 99", "a child": "SCHED_FIFO 99"}
PY
SVT_LOG=1 "$work/venv/bin/python" "$work/show.py" "$work" 2>/dev/null
