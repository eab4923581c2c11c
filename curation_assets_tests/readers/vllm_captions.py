"""Answers of the backend `vllm`, run by an environment that has vLLM: prints one JSON object, `key` -> text or error and tokens.

Arguments: the model's folder, how many questions may be under way, and a JSON file of questions: key -> prompt and files of pictures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from curation_resources.captioners.base import CaptionRequest
from curation_resources.captioners.vllm_model import VllmOptions, load_vllm_captioner


def main(folder: str, concurrency: str, file: str) -> None:
    asked = json.loads(Path(file).read_text("utf-8"))
    most = max(len(pictures) for _, pictures in asked.values())
    engine = {"max_model_len": 2048, "enforce_eager": True}
    options = VllmOptions(max_tokens=8, frames=most, concurrency=int(concurrency), dtype="float32", engine=engine)
    captioner = load_vllm_captioner(folder, options)

    def request(key: str) -> CaptionRequest:
        prompt, pictures = asked[key]
        return CaptionRequest(key, prompt, lambda: [Path(p).read_bytes() for p in pictures])

    answers = {
        a.key: [a.text, a.error, a.prompt_tokens, a.completion_tokens] for a in captioner.answer(map(request, asked))
    }
    print(json.dumps({"identity": captioner.identity, "answers": answers}))


if __name__ == "__main__":
    main(*sys.argv[1:])
