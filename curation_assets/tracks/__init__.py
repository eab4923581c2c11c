"""Group tracks: objects, and faces, found and followed through clips."""
