"""Numbers as a run of MLflow."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from curation_resources.extras import require

UNKNOWN = re.compile(r"[^\w\-. :/]")
"""What MLflow takes in no name of a metric."""


class MlflowReporter:
    """A run in the experiment `MLFLOW_EXPERIMENT_NAME`, by default curation, at `MLFLOW_TRACKING_URI`: a server, or `sqlite:///FILE`, which is MLflow's
    default (mlflow.db).

    Raises:
        MissingExtra: mlflow is not installed.
    """

    def __init__(self, about: Mapping[str, str]) -> None:
        require("the reporter mlflow", "mlflow")
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._metric = Metric
        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "curation")
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=about.get("name"))
        self._id = run.info.run_id
        self._client.log_batch(self._id, params=[Param(k, v) for k, v in about.items()])

    def report(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._id,
            metrics=[self._metric(UNKNOWN.sub("_", name), value, now, step) for name, value in numbers.items()],
        )

    def close(self) -> None:
        self._client.set_terminated(self._id)
