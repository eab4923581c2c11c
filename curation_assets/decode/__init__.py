"""One decode of each video: shots, clips, sampled frames, motion, quality and fingerprints from a single pass.

What belongs here: the pass that feeds every consumer, and which spans become clips. What lies in rooms of its own: opening and decoding
media (`reading`), where shots meet (`shots`), how a score or a hash is computed (`measures`).
"""
