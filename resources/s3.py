"""How buckets of S3 are reached: what `fsspec` is told."""

from __future__ import annotations

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
