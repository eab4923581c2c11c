"""Processed datasets of embeddings, as clip-video-encode leaves them: folders train, val and test of (npy, txt, json) triples, read and put into tars.

What belongs here: folders that somebody else made too. What does not: how this graph exports its embeddings (`embeddings.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.publish.embedding_dataset import EmbeddingExport
from curation_assets.publish.writing.embeddings import embedding_tars, npy_bytes, write_splits
from curation_assets.publish.writing.samples import SPLITS
from curation_resources.storage import Storage
from curation_resources.tars import sample_key

PROCESSED = pa.schema(
    [
        pa.field("split", pa.string(), False, {"description": "train, val or test: the folder."}),
        pa.field("sample_key", pa.string(), False, {"description": "Name of the triple."}),
        pa.field("embeddings", pa.list_(pa.list_(pa.float32())), False, {"description": "(frames, dim)."}),
        pa.field("text", pa.string(), True, {"description": "The caption; null without a txt."}),
        pa.field("record", pa.string(), True, {"description": "The JSON; null without one."}),
    ]
)


class BadTriple(ValueError):
    """A file of a processed dataset that cannot be used; the message names it."""


@dataclass(frozen=True)
class Packed:
    """Tars that were made of folders.

    Attributes:
        splits: tar -> split.
        triples: split -> how many.
    """

    splits: Mapping[str, str]
    triples: Mapping[str, int]


def read_processed(folder: str | Path) -> pa.Table:
    """Reads a processed dataset: the triples of folders train, val and test.

    Args:
        folder: local; split folders that are not there are empty.

    Returns:
        A row per npy, sorted by split and key, schema `PROCESSED`. txt and json may be missing.

    Raises:
        BadTriple: an npy that is no two-dimensional array of numbers, or a json that cannot be read.
    """
    rows = []
    for split, path in _npy_files(folder):
        array, text, said = _triple(path)
        rows.append(
            {
                "split": split,
                "sample_key": path.stem,
                "embeddings": array.astype(np.float32).tolist(),
                "text": text,
                "record": said,
            }
        )
    return pa.Table.from_pylist(rows, schema=PROCESSED)


def pack_processed(folder: str | Path, target: str, params: EmbeddingExport | None = None) -> Packed:
    """Puts a processed dataset into tars of triples with splits.csv, one triple in memory at a time.

    Args:
        folder: local, with folders train, val and test.
        target: folder or URI that gets the tars.
        params: name of the tars, triples in each, type of the arrays; the recipe's defaults if not given.

    Returns:
        What was packed. Keys are the files' names; what a key may not hold is replaced as for clips. A txt or json that is missing is empty, or `{}`.

    Raises:
        BadTriple: see `read_processed`; or there is no such folder, or no npy in it, or arrays are of different dimensions. Tars that are closed by then stay, and splits.csv is not written.
    """
    params = params or EmbeddingExport()
    triples: Counter[str] = Counter()
    keys: set[str] = set()
    first: tuple[int, Path] | None = None
    with embedding_tars(params, Storage(target), ".") as tars:
        for split, path in _npy_files(folder):
            array, text, said = _triple(path)
            first = first or (array.shape[1], path)
            if array.shape[1] != first[0]:
                raise BadTriple(
                    f"{path} has {array.shape[1]} numbers a frame, {first[1]} has {first[0]}; embeddings of one model belong together"
                )
            triples[split] += 1
            members = {
                "npy": npy_bytes(array.astype(params.dtype)),
                "txt": (text or "").encode(),
                "json": (said or "{}").encode(),
            }
            key = sample_key(path.stem)
            if key in keys:
                raise BadTriple(
                    f"{path} has the name of a triple of another split; names must be unique over all splits"
                )
            keys.add(key)
            tars.add(split, key, members)
    if not tars.splits:
        raise BadTriple(f"{folder} has no npy in {', '.join(SPLITS)}; name the folder that has these three")
    write_splits(tars)
    return Packed(tars.splits, dict(triples))


def _npy_files(folder: str | Path) -> Iterator[tuple[str, Path]]:
    """(split, npy) of the folders train, val and test, in order of names."""
    if not Path(folder).is_dir():
        said = "it is a file" if Path(folder).exists() else "there is no such folder"
        raise BadTriple(f"{folder}: {said}; name the folder that has {', '.join(SPLITS)}")
    return ((split, path) for split in SPLITS for path in sorted(Path(folder).glob(f"{split}/*.npy")))


def _triple(path: Path) -> tuple[NDArray[Any], str | None, str | None]:
    """The array of an npy, and the txt and the json beside it, if they are there."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadTriple(f"{path} is no array of numbers ({error}); write it again with numpy.save") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise BadTriple(f"{path} holds {array.dtype} of shape {array.shape}; a floating (frames, dim) is wanted")
    text, record = path.with_suffix(".txt"), path.with_suffix(".json")
    said = record.read_text(encoding="utf-8") if record.exists() else None
    if said is not None:
        try:
            json.loads(said)
        except ValueError as error:
            raise BadTriple(f"{record} is not JSON ({error})") from error
    return array, text.read_text(encoding="utf-8") if text.exists() else None, said
