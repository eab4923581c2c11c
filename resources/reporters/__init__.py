"""Who else is told, besides Dagster, of the numbers of what is made: W&B and MLflow. Off unless a setting names them.

What belongs here: one file for each service, which imports nothing of `curation_assets`. What does not: which numbers there are
(`curation_assets/orchestration/reporters.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class ServiceReporter(Protocol):
    """Takes the numbers of one process that makes tables. What it raises is noted once, and it is not told anything more: no run fails by it."""

    def report(self, numbers: Mapping[str, float], step: int) -> None:
        """Numbers by name, as `raw_shards/ok` or `raw_shards/errors/network`; `step` counts the tables that the process has made."""
        ...

    def close(self) -> None:
        """The process ends."""
        ...


def own() -> dict[str, Callable[[Mapping[str, str]], ServiceReporter]]:
    """Name -> what makes that reporter, of those that this package has; it gets a few words about the process."""
    from curation_resources.reporters.mlflow_run import MlflowReporter
    from curation_resources.reporters.wandb_run import WandbReporter

    return {"wandb": WandbReporter, "mlflow": MlflowReporter}
