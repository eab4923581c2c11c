"""What this machine lends to a process: memory, within the limits of a container."""

from __future__ import annotations

import os
from pathlib import Path

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files in which the second and the first version of Linux control groups say how much memory the container may use."""


def memory_mb() -> int:
    """Megabytes of memory that this machine has, or that the container may use if that is less."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in LIMITS:
        try:
            text = Path(file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        found += [int(text)] if text.isdigit() else []
    return min(found) // 10**6
