"""The CLIP model of a recipe: finding its weights, loading them through open_clip, encoding pictures and texts.

A model is named by two strings, as in a recipe's `embeddings` section:

=========================  =====================================================  ===========================================
``model``                  ``pretrained``                                         what is loaded
=========================  =====================================================  ===========================================
open_clip architecture     tag of open_clip (``openai``, ``laion2b_s32b_b82k``)   that tag's file, from the hub cache or the hub
open_clip architecture     path or URI of a checkpoint                            that file (state dict or safetensors)
``hf-hub:org/name``        ignored                                                configuration and weights of the hub repository
``local-dir:/folder``      ignored                                                ``open_clip_config.json`` and weights in the folder
=========================  =====================================================  ===========================================

A bare path of a folder is read as ``local-dir:``. A tag that was trained with QuickGELU gets it, whatever the architecture's own
configuration says; for a *file* of such weights (OpenAI's own) name the architecture that ends in ``-quickgelu``.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from curation_resources.devices import choose_device, cpu_has_bf16
from curation_resources.extras import require
from curation_resources.model_input import FILTERS, Fit
from curation_resources.overlapped import overlapped
from curation_resources.torchvision_ops import ensure_torchvision
from curation_resources.weights import (
    LOCAL,
    MissingWeights,
    WrongWeights,
    fetch_weights,
    file_sha256,
    hub_file,
    is_remote,
    local_path,
    may_be_of_hub,
    names_a_path,
)

if TYPE_CHECKING:
    import torch
    from PIL import Image

Precision = Literal["auto", "fp32", "bf16", "fp16"]

HUB_PREFIX, LOCAL_PREFIX = "hf-hub:", "local-dir:"
CONFIG = "open_clip_config.json"
HUB_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
SETTING = "embeddings.pretrained"


@dataclass(frozen=True)
class ClipWeights:
    """Weights that were found.

    Attributes:
        name: what open_clip is asked for: an architecture or ``local-dir:<folder>``.
        checkpoint: file of the weights; None for a folder, where open_clip finds them.
        label: model and tag, without any name of a local file or folder.
        sha256: hash of the weights (of a folder: of its configuration and all its weight files).
        quick_gelu: whether the weights were trained with QuickGELU.
        preprocess: preprocessing that goes with the tag (mean, std, interpolation, resize_mode).
    """

    name: str
    checkpoint: Path | None
    label: str
    sha256: str
    quick_gelu: bool = False
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Name, tag and hash of the weights, for a table's `model` column."""
        return f"{self.label} sha256:{self.sha256[:16]}"


def _local_folder(model: str) -> Path | None:
    if model.startswith(LOCAL_PREFIX):
        return local_path(model.removeprefix(LOCAL_PREFIX))
    if "/" in model and not model.startswith(HUB_PREFIX) and local_path(model).is_dir():
        return local_path(model)
    return None


def _folder_files(folder: Path) -> list[Path]:
    """The configuration and weight files of a ``local-dir:`` model."""
    config = folder / CONFIG
    weights = sorted(p for p in folder.glob("*") if p.suffix in WEIGHT_SUFFIXES) if folder.is_dir() else []
    if not config.is_file() or not weights:
        lacks = f"{CONFIG}" if not config.is_file() else "weights (*.safetensors, *.bin, *.pth)"
        raise MissingWeights(
            f"weights of the CLIP model are missing: folder {folder} has no {lacks}; set embeddings.model to a folder with {CONFIG} and weights"
        )
    return [config, *weights]


def _folder_sha256(folder: Path) -> str:
    parts = [f"{p.name} {file_sha256(p)}" for p in _folder_files(folder)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _open_clip() -> Any:
    require("a CLIP model", "torch", "torchvision", "open_clip")
    ensure_torchvision()
    import open_clip

    return open_clip


def _tag_config(model: str, pretrained: str) -> dict[str, Any]:
    """open_clip's entry for a tag; empty if `pretrained` is no tag of that architecture."""
    return cast("dict[str, Any]", _open_clip().get_pretrained_cfg(model.replace("/", "-"), pretrained))


def clip_identity(model: str, pretrained: str) -> str:
    """What identifies the model in a fingerprint, without loading or downloading it.

    For local weights their SHA-256, with the architecture where the recipe names it; for tags and hub repositories the name, and for
    a URI the URI without its query, so that the value does not change by the first download.

    Raises:
        MissingWeights: a local file or folder that is not there.
    """
    folder = _local_folder(model)
    if folder is not None:
        return f"{LOCAL} sha256:{_folder_sha256(folder)}"
    if model.startswith(HUB_PREFIX):
        if not may_be_of_hub(model.removeprefix(HUB_PREFIX)):
            raise MissingWeights(
                f"weights of CLIP model {model} are missing: {HUB_PREFIX} stands before the id of a repository, owner/name; correct embeddings.model, or give {LOCAL_PREFIX}<folder>"
            )
        return model
    if is_remote(pretrained):
        return f"{model}/{pretrained.split('?')[0]}"
    if local_path(pretrained).is_file():
        return f"{model}/{LOCAL} sha256:{file_sha256(local_path(pretrained))}"
    if "/" in pretrained or names_a_path(pretrained):  # no tag has a slash
        raise MissingWeights(
            f"weights of CLIP model {model} are missing: no file {local_path(pretrained)}; set {SETTING} to one that is there, or to a tag"
        )
    return f"{model}/{pretrained}"


def check_clip_names(model: str, pretrained: str) -> None:
    """Whether a model of that name can be, without its weights: nothing is fetched, but open_clip is imported.

    Raises:
        MissingWeights: a file, folder or tag that is not there, or what is no id of a repository.
        WrongWeights: open_clip has no such architecture.
        MissingExtra: open_clip is not installed.
    """
    clip_identity(model, pretrained)
    if _local_folder(model) is None and not model.startswith(HUB_PREFIX):
        _known(model, pretrained)


def _known(model: str, pretrained: str) -> dict[str, Any]:
    """open_clip's entry for the tag of an architecture; empty if `pretrained` is a file or URI. Raises as `check_clip_names`."""
    open_clip = _open_clip()
    name = model.replace("/", "-")
    if open_clip.get_model_config(name) is None:
        near = ", ".join(get_close_matches(name, open_clip.list_models(), 3))
        raise WrongWeights(
            f"embeddings.model: open_clip has no architecture {model!r}{f'; near it are {near}' if near else ''}; open_clip.list_models() has all; or give local-dir:<folder>"
        )
    tag = _tag_config(model, pretrained)
    if not tag and not is_remote(pretrained) and not local_path(pretrained).is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise MissingWeights(
            f"weights of CLIP model {model} are missing: {pretrained!r} is neither a file nor a tag of that architecture (tags: {tags});"
            f" set {SETTING} to one of them"
        )
    return tag


def find_clip_weights(model: str, pretrained: str) -> ClipWeights:
    """Finds the weights, downloading them where that is needed and possible.

    Raises:
        MissingWeights: they cannot be had.
        WrongWeights: the architecture or the tag is not known.
    """
    folder = _local_folder(model)
    if folder is not None:
        return ClipWeights(f"{LOCAL_PREFIX}{folder}", None, LOCAL, _folder_sha256(folder))
    what = f"CLIP model {model}"
    if model.startswith(HUB_PREFIX):
        return _hub_repository(model.removeprefix(HUB_PREFIX), what)
    tag = _known(model, pretrained)
    if tag:
        file = _tag_file(tag, f"{what} ({pretrained})")
        keep = {k: tag[k] for k in ("mean", "std", "interpolation", "resize_mode") if tag.get(k) is not None}
        return ClipWeights(model, file, f"{model}/{pretrained}", file_sha256(file), bool(tag.get("quick_gelu")), keep)
    file = fetch_weights(pretrained, what, SETTING)
    name = PurePosixPath(pretrained.split("?")[0]).name if is_remote(pretrained) else LOCAL
    return ClipWeights(model, file, f"{model}/{name}", file_sha256(file))


def _tag_file(tag: Mapping[str, Any], what: str) -> Path:
    if tag.get("file"):
        return fetch_weights(str(tag["file"]), what, SETTING)
    if tag.get("hf_hub"):
        repository, _, name = str(tag["hf_hub"]).rpartition("/")
        stem = name.rpartition(".")[0]
        names = (
            (f"{stem}.safetensors", name)
            if name and not name.endswith(".safetensors")
            else (name,)
            if name
            else HUB_WEIGHTS
        )
        return hub_file(repository, names, what, SETTING)
    return fetch_weights(str(tag["url"]), what, SETTING)


def _hub_repository(repository: str, what: str) -> ClipWeights:
    """A hub repository as a ``local-dir:`` model in the hub's cache, named by its revision."""
    config = hub_file(repository, (CONFIG,), what, "embeddings.model")
    hub_file(repository, HUB_WEIGHTS, what, "embeddings.model", revision=config.parent.name)
    text = json.loads(config.read_text("utf-8")).get("model_cfg", {}).get("text_cfg", {})
    if text.get("hf_tokenizer_name"):
        hub_file(
            repository,
            ("tokenizer.json", "vocab.txt", "spiece.model"),
            what,
            "embeddings.model",
            revision=config.parent.name,
        )
        hub_file(repository, ("tokenizer_config.json",), what, "embeddings.model", revision=config.parent.name)
    label = f"{HUB_PREFIX}{repository.partition('@')[0]}@{config.parent.name[:12]}"
    return ClipWeights(f"{LOCAL_PREFIX}{config.parent}", None, label, _folder_sha256(config.parent))


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
    folder = _local_folder(model)
    if model.startswith(HUB_PREFIX):
        repository = model.removeprefix(HUB_PREFIX)
        folder = hub_file(repository, (CONFIG,), f"CLIP model {model}", "embeddings.model").parent
    if folder is not None:
        read = json.loads((folder / CONFIG).read_text("utf-8"))
        network, steps = read.get("model_cfg", {}), read.get("preprocess_cfg", {})
    else:
        network, steps = _open_clip().get_model_config(model.replace("/", "-")) or {}, _tag_config(model, pretrained)
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
    open_clip = _open_clip()
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
