"""The backends that a recipe may name: what identifies each in a fingerprint, and the captioner that it stands for (`curation_resources.captioners`)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from curation_resources.captioners.base import Captioner, LazyCaptioner
from curation_resources.captioners.server import OpenAICaptioner
from curation_resources.captioners.transformers_model import load_transformers_captioner, transformers_identity
from curation_resources.captioners.vllm_model import VllmOptions, load_vllm_captioner

if TYPE_CHECKING:
    from curation_assets.captions.captions import Captions

WITHOUT_MODEL = ("source", "subtitles")


def caption_identity(params: Captions) -> str:
    """What identifies the backend's model in a fingerprint, without loading it."""
    brought = params.brought_identity()
    if brought:
        return " ".join(*brought.items())
    if params.backend in ("transformers", "vllm"):
        return f"{params.backend} {transformers_identity(str(params.model))}"
    return f"openai {params.model}" if params.backend == "openai" else params.backend


def load_captioner(params: Captions) -> Captioner | None:
    """The backend of the recipe; None for `source` and `subtitles`, which need none.

    A model in this process is loaded by the first question, so a shard without one needs no weights.
    """
    brought = params.chosen()
    if brought is not None:
        make, options = brought
        made: Captioner = make(params, options)
        return made
    if params.backend == "openai":
        return _server(params, str(params.url), str(params.model), params.max_tokens)
    if params.backend == "vllm":
        options = VllmOptions(
            params.max_tokens,
            params.temperature,
            params.seed,
            params.frames,
            params.concurrency,
            params.dtype,
            dict(params.engine),
        )
        return LazyCaptioner(partial(load_vllm_captioner, str(params.model), options))
    if params.backend == "transformers":
        return LazyCaptioner(
            partial(
                load_transformers_captioner,
                str(params.model),
                max_tokens=params.max_tokens,
                temperature=params.temperature,
                seed=params.seed,
                batch=params.batch,
                device=params.device,
                dtype=params.dtype,
            )
        )
    return None


def load_refiner(params: Captions) -> Captioner | None:
    """The text model that refines captions; None if the recipe has none."""
    refine = params.clean.refine
    return None if refine is None else _server(params, refine.url, refine.model, refine.max_tokens)


def _server(params: Captions, url: str, model: str, max_tokens: int) -> OpenAICaptioner:
    return OpenAICaptioner(
        url,
        model,
        max_tokens=max_tokens,
        temperature=params.temperature,
        seed=params.seed,
        concurrency=params.concurrency,
        timeout_s=params.timeout_s,
        attempts=params.attempts,
        key_env=params.key_env,
    )
