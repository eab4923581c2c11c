"""A small CLIP with random weights in open_clip's folder layout, so that tests load it exactly as a published one."""

from __future__ import annotations

import json
from pathlib import Path

from curation_resources.torchvision_ops import ensure_torchvision


def write_tiny_clip(folder: Path, dimension: int = 512, seed: int = 0) -> Path:
    """Writes configuration and weights below `folder` and returns it; about 7 MB, 64-pixel pictures, CLIP's own tokenizer."""
    ensure_torchvision()
    import open_clip
    import torch

    config = {
        "embed_dim": dimension,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    torch.manual_seed(seed)
    network = open_clip.CLIP(**config)
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    torch.save(network.state_dict(), folder / "open_clip_pytorch_model.bin")
    return folder
