"""Whose a file is, said by its name: whether the process that made it is still alive.

What belongs here: such names. What does not: processes as the system knows them (`processes.py`).
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache

from curation_resources.processes import started, this_process


@lru_cache(maxsize=1)
def host() -> str:
    """Ten digits that two processes share only if each can see whether the other is alive: same machine, boot and space of process numbers.

    Machines of one name that share a folder must not take each other's processes for dead, so the boot is part of it.
    """
    here = this_process()
    return hashlib.sha256(f"{here.host} {here.boot} {here.space}".encode()).hexdigest()[:10]


def identity() -> str:
    """This process, as names of its files begin."""
    return f"{host()}-{os.getpid()}-{started(os.getpid()) or 0}"


def owner_alive(name: str) -> bool | None:
    """Whether the process whose `identity` begins a file's name is alive; None if it cannot be seen from here, or it is no such name."""
    found = re.match(r"([0-9a-f]{10})-(\d+)-(\d+)-", name)
    if found is None or found[1] != host():
        return None
    pid, since = int(found[2]), int(found[3])
    if since:
        return started(pid) == since
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
