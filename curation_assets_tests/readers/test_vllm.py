"""Captions by vLLM in a process of its environment: the shipped backend on a real checkpoint, against transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets_tests.readers.environments import read_in
from curation_assets_tests.readers.vllm_answers import BROKEN, TOKENS, asked
from curation_assets_tests.tiny_vlm import write_tiny_qwen2_vl
from curation_resources.captioners.transformers_model import load_transformers_captioner


@pytest.mark.slow
def test_vllm_answers_what_transformers_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy answers of random weights; a picture that is none is its question's fault alone."""
    monkeypatch.setenv(
        "VLLM_ENABLE_V1_MULTIPROCESSING", "0"
    )  # its own processes would not get what makes torchvision load
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    model = write_tiny_qwen2_vl(tmp_path / "model", head=32)
    found = read_in("vllm", "vllm_answers", model)
    expected = asked(load_transformers_captioner(str(model), max_tokens=TOKENS, dtype="float32"))
    assert set(found) == set(expected) == {f"q{n}" for n in range(7)}
    assert [key for key, (_, failed, *_) in found.items() if failed] == [BROKEN]
    for key, (text, failed, asked_tokens, answered) in expected.items():
        if not failed:
            assert found[key] == [text, False, asked_tokens, answered], key
    assert len({text for text, failed, *_ in found.values() if not failed}) > 1, "answers hang on the pictures"
