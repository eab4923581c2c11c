#!/usr/bin/env bash
# av 18.1.0 (FFmpeg 8.1.2 inside), numpy 2.2.6; 2026-11-29.
# Guess: a packet of AAC-LC leans on the one before it alone, so packets that are decoded from a later one on give the same samples after the first,
# and copied sound can be held against its source sample by sample.
# Behaviour: FFmpeg's encoder replaces bands that sound like noise by their energy (perceptual noise substitution, `aac_pns`, on unless told otherwise), and a decoder draws
# the noise from one generator that has gone on since its first packet. So the samples differ in every packet, for good, here by up to four tenths of the
# loudest; their difference says nothing of whether packets are the same or in place. With `aac_pns=0` both decodes are equal bit by bit from the second packet on.
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

RATE, FIRST = 44100, 40


def packets(pns):
    context = av.CodecContext.create("aac", "w")
    context.sample_rate, context.layout, context.format, context.bit_rate = RATE, "mono", "fltp", 48_000
    context.options = {"aac_pns": pns}
    random = np.random.default_rng(1)
    time = np.arange(3 * RATE) / RATE
    sound = (0.2 * np.sin(2 * np.pi * 300 * time) + 0.1 * random.standard_normal(len(time))).astype(np.float32)
    made = []
    for n in range(0, len(sound) - 1024, 1024):
        frame = av.AudioFrame.from_ndarray(sound[None, n : n + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, n, Fraction(1, RATE)
        made += context.encode(frame)
    return context.extradata, [bytes(p) for p in made]


def decoded(extradata, data):
    context = av.CodecContext.create("aac", "r")
    context.extradata = extradata
    return np.concatenate([f.to_ndarray()[0] for d in data for f in context.decode(av.Packet(d))])


worst = {}
for pns in ("1", "0"):
    extradata, data = packets(pns)
    whole, later = decoded(extradata, data)[1024 * FIRST :], decoded(extradata, data[FIRST:])
    differ = np.abs(whole - later).reshape(-1, 1024).max(axis=1)[1:]
    worst[pns] = float(differ.max())
    print(f"aac_pns={pns}: {np.count_nonzero(differ)} of {len(differ)} packets differ, by {worst[pns]:.3f} of {np.abs(whole).max():.3f} at most")
sys.exit(not (worst["1"] > 0.01 and worst["0"] == 0))
P
"$folder/venv/bin/python" "$folder/look.py" "$folder"
