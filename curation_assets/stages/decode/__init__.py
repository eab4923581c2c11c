"""One decode of each video: shots, clips, sampled frames, motion, quality and fingerprints from a single pass.

What belongs here: opening and decoding media, presentation times, the analysis picture, the sampling of frames and the pass that
feeds every consumer. What does not: how a boundary, a score or a hash is computed; that is `shots`, `motion`, `quality` and
`fingerprints` beside this package.
"""
