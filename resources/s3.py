"""Credentials and endpoints of S3: one `S3Resource`, and the same told to fsspec."""

from __future__ import annotations

from typing import Any

from dagster_aws.s3 import S3Resource


def storage_options(s3: S3Resource) -> dict[str, Any]:
    """What `fsspec` needs to reach what `s3` reaches. What is not set there comes from the usual AWS variables and files."""
    client = {
        "region_name": s3.region_name,
        "endpoint_url": s3.endpoint_url,
        "use_ssl": s3.use_ssl,
        "verify": s3.verify,
    }
    options: dict[str, Any] = {
        "client_kwargs": {k: v for k, v in client.items() if v is not None and k != "use_ssl"},
        "use_ssl": s3.use_ssl,
        "config_kwargs": {"retries": {"max_attempts": s3.max_attempts, "mode": "standard"}},
    }
    if s3.profile_name:
        options["profile"] = s3.profile_name
    if s3.aws_access_key_id:
        options |= {"key": s3.aws_access_key_id, "secret": s3.aws_secret_access_key, "token": s3.aws_session_token}
    return options
