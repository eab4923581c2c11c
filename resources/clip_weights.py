"""The weights of a recipe's CLIP model: what its names can be, where they lie, and what identifies them.

What belongs here: names, tags, files. What does not: loading the network and encoding (`clip_model.py`).

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, cast

from curation_resources.extras import require
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


def local_folder(model: str) -> Path | None:
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


def loaded_open_clip() -> Any:
    require("a CLIP model", "torch", "torchvision", "open_clip")
    ensure_torchvision()
    import open_clip

    return open_clip


def tag_config(model: str, pretrained: str) -> dict[str, Any]:
    """open_clip's entry for a tag; empty if `pretrained` is no tag of that architecture."""
    return cast("dict[str, Any]", loaded_open_clip().get_pretrained_cfg(model.replace("/", "-"), pretrained))


def clip_identity(model: str, pretrained: str) -> str:
    """What identifies the model in a fingerprint, without loading or downloading it.

    For local weights their SHA-256, with the architecture where the recipe names it; for tags and hub repositories the name, and for
    a URI the URI without its query, so that the value does not change by the first download.

    Raises:
        MissingWeights: a local file or folder that is not there.
    """
    folder = local_folder(model)
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
    if local_folder(model) is None and not model.startswith(HUB_PREFIX):
        _known(model, pretrained)


def _known(model: str, pretrained: str) -> dict[str, Any]:
    """open_clip's entry for the tag of an architecture; empty if `pretrained` is a file or URI. Raises as `check_clip_names`."""
    open_clip = loaded_open_clip()
    name = model.replace("/", "-")
    if open_clip.get_model_config(name) is None:
        near = ", ".join(get_close_matches(name, open_clip.list_models(), 3))
        raise WrongWeights(
            f"embeddings.model: open_clip has no architecture {model!r}{f'; near it are {near}' if near else ''}; open_clip.list_models() has all; or give local-dir:<folder>"
        )
    tag = tag_config(model, pretrained)
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
    folder = local_folder(model)
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
