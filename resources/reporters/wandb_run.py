"""Numbers as a run of Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping

from curation_resources.extras import require


class WandbReporter:
    """A run in the project `WANDB_PROJECT`, by default curation. Its other variables count too: `WANDB_MODE=offline`, `WANDB_DIR`, `WANDB_RUN_GROUP`,
    `WANDB_API_KEY`. The process's output, its packages and its machine's load are not sent.

    Raises:
        MissingExtra: wandb is not installed.
    """

    def __init__(self, about: Mapping[str, str]) -> None:
        require("the reporter wandb", "wandb")
        import wandb

        settings = wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            x_save_requirements=False,
            disable_git=True,
            save_code=False,
        )
        project = os.environ.get("WANDB_PROJECT", "curation")
        self._run = wandb.init(project=project, job_type="curation", config=dict(about), settings=settings)

    def report(self, numbers: Mapping[str, float], step: int) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()
