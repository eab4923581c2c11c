"""How buckets of S3 are reached: what `fsspec` is told."""

from __future__ import annotations

import os
from typing import Any

ATTEMPTS = 5
"""Of a request, as `dagster_aws.s3.S3Resource` has it."""
_SAID: dict[str, str | None] = {}


def s3_options(endpoint: str | None = None, region: str | None = None, profile: str | None = None) -> dict[str, Any]:
    """What `fsspec` needs to reach buckets. What is not given here comes from the usual AWS variables and files.

    Args:
        endpoint: URL of a store that is not Amazon's.
        region: of the buckets.
        profile: of the AWS files, which gives the keys.
    """
    client = {"region_name": region, "endpoint_url": endpoint}
    options: dict[str, Any] = {
        "client_kwargs": {k: v for k, v in client.items() if v is not None},
        "use_ssl": True,
        "config_kwargs": {"retries": {"max_attempts": ATTEMPTS, "mode": "standard"}},
    }
    return {**options, "profile": profile} if profile else options


def reach_named_files(endpoint: str | None, region: str | None, profile: str | None) -> None:
    """Says how this process reaches files that recipes name and that lie in buckets: labels, lists of ids, weights. They are read where no settings are at hand. Of two
    installations in one process the one opened last says it."""
    _SAID.clear()
    _SAID.update({"ENDPOINT": endpoint, "REGION": region, "PROFILE": profile})


def options_of_named_file(uri: str) -> dict[str, Any]:
    """`s3_options` as `reach_named_files` has it, and what that leaves open as the settings CURATION_S3_ENDPOINT, _REGION and _PROFILE stand in the environment; none for a URI
    that is in no bucket."""
    if not uri.startswith("s3://"):
        return {}
    names = ("ENDPOINT", "REGION", "PROFILE")
    return s3_options(*(_SAID.get(name) or os.environ.get(f"CURATION_S3_{name}") or None for name in names))
