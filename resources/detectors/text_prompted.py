"""Detectors that look for whatever the vocabulary names: OWLv2 and Grounding DINO through transformers.

Importing this module imports torch; `curation_resources.detectors.load_detector` does so only when such a detector is asked for.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from curation_resources.detectors.base import Detections, Floats, Image, RawDetections, finish, same_size_batches
from curation_resources.detectors.vocabulary import spoken
from curation_resources.overlapped import overlapped
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

MAX_BOXES = 300
"""Most boxes of a frame that are looked at; OWLv2 alone proposes 3,600."""
TEXT_BATCH = 64


def _load(class_name: str, model: str, what: str, device: str) -> tuple[Any, Any, torch.device, str]:
    """Model, processor, device and a short identity of the weights, from a local folder or the hub."""
    ensure_torchvision()
    import transformers

    folder, name = local_path(model), LOCAL
    if not folder.is_dir():
        if not may_be_of_hub(model):
            raise MissingWeights(
                f"weights of {what} are missing: no folder {folder}; set tracks.model to a folder or to the id of a hub repository, owner/name"
            )
        folder, name = hub_folder(model, what, "tracks.model"), model
    target = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    try:
        network = getattr(transformers, class_name).from_pretrained(folder, local_files_only=True)
        processor = transformers.AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise WrongWeights(
            f"{folder} does not hold {what} as transformers saves it ({str(error).strip().splitlines()[0][:200]})"
        ) from error
    digest = hashlib.sha256("".join(file_sha256(f) for f in sorted(folder.glob("*.safetensors"))).encode()).hexdigest()
    return network.to(target).eval(), processor, target, f"{name} {digest[:12]}"


def _half_precision(device: torch.device) -> torch.autocast:
    """Lets a GPU multiply matrices in float16, several times as fast as float32; changes nothing on the CPU."""
    return torch.autocast(device.type, torch.float16, enabled=device.type == "cuda")


def _corners(boxes: Tensor) -> Tensor:
    """(n, 4) centre and size to corners."""
    return torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], dim=1)


class _Ahead(ABC):
    """How batches go through a network on a device (`overlapped`); what its results mean is for those who have one."""

    device: torch.device
    batch: int

    @abstractmethod
    def _found(self, images: Tensor) -> Sequence[Tensor]:
        """What comes back to the host of a batch on the device, uint8 (n, 3, h, w)."""

    @abstractmethod
    def _read(self, found: list[Floats], count: int, size: tuple[int, int]) -> list[Detections]:
        """The detections in that, of `count` frames of a size (height, width)."""

    @property
    def asynchronous(self) -> bool:
        return self.device.type == "cuda"

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        batches = map(np.stack, same_size_batches(frames, self.batch))
        return [found for batch in self.detect_ahead(batches) for found in batch]

    def detect_ahead(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[list[Detections]]:
        """See `AheadDetector`."""
        shapes: deque[tuple[int, ...]] = deque()

        def noted() -> Iterator[NDArray[np.uint8]]:
            for batch in batches:
                shapes.append(batch.shape)
                yield batch

        def compute(pixels: Tensor) -> Sequence[Tensor]:
            return self._found(pixels.permute(0, 3, 1, 2).contiguous())

        for found in overlapped(noted(), str(self.device), compute):
            count, height, width, _ = shapes.popleft()
            yield self._read(found, count, (height, width))


class Owlv2Detector(_Ahead):
    """OWLv2 (Minderer et al., 2023, arXiv 2306.09683).

    Class scores are the sigmoid of the box's similarity to each prompt, objectness is the model's own head, and the feature of a
    box is its class embedding, which is comparable between frames.

    Args:
        model: hub id or folder.
        names: the vocabulary; prompts are embedded once, here.
        prompt: template with `{name}`.
        confidence: least score, which is the best class score.
        nms: see `base.suppress`.
        device: auto, cpu, cuda or cuda:N.
        batch: frames per forward pass.

    Raises:
        MissingWeights, WrongWeights: the model cannot be had or is not an OWLv2.
    """

    has_features = True
    concurrent = False
    precision = staticmethod(_half_precision)

    def __init__(
        self,
        model: str,
        names: Sequence[str],
        *,
        prompt: str = "a photo of a {name}",
        confidence: float = 0.2,
        nms: float = 0.5,
        device: str = "auto",
        batch: int = 8,
    ) -> None:
        self.names = tuple(names)
        self.confidence, self.nms, self.batch = confidence, nms, batch
        self.model, self.processor, self.device, identity = _load("Owlv2ForObjectDetection", model, "OWLv2", device)
        self.queries = self._embed([prompt.format(name=spoken(n)) for n in self.names])
        self.description = f"owlv2 {identity} classes={len(self.names)} prompt={prompt!r}"

    @torch.inference_mode()
    def _embed(self, prompts: list[str]) -> Tensor:
        """(classes, d): the text embedding of each prompt."""
        length = self.model.config.text_config.max_position_embeddings
        parts = []
        for start in range(0, len(prompts), TEXT_BATCH):
            tokens = self.processor.tokenizer(
                prompts[start : start + TEXT_BATCH],
                padding="max_length",
                max_length=length,
                truncation=True,
                return_tensors="pt",
            ).to(self.device)
            out = self.model.owlv2.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
            parts.append(out.pooler_output)
        return torch.cat(parts)

    def _found(self, images: Tensor) -> Sequence[Tensor]:
        """Boxes, scores, scores of classes, objectness and features of the `MAX_BOXES` best boxes of each frame."""
        pixels = self.processor.image_processor(
            list(images), input_data_format="channels_first", return_tensors="pt", device=self.device
        )["pixel_values"]
        with self.precision(self.device):
            grid, _ = self.model.image_embedder(pixel_values=pixels)
            patches = grid.flatten(1, 2)
            logits, features = self.model.class_predictor(patches, self.queries.expand(len(images), -1, -1))
            boxes = self.model.box_predictor(patches, grid)
            objectness = self.model.objectness_predictor(patches)
        classes, boxes, objectness = logits.float().sigmoid(), boxes.float(), objectness.float().sigmoid()
        scores = classes.amax(dim=2)
        best = _strongest(scores)
        # Frames are padded to a square at the right and the bottom, so one side length scales both axes.
        side = max(images.shape[2:])
        chosen = [_at(part, best) for part in (boxes, scores, classes, objectness, features.float())]
        return [torch.stack([_corners(of_frame) * side for of_frame in chosen[0]]), *chosen[1:]]

    def _read(self, found: list[Floats], count: int, size: tuple[int, int]) -> list[Detections]:
        return [
            finish(RawDetections(*(part[i] for part in found)), size, confidence=self.confidence, nms=self.nms)
            for i in range(count)
        ]


def _strongest(scores: Tensor) -> Tensor:
    """Positions of the at most `MAX_BOXES` best scores in the last dimension, best first."""
    return torch.topk(scores, min(MAX_BOXES, scores.shape[-1])).indices


def _at(values: Tensor, positions: Tensor) -> Tensor:
    """The rows (n, k, ...) of `values` (n, m, ...) at `positions` (n, k)."""
    return values[torch.arange(len(values), device=values.device)[:, None], positions]


class _TextMemory(nn.Module):
    """Stands for Grounding DINO's text encoder and runs it once per caption, whatever the number of frames."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.caption = -1
        self.kept: dict[int, Any] = {}

    def forward(
        self, input_ids: Tensor, masks: Tensor, types: Tensor, positions: Tensor, return_dict: bool = True
    ) -> Any:
        if self.caption not in self.kept:
            self.kept[self.caption] = self.encoder(input_ids[:1], masks[:1], types[:1], positions[:1], return_dict=True)
        kept = self.kept[self.caption]
        return type(kept)(last_hidden_state=kept.last_hidden_state.expand(len(input_ids), -1, -1))


class _VisionMemory(nn.Module):
    """Stands for Grounding DINO's image encoder and runs it once per batch, whatever the number of captions."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.kept: tuple[list[Any], list[Any]] | None = None

    @property
    def position_embedding(self) -> nn.Module:
        return cast(nn.Module, self.encoder.position_embedding)

    def forward(self, pixels: Tensor, mask: Tensor) -> tuple[list[Any], list[Any]]:
        if self.kept is None:
            self.kept = self.encoder(pixels, mask)
        # The model appends to the lists it is given.
        return list(self.kept[0]), list(self.kept[1])


class GroundingDinoDetector(_Ahead):
    """Grounding DINO (Liu et al., 2023, arXiv 2303.05499).

    The model reads at most `max_text_len` tokens at once, so a long vocabulary is split into captions ("cat. dog. bird.") and every
    frame is looked at once per caption; text is encoded once per vocabulary and the image once per frame. The score of a class is the
    mean probability of its name's tokens. It has no objectness; the feature of a box is its decoder state.

    Args and Raises: as `Owlv2Detector`.
    """

    has_features = True
    concurrent = False
    precision = staticmethod(_half_precision)

    def __init__(
        self,
        model: str,
        names: Sequence[str],
        *,
        prompt: str = "{name}",
        confidence: float = 0.2,
        nms: float = 0.5,
        device: str = "auto",
        batch: int = 8,
    ) -> None:
        self.names = tuple(names)
        self.confidence, self.nms, self.batch = confidence, nms, batch
        self.model, self.processor, self.device, identity = _load(
            "GroundingDinoForObjectDetection", model, "Grounding DINO", device
        )
        self.text = _TextMemory(self.model.model.text_backbone)
        self.vision = _VisionMemory(self.model.model.backbone)
        self.model.model.text_backbone, self.model.model.backbone = self.text, self.vision
        self.captions = self._captions([_phrase(prompt, n) for n in self.names])
        self.description = f"grounding-dino {identity} classes={len(self.names)} prompt={prompt!r}"

    def _captions(self, phrases: list[tuple[str, int, int]]) -> list[tuple[dict[str, Tensor], Tensor]]:
        """Token tensors of each caption, and (classes, tokens) weights that average the tokens of each class's name."""
        limit = self.model.config.max_text_len
        lengths = [len(self.processor.tokenizer(p + ".", add_special_tokens=False)["input_ids"]) for p, _, _ in phrases]
        longest = max(range(len(phrases)), key=lambda i: lengths[i])
        if lengths[longest] + 2 > limit:
            raise WrongWeights(
                f"the prompt {phrases[longest][0]!r} has more than the {limit - 2} tokens that the model reads"
            )
        captions, first = [], 0
        while first < len(phrases):
            end, used = first, 2
            while end < len(phrases) and used + lengths[end] <= limit:
                used, end = used + lengths[end], end + 1
            captions.append(self._caption(phrases, first, end))
            first = end
        return captions

    def _caption(self, phrases: list[tuple[str, int, int]], first: int, end: int) -> tuple[dict[str, Tensor], Tensor]:
        text, spans = "", []
        for phrase, start, stop in phrases[first:end]:
            spans.append((len(text) + start, len(text) + stop))
            text += phrase + ". "
        tokens = self.processor.tokenizer(text.rstrip(), return_tensors="pt", return_offsets_mapping=True)
        offsets = tokens.pop("offset_mapping")[0].tolist()
        weights = torch.zeros(len(phrases), len(offsets))
        for row, (start, stop) in enumerate(spans, first):
            inside = [i for i, (a, b) in enumerate(offsets) if a < b and a >= start and b <= stop]
            weights[row, inside] = 1 / max(1, len(inside))
        return {k: v.to(self.device) for k, v in tokens.items()}, weights.to(self.device)

    def _found(self, images: Tensor) -> Sequence[Tensor]:
        """Of each frame boxes, scores of classes and features of the boxes that reach the confidence, which is asked on the device:
        those of all captions would be megabytes a frame."""
        count, (height, width) = len(images), images.shape[2:]
        prepared = self.processor.image_processor(
            list(images), input_data_format="channels_first", return_tensors="pt", device=self.device
        ).to(self.device)
        self.vision.kept = None
        per_frame: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in images]
        for number, (tokens, weights) in enumerate(self.captions):
            self.text.caption = number
            with self.precision(self.device):
                out = self.model(
                    pixel_values=prepared["pixel_values"],
                    pixel_mask=prepared["pixel_mask"],
                    **{k: v.expand(count, -1) for k, v in tokens.items()},
                )
            probabilities = out.logits[..., : weights.shape[1]].float().sigmoid() @ weights.T
            for i, parts in enumerate(per_frame):
                scores = probabilities[i].amax(dim=1)
                keep = _strongest(scores)
                keep = keep[scores[keep] >= self.confidence]
                parts.append((out.pred_boxes[i][keep].float(), probabilities[i][keep], out.last_hidden_state[i][keep]))
        self.vision.kept = None
        scale = torch.tensor([width, height, width, height], device=images.device)
        found: list[Tensor] = []
        for parts in per_frame:
            boxes, classes, features = (torch.cat(column) for column in zip(*parts, strict=True))
            found += [_corners(boxes) * scale, classes, features.float()]
        return found

    def _read(self, found: list[Floats], count: int, size: tuple[int, int]) -> list[Detections]:
        frames = zip(found[::3], found[1::3], found[2::3], strict=True)
        return [
            finish(
                RawDetections(corners, classes.max(axis=1, initial=0).astype(np.float32), classes, features=features),
                size,
                confidence=self.confidence,
                nms=self.nms,
            )
            for corners, classes, features in frames
        ]


def _phrase(prompt: str, name: str) -> tuple[str, int, int]:
    """A class as a phrase of a caption, and where the name stands in it. A full stop would end the phrase, so it becomes a space."""
    name = spoken(name).replace(".", " ").strip().lower()
    before, _, after = prompt.replace(".", " ").lower().partition("{name}")
    return before + name + after, len(before), len(before) + len(name)
