"""Asks the caption backend `vllm` seven questions, one with a picture that is none, two at a time: `python -m curation_assets_tests.readers.vllm_answers MODEL`.

Run in an environment that has vLLM; prints each answer's text, error and numbers of tokens by the question's key as JSON in the last line.
"""

from __future__ import annotations

import io
import json
import sys

import numpy as np
from PIL import Image

from curation_resources.captioners.base import Captioner, CaptionRequest

TOKENS, FRAMES = 8, 2
BROKEN = "q3"


def pictures(number: int) -> list[bytes]:
    """The pictures of a question."""
    if f"q{number}" == BROKEN:
        return [b"no picture"]
    found = []
    for seed in range(1 + number % FRAMES):
        out = io.BytesIO()
        noise = np.random.default_rng(10 * number + seed).integers(0, 255, (64, 96, 3), dtype=np.uint8)
        Image.fromarray(noise).save(out, "PNG")
        found.append(out.getvalue())
    return found


def asked(captioner: Captioner) -> dict[str, list[object]]:
    """Key of each question -> text, whether there is an error, tokens of the question and of the answer."""
    questions = [CaptionRequest(f"q{n}", "describe this clip", lambda n=n: pictures(n)) for n in range(7)]  # type: ignore[misc]
    return {
        a.key: [(a.text or "").strip(), a.error is not None, a.prompt_tokens, a.completion_tokens]
        for a in captioner.answer(questions)
    }


def main() -> None:
    from curation_resources.captioners.vllm_model import VllmOptions, load_vllm_captioner

    engine = {"max_model_len": 256, "enforce_eager": True}
    options = VllmOptions(TOKENS, frames=FRAMES, concurrency=2, dtype="float32", engine=engine)
    found = asked(load_vllm_captioner(sys.argv[1], options))
    print(flush=True)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
