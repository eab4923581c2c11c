"""Makes torchvision importable beside a torch that its compiled operators were not built for.

The torchvision wheel of PyPI is linked against CUDA torch. Beside a CPU-only torch its shared library cannot be loaded, and a bare
``import torchvision`` stops with "operator torchvision::nms does not exist", because it describes two operators to torch that the
library would have brought. Its transforms, which are all that open_clip, imagededup and transformers want of it, need no operator.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

OPERATORS = ("nms", "qnms")
SCHEMA = "{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_kept: list[Any] = []
"""Libraries that registered schemas; torch forgets a schema when its library object is collected."""


@cache
def ensure_torchvision() -> bool:
    """Call it before the first import of torchvision, or of a package that imports it.

    Where torchvision's own operators load, nothing is changed. Where they cannot, the schemas of the two that its import needs are
    registered; calling such an operator still fails, for it has no code.

    Returns:
        Whether schemas had to be registered.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    import torch

    if _operators_load(Path(next(iter(spec.submodule_search_locations)))):
        return False
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        if not _exists(name):
            library.define(SCHEMA.format(name=name))
    _kept.append(library)
    return True


def _exists(name: str) -> bool:
    import torch

    return hasattr(torch.ops.torchvision, name)


def _operators_load(folder: Path) -> bool:
    """Whether torchvision's compiled operators are there once its shared library has been tried, as its own import does."""
    import torch

    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except (OSError, ImportError):
            continue
    return all(_exists(name) for name in OPERATORS)
