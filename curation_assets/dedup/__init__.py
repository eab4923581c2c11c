"""Near-duplicate clips across all shards: search of near hashes, alignment of clips, the stored index, and the choice of survivors."""
