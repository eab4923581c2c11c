"""Tokens a second of caption backends that run a model in this process, asked about 1, 16 and 64 clips at once.

    python -m benchmarks.caption_backends FOLDER [--backend transformers] [--tokens 16] [--frames 2]

One backend a call, since vLLM wants an environment of its own; nothing else of this project needs to be installed there. FOLDER holds a model as transformers
saves it; without one at hand `--tiny` writes a tiny Qwen2-VL with random weights there, in an environment that has transformers. Of such a model figures
say what a question costs around the network, and not what a network costs.
"""

from __future__ import annotations

import argparse
import gc
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from curation_resources.captioners.base import Captioner, CaptionRequest
from curation_resources.captioners.transformers_model import load_transformers_captioner
from curation_resources.captioners.vllm_model import VllmOptions, load_vllm_captioner

AT_ONCE = (1, 16, 64)
ASKED = 8
"""Questions at least, and twice as many as are under way."""


def load(backend: str, folder: str, tokens: int, frames: int, at_once: int) -> Captioner:
    """The backend with so many clips at once."""
    if backend == "vllm":
        engine = {"max_model_len": 2048, "enforce_eager": True}
        options = VllmOptions(tokens, frames=frames, concurrency=at_once, dtype="float32", engine=engine)
        return load_vllm_captioner(folder, options)
    return load_transformers_captioner(folder, max_tokens=tokens, batch=at_once, dtype="float32")


def jpegs(count: int) -> list[bytes]:
    """Small pictures of noise."""
    found = []
    for seed in range(count):
        out = io.BytesIO()
        noise = np.random.default_rng(seed).integers(0, 255, (96, 160, 3), dtype=np.uint8)
        Image.fromarray(noise).save(out, "JPEG", quality=90)
        found.append(out.getvalue())
    return found


def main() -> None:
    """Prints a line for each number of clips at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--backend", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="writes a tiny model there first")
    given = parser.parse_args()
    if given.tiny:
        from curation_assets_tests.tiny_vlm import write_tiny_qwen2_vl

        write_tiny_qwen2_vl(Path(given.folder), head=32)
    pictures = jpegs(given.frames)
    for at_once in AT_ONCE:
        captioner = load(given.backend, given.folder, given.tokens, given.frames, at_once)
        asked = [
            CaptionRequest(str(i), "describe this video", lambda: pictures) for i in range(max(ASKED, 2 * at_once))
        ]
        list(captioner.answer(asked[:1]))
        began = time.perf_counter()
        answers = list(captioner.answer(asked))
        seconds = time.perf_counter() - began
        wrong = [a.error for a in answers if a.error]
        if wrong:
            raise SystemExit(f"{len(wrong)} captions failed: {wrong[0]}")
        tokens = sum(a.completion_tokens or 0 for a in answers)
        print(
            f"{given.backend}, {at_once} clips at once: {len(asked) / seconds:.2f} clips/s, {tokens / seconds:.1f} tokens/s"
            f" ({len(asked)} clips, {answers[0].prompt_tokens} tokens of prompt and {given.frames} pictures each)",
            flush=True,
        )
        del captioner
        gc.collect()


if __name__ == "__main__":
    main()
