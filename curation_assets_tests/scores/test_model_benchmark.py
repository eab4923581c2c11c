"""The benchmark of models that somebody with a GPU runs in one command runs to its end without one, on a small checkpoint, and says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_it_says_what_it_ran_on_and_how_long_the_model_waited() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.models", "clip", "--small"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    on = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, so on the CPU with small models"
    assert lines[0].startswith(on)
    assert len(re.findall(r"network +\d+ frames/s = .* % of the limit", done.stdout)) == 2
    stage = re.findall(
        r"eight shards, (.*), batch +\d+: +\d+ frames/s, +\d+ % of the network alone; waited +(\d+) % of the time",
        done.stdout,
    )
    assert [how for how, _ in stage] == ["stored pictures, threads"] * 2 + ["stored pictures, 2 processes"] * 2 + [
        "zstd, threads"
    ] * 2
    assert all(0 <= int(waited) <= 100 for _, waited in stage)
    assert re.fullmatch(r"clip: \d+ s", lines[-1])
