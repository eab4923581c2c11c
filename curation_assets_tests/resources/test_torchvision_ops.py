"""torchvision beside a CPU-only torch; each case needs a process of its own, for torch keeps what was registered."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture(scope="module")
def bare_import() -> subprocess.CompletedProcess[str]:
    return run("import torchvision")


def test_schemas_are_registered_exactly_where_a_bare_import_fails(
    bare_import: subprocess.CompletedProcess[str],
) -> None:
    fixed = run(
        "from curation_resources.torchvision_ops import ensure_torchvision\n"
        "changed = ensure_torchvision()\n"
        "import torchvision.transforms, open_clip\n"
        "print(changed, ensure_torchvision())"
    )
    assert fixed.returncode == 0, fixed.stderr
    broken = bare_import.returncode != 0
    assert fixed.stdout.split() == [str(broken)] * 2
    if broken:
        assert "torchvision::nms does not exist" in bare_import.stderr


def test_an_operator_without_code_still_fails_loudly(bare_import: subprocess.CompletedProcess[str]) -> None:
    if bare_import.returncode == 0:
        pytest.skip("torchvision's own operators load here")
    called = run(
        "from curation_resources.torchvision_ops import ensure_torchvision\n"
        "ensure_torchvision()\n"
        "import torch\n"
        "torch.ops.torchvision.nms(torch.zeros(1, 4), torch.ones(1), 0.5)"
    )
    assert "NotImplementedError" in called.stderr


def test_operators_that_exist_are_left_alone() -> None:
    kept = run(
        "import torch\n"
        "library = torch.library.Library('torchvision', 'DEF')\n"
        "for name in ('nms', 'qnms'):\n"
        "    library.define(f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "library.impl('nms', lambda dets, scores, iou_threshold: torch.arange(3), 'CPU')\n"
        "from curation_resources.torchvision_ops import ensure_torchvision\n"
        "assert ensure_torchvision() is False\n"
        "assert torch.ops.torchvision.nms(torch.zeros(3, 4), torch.ones(3), 0.5).tolist() == [0, 1, 2]\n"
    )
    assert kept.returncode == 0, kept.stderr
