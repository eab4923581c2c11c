"""Dagster's launcher for one machine, which can also tell whether the process of a run still lives.

With it, run monitoring notices runs that were killed, those of `curation run` included, marks them as failed and frees their slots; run
retries start those again that the daemon had started. Named in deploy/dagster.local.yaml.
"""

from __future__ import annotations

from dagster import DagsterRun

from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.compat import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from curation_resources.processes import Life


class LocalRunLauncher(DefaultRunLauncher):
    """Starts runs in processes of this machine; says of each whether its process is gone."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        process = dead_runs.executing_process(self._instance, run)
        life = process.life() if process else Life.UNKNOWN
        if life is Life.DEAD:
            return CheckRunHealthResult(WorkerStatus.FAILED, f"{process} is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING)  # Dagster takes UNKNOWN for the end of a run
