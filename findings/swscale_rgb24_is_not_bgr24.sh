#!/usr/bin/env bash
# Versions: av 18.1.0 (FFmpeg 8.1.2 inside its wheel). Date: 2026-11-30.
# Guess: swscale's rgb24 and bgr24 of one YUV picture have the same values in another order.
# Behaviour: of yuv420p with an even height they do; with an odd height, and of 10 bits whatever the height, values differ by tens of grey levels.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cat > "$work/show.py" <<'PY'
import av, numpy as np

for height in (360, 359):
    for name in ("yuv420p", "yuv420p10le"):
        blocks = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, 80, 3), np.uint8)
        picture = np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)[:height])
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=name)
        rgb, bgr = (frame.reformat(format=order).to_ndarray() for order in ("rgb24", "bgr24"))
        off = np.abs(rgb.astype(int) - bgr[:, :, ::-1]).max()
        print(height, name, "same" if off == 0 else "more than 10 levels apart" if off > 10 else "near")
PY
"$work/venv/bin/python" "$work/show.py" 2> "$work/log" | tee "$work/seen" || { tail -5 "$work/log"; exit 1; }
diff "$work/seen" - <<'END'
360 yuv420p same
360 yuv420p10le more than 10 levels apart
359 yuv420p more than 10 levels apart
359 yuv420p10le more than 10 levels apart
END
