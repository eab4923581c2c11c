"""Private names of Dagster, all of them: why each is used, and which test pins what it does.

Nothing else of this project touches a name of Dagster that begins with an underscore. A new release of Dagster is tried by running the tests
named here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# What an event says of the data versions it was made from: without them the UI compares Dagster's own counters, and calls every table stale
# that a ranged run has made. Pinned by test_recompute.py (`stale_to_dagster`) and assets/test_export_lineage.py.
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

# A graph asset whose steps are known only when it runs: the public decorators do not take a list of checks besides. Pinned by assets/test_export.py.
from dagster._core.definitions.dependency import DynamicCollectDependencyDefinition, IDependencyDefinition

# Which code location a run belongs to: those that this process executes belong to none, and the UI's first page leaves such runs out. Pinned by test_runner.py.
from dagster._core.definitions.repository_definition.valid_definitions import SINGLETON_REPOSITORY_NAME

# Marks outputs whose events were logged already, so that Dagster does not log them again. Pinned by test_materialize.py.
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

# What `define_asset_job` returns; the public name is a function alone. Pinned by test_sensors.py.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# Whether somebody's backfill is under way, for which the gap sensor waits. Pinned by test_sensors.py.
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

# Likewise. Pinned by test_runner.py.
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

# The states in which a run has a process. Pinned by test_dead_runs.py.
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES

# Which partitions a run is at work on. Pinned by test_sensors.py.
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

# The rest is imported when it is asked for: with it come sqlalchemy, alembic and watchdog, which no step of a run needs.
if TYPE_CHECKING:
    # A launcher that can tell whether the process of a run lives. Pinned by test_dead_runs.py.
    # How long a step waits for a slot of a pool, and which one. Pinned by test_dead_runs.py.
    from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
    from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

    # The tables of events that a first run makes beforehand, so that several at once do not collide. Pinned by deploy/test_first_runs.py.
    from dagster._core.storage.event_log import EventLogStorage, SqlEventLogStorageMetadata, SqliteEventLogStorage

    # Where events lie: a takedown rewrites them, and old ones are purged, which Dagster has no way to do. Pinned by takedown/test_takedown.py and
    # test_retention.py.
    from dagster._core.storage.event_log.schema import (
        AssetCheckExecutionsTable,
        AssetEventTagsTable,
        AssetKeyTable,
        SqlEventLogStorageTable,
    )
    from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME

__all__ = [
    "ASSET_PARTITION_RANGE_END_TAG",
    "ASSET_PARTITION_RANGE_START_TAG",
    "CODE_VERSION_TAG",
    "DATA_VERSION_IS_USER_PROVIDED_TAG",
    "DATA_VERSION_TAG",
    "INDEX_SHARD_NAME",
    "IN_PROGRESS_RUN_STATUSES",
    "NULL_EVENT_POINTER",
    "PARTITION_NAME_TAG",
    "SINGLETON_REPOSITORY_NAME",
    "SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION",
    "AssetCheckExecutionsTable",
    "AssetEventTagsTable",
    "AssetKeyTable",
    "BulkActionStatus",
    "BulkActionsFilter",
    "CheckRunHealthResult",
    "DefaultRunLauncher",
    "DynamicCollectDependencyDefinition",
    "EventLogStorage",
    "IDependencyDefinition",
    "InstanceConcurrencyContext",
    "RegisteredCodeLocationOrigin",
    "RemoteJobOrigin",
    "RemoteRepositoryOrigin",
    "SqlEventLogStorage",
    "SqlEventLogStorageMetadata",
    "SqlEventLogStorageTable",
    "SqliteEventLogStorage",
    "UnresolvedAssetJobDefinition",
    "WorkerStatus",
    "get_input_data_version_tag",
    "get_input_event_pointer_tag",
]

_LATER = {
    "InstanceConcurrencyContext": "dagster._core.execution.plan.instance_concurrency_context",
    "CheckRunHealthResult": "dagster._core.launcher",
    "DefaultRunLauncher": "dagster._core.launcher",
    "WorkerStatus": "dagster._core.launcher",
    "EventLogStorage": "dagster._core.storage.event_log",
    "SqlEventLogStorageMetadata": "dagster._core.storage.event_log",
    "SqliteEventLogStorage": "dagster._core.storage.event_log",
    "AssetEventTagsTable": "dagster._core.storage.event_log.schema",
    "AssetCheckExecutionsTable": "dagster._core.storage.event_log.schema",
    "AssetKeyTable": "dagster._core.storage.event_log.schema",
    "SqlEventLogStorageTable": "dagster._core.storage.event_log.schema",
    "SqlEventLogStorage": "dagster._core.storage.event_log.sql_event_log",
    "INDEX_SHARD_NAME": "dagster._core.storage.event_log.sqlite.sqlite_event_log",
}


def __getattr__(name: str) -> Any:
    """Imports the module of a name that only some commands need."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
