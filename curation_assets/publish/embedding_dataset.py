"""Table embedding_dataset: the embeddings that a subset exports."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curation_assets.contracts.checks import media_check
from curation_assets.contracts.component import Component
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, ERROR, INT32, MEDIA, STRING, Column, TableSchema
from curation_assets.publish.curating.versions import EXPORT_VERSION


class EmbeddingExport(Section):
    """How embeddings are written, in clip-video-encode's layout."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Type of the arrays.")
    per_tar: int = Field(10_000, ge=1, description="Triples in a tar.")
    name: str = Field("ds", description="First part of the names of the tars.")
    frames: Literal["grid", "all"] = Field(
        "grid",
        description="grid: those at the constant rate of `frames.fps`, or all of a clip that has none of them; all: also those that short clips have at 10, 50 "
        "and 90 percent, and near what might have been a boundary.",
    )
    layout: Literal["tars", "folders"] = Field(
        "tars", description="tars with splits.csv, or train/val/test folders of triples."
    )


TABLE = TableSchema(
    "embedding_dataset",
    "an exported embedding triple",
    ("dataset", "video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("sample_key", STRING, "Key inside the tar, or name of the files without extension.", nullable=False),
        Column("split", STRING, "train, val or test.", taken="curated_clips.split"),
        Column(
            "status",
            STRING,
            "ok, or failed: no frame of the clip has an embedding.",
            nullable=False,
            allowed=("ok", "failed"),
        ),
        ERROR,
        *MEDIA,
        Column("frames", INT32, "Rows of the array.", minimum=0),
        Column("dim", INT32, "Columns of the array.", minimum=1),
        Column("model", STRING, "Model of the embeddings; null if there is none."),
        Column("version", STRING, "Name of the folder with the version; changes when any sample does."),
    ),
)


SAID_OF = ("video_metadata", "raw_shards", "clips")
"""What the JSON of a triple says of its clip besides."""
COMPONENT = Component(
    TABLE,
    "publish",
    partitioned="subset",
    code_version=EXPORT_VERSION,
    in_subset=lambda subset: subset.export.embeddings is not None,
    inputs=("frame_embeddings",),
    shows=("captions",),
    uses=lambda subset: SAID_OF,
    checks=(media_check("clip_id"),),
)
