"""A clip's aesthetic score: a small head on top of the stored CLIP embeddings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curation_assets.contracts.door import brought, named
from curation_assets.scores.embedding import asset_table, clip_vectors, real_clips
from curation_resources.extras import require
from curation_resources.weights import LOCAL, WrongWeights, fetch_weights, file_sha256, is_remote

if TYPE_CHECKING:
    from curation_assets.scores.aesthetic_scores import Aesthetic

_LAION = "https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/6d122adad522ab246644d9dc1c6d7a3810ee255f"
_IMPROVED = "https://raw.githubusercontent.com/christophschuhmann/improved-aesthetic-predictor/6934dd81792f086e613a121dbce43082cb8be85e"


@dataclass(frozen=True)
class PublishedHead:
    """A head that its authors publish: where, and the SHA-256 of the file."""

    url: str
    sha256: str


PUBLISHED: dict[str, dict[int, PublishedHead]] = {
    "improved": {
        768: PublishedHead(
            f"{_IMPROVED}/sac%2Blogos%2Bava1-l14-linearMSE.pth",
            "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
        ),
    },
    "improved-relu": {
        768: PublishedHead(
            f"{_IMPROVED}/ava%2Blogos-l14-reluMSE.pth",
            "0af3254c651d55b7ea851429c20f26ec880bb0169805a4df85b814bd7966f3e4",
        ),
    },
    "linear": {
        768: PublishedHead(
            f"{_LAION}/sa_0_4_vit_l_14_linear.pth", "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba"
        ),
        512: PublishedHead(
            f"{_LAION}/sa_0_4_vit_b_32_linear.pth", "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f"
        ),
    },
}
"""Heads by name and by the length of the embeddings they take; all were trained on OpenAI's CLIP."""


HEADS = "aesthetic_heads"
"""Kind of entry points by which installed packages bring heads: called with the length of the embeddings, each gives something with `score`
and `label` as `AestheticHead` has them; its `version` belongs to the fingerprint."""


@dataclass(frozen=True)
class AestheticHead:
    """Linear layers, with or without ReLU between them.

    Attributes:
        weights: matrices [out, in] in order; the first takes an embedding, the last gives one number.
        biases: vectors [out].
        relu: whether a ReLU stands after each layer but the last.
        label: name and hash, for the table's `head` column.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    relu: bool
    label: str

    @property
    def dimension(self) -> int:
        """Length of the embeddings it takes."""
        return int(self.weights[0].shape[1])

    def score(self, vectors: np.ndarray) -> np.ndarray:
        """Scores float32 [n] of normalised embeddings [n, dimension]."""
        values = vectors.astype(np.float32)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = values @ weight.T + bias
            if self.relu and i < len(self.weights) - 1:
                values = np.maximum(values, 0)
        return np.asarray(values[:, 0])


def read_head(path: Path, label: str, activation: str = "auto") -> AestheticHead:
    """Reads a head from a PyTorch state dict (or safetensors).

    The layers are found by their shapes and order, whatever the modules are called and whichever numbers they have. A state dict does
    not say whether there are activations. Published heads drop out between hidden layers but not before the last one, so a module
    between the last two linear layers is an activation.

    Args:
        path: the file.
        label: for messages and the `head` column.
        activation: auto, none or relu, where the layout does not tell.

    Raises:
        WrongWeights: not a chain of linear layers that ends in one number.
    """
    state = _state_dict(path)
    layers: list[tuple[int, np.ndarray, np.ndarray]] = []
    for name, weight in state.items():
        bias = state.get(f"{name.removesuffix('weight')}bias")
        if not name.endswith("weight") or bias is None:
            continue
        number = re.search(r"(?:^|\.)(\d+)\.weight$", name)
        layers.append((int(number.group(1)) if number else 0, _floats(weight), _floats(bias)))
    layers.sort(key=lambda layer: layer[0])
    chained = all(a[1].shape[0] == b[1].shape[-1] for a, b in pairwise(layers))
    if not layers or any(w.ndim != 2 for _, w, _ in layers) or not chained or layers[-1][1].shape[0] != 1:
        shapes = ", ".join(f"{n} {tuple(t.shape)}" for n, t in state.items()) or "nothing"
        raise WrongWeights(
            f"aesthetic head {path} is not a chain of linear layers that ends in one number; it holds {shapes}"
        )
    suggests_relu = len(layers) > 1 and layers[-1][0] - layers[-2][0] > 1
    relu = suggests_relu if activation == "auto" else activation == "relu"
    return AestheticHead(tuple(w for _, w, _ in layers), tuple(b for _, _, b in layers), relu, label)


def _floats(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().float().numpy())


def _state_dict(path: Path) -> dict[str, Any]:
    import pickle

    require("reading an aesthetic head", "torch", "safetensors")
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its text advises to trust the file
        raise WrongWeights(
            f"aesthetic head {path} is not a state dict of tensors as torch.save writes it; set aesthetic.head to one that is"
        ) from error
    except Exception as error:  # whatever a foreign file makes the reader raise
        reason = str(error).strip().split("\n")[0][:200]
        raise WrongWeights(f"aesthetic head {path} is not a readable state dict: {reason}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    return {str(k): v for k, v in state.items() if isinstance(v, torch.Tensor)}


def head_identity(params: Aesthetic) -> str:
    """What identifies the head in a fingerprint, without loading or fetching it.

    Raises:
        MissingWeights, WrongWeights: a file that lies here is not there, or has another hash.
    """
    if params.head in named(HEADS):
        return f"{params.head} {getattr(brought(HEADS, params.head), 'version', '1')}"
    if params.head in PUBLISHED:
        hashes = "+".join(head.sha256[:16] for head in PUBLISHED[params.head].values())
        return f"{params.head} sha256:{hashes}"
    if is_remote(params.head):
        return f"{params.head.split('?')[0]} sha256:{params.sha256 or 'unknown'}"
    return f"{LOCAL} sha256:{file_sha256(_own_head(params))}"


def _own_head(params: Aesthetic) -> Path:
    """The file of a head that the recipe names by path or URL.

    Raises:
        MissingWeights, WrongWeights: it cannot be had, or has another hash.
    """
    return fetch_weights(params.head, "the aesthetic head", "aesthetic.head", params.sha256)


def load_head(params: Aesthetic, dimension: int) -> AestheticHead:
    """Loads the recipe's head for embeddings of a length.

    Raises:
        MissingWeights: the file cannot be had.
        WrongWeights: it is damaged or takes embeddings of another length.
    """
    if params.head in named(HEADS):
        made: AestheticHead = brought(HEADS, params.head)(dimension)
        return made
    if params.head in PUBLISHED:
        by_length = PUBLISHED[params.head]
        if dimension not in by_length:
            lengths = " or ".join(str(d) for d in by_length)
            raise WrongWeights(
                f"aesthetic head {params.head!r} takes embeddings of length {lengths}, those of this recipe have {dimension};"
                " set embeddings.model to ViT-L-14 or aesthetic.head to a head for your model"
            )
        published = by_length[dimension]
        path = fetch_weights(
            published.url, f"the aesthetic head {params.head!r}", "aesthetic.head", params.sha256 or published.sha256
        )
        name = params.head
    else:
        path = _own_head(params)
        name = PurePosixPath(params.head.split("?")[0]).name if is_remote(params.head) else LOCAL
    head = read_head(path, f"{name} sha256:{file_sha256(path)[:16]}", params.activation)
    if head.dimension != dimension:
        raise WrongWeights(
            f"aesthetic head {path} takes embeddings of length {head.dimension}, those of this recipe have {dimension};"
            " set aesthetic.head to a head that was trained for embeddings.model"
        )
    return head


def aesthetic_table(clips: pa.Table, embeddings: pa.Table, params: Aesthetic) -> pa.Table:
    """Scores each clip from its stored embeddings.

    Args:
        clips: rows of `clips`; each that is a clip gets a row.
        embeddings: rows of `frame_embeddings`.
        params: head and reduction.

    Returns:
        The `aesthetic_scores` table; a clip without any embedding has a null score and 0 frames.

    Raises:
        MissingWeights, WrongWeights: see `load_head`. Without any embedding no head is needed.
    """
    stored = clip_vectors(embeddings)
    wanted = real_clips(clips)
    scores: dict[str, tuple[float, int]] = {}
    label = head_identity(params)
    if stored.clip_ids:
        head = load_head(params, stored.dimension)
        label = head.label
        values = stored.reduce(head.score(stored.vectors), params.reduce)
        scores = {c: (float(v), int(n)) for c, v, n in zip(stored.clip_ids, values, stored.counts, strict=True)}
    ids = wanted["clip_id"].to_pylist()
    return asset_table(
        "aesthetic_scores",
        {
            **{name: wanted[name] for name in wanted.column_names},
            "aesthetic": [scores[c][0] if c in scores else None for c in ids],
            "frames": [scores[c][1] if c in scores else 0 for c in ids],
            "head": [label] * len(ids),
            "model": [stored.model] * len(ids),
        },
    )
