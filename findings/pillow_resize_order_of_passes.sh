#!/usr/bin/env bash
# Pillow 11.3.0 and 13.0.0.
# Guess: Image.resize weighs the pixels of rows first and of columns then, rounding to 8 bits after each, as it always did.
# Behaviour: so it does in 11.3.0. In 13.0.0 which comes first depends on the sizes, so that the same picture has other pixels in the two
# versions; a resizing that is to be the same bit for bit must ask the Pillow that is installed. 2026-11-30.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
cat > try.py <<'PY'
import numpy as np, PIL
from PIL import Image

def told(w, h, to):
    noise = np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    def is_(*steps):
        made = picture
        for step in steps:
            made = made.resize(step, Image.Resampling.BICUBIC)
        return np.array_equal(np.asarray(picture.resize(to, Image.Resampling.BICUBIC)), np.asarray(made))
    return "rows" if is_((to[0], h), to) else "columns" if is_((w, to[1]), to) else "neither"

print(PIL.__version__, told(640, 360, (398, 224)), told(360, 640, (224, 398)), told(90, 700, (64, 80)))
PY
for version in 11.3.0 13.0.0; do
  env/bin/pip install --quiet --disable-pip-version-check pillow==$version numpy==2.4.6
  env/bin/python try.py
done | tee seen.txt
diff seen.txt - <<'END'
11.3.0 rows rows rows
13.0.0 rows rows columns
END
