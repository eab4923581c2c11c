"""What work takes, measured on real processes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from curation_assets.engine.meter import Meter
from curation_assets.settings import Settings
from curation_assets_tests.fault_server import wait_until

HOLD = "import sys; held = b'x' * (150 * 2**20); print('held', flush=True); sys.stdin.read()"


def test_memory_of_children_counts_together_and_is_forgotten_in_the_next_block() -> None:
    with Meter() as before:
        pass
    with Meter() as meter:
        children = [
            subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        assert [child.stdout.readline() for child in children if child.stdout] == ["held\n"] * 2
        wait_until(lambda: meter.peak_mb > before.peak_mb + 280)
        for child in children:
            child.communicate()
    with Meter() as after:
        pass
    assert after.peak_mb < meter.peak_mb - 250


def test_memory_of_the_process_itself_is_seen() -> None:
    with Meter() as before:
        pass
    with Meter() as meter:
        held = np.ones(200 * 2**17)
        wait_until(lambda: meter.peak_mb > before.peak_mb + 150)
        del held


def test_cores_and_gpus_have_their_prices() -> None:
    meter = Meter()
    meter.add(wall=100, cpu=300, peak_mb=5)
    meter.add(wall=20, cpu=60, peak_mb=7)
    settings = Settings(price_core_hour=0.1, price_gpu_hour=3)
    assert meter.spent(settings) == {"wall_s": 120, "cpu_s": 360, "peak_rss_mb": 7, "cost": pytest.approx(0.01)}
    half = meter.spent(settings, share=2, gpus=1)
    assert half["gpu_s"] == 60
    assert half["cost"] == pytest.approx((0.01 + 0.1) / 2)
