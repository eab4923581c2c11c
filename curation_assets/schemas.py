"""The registry of tables: one schema per asset, with a description for every column.

The registry is the single source for the IO manager's validation, Dagster's column schema, the asset checks, the content hash
(which leaves out the columns marked ``volatile``) and `docs/reference/tables.md`. A table may carry no column that is not declared here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

STRING, BOOL = pa.string(), pa.bool_()
INT32, INT64, FLOAT, DOUBLE = pa.int32(), pa.int64(), pa.float32(), pa.float64()

SPAN_WORDS = (("caption", STRING), ("captions", pa.list_(STRING)), ("licence", STRING), ("extra", STRING))
SPAN = pa.struct([("clip_id", STRING), ("start_ms", INT64), ("end_ms", INT64), *SPAN_WORDS])
CUE = pa.struct([("start_ms", INT64), ("end_ms", INT64), ("text", STRING)])
SUBTITLE_TRACK = pa.struct([("language", STRING), ("automatic", BOOL), ("cues", pa.list_(CUE)), ("encoding", STRING)])
CUT = pa.struct([("frame", INT64), ("time_ms", INT64), ("score", FLOAT), ("kind", STRING), ("accepted", BOOL)])
RECT = pa.struct([("x", FLOAT), ("y", FLOAT), ("w", FLOAT), ("h", FLOAT)])
TEXT_BOX = pa.struct(
    [
        ("time_ms", INT64),
        ("polygon", pa.list_(FLOAT)),
        ("text", STRING),
        ("confidence", FLOAT),
    ]
)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: column name.
        type: Arrow type of the stored column.
        description: what the value is, with its unit.
        nullable: whether null (always "unknown", never a sentinel) is allowed.
        volatile: left out of the content hash, because it says where or when something was made, not what it is.
        minimum, maximum: inclusive bounds of numeric values; None is unbounded.
        allowed: the values a string column may take; empty is any.
        taken: `<asset>.<column>` whose values these are; None for what the asset itself finds.
        later: what the column got after tables with it were made: "" for the column itself, or paths of fields within it. The content
            hash leaves it out where it holds nothing, so that older tables whose rows say the same keep theirs.
    """

    name: str
    type: pa.DataType
    description: str
    nullable: bool = True
    volatile: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    taken: str | None = None
    later: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSchema:
    """The contract of one asset's tables.

    Attributes:
        asset: name of the asset.
        row: what one row is, as a phrase ("a sampled frame of a clip").
        key: the columns that identify a row; tables are sorted by them and they are unique.
        columns: the columns in order.
    """

    asset: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...] = field(repr=False)

    @property
    def arrow(self) -> pa.Schema:
        """The pyarrow schema, with each description as field metadata."""
        return pa.schema([pa.field(c.name, c.type, c.nullable, {"description": c.description}) for c in self.columns])

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def volatile(self) -> frozenset[str]:
        """Columns that the content hash leaves out."""
        return frozenset(c.name for c in self.columns if c.volatile)

    @property
    def later(self) -> frozenset[str]:
        """Columns, and fields within one, that count for the content hash only where they hold something."""
        return frozenset(f"{c.name}{path}" for c in self.columns for path in c.later)

    def column(self, name: str) -> Column:
        """The column called `name`; KeyError names the table and what it has."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(f"table {self.asset} has no column {name!r}; it has {', '.join(self.names)}")

    def empty(self) -> pa.Table:
        return self.arrow.empty_table()


def _id(name: str, description: str) -> Column:
    return Column(name, STRING, description, nullable=False)


DATASET = _id("dataset", "Name of the dataset, as in its recipe.")
VIDEO_ID = _id("video_id", "The source's own id if it is unique, else a stable hash of the URL or relative path.")
CLIP_ID = _id("clip_id", "`<video_id>_<start_ms>_<end_ms>` of the actual span.")
CLIP_KEYS = (DATASET, VIDEO_ID, CLIP_ID)
MEDIA = (
    Column("tar", STRING, "Tar or file with the bytes, relative to the storage root or a URI.", volatile=True),
    Column("offset", INT64, "First byte within `tar`.", volatile=True, minimum=0),
    Column("size", INT64, "Bytes.", minimum=0),
    Column(
        "sha256", STRING, "SHA-256 of the bytes, hexadecimal; null for media referenced in place until they are read."
    ),
)
ID_COLUMNS = ("dataset", "video_id", "clip_id", "track_id")
"""Columns that name what a row is of; a table has them from the tables it is made from."""
ERROR = Column("error", STRING, "One sentence that says what went wrong; null if nothing did.", volatile=True)

ERROR_CLASSES = (
    "gone",
    "private",
    "geo",
    "age",
    "bot_check",
    "rate_limited",
    "network",
    "timeout",
    "too_large",
    "unsupported",
    "corrupt",
    "no_video",
    "storage",
    "resource",
)
TRANSIENT_ERRORS = frozenset({"bot_check", "rate_limited", "network", "timeout", "storage", "resource"})
REFUSED_BY_PROBE = frozenset({"corrupt", "no_video"})
"""Those of media that were there and could not be read: they are asked again once by a probe that reads more."""
OF_THE_NETWORK = frozenset({"bot_check", "rate_limited", "network", "timeout"})
"""Those of them that lie with whom is asked; the others lie with this installation."""


def _taken(kind: pa.DataType, source: str) -> Column:
    """The column `<asset>.<column>` under its own name."""
    return Column(source.split(".")[1], kind, source, taken=source)


def _unit(name: str, description: str) -> Column:
    return Column(name, FLOAT, description, minimum=0.0, maximum=1.0)


_TABLES = (
    TableSchema(
        "dataset_index",
        "a source video and the shard it belongs to",
        ("shard", "video_id"),
        (
            DATASET,
            VIDEO_ID,
            _id("shard", "Key of the shard that the video belongs to, for ever."),
            Column(
                "status",
                STRING,
                "Whether the source has the row, lost it, or could not be read as one.",
                nullable=False,
                allowed=("present", "removed", "rejected"),
            ),
            Column("source", STRING, "File that the row came from first.", nullable=False),
            Column(
                "line", INT64, "Line or row of that file, counted from 1.", nullable=False, volatile=True, minimum=0
            ),
            Column(
                "record", STRING, "The row in normal form, canonical JSON; for rejected rows the text that was read."
            ),
            Column("error", STRING, "For rejected rows, the reason."),
        ),
    ),
    TableSchema(
        "video_metadata",
        "a source video in normal form, or a source line that was rejected",
        ("video_id",),
        (
            DATASET,
            VIDEO_ID,
            Column(
                "url",
                STRING,
                "Where the video is fetched from, without secrets, or the URI of the file or tar it lies in.",
            ),
            Column("title", STRING, "Title given by the source."),
            Column(
                "caption",
                STRING,
                "Caption that the source gives the video; where each of its rows is a clip, what all of them say alike.",
            ),
            Column(
                "captions", pa.list_(STRING), "All captions of the video, where the source gives several.", later=("",)
            ),
            Column(
                "spans",
                pa.list_(SPAN),
                "Spans given by the source, in its order, each with what the source says of it: `caption`, the first of `captions` "
                "where there are several, `licence`, and `extra`, everything else, canonical JSON.",
                later=tuple(f"[].{name}" for name, _ in SPAN_WORDS),
            ),
            Column(
                "licence", STRING, "Licence that the source gives the video; of rows that are clips, as for `caption`."
            ),
            Column(
                "status", STRING, "Whether the row can be used.", nullable=False, allowed=("ok", "rejected", "removed")
            ),
            ERROR,
            Column(
                "extra",
                STRING,
                "Everything else the source says of the video, canonical JSON; of rows that are clips, what all say alike.",
            ),
            Column("source", STRING, "File that the row came from.", nullable=False, taken="dataset_index.source"),
            Column(
                "line",
                INT64,
                "Line or row of that file, counted from 1.",
                nullable=False,
                volatile=True,
                taken="dataset_index.line",
            ),
        ),
    ),
    TableSchema(
        "raw_shards",
        "a source video: how its download went and where its bytes lie",
        ("video_id",),
        (
            DATASET,
            VIDEO_ID,
            Column("url", STRING, "Where it was fetched from, without credentials.", taken="video_metadata.url"),
            Column("page_url", STRING, "Page that shows the video, for provenance."),
            Column("status", STRING, "Outcome.", nullable=False, allowed=("ok", "failed", "rejected")),
            Column("error_class", STRING, "Class of the failure.", allowed=(*ERROR_CLASSES, "rejected", "removed")),
            ERROR,
            Column("attempts", INT32, "Attempts made so far, over all runs.", volatile=True, minimum=0),
            *MEDIA,
            Column("etag", STRING, "ETag, or size and modification time, of media referenced in place."),
            Column("container", STRING, "Container format as ffmpeg names it."),
            Column("video_codec", STRING, "Codec of the first video stream."),
            Column("audio_codec", STRING, "Codec of the first audio stream; null without audio."),
            Column("width", INT32, "Stored width in pixels, before rotation and aspect correction.", minimum=1),
            Column("height", INT32, "Stored height in pixels, before rotation and aspect correction.", minimum=1),
            Column(
                "rotation",
                INT32,
                "Clockwise degrees to turn the picture for display: 0, 90, 180 or 270.",
                minimum=0,
                maximum=270,
            ),
            Column("fps", DOUBLE, "Average frame rate.", minimum=0),
            Column("duration_ms", INT64, "Duration.", minimum=0),
            Column("title", STRING, "Title on the page, or of the source."),
            Column("channel", STRING, "Channel or uploader."),
            Column("upload_date", STRING, "YYYY-MM-DD."),
            Column("licence", STRING, "Licence stated by the page or the source."),
            Column(
                "section_start_ms",
                INT64,
                "Time in the source at which the file begins, where only a section was fetched; null where all of it was.",
                minimum=0,
            ),
            Column(
                "subtitles",
                pa.list_(SUBTITLE_TRACK),
                "Subtitle tracks as cues with times; rolling repeats removed. `encoding` is what was assumed where a file does not say.",
                later=("[].encoding",),
            ),
            Column(
                "info", STRING, "What the extractor or a sidecar says of the video, canonical JSON without secrets."
            ),
            Column(
                "row_fingerprint",
                STRING,
                "Hash of what was asked for; a row is kept while it is unchanged.",
                volatile=True,
            ),
        ),
    ),
    TableSchema(
        "clips",
        "a clip of a video, or a video or span that gave none and why",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column(
                "status",
                STRING,
                "ok, or rejected with `error`: such a row is no clip.",
                nullable=False,
                allowed=("ok", "rejected", "failed"),
            ),
            ERROR,
            Column("start_ms", INT64, "Presentation time of the first frame.", minimum=0),
            Column("end_ms", INT64, "Presentation time at which the last frame ends.", minimum=0),
            Column("start_frame", INT64, "First frame, index in display order within the video.", minimum=0),
            Column("end_frame", INT64, "One past the last frame.", minimum=0),
            Column("requested_start_ms", INT64, "Start that was asked for or detected, before trimming and snapping."),
            Column("requested_end_ms", INT64, "End that was asked for or detected, before trimming and snapping."),
            Column("fps", DOUBLE, "Average frame rate within the clip.", minimum=0),
            Column("width", INT32, "Displayed width in pixels: rotation and sample aspect applied.", minimum=1),
            Column("height", INT32, "Displayed height in pixels.", minimum=1),
            Column(
                "origin",
                STRING,
                "How the span was found.",
                allowed=("detected", "given", "whole", "split", "fixed", "subtitles"),
            ),
            Column("detector", STRING, "Shot detector and its parameters; null if none ran.", volatile=True),
            Column("source_clip_id", STRING, "Clip id given by the source, if the span was."),
            Column(
                "source_span",
                INT64,
                "Which of the video's `video_metadata.spans` the clip lies in, counted from 0; null for clips that the source did not ask for.",
                volatile=True,
                minimum=0,
            ),
            Column("text", STRING, "For spans made from subtitles, the cue's text."),
            Column(
                "cut_list",
                pa.list_(CUT),
                "On the first row of a video: every proposed boundary of the whole video with its score.",
                volatile=True,
            ),
            Column("hdr", BOOL, "Whether the transfer function is PQ or HLG."),
            Column(
                "mirrored", BOOL, "Whether the file has pictures shown as their mirror image, as some front cameras do."
            ),
            Column(
                "interlaced",
                BOOL,
                "Whether pictures are stored as two fields of different times; deinterlaced unless `clips.interlaced` says keep.",
            ),
            Column(
                "frames_lost",
                INT64,
                "Frames that cannot be decoded or are gone from the file, as far as it shows: packets without a frame, and gaps in a steady rate.",
                minimum=0,
            ),
            Column("longest_gap_ms", INT64, "Longest time for which one picture of the clip is shown.", minimum=0),
            Column(
                "size_changes",
                INT32,
                "How often the displayed size changes within the clip; later pictures are scaled to the first one's size.",
                minimum=0,
            ),
        ),
    ),
    TableSchema(
        "frames",
        "a sampled frame of a clip",
        ("video_id", "clip_id", "time_ms"),
        (
            *CLIP_KEYS,
            Column("time_ms", INT64, "Presentation time in the video.", nullable=False, minimum=0),
            Column("frame", INT64, "Index of the frame in display order within the video.", nullable=False, minimum=0),
            Column("position", FLOAT, "Where in the clip the frame lies, 0 to 1.", minimum=0, maximum=1),
            *MEDIA,
            Column("width", INT32, "Width of the JPEG in pixels.", minimum=1),
            Column("height", INT32, "Height of the JPEG in pixels.", minimum=1),
        ),
    ),
    TableSchema(
        "motion_scores",
        "a clip's motion",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column("motion", FLOAT, "Mean motion magnitude, frame diagonals per second.", minimum=0),
            Column(
                "motion_p90",
                FLOAT,
                "90th percentile over time of the motion magnitude, frame diagonals per second.",
                minimum=0,
            ),
            _unit("still_fraction", "Share of the sampled steps without motion."),
            Column("camera_motion", FLOAT, "Part of `motion` that one global shift and zoom explains.", minimum=0),
            Column("object_motion", FLOAT, "Part of `motion` that is left.", minimum=0),
            Column("estimator", STRING, "Estimator and its sampling.", nullable=False),
        ),
    ),
    TableSchema(
        "quality_scores",
        "a clip's picture quality",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column(
                "sharpness", FLOAT, "Variance of the Laplacian at the analysis size, median over samples.", minimum=0
            ),
            Column(
                "edge_blur",
                FLOAT,
                "Standard deviation of the blur of the sharpest edges, pixels of a picture whose long side is 320, median over samples; "
                "compares across videos; null without edges.",
                minimum=0,
                later=("",),
            ),
            _unit("brightness", "Mean luma, median over samples."),
            _unit("contrast", "Standard deviation of luma over half its range, median over samples."),
            Column("colorfulness", FLOAT, "Hasler and Suesstrunk's colourfulness, median over samples.", minimum=0),
            _unit("over_exposed", "Share of pixels at the top of the range, mean over samples."),
            _unit("under_exposed", "Share of pixels at the bottom of the range, mean over samples."),
            _unit("border", "Share of the frame that letterbox or pillarbox bars cover."),
            Column("crop", RECT, "The picture inside the bars, fractions of the frame."),
            _unit("blank", "Share of sampled frames that show one flat tone."),
            _unit("frozen", "Share of the time in which nothing changes but noise, in runs of half a second and more."),
            Column("samples", INT32, "Number of frames measured.", minimum=0),
            Column("estimator", STRING, "Estimator and its sampling.", nullable=False),
        ),
    ),
    TableSchema(
        "clip_fingerprints",
        "a clip's perceptual hashes",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column(
                "hashes", pa.list_(pa.uint64()), "64-bit perceptual hashes of frames in time order, borders removed."
            ),
            Column(
                "flipped_hashes", pa.list_(pa.uint64()), "The same of the mirrored frames; null unless the recipe asks."
            ),
            Column("blank", pa.list_(BOOL), "Whether each hashed frame is too flat to compare."),
            Column(
                "center_hashes",
                pa.list_(pa.uint64()),
                "Hashes of the central part of the same whole frames, where logos and captions seldom lie.",
            ),
            Column("center_blank", pa.list_(BOOL), "Whether the central part of each is too flat to compare."),
            Column("hash_ms", pa.list_(INT64), "Presentation time of each hashed frame in the video."),
            Column(
                "course",
                pa.binary(),
                "Luma of the picture inside the border in 16 x 16 cells, averaged over up to 16 equal spans of the clip, 256 bytes each.",
            ),
            Column("content_box", RECT, "The picture inside the border, fractions of the frame."),
            Column("picture_aspect", FLOAT, "Width over height of the picture inside the border.", minimum=0),
            Column(
                "window_hashes",
                pa.list_(pa.uint64()),
                "Hashes of eight windows of up to four frames, which meet crops; 0 where a window is blank or left out; null unless the recipe asks.",
            ),
            Column("window_ms", pa.list_(INT64), "Presentation time of each of those frames."),
            Column("method", STRING, "Hash method.", nullable=False),
            Column("height", INT32, "Displayed height in pixels.", minimum=1),
            Column("duration_ms", INT64, "Duration of the clip.", minimum=0),
            Column("quality", FLOAT, "Sharpness, the third key of the choice of a survivor."),
            Column("video_sha256", STRING, "SHA-256 of the source video, for exact duplicates."),
            Column("start_ms", INT64, "Start of the clip in its video.", minimum=0),
        ),
    ),
    TableSchema(
        "duplicate_clusters",
        "a clip that has a near-duplicate anywhere",
        ("cluster_id", "dataset", "video_id", "clip_id"),
        (
            DATASET,
            VIDEO_ID,
            CLIP_ID,
            _id("cluster_id", "Id of the cluster: hash of its survivor."),
            _id("shard", "Shard of the clip."),
            Column("survivor", STRING, "clip_id that is kept of the cluster.", nullable=False),
            Column("survivor_dataset", STRING, "Dataset of the survivor.", nullable=False),
            Column("keep", BOOL, "Whether this clip is the survivor.", nullable=False),
            Column("duplicate_of", STRING, "The clip that this one was matched with; null for the survivor."),
            _unit("similarity", "1 - Hamming distance / 64, mean over the frames that agree; 1 for exact copies."),
            Column(
                "relation",
                STRING,
                "How the two relate.",
                allowed=("exact", "copy", "contained", "contains", "flipped", "cropped"),
            ),
            Column("confirmed_by", STRING, "What verified the match."),
            _unit("embedding_similarity", "Cosine of the clips' mean embeddings, where both exist."),
        ),
    ),
    TableSchema(
        "dedup",
        "a clip and whether it is kept",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column("keep", BOOL, "Whether no better copy exists.", nullable=False, taken="duplicate_clusters.keep"),
            Column(
                "duplicate_of",
                STRING,
                "The clip that it duplicates; null if kept.",
                taken="duplicate_clusters.duplicate_of",
            ),
            Column("duplicate_dataset", STRING, "Dataset of that clip."),
            Column(
                "similarity",
                FLOAT,
                "Similarity with that clip.",
                minimum=0.0,
                maximum=1.0,
                taken="duplicate_clusters.similarity",
            ),
            Column("cluster_id", STRING, "Cluster, null for unique clips.", taken="duplicate_clusters.cluster_id"),
            Column(
                "relation",
                STRING,
                "How the two relate.",
                allowed=("exact", "copy", "contained", "contains", "flipped", "cropped"),
                taken="duplicate_clusters.relation",
            ),
        ),
    ),
    TableSchema(
        "text_scores",
        "a clip's visible text",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            _unit("text_area", "Area of the union of text polygons, share of the frame, maximum over samples."),
            _unit("text_area_mean", "The same, mean over samples."),
            Column(
                "text_boxes",
                pa.list_(TEXT_BOX),
                "Each line found: time, polygon in fractions of the frame, words (null if they cannot be read), confidence of the words, or of the box where there are none.",
            ),
            Column(
                "text", STRING, "The words, each line once, in order of appearance; null if words were not asked for."
            ),
            _unit("overlay", "Share of text area that stays in place over the clip (overlay or subtitle)."),
            Column("samples", INT32, "Number of frames looked at.", minimum=0),
            Column("estimator", STRING, "Detector, its size limit and sampling.", nullable=False),
            Column("cpu_ms", FLOAT, "CPU time that the clip's text cost, milliseconds.", volatile=True, minimum=0),
            ERROR,
        ),
    ),
    TableSchema(
        "audio_scores",
        "a clip's sound",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column("loudness", FLOAT, "Integrated loudness, LUFS; null if no sound is above -70, or lasts 0.4 s."),
            Column("peak", FLOAT, "Largest sample of any channel, 1 is full scale; not oversampled.", minimum=0),
            _unit("silence", "Share of moments (400 ms, every 100 ms) below the recipe's `audio.quiet`."),
            _unit("sound", "Share of the clip for which there is decoded sound; 0 without an audio track."),
            Column("estimator", STRING, "What was measured and how.", nullable=False),
            ERROR,
        ),
    ),
    TableSchema(
        "frame_embeddings",
        "a sampled frame's CLIP embedding",
        ("video_id", "clip_id", "time_ms"),
        (
            *CLIP_KEYS,
            Column("time_ms", INT64, "Presentation time of the frame.", nullable=False),
            Column("frame", INT64, "Index of the frame within the video."),
            Column(
                "embedding", pa.list_(pa.float16()), "Normalised image embedding; null if the frame could not be read."
            ),
            Column("model", STRING, "Model, tag and hash of the weights.", nullable=False),
            ERROR,
        ),
    ),
    TableSchema(
        "aesthetic_scores",
        "a clip's aesthetic score",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column("aesthetic", FLOAT, "Score of the head, about 1 to 10."),
            Column("frames", INT32, "Frames that were scored.", minimum=0),
            Column("head", STRING, "Head and hash of its weights.", nullable=False),
            Column("model", STRING, "Model of the embeddings; null if no frame of the shard has one."),
        ),
    ),
    TableSchema(
        "category_scores",
        "a clip and a prompt of a category set",
        ("video_id", "clip_id", "category_set", "category"),
        (
            *CLIP_KEYS,
            _id("category_set", "Name of the prompt set."),
            _id("category", "Name of the category."),
            Column("score", FLOAT, "100 x cosine of prompt and frame, maximum over frames.", minimum=-100, maximum=100),
            Column("score_mean", FLOAT, "The same, mean over frames.", minimum=-100, maximum=100),
            _unit("probability", "Softmax of the set's mean scores at the model's temperature."),
            Column("model", STRING, "Model of the embeddings.", nullable=False),
        ),
    ),
    TableSchema(
        "captions",
        "a clip's caption",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column("caption", STRING, "Cleaned caption, refined and with scores in words where the recipe asks."),
            Column(
                "caption_raw",
                STRING,
                "What the backend answered, never changed; answers about windows are paragraphs.",
            ),
            Column("caption_refined", STRING, "What the refining text model answered; null without refinement."),
            Column("backend", STRING, "Backend.", nullable=False),
            Column("model", STRING, "Model that the backend used."),
            Column("language", STRING, "Language code of the caption."),
            Column("status", STRING, "Outcome.", nullable=False, allowed=("ok", "empty", "failed", "skipped")),
            ERROR,
            Column("prompt_tokens", INT32, "Tokens of the request.", volatile=True, minimum=0),
            Column("completion_tokens", INT32, "Tokens of the answer.", volatile=True, minimum=0),
            Column("row_fingerprint", STRING, "Hash of frames, prompt and model; a row is kept while it is unchanged."),
            Column(
                "refine_fingerprint",
                STRING,
                "Hash of what the refining text model was asked; its answer is kept likewise.",
            ),
        ),
    ),
    TableSchema(
        "caption_scores",
        "a clip's match between caption and frames",
        ("video_id", "clip_id"),
        (
            *CLIP_KEYS,
            Column(
                "match", FLOAT, "100 x cosine of caption and frame, maximum over frames.", minimum=-100, maximum=100
            ),
            Column("match_mean", FLOAT, "The same, mean over frames.", minimum=-100, maximum=100),
            Column("truncated", BOOL, "Whether the caption is longer than the text tower reads."),
            Column("model", STRING, "Model of the embeddings.", nullable=False),
        ),
    ),
    TableSchema(
        "tracks",
        "an object track",
        ("video_id", "clip_id", "track_id"),
        (
            DATASET,
            VIDEO_ID,
            CLIP_ID,
            _id("track_id", "`<clip_id>_<number>`, numbered from 0000 in order of appearance."),
            Column("label", STRING, "Best class over the track."),
            Column("score", FLOAT, "Its mean score.", minimum=0, maximum=1),
            Column("top_labels", pa.list_(STRING), "The ten best classes."),
            Column("top_scores", pa.list_(FLOAT), "Their mean scores."),
            Column("top_scores_std", pa.list_(FLOAT), "Standard deviation of their scores over the boxes."),
            Column(
                "top_scores_weighted",
                pa.list_(FLOAT),
                "Their mean scores weighted by objectness, by which they are ordered; null if the detector has no objectness.",
            ),
            Column("top_scores_weighted_std", pa.list_(FLOAT), "Standard deviation of their weighted scores."),
            Column("start_ms", INT64, "Presentation time of the first box.", minimum=0),
            Column("end_ms", INT64, "Presentation time of the last box.", minimum=0),
            Column("frame_ms", pa.list_(INT64), "Presentation time of each box."),
            Column("boxes", pa.list_(pa.list_(FLOAT)), "x, y, w, h in displayed pixels, one per time."),
            Column("box_scores", pa.list_(FLOAT), "Detection score of each box; null for a box filled into a gap."),
            Column("box_labels", pa.list_(STRING), "Best class of each box; null for a box filled into a gap."),
            Column("box_label_scores", pa.list_(FLOAT), "Score of that class; null for a box filled into a gap."),
            Column(
                "objectness",
                pa.list_(FLOAT),
                "Objectness of each box; null without, or if the detector has no objectness.",
            ),
            Column("length_s", FLOAT, "Time from the first box to the last, seconds.", minimum=0),
            Column("area", FLOAT, "Mean box area, share of the frame.", minimum=0),
            Column(
                "large_enough",
                BOOL,
                "Whether `area` and `length_s` reach the recipe's tracks.min_area and tracks.min_length_s; subsets decide.",
            ),
            Column("motion", FLOAT, "Mean speed of the box centre, frame diagonals per second.", minimum=0),
            Column(
                "embedding",
                pa.list_(pa.float16()),
                "Mean normalised appearance feature; null if the detector has none.",
            ),
            Column("width", INT32, "Displayed width of the frame in pixels.", minimum=1),
            Column("height", INT32, "Displayed height of the frame in pixels.", minimum=1),
            Column("detector", STRING, "Detector, vocabulary and tracker.", nullable=False),
        ),
    ),
    TableSchema(
        "curated_clips",
        "a candidate clip and whether it was selected",
        ("dataset", "video_id", "clip_id"),
        (
            *CLIP_KEYS,
            _id("shard", "Shard of the clip."),
            Column("selected", BOOL, "Whether the clip is in the subset.", nullable=False),
            Column("drop_reason", STRING, "First rule or criterion that dropped it; null if selected."),
            Column("split", STRING, "train, val or test; null if not selected."),
            Column("start_ms", INT64, "Start of the clip.", taken="clips.start_ms"),
            Column("end_ms", INT64, "End of the clip.", taken="clips.end_ms"),
            Column("start_frame", INT64, "First frame.", taken="clips.start_frame"),
            Column("end_frame", INT64, "One past the last frame.", taken="clips.end_frame"),
            Column("width", INT32, "Displayed width.", taken="clips.width"),
            Column("height", INT32, "Displayed height.", taken="clips.height"),
            Column("fps", DOUBLE, "Frame rate.", taken="clips.fps"),
            Column("origin", STRING, "How the span was found.", taken="clips.origin"),
            _taken(FLOAT, "motion_scores.motion"),
            _taken(FLOAT, "motion_scores.motion_p90"),
            _taken(FLOAT, "motion_scores.still_fraction"),
            _taken(FLOAT, "motion_scores.camera_motion"),
            _taken(FLOAT, "motion_scores.object_motion"),
            _taken(FLOAT, "quality_scores.sharpness"),
            _taken(FLOAT, "quality_scores.brightness"),
            _taken(FLOAT, "quality_scores.contrast"),
            _taken(FLOAT, "quality_scores.colorfulness"),
            _taken(FLOAT, "quality_scores.over_exposed"),
            _taken(FLOAT, "quality_scores.under_exposed"),
            _taken(FLOAT, "quality_scores.border"),
            _taken(FLOAT, "quality_scores.blank"),
            _taken(FLOAT, "quality_scores.frozen"),
            Column("edge_blur", FLOAT, "quality_scores.edge_blur", taken="quality_scores.edge_blur", later=("",)),
            _taken(BOOL, "dedup.keep"),
            _taken(STRING, "dedup.cluster_id"),
            Column("cluster_size", INT32, "Clips in that cluster, 1 for unique clips."),
            _taken(FLOAT, "text_scores.text_area"),
            _taken(FLOAT, "text_scores.overlay"),
            _taken(FLOAT, "audio_scores.loudness"),
            _taken(FLOAT, "audio_scores.silence"),
            _taken(FLOAT, "aesthetic_scores.aesthetic"),
            Column("categories", pa.map_(STRING, FLOAT), "category_scores: '<set>.<category>' to probability."),
            Column("category_matches", pa.map_(STRING, FLOAT), "category_scores: '<set>.<category>' to score."),
            _taken(STRING, "captions.caption"),
            _taken(STRING, "captions.language"),
            _taken(FLOAT, "caption_scores.match"),
            _taken(STRING, "raw_shards.licence"),
            _taken(STRING, "raw_shards.channel"),
        ),
    ),
    TableSchema(
        "curated_tracks",
        "a candidate track and whether it was selected",
        ("dataset", "video_id", "clip_id", "track_id"),
        (
            *CLIP_KEYS,
            _id("track_id", "Track."),
            _id("shard", "Shard of the track."),
            Column("selected", BOOL, "Whether the track is in the subset.", nullable=False),
            Column("drop_reason", STRING, "First rule or criterion that dropped it; null if selected."),
            Column("split", STRING, "train, val or test; null if not selected."),
            _taken(STRING, "tracks.label"),
            _taken(FLOAT, "tracks.score"),
            _taken(INT64, "tracks.start_ms"),
            _taken(INT64, "tracks.end_ms"),
            _taken(FLOAT, "tracks.area"),
            _taken(FLOAT, "tracks.motion"),
        ),
    ),
    TableSchema(
        "clip_dataset",
        "an exported clip",
        ("dataset", "video_id", "clip_id", "sample_key"),
        (
            *CLIP_KEYS,
            Column("track_id", STRING, "Track that the clip follows; null for whole pictures."),
            Column("sample_key", STRING, "Key inside the tar, or name of the file without extension.", nullable=False),
            Column("split", STRING, "train, val or test.", taken="curated_clips.split"),
            Column("status", STRING, "Outcome.", nullable=False, allowed=("ok", "failed")),
            ERROR,
            *MEDIA,
            Column("start_ms", INT64, "Actual start in the source video."),
            Column("end_ms", INT64, "Actual end in the source video."),
            Column("frames", INT64, "Frames in the file.", minimum=0),
            Column("width", INT32, "Width; of `cut: copy` as stored, for players to turn and stretch.", minimum=1),
            Column("height", INT32, "Height, likewise.", minimum=1),
            Column("fps", DOUBLE, "Frame rate."),
            Column("blurred_faces", INT32, "Face boxes covered, over all frames; null if not asked for.", minimum=0),
            Column("row_fingerprint", STRING, "Hash of source, span and options.", nullable=False),
            Column("version", STRING, "Name of the folder with the version; changes when any sample does."),
        ),
    ),
    TableSchema(
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
    ),
)

SCHEMAS: Mapping[str, TableSchema] = {t.asset: t for t in _TABLES}


def schema(asset: str) -> TableSchema:
    """The schema of `asset`; KeyError lists the assets that have one."""
    try:
        return SCHEMAS[asset]
    except KeyError:
        raise KeyError(f"no table is called {asset!r}; there are {', '.join(SCHEMAS)}") from None


def columns_of(*assets: str) -> Iterator[tuple[str, Column]]:
    """(asset, column) over the given assets, in order."""
    for asset in assets:
        for column in schema(asset).columns:
            yield asset, column
