"""Versions of the code that makes subsets and exports: raised by hand when the same inputs would give other rows or bytes."""

from __future__ import annotations

CURATE_VERSION = "4"
EXPORT_VERSION = "5"
CUT_VERSION = "7"
"""Raised by hand when the same cut would give other bytes; part of every exported clip's fingerprint."""
SMART_VERSION = "4"
"""Likewise, of clips that are put together of copied and encoded pictures only."""
SOUND_VERSION = "2"
"""Likewise, of clips whose sound is a file of its own."""
GRID_VERSION = "3"
"""Likewise, of which frames of a clip its embeddings are published."""
CLIPS_VERSION = f"{EXPORT_VERSION}.{CUT_VERSION}"
"""Of `clip_dataset`."""
