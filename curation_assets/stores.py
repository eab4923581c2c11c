"""Where the tables of an installation lie, and how its storage is reached. What does not belong here: the tables themselves."""

from __future__ import annotations

from typing import Any

from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.s3 import reach_named_files, s3_options
from curation_resources.storage import Storage
from curation_resources.tables import TableStore


def table_store(settings: Settings) -> TableStore:
    """The tables of an installation, whose settings also say from now on how files that recipes name are reached in buckets."""
    reach_named_files(settings.s3_endpoint, settings.s3_region, settings.s3_profile)
    elsewhere = settings.s3_endpoint or settings.s3_region or settings.s3_profile
    others = (
        {"s3": storage_options(settings, "s3://")} if elsewhere else {}
    )  # for sources in buckets, wherever the tables lie
    return TableStore(Storage(settings.root, storage_options(settings, settings.storage), others), SCHEMAS)


def storage_options(settings: Settings, uri: str) -> dict[str, Any]:
    """fsspec options for a URI; empty where it is in no bucket."""
    if not uri.startswith("s3://"):
        return {}
    return s3_options(settings.s3_endpoint, settings.s3_region, settings.s3_profile)
