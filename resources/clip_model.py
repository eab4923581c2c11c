"""The CLIP model of a recipe: loading it through open_clip, encoding pictures and texts.

Which weights a recipe names is `clip_weights.py`'s.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from curation_resources.clip_weights import (
    CONFIG,
    HUB_PREFIX,
    ClipWeights,
    find_clip_weights,
    loaded_open_clip,
    local_folder,
    tag_config,
)
from curation_resources.devices import choose_device, cpu_has_bf16
from curation_resources.model_input import FILTERS, Fit
from curation_resources.overlapped import overlapped
from curation_resources.weights import (
    WrongWeights,
    hub_file,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image

Precision = Literal["auto", "fp32", "bf16", "fp16"]


def choose_precision(precision: Precision, device: str) -> Literal["fp32", "bf16", "fp16"]:
    """``auto`` is fp16 on CUDA, bf16 on CPUs that have it, else fp32."""
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "fp16"
    return "bf16" if cpu_has_bf16() else "fp32"


def _fit(resize_mode: str, interpolation: str, size: tuple[int, int]) -> Fit | None:
    if interpolation not in FILTERS or resize_mode not in ("shortest", "squash"):
        return None
    if resize_mode == "shortest" and size[0] != size[1]:
        return None
    return Fit(size[0] if resize_mode == "shortest" else None, size, FILTERS[interpolation])


def clip_fit(model: str, pretrained: str) -> Fit | None:
    """How pictures are fitted for a model by what its configuration says, without its weights; None if it wants something that `Fit` has not.

    The loaded model has the last word (`ClipModel.fit`): what was kept by another fit is of no use to it, and nothing worse.

    Raises:
        MissingWeights: the configuration of a hub repository cannot be had.
        OSError, ValueError: that of a folder cannot be read.
        MissingExtra: open_clip, which knows those of the architectures, is not installed.
    """
    folder = local_folder(model)
    if model.startswith(HUB_PREFIX):
        repository = model.removeprefix(HUB_PREFIX)
        folder = hub_file(repository, (CONFIG,), f"CLIP model {model}", "embeddings.model").parent
    if folder is not None:
        read = json.loads((folder / CONFIG).read_text("utf-8"))
        network, steps = read.get("model_cfg", {}), read.get("preprocess_cfg", {})
    else:
        network, steps = (
            loaded_open_clip().get_model_config(model.replace("/", "-")) or {},
            tag_config(model, pretrained),
        )
    size = network.get("vision_cfg", {}).get("image_size", 224)
    height, width = (size, size) if isinstance(size, int) else size
    return _fit(steps.get("resize_mode") or "shortest", steps.get("interpolation") or "bicubic", (height, width))


@dataclass(frozen=True)
class TextVectors:
    """Encoded texts: `vectors` float32 [n, d] of length 1, and for each text whether the tokenizer cut it."""

    vectors: np.ndarray
    truncated: list[bool]


class ClipModel:
    """A loaded CLIP model; made by `load_clip`.

    Attributes:
        identity: name, tag and hash of the weights.
        dimension: length of the embeddings.
        logit_scale: factor on cosines for which the model was trained to give log-odds, 100 for OpenAI's.
        device, precision: where and in what it computes.
        image_size: (height, width) of the pictures it takes.
        fit: what `preprocess` does, for worker processes; None if the model wants something that `Fit` has not.
    """

    def __init__(
        self, network: torch.nn.Module, tokenizer: Any, weights: ClipWeights, device: str, precision: str
    ) -> None:
        import torch
        from open_clip.transform import PreprocessCfg, image_transform_v2

        self.identity, self.device, self.precision = weights.identity, device, precision
        self._network, self._tokenizer = network, tokenizer
        self.logit_scale = float(cast("torch.Tensor", network.logit_scale).detach().float().exp().reshape(-1)[0])
        config = PreprocessCfg(**cast("dict[str, Any]", cast(Any, network.visual).preprocess_cfg))
        steps = image_transform_v2(config, is_train=False).transforms
        self._geometry = steps[:-2]
        height, width = config.input_size[1:]
        self.image_size: tuple[int, int] = (height, width)
        self.fit = _fit(config.resize_mode, config.interpolation, self.image_size)
        self._dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._mean = torch.tensor(config.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(config.std, device=device).view(1, 3, 1, 1)
        self.dimension = int(self.encode_texts(["a"]).vectors.shape[1])

    @property
    def asynchronous(self) -> bool:
        """Whether a device of its own computes, which others may keep busy meanwhile."""
        return self.device.startswith("cuda")

    def preprocess(self, picture: Image.Image) -> np.ndarray:
        """The picture as the network sees it before normalisation: uint8 [height, width, 3], by open_clip's own steps."""
        for step in self._geometry:
            picture = step(picture)
        return np.array(picture)

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        """Normalised embeddings, float32 [n, dimension], of `preprocess`ed pictures, uint8 [n, height, width, 3]."""
        return next(self.encode_ahead([pixels]))

    def encode_ahead(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As `encode_images`, of batch after batch; see `overlapped` for how long a batch must stay as it is."""
        for (vectors,) in overlapped(batches, self.device, lambda pixels: (self._encoded(pixels),)):
            yield vectors

    def _encoded(self, pixels: torch.Tensor) -> torch.Tensor:
        import torch

        batch = pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        vectors = cast(Any, self._network).encode_image(batch.to(self._dtype)).float()
        return torch.nn.functional.normalize(vectors, dim=-1)

    def encode_texts(self, texts: Sequence[str], batch: int = 256) -> TextVectors:
        """Normalised embeddings of texts; longer ones than the text tower reads are cut by its tokenizer and reported."""
        import torch

        vectors, truncated = [], []
        with torch.inference_mode():
            for start in range(0, len(texts), batch):
                part = list(texts[start : start + batch])
                tokens = self._tokenizer(part)
                truncated += self._truncated(part, tokens)
                encoded = cast(Any, self._network).encode_text(tokens.to(self.device)).float()
                vectors.append(torch.nn.functional.normalize(encoded, dim=-1).cpu().numpy())
        return TextVectors(np.concatenate(vectors) if vectors else np.zeros((0, self.dimension), np.float32), truncated)

    def _truncated(self, texts: Sequence[str], tokens: torch.Tensor) -> list[bool]:
        """A text was cut if in a row of twice the length something other than padding stands beyond the first row's end."""
        length = tokens.shape[1]
        padding = self._tokenizer([""])[0, -1]
        longer = self._tokenizer(list(texts), context_length=2 * length)
        return [bool(value) for value in (longer[:, length:] != padding).any(dim=1)]


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip logs through the root logger that it found what it was told to load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def load_clip(
    model: str, pretrained: str, *, device: str = "auto", precision: Precision = "auto", text_only: bool = False
) -> ClipModel:
    """Loads a model; see the module's table for how it is named.

    Args:
        model: architecture, ``hf-hub:`` repository or folder.
        pretrained: tag, path or URI of a checkpoint.
        device: auto, cpu, cuda or cuda:N.
        precision: auto, fp32, bf16 or fp16.
        text_only: drops the image tower to save memory. On the CPU the text tower then computes in fp32.

    Raises:
        MissingWeights: the weights cannot be had.
        WrongWeights: they are there but do not fit the architecture or cannot be read.
    """
    weights = find_clip_weights(model, pretrained)
    open_clip = loaded_open_clip()
    device = choose_device(device)
    chosen = "fp32" if text_only and device == "cpu" else choose_precision(precision, device)
    try:
        with _quiet():
            network = open_clip.create_model(
                weights.name,
                str(weights.checkpoint) if weights.checkpoint else None,
                precision=chosen,
                device=device,
                force_quick_gelu=weights.quick_gelu,
                force_preprocess_cfg=dict(weights.preprocess),
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(weights.name)
    except Exception as error:  # whatever a foreign file makes the unpickler, safetensors or the state dict raise
        where = weights.checkpoint or weights.name
        reason = str(error).strip().split("\n")[0][:300]
        raise WrongWeights(f"weights of CLIP model {weights.label} at {where} cannot be loaded: {reason}") from error
    loaded = ClipModel(network.eval(), tokenizer, weights, device, chosen)
    if text_only:
        del network.visual
    return loaded
