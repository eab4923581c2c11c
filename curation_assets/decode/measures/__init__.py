"""What is measured of the pictures of a clip as they come by: motion, quality, and the hashes of near-duplicates."""
