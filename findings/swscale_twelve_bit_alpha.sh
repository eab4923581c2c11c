#!/usr/bin/env bash
# Versions: av 18.1.0 (FFmpeg 8.1.2 inside its wheel). Date: 2026-11-29.
# Guess: swscale's `alphablend=uniform_color` lays pictures with an alpha channel on black, whatever their depth.
# Behaviour: it does for 8 and 10 bits. With 12 bits, as ProRes 4444 is decoded, parts that are wholly transparent come out grey (about 128 of 255).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import av, av.filter, numpy as np

picture = np.zeros((64, 64, 4), np.uint8)
picture[..., 0], picture[32:, :, 3] = 200, 255  # red; the upper half transparent
for name in ("yuva444p", "yuva444p10le", "yuva444p12le"):
    frame = av.VideoFrame.from_ndarray(picture, format="rgba").reformat(format=name)
    graph = av.filter.Graph()
    source = f"video_size=64x64:pix_fmt={name}:time_base=1/25:pixel_aspect=1/1"
    nodes = [("buffer", source), ("scale", "alphablend=uniform_color"), ("format", "rgb24"), ("buffersink", None)]
    graph.link_nodes(*(graph.add(*node) for node in nodes)).configure()
    frame.pts = 0
    graph.vpush(frame)
    upper = graph.vpull().to_ndarray(format="rgb24")[4:28].mean()
    print(name, "black" if upper < 2 else "not black")
PY
"$work/venv/bin/python" "$work/show.py" 2> "$work/log" | tee "$work/seen" || { tail -5 "$work/log"; exit 1; }
diff "$work/seen" - <<'END'
yuva444p black
yuva444p10le black
yuva444p12le not black
END
