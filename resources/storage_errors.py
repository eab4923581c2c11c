"""What is raised where something in storage cannot be read or written."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError

READ_ERRORS = (OSError, BotoCoreError)
"""What file systems raise when something is not there, may not be read or cannot be reached. s3fs turns a store's answers into OSErrors;
where there is no answer, for want of credentials or of a connection, it lets botocore's errors through."""


class StorageError(RuntimeError):
    """Something in storage cannot be read or written; the message names it."""


class MediaChanged(StorageError):
    """Media referenced in place are not what they were when they were registered."""
