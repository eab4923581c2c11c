"""The launcher at the address that instance files name; it is in `orchestration/run_launcher.py`."""

from __future__ import annotations

from curation_assets.orchestration.run_launcher import LocalRunLauncher

__all__ = ["LocalRunLauncher"]
