"""Settings of an installation, from the environment and `.env`. What a dataset wants stands in its recipe, not here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation_resources.machine import memory_mb

PREFIX = "CURATION_"
SAMPLES = ".samples"
"""Folder below a storage root in which each sample has a root of its own."""


def search_memory_mb() -> int:
    """What the search for near hashes may hold in memory on this machine."""
    return max(256, min(memory_mb() // 4, 4096))


def index_memory_mb() -> int:
    """What the database of the index may hold in memory on this machine."""
    return max(256, min(memory_mb() // 32, 448))


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable and what is allowed."""


class Settings(BaseModel):
    """Every setting is the environment variable of its name in capitals with the prefix CURATION_."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    storage: str = Field("./data", description="Root of all tables and media: a folder or any fsspec URI.")
    recipes: str = Field("./recipes", description="A recipe, a folder of recipes, or a URI of either.")
    sample: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of each source's videos that is worked on instead of all, told by a hash of their ids; its tables lie apart, in `.samples/<share>` below "
        "`storage`. `--sample` of the commands sets it, and a DAGSTER_HOME of the sample's own with it.",
    )
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="Processes that a shard is spread over."
    )
    run_partitions: int = Field(
        0,
        ge=0,
        description="Most shards in a run of a backfill or of `curation run`; 0 is one run for all of a backfill, as `dagster asset materialize --partition-range` "
        "wants it, and 100 for `curation run`. Before a run begins Dagster writes an event for each table that it will make, and keeps what the run "
        "says until its end; and of a step in which one shard fails the later steps of the same run wait.",
    )
    executor: Literal["in_process", "multiprocess", "k8s"] = Field(
        "in_process",
        description="Where the steps of a run execute. Stages spread over `workers` processes themselves, so one process a run is "
        "right for one machine and spares each step 3 s; k8s gives every step a pod of its own.",
    )
    step_retries: int = Field(
        0,
        ge=0,
        description="Times that a step is tried again after a failure that may pass, or after its process died. 0 is right where a "
        "person looks at failures; 2 on a cluster, where pods are evicted.",
    )
    s3_endpoint: str | None = Field(None, description="Endpoint of an S3-compatible store; null is AWS.")
    s3_region: str | None = Field(None, description="Region of the buckets.")
    s3_profile: str | None = Field(
        None, description="Profile of the AWS credentials file; keys come from the usual AWS variables."
    )
    reporters: str = Field(
        "",
        description="Who else is told of the numbers of each table that is made, separated by commas: wandb, mlflow (extras of the same names), or reporters "
        "of installed packages. Docs: docs/how-to/operations.md.",
    )
    price_core_hour: float = Field(0.04, ge=0, description="Price of a core-hour, dollars, for reports and estimates.")
    price_gpu_hour: float = Field(2.0, ge=0, description="Price of a GPU-hour, dollars, for reports and estimates.")
    price_1000_writes: float = Field(
        0.005,
        ge=0,
        description="Price of a thousand PUT, POST and LIST requests, for estimates: S3 Standard's in us-east-1, 2026.",
    )
    price_1000_reads: float = Field(
        0.0004, ge=0, description="Price of a thousand GET and HEAD requests, for estimates, likewise."
    )
    price_gb_month: float = Field(
        0.023, ge=0, description="Price of keeping a GB for a month, for estimates, likewise."
    )

    index_memory_mb: int = Field(
        default_factory=index_memory_mb,
        ge=100,
        description="Megabytes that the database of `dataset_index` may hold before it goes to disk; Python and the row being read add some "
        "300. Default: a thirty-second of what the machine, or its container, has, from 256 up to 448, so that the whole process stays below 1 GB.",
    )

    search_on: Literal["threads", "ray"] = Field(
        "threads",
        description="Where `duplicate_clusters` searches for near hashes: threads of the step's process, as many as `workers`, or tasks of Ray (the extra `ray`; "
        "RAY_ADDRESS names a cluster).",
    )
    search_memory_mb: int = Field(
        default_factory=search_memory_mb,
        ge=64,
        description="Megabytes that the search for near hashes holds, in all its threads: the hashes of one kind and what is sorted of them. Where there are more, blocks "
        "of clips are searched against each other, with the same result. Default: a quarter of what the machine, or its container, has, from 256 up to 4096; some 30 bytes "
        "a clip come on top.",
    )

    keep_runs_days: float = Field(
        90.0, gt=0, description="Days after its end from which `curation purge` removes a run and its events."
    )
    pictures_url: str = Field(
        "http://127.0.0.1:3030",
        pattern=r"^https?://[^\s()<>\"]+$",
        description="Where browsers reach `curation pictures`, which shows the contact sheets beside tables. The events of Dagster link to it.",
    )
    look_url: str = Field(
        "http://127.0.0.1:3031",
        pattern=r"^https?://[^\s()<>\"]+$",
        description="Where browsers reach `curation look`, to which the events of Dagster link with their shard or subset.",
    )
    look_cache_gb: float = Field(
        64.0,
        gt=0,
        description="Gigabytes that the columns of `curation look` may take in the user's cache folder (`CURATION_CACHE`, else `curation` below XDG_CACHE_HOME); those that were "
        "unused longest go first, those of a page that is open stay.",
    )
    webhook: str | None = Field(
        None,
        description="Address that the sensor `failure_notices` posts failed runs to, as JSON with `text`; often a secret, so keep it out of files that are shared.",
    )
    look_entries: int = Field(
        20_000,
        ge=1,
        description="Entries that the source sensor lists per tick; a larger source is looked at over several.",
    )
    range_shards: int = Field(20, ge=1, description="Most shards in a run that the gap sensor requests.")
    open_runs: int = Field(
        2,
        ge=1,
        description="Runs that the gap sensor keeps queued or started at a time; it requests no more beyond them.",
    )
    publish_when_idle: bool = Field(
        True,
        description="Whether the gap sensor also requests duplicate clusters, subsets and exports, once no shard has work left; "
        "false leaves them to schedules, automation conditions or hands.",
    )
    max_attempts: int = Field(
        3, ge=1, description="Runs that the gap sensor requests for a table that stays missing, stale or incomplete."
    )

    @property
    def root(self) -> str:
        """Where the tables lie that are worked on: `storage`, or the sample's root in it."""
        return self.storage if self.sample is None else f"{self.storage.rstrip('/')}/{SAMPLES}/{self.sample:g}"

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from `environment` (default: the process's, then `.env` of the working directory).

        Raises:
            SettingsError: a variable that is unknown or out of range.
        """
        if environment is None:
            file = Path(".env")
            known = {k: v for k, v in dotenv_values(file).items() if v is not None} if file.is_file() else {}
            environment = {**known, **os.environ}
        names = cls.model_fields
        values = {k: environment[PREFIX + k.upper()] for k in names if environment.get(PREFIX + k.upper())}
        try:
            return cls(**{**values, **overrides})
        except ValidationError as error:
            first = error.errors()[0]
            addressed = first["type"] == "string_pattern_mismatch"  # all patterns of settings are of addresses
            wanted = "an address is wanted that begins with http:// or https://" if addressed else first["msg"]
            raise SettingsError(f"{PREFIX}{str(first['loc'][0]).upper()}: {wanted} (got {first['input']!r})") from error
