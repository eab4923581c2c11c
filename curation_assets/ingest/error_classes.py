"""How a download can fail: classes of error, and which of them may pass."""

from __future__ import annotations

ERROR_CLASSES = (
    "gone",
    "private",
    "geo",
    "age",
    "bot_check",
    "rate_limited",
    "network",
    "timeout",
    "too_large",
    "unsupported",
    "corrupt",
    "no_video",
    "storage",
    "resource",
)
TRANSIENT_ERRORS = frozenset({"bot_check", "rate_limited", "network", "timeout", "storage", "resource"})
REFUSED_BY_PROBE = frozenset({"corrupt", "no_video"})
"""Those of media that were there and could not be read: they are asked again once by a probe that reads more."""
OF_THE_NETWORK = frozenset({"bot_check", "rate_limited", "network", "timeout"})
"""Those of them that lie with whom is asked; the others lie with this installation."""
