"""How buckets of S3 are reached: what `fsspec` is told."""

from __future__ import annotations

import os
from typing import Any

ATTEMPTS = 5
"""Of a request, as `dagster_aws.s3.S3Resource` has it."""


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


def options_of_environment(uri: str) -> dict[str, Any]:
    """`s3_options` as the settings CURATION_S3_ENDPOINT, _REGION and _PROFILE stand in the environment, for files that recipes name and that are read where no settings
    are at hand; none for a URI that is in no bucket."""
    if not uri.startswith("s3://"):
        return {}
    return s3_options(*(os.environ.get(f"CURATION_S3_{name}") or None for name in ("ENDPOINT", "REGION", "PROFILE")))
