"""Captions by a model that vLLM runs in this process, with continuous batching: a question joins those under way as soon as one of them is answered.

vLLM is no part of this project's environment, since each of its versions wants one torch and one span of transformers; see docs/explanation/captions.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from curation_resources.captioners.base import UNREADABLE, CaptionAnswer, CaptionRequest
from curation_resources.captioners.transformers_model import model_folder, pictures_of
from curation_resources.extras import MissingExtra, command, installed
from curation_resources.torchvision_ops import ensure_torchvision
from curation_resources.weights import WrongWeights
from curation_resources.words import plural

if TYPE_CHECKING:
    from PIL import Image


DEAD = "EngineDeadError"
"""What vLLM raises of every question once its engine has broken: no property of a question."""


@dataclass(frozen=True)
class VllmOptions:
    """How vLLM runs a model.

    Attributes:
        max_tokens: longest answer.
        temperature: 0 decodes greedily; else answers are drawn.
        seed: of each answer.
        frames: most pictures of one question.
        concurrency: questions under way at a time.
        dtype: auto (as the model's configuration says), float32, bfloat16 or float16.
        engine: further arguments of `vllm.LLM`.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    frames: int = 8
    concurrency: int = 16
    dtype: str = "auto"
    engine: dict[str, Any] | None = None


def require_vllm(model: str) -> None:
    """Raises MissingExtra where vLLM is not installed."""
    if not installed("vllm"):
        raise MissingExtra(f"the caption model {model} needs vllm, which is not installed: {command('vllm')}")


def load_vllm_captioner(model: str, options: VllmOptions) -> VllmCaptioner:
    """Loads an image-text-to-text model with vLLM.

    Args:
        model: hub id or folder.
        options: how.

    Raises:
        MissingWeights: the model cannot be had, or vLLM is not installed.
        WrongWeights: it is there, but vLLM cannot run it here. Code in it is never run.
    """
    require_vllm(model)
    ensure_torchvision()
    folder, identity = model_folder(model)
    import vllm

    try:
        engine = vllm.LLM(
            str(folder),
            seed=options.seed,
            dtype=options.dtype,
            limit_mm_per_prompt={"image": options.frames},
            max_num_seqs=options.concurrency,
            trust_remote_code=False,
            **(options.engine or {}),
        )
    except Exception as error:  # the library raises many classes for what it cannot run
        reason = str(error).strip().split("\n")[0][:300]
        raise WrongWeights(
            f"caption model {model} cannot be loaded by vLLM: {type(error).__name__}: {reason}"
        ) from error
    sampling = vllm.SamplingParams(max_tokens=options.max_tokens, temperature=options.temperature, seed=options.seed)
    return VllmCaptioner(engine, sampling, identity, options.concurrency)


class VllmCaptioner:
    """A model that vLLM runs in this process; made by `load_vllm_captioner`."""

    def __init__(self, engine: Any, sampling: Any, identity: str, concurrency: int) -> None:
        self._engine, self._sampling, self._identity, self._concurrency = engine, sampling, identity, concurrency

    @property
    def identity(self) -> str:
        return self._identity

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request, as they come; pictures of the next questions are read while others are answered."""
        source = iter(requests)
        asked: dict[str, tuple[CaptionRequest, float]] = {}
        with ThreadPoolExecutor(min(8, self._concurrency), "caption-frames") as readers:
            loading = self._load(source, readers, self._concurrency)
            try:
                while loading or asked:
                    loading = loading or self._load(source, readers, self._concurrency - len(asked))
                    while loading and len(asked) < self._concurrency:
                        request, pictures = loading.pop(0)
                        loading += self._load(source, readers, 1)
                        failed = self._ask(request, pictures, asked)
                        if failed is not None:
                            yield failed
                    if asked:
                        yield from self._answered(asked)
            finally:
                if asked:
                    with suppress(Exception):  # of an engine that broke nothing is under way
                        self._engine.llm_engine.abort_request(list(asked))

    def _load(
        self, source: Iterator[CaptionRequest], readers: ThreadPoolExecutor, count: int
    ) -> list[tuple[CaptionRequest, Future[list[Image.Image]]]]:
        return [(request, readers.submit(pictures_of, request)) for request in islice(source, count)]

    def _ask(
        self,
        request: CaptionRequest,
        pictures: Future[list[Image.Image]],
        asked: dict[str, tuple[CaptionRequest, float]],
    ) -> CaptionAnswer | None:
        """Hands a question to the engine; the answer if that cannot be done."""
        try:
            content = [{"type": "image_pil", "image_pil": picture} for picture in pictures.result()]
        except (OSError, ValueError, RuntimeError, SyntaxError) as error:
            return CaptionAnswer(request.key, error=f"{UNREADABLE}: {error}", attempts=0)
        message = {"role": "user", "content": [*content, {"type": "text", "text": request.prompt}]}
        try:
            (number,) = self._engine.enqueue_chat([[message]], self._sampling, use_tqdm=False)
        except Exception as error:
            if type(error).__name__ == DEAD:
                raise
            reason = str(error).strip().split("\n")[0][:300]
            return CaptionAnswer(request.key, error=f"model failed: {type(error).__name__}: {reason}")
        # What comes back here has random digits behind the number by which outputs and `abort_request` go (vLLM 0.32).
        asked[number.partition("-")[0]] = (request, time.perf_counter())
        return None

    def _answered(self, asked: dict[str, tuple[CaptionRequest, float]]) -> Iterator[CaptionAnswer]:
        """One step of the engine; the answers that it finished.

        Raises:
            RuntimeError: it has nothing more to do, and not all have been answered.
        """
        if not self._engine.llm_engine.has_unfinished_requests():
            raise RuntimeError(f"vLLM answered no more, and {plural(len(asked), 'question is', 'questions are')} open")
        for output in self._engine.llm_engine.step():
            if output.finished and output.request_id in asked:
                request, began = asked.pop(output.request_id)
                (best,) = output.outputs
                yield CaptionAnswer(
                    request.key,
                    best.text,
                    None,
                    len(output.prompt_token_ids or ()),
                    len(best.token_ids),
                    1,
                    time.perf_counter() - began,
                )
