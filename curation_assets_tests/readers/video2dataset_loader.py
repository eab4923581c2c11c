"""What video2dataset's own loader gives of tars, as `python -m ... TAR...` in its environment; prints JSON: key -> sample."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from types import ModuleType
from typing import Any

import numpy as np

from curation_assets_tests.frame_numbers import number_in


def samples(tar: str) -> dict[str, Any]:
    """Key -> the JSON and the hashes of the other members as it hands them on, and the numbers of the pictures that it decodes."""
    import transformers  # noqa: F401 - which looks for torchaudio itself

    for name in ("torchaudio", "torchaudio.functional"):
        # The loader imports them for its decoder of sound, which nothing here asks for; their wheels load with a torch built for CUDA only.
        sys.modules.setdefault(name, ModuleType(name))
    from video2dataset.dataloader import get_video_dataset

    found: dict[str, Any] = {}
    for sample in get_video_dataset(urls=tar, batch_size=1, decoder_kwargs={}, enforce_additional_keys=[]):
        members = {k: v for k, v in sample.items() if not k.startswith("__")}
        said = {"json": json.loads(members.pop("json")), "text": members.pop("txt").decode()}
        found[sample["__key__"]] = {**said, "sha256": {k: hashlib.sha256(v).hexdigest() for k, v in members.items()}}
    every_picture = {"n_frames": None, "num_threads": 1}
    for batch in get_video_dataset(urls=tar, batch_size=1, decoder_kwargs=every_picture):
        pictures = batch["mp4"][0].numpy().astype(np.uint8)
        found[batch["__key__"][0]]["numbers"] = [number_in(p[..., 1]) for p in pictures]
    return found


def main(tars: list[str]) -> None:
    import torch.distributed

    with tempfile.TemporaryDirectory() as folder:  # it asks for its rank, and torch 2 has one within a group only
        torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=0, world_size=1)
        print(json.dumps({key: s for tar in tars for key, s in samples(tar).items()}))
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
