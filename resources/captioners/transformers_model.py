"""Captions by a model of `transformers` in this process."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from curation_resources.captioners.base import UNREADABLE, CaptionAnswer, CaptionRequest
from curation_resources.devices import choose_device, cpu_has_bf16
from curation_resources.extras import require
from curation_resources.torchvision_ops import ensure_torchvision
from curation_resources.weights import (
    LOCAL,
    MissingWeights,
    WrongWeights,
    file_sha256,
    hub_folder,
    local_path,
    may_be_of_hub,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image


def transformers_identity(model: str) -> str:
    """What identifies the model in a fingerprint without loading it: for a folder the hash of its files, else the hub id.

    Raises:
        MissingWeights: neither a folder that is there nor what can be an id.
    """
    folder = local_path(model)
    if not folder.is_dir() and not may_be_of_hub(model):
        raise MissingWeights(
            f"weights of caption model {model} are missing: no such folder; set captions.model to a folder or to the id of a hub repository, owner/name"
        )
    return f"{LOCAL} sha256:{_folder_sha256(folder)}" if folder.is_dir() else model


def _folder_sha256(folder: Path) -> str:
    import hashlib

    files = sorted(
        p
        for p in folder.iterdir()
        if p.is_file() and p.suffix in (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
    )
    return hashlib.sha256("\n".join(f"{p.name} {file_sha256(p)}" for p in files).encode()).hexdigest()[:16]


def model_folder(model: str) -> tuple[Path, str]:
    """The folder of a model, and what identifies it.

    Raises:
        MissingWeights: it cannot be had.
    """
    folder = local_path(model)
    if folder.is_dir():
        return folder, transformers_identity(model)
    transformers_identity(model)  # of a folder that is not there it says so
    folder = hub_folder(model, f"caption model {model}", "captions.model")
    return folder, f"{model.partition('@')[0]}@{folder.name[:12]}"


def load_transformers_captioner(
    model: str,
    *,
    max_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
    batch: int = 4,
    device: str = "auto",
    dtype: str = "auto",
) -> TransformersCaptioner:
    """Loads an image-text-to-text model of `transformers` (Qwen-VL, LLaVA-OneVision, Idefics/SmolVLM, ...).

    Args:
        model: hub id or folder.
        max_tokens: longest answer.
        temperature: 0 decodes greedily; else answers are drawn.
        seed: set before each batch.
        batch: requests per batch.
        device: auto, cpu, cuda or cuda:N.
        dtype: auto (bfloat16 on GPUs and CPUs that have it, else float16 and float32), float32, bfloat16 or float16.

    Raises:
        MissingWeights: the model cannot be had.
        WrongWeights: it is there but is no such model, cannot be read, or has no chat template. Code in it is never run.
    """
    require(f"the caption model {model}", "torch", "torchvision", "transformers", "huggingface_hub")
    ensure_torchvision()
    import torch
    import transformers

    folder, identity = model_folder(model)
    device = choose_device(device)
    try:
        processor = transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        network = transformers.AutoModelForImageTextToText.from_pretrained(
            folder, dtype=getattr(torch, _dtype(dtype, device)), trust_remote_code=False
        )
    except Exception as error:  # the library raises many classes for a folder that it cannot use
        reason = str(error).strip().split("\n")[0][:300]
        raise WrongWeights(f"caption model {model} cannot be loaded: {type(error).__name__}: {reason}") from error
    if not getattr(processor, "chat_template", None):
        raise WrongWeights(
            f"caption model {model} has no chat template, so it cannot be asked; set captions.model to an instruction-tuned model, or to a folder "
            "with its files and a chat_template.jinja (docs/explanation/captions.md has one)"
        )
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return TransformersCaptioner(processor, network.to(device).eval(), identity, max_tokens, temperature, seed, batch)


def _dtype(dtype: str, device: str) -> str:
    if dtype != "auto":
        return dtype
    if device.startswith("cuda"):
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "bfloat16" if cpu_has_bf16() else "float32"


@dataclass
class _Ready:
    """A batch whose pictures are read: what is asked, which questions have none and why, and the model's tensors, if they could be made."""

    asked: list[tuple[CaptionRequest, list[Image.Image]]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    inputs: Any = None


class TransformersCaptioner:
    """A model of `transformers` in this process; made by `load_transformers_captioner`."""

    def __init__(
        self, processor: Any, network: Any, identity: str, max_tokens: int, temperature: float, seed: int, batch: int
    ) -> None:
        self._processor, self._network, self._identity = processor, network, identity
        self._max_tokens, self._temperature, self._seed, self._batch = max_tokens, temperature, seed, batch
        self._tokenizing = threading.Lock()
        """A tokenizer of `tokenizers` refuses a thread that sets its padding while another reads with it."""

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def dtype(self) -> str:
        return str(self._network.dtype).removeprefix("torch.")

    @property
    def asynchronous(self) -> bool:
        """Whether a device of its own computes, which questions of the next shard may keep busy."""
        return bool(self._network.device.type == "cuda")

    def answer(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionAnswer]:
        """One answer per request; pictures of the next batch are decoded and made into the model's tensors while one is computed.

        A source that came to an end is asked for more once what it gave is answered.
        """
        source = iter(requests)
        with (
            ThreadPoolExecutor(min(8, self._batch), "caption-frames") as readers,
            ThreadPoolExecutor(1, "caption-inputs") as preparing,
        ):
            coming = self._begun(source, readers, preparing)
            while coming is not None:
                following = self._begun(source, readers, preparing)
                ready = coming.result()
                for key, problem in ready.failed:
                    yield CaptionAnswer(key, error=f"{UNREADABLE}: {problem}", attempts=0)
                if ready.asked:
                    yield from self._answer_batch(ready.asked, ready.inputs)
                coming = following or self._begun(source, readers, preparing)

    def _begun(
        self, source: Iterator[CaptionRequest], readers: ThreadPoolExecutor, preparing: ThreadPoolExecutor
    ) -> Future[_Ready] | None:
        """The next batch on its way; None if the source has no more now."""
        loading = [(r, readers.submit(pictures_of, r)) for r in islice(source, self._batch)]
        return preparing.submit(self._ready, loading) if loading else None

    def _ready(self, loading: list[tuple[CaptionRequest, Future[list[Image.Image]]]]) -> _Ready:
        ready = _Ready()
        for request, pictures in loading:
            try:
                ready.asked.append((request, pictures.result()))
            except (OSError, ValueError, RuntimeError, SyntaxError) as error:
                ready.failed.append((request.key, str(error)))
        if ready.asked:
            with suppress(Exception):  # raised again where the batch is computed, and halved to find whose fault it is
                ready.inputs = self._inputs(ready.asked)
        return ready

    def _inputs(self, batch: list[tuple[CaptionRequest, list[Image.Image]]]) -> Any:
        """What the model takes, in memory from which a GPU copies while it computes."""
        conversations = [
            [
                {
                    "role": "user",
                    "content": [
                        *({"type": "image", "image": picture} for picture in pictures),
                        {"type": "text", "text": request.prompt},
                    ],
                }
            ]
            for request, pictures in batch
        ]
        with self._tokenizing:
            inputs = self._processor.apply_chat_template(
                conversations,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        if self.asynchronous:
            for name, value in inputs.items():
                if hasattr(value, "pin_memory"):
                    inputs[name] = value.pin_memory()
        return inputs

    def _answer_batch(
        self, batch: list[tuple[CaptionRequest, list[Image.Image]]], inputs: Any = None
    ) -> Iterator[CaptionAnswer]:
        """A batch that fails is halved, so that one request which the model cannot take costs no other its answer."""
        import torch

        try:
            yield from self._generate(batch, inputs)
        except Exception as error:  # noqa: BLE001 - whatever the model makes of a request is recorded in its row
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            if len(batch) == 1:
                reason = str(error).strip().split("\n")[0][:300]
                yield CaptionAnswer(batch[0][0].key, error=f"model failed: {type(error).__name__}: {reason}")
                return
            middle = len(batch) // 2
            yield from self._answer_batch(batch[:middle])
            yield from self._answer_batch(batch[middle:])

    def _generate(self, batch: list[tuple[CaptionRequest, list[Image.Image]]], inputs: Any) -> list[CaptionAnswer]:
        import torch

        started = time.perf_counter()
        inputs = self._inputs(batch) if inputs is None else inputs
        inputs = inputs.to(self._network.device, dtype=self._network.dtype, non_blocking=self.asynchronous)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._temperature > 0:
            sampling = {"do_sample": True, "temperature": self._temperature}
        torch.manual_seed(self._seed)
        with torch.inference_mode():
            output = self._network.generate(**inputs, max_new_tokens=self._max_tokens, **sampling)
        fresh = cast("torch.Tensor", output)[:, inputs["input_ids"].shape[1] :]
        with self._tokenizing:
            texts = self._processor.batch_decode(fresh, skip_special_tokens=True)
        prompt_tokens = inputs["attention_mask"].sum(dim=1).tolist()
        seconds = (time.perf_counter() - started) / len(batch)
        return [
            CaptionAnswer(request.key, text, None, int(asked), self._length(row), 1, seconds)
            for (request, _), text, asked, row in zip(batch, texts, prompt_tokens, fresh, strict=True)
        ]

    def _length(self, row: torch.Tensor) -> int:
        """Generated tokens up to and with the first end mark; what follows it in a batch is padding."""
        ends = self._network.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}
        for i, token in enumerate(row.tolist()):
            if token in ends:
                return i + 1
        return len(row)


def pictures_of(request: CaptionRequest) -> list[Image.Image]:
    """The pictures of a request; raises OSError, ValueError, RuntimeError or SyntaxError where they cannot be had."""
    from PIL import Image

    return [Image.open(io.BytesIO(data)).convert("RGB") for data in request.load()]
