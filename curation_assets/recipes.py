"""Recipes: one YAML file declares a dataset, the parameters of each stage, and the subsets to publish.

Every parameter of every stage stands here with its default, unit and range; `docs/reference/recipes.md` is generated from these models.
What belongs here: the shape of a recipe and its loading. What does not: what a parameter does, which is the stage's business.
A stage is handed its own section and nothing else, so that its fingerprint changes exactly when its section does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import fsspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from curation_assets.recipe_yaml import YamlError, read_yaml
from curation_assets.rules.faults import circle, rule_faults
from curation_assets.rules.language import RuleError, parse_rule
from curation_resources.urls import redact_text

NAME = r"^[a-z0-9][a-z0-9_]*$"


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the key and what is allowed."""


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)


def _check_rule(text: str) -> str:
    try:
        parse_rule(text)
    except RuleError as error:
        raise ValueError(str(error)) from error
    return text


Rule = Annotated[str, BeforeValidator(lambda v: _check_rule(v) if isinstance(v, str) else v)]
Rules = Annotated[list[Rule], BeforeValidator(lambda v: [v] if isinstance(v, str) else v)]
Paths = Annotated[list[str], BeforeValidator(lambda v: [v] if isinstance(v, str) else v), Field(min_length=1)]


class Columns(Section):
    """Which columns of a `table` source mean what. A column that is not named goes to `extra`."""

    id: str | None = Field(None, description="Column of the source's own id; default: hash of the URL.")
    url: str | None = Field(None, description="Column of the URL. Default: built from the id as a YouTube URL.")
    title: str | None = Field(None, description="Column of the title.")
    caption: str | None = Field(None, description="Column of the caption.")
    licence: str | None = Field(None, description="Column of the licence.")
    clips: str | None = Field(
        None, description="Column of spans: a list of [start, end], as a list, JSON or a Python literal."
    )
    start: str | None = Field(None, description="Column of a single span's start, instead of `clips`.")
    end: str | None = Field(None, description="Column of a single span's end.")
    clip_id: str | None = Field(None, description="Column of the span's own id, or of a list of them.")
    clip_name: str | None = Field(
        None,
        description="Column of a clip's name that holds all of it, `<video id>_<start>_<end>` as in VATEX, instead of `start` and `end`.",
    )
    parallel: list[str] = Field(
        default=[],
        description="Further columns that hold a list with one entry for each of `clips`; a row in which one has another length is rejected. "
        "A list of just as many entries in any other column counts as one without being named.",
    )


class CaptionFile(Section):
    """A second file with captions, which are joined to the rows of the first by the span's own id or else the video's."""

    path: Paths = Field(description="File, glob or URI, or a list of them, of the kinds that `table` reads.")
    id: str = Field("video_id", description="Column of the id. In a JSON object keyed by id, the keys.")
    caption: str = Field("caption", description="Column of the caption, or of a list of them.")
    records: str | None = Field(
        None, description="For a JSON document: name under which it holds the records, such as `sentences`."
    )


class Source(Section):
    """Where the list of videos is and how it is written."""

    format: Literal["hdvila", "acav", "table", "folder", "ids", "webdataset"] = Field(
        description="Layout of the source."
    )
    path: Paths = Field(
        description="File, glob, folder or URI, or a list of them; `~` and environment variables, also as `${NAME:-default}`, are expanded."
    )
    columns: Columns = Field(default_factory=lambda: Columns(), description="For `table`: the column mapping.")
    root: str | None = Field(
        None,
        description="For `table`: folder or URI below which relative paths in the list lie; default the list's own folder. "
        "A list that came over the network never names local files.",
    )
    captions: CaptionFile | None = Field(None, description="For `table`: captions in a second file.")
    records: str | None = Field(
        None,
        description="For JSON documents: name under which one holds its records; default `database`, `videos` and the like.",
    )
    time_unit: Literal["s", "ms", "us"] = Field("s", description="Unit of numeric times in spans. HH:MM:SS needs none.")
    url_prefix: str | None = Field(
        None, description="Put before a relative URL; without it a relative URL of a `table` is a path."
    )
    url_template: str | None = Field(
        None,
        description="URL of an id, with {id}; default https://www.youtube.com/watch?v={id} for hdvila, acav and ids.",
    )
    extensions: list[str] = Field(
        default=["mp4", "mkv", "webm", "mov", "avi", "m4v", "mpg", "mpeg", "ts", "flv", "wmv", "3gp", "ogv"],
        description="For `folder`: file name extensions of videos.",
    )
    limit: int | None = Field(None, ge=1, description="Take only the first so many videos of the source.")
    settle_s: float = Field(
        30,
        ge=0,
        le=86_400,
        description="Seconds for which a file must have been left alone before the source sensor, or `curation run --settled`, takes it; "
        "the others are not held up by it. Objects of a store appear whole.",
    )

    @property
    def may_word_spans(self) -> bool:
        """Whether its rows may say something of spans; files are nothing but videos."""
        return self.format in ("acav", "hdvila", "table")

    def settled(self) -> dict[str, Any]:
        """The section as it is compared with that of an earlier version: keys that are newer only where they are used."""
        said = self.model_dump(exclude={"settle_s"})
        for section, names in ((said, ("root", "captions", "records")), (said["columns"], ("clip_name", "parallel"))):
            for name in names:
                if not section[name]:
                    del section[name]
        return said

    @field_validator("url_template")
    @classmethod
    def _has_id(cls, value: str | None) -> str | None:
        if value is not None and "{id}" not in value:
            raise ValueError("must contain {id}")
        return value


class ShardOptions(Section):
    """How videos are grouped into partitions. Changing it affects only rows that are not yet in a shard."""

    videos: int = Field(100, ge=1, le=100_000, description="Videos per shard.")


class Subtitles(Section):
    """Which subtitle tracks are fetched."""

    languages: list[str] = Field(default=["en"], description="Language codes in order of preference.")
    automatic: bool = Field(True, description="Whether automatic captions are taken where manual ones are missing.")


class Download(Section):
    """How videos are fetched."""

    height: int | None = Field(
        360, ge=64, le=4320, description="Wanted height in pixels: the smallest that reaches it, else the largest."
    )
    audio: bool = Field(True, description="Whether audio is fetched.")
    audio_rate: int | None = Field(
        None, ge=8000, le=192_000, description="Audio sample rate of exported clips, Hz; null keeps it."
    )
    subtitles: Subtitles | None = Field(None, description="Subtitle tracks to fetch; null for none.")
    info: bool = Field(True, description="Whether what the extractor says of the video is kept.")
    timeout_s: float = Field(
        60, gt=0, le=3600, description="Longest silence of a connection, and of one metadata call, seconds."
    )
    total_timeout_s: float = Field(1800, gt=0, description="Longest time one attempt at one video may take, seconds.")
    max_bytes: int = Field(8_000_000_000, ge=1, description="Largest file that is accepted.")
    attempts: int = Field(4, ge=1, le=20, description="Attempts per run for transient errors.")
    backoff_s: float = Field(2.0, ge=0, description="First pause before another attempt; doubles, with jitter.")
    concurrency: int = Field(8, ge=1, le=256, description="Downloads at the same time.")
    per_host: int = Field(4, ge=1, le=256, description="Downloads at the same time from one host.")
    rate_limit: int | None = Field(None, ge=1, description="Bytes per second for each download.")
    proxy: str | None = Field(None, description="Proxy URL; give secrets through the environment as ${NAME}.")
    cookies: str | None = Field(None, description="Path of a cookies.txt file.")
    allow_private: bool | None = Field(
        None,
        description="Whether videos are fetched from addresses of this machine and of private networks too, redirects and what pages name "
        "included; null: only where the list lies here itself, not where it came over the network (`http://`, `s3://`, `hf://`).",
    )
    player_client: list[str] = Field(default=[], description="YouTube player clients that yt-dlp should use.")
    sections_only: bool = Field(False, description="Fetch only the given spans, where the extractor can.")
    store: Literal["reference", "copy"] = Field(
        "reference",
        description="Videos that already lie in storage are referenced where they stand, or copied into our tars.",
    )
    tar_bytes: int = Field(1_000_000_000, ge=1_000_000, description="Size at which a tar is closed and another begun.")


class Clips(Section):
    """How videos become clips."""

    from_: Literal["detect", "given", "both", "whole", "fixed", "subtitles"] = Field(
        "detect",
        alias="from",
        description="detect: shots; given: the source's spans; both: given spans cut at detected boundaries; whole: the video, however long; "
        "fixed: a stride; subtitles: one per cue.",
    )
    detector: Literal[
        "cascade",
        "transnetv2",
        "content",
        "adaptive",
        "threshold",
        "hash",
        "histogram",
        "content+threshold",
        "adaptive+threshold",
    ] = Field("cascade", description="Shot detector.")
    threshold: float | None = Field(
        None,
        description="The detector's threshold; null is its default (content 27, adaptive 3, threshold 12, hash 0.35, histogram 0.2, transnetv2 and cascade 0.5).",
    )
    min_scene_frames: int = Field(
        15,
        ge=1,
        description="Shortest scene that PySceneDetect's detectors look for, frames; cascade and transnetv2 find scenes of any length.",
    )
    min_content_val: float = Field(15.0, ge=0, description="For `adaptive`: smallest content value of a cut.")
    window: int = Field(2, ge=1, description="For `adaptive`: frames on each side.")
    weights: tuple[float, float, float, float] = Field(
        (1.0, 1.0, 1.0, 0.0),
        description="For `content` and `adaptive`: shares of hue, saturation, luma and edges in the content value; `[0, 0, 1, 0]` is luma alone.",
    )
    kernel_size: int | None = Field(
        None,
        ge=3,
        description="For edges: size of the square by which they are widened, odd, pixels; null goes by the picture's.",
    )
    short_scenes: Literal["merge", "suppress"] = Field(
        "merge",
        description="For `content`: of cuts closer than `min_scene_frames`, keep the last of each run (merge), or the first (suppress).",
    )
    hash_size: int = Field(
        8, ge=2, le=256, description="For `hash`: side of the square of frequencies that is compared."
    )
    hash_lowpass: int = Field(
        2, ge=1, le=256, description="For `hash`: 2 keeps the lower half of the frequencies, 4 a quarter."
    )
    histogram_bins: int = Field(128, ge=1, le=256, description="For `histogram`: bins of the luma.")
    fade_threshold: float = Field(
        12.0, ge=0, le=255, description="For `...+threshold`: mean luma below which a fade is out."
    )
    fade_method: Literal["floor", "ceiling"] = Field(
        "floor", description="For fades: floor: to dark, below the threshold; ceiling: to bright, from it on."
    )
    fade_bias: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="For fades: where the boundary lies, from the fade out (-1) by the middle (0) to the fade in (1).",
    )
    fade_min_frames: int = Field(0, ge=0, description="For fades: shortest time below the threshold, frames.")
    fade_at_end: bool = Field(False, description="For fades: whether one at the video's end begins a scene of its own.")
    min_s: float = Field(2.0, ge=0, description="Shortest clip, seconds.")
    max_s: float = Field(60.0, gt=0, description="Longest clip, seconds.")
    longer: Literal["split", "first", "drop"] = Field("split", description="What becomes of longer scenes.")
    trim_start_s: float = Field(0.0, ge=0, description="Taken off the start of each detected scene.")
    trim_end_s: float = Field(0.0, ge=0, description="Taken off the end of each detected scene.")
    transitions: Literal["keep", "trim"] = Field(
        "keep",
        description="Frames of a dissolve or fade: keep them, half at either side of the boundary, or leave them out of both scenes.",
    )
    stride_s: float | None = Field(None, gt=0, description="For `fixed`: distance of starts; default `max_s`.")
    interlaced: Literal["deinterlace", "keep"] = Field(
        "deinterlace",
        description="Pictures stored as two fields: deinterlace for samples and scores (bwdif), or keep them with their combs. Exports: `export.clips.interlaced`.",
    )
    mode: Literal["fast", "exact"] = Field(
        "fast",
        description="fast: the levers of docs/explanation/decode.md, shown not to move a boundary; exact: every frame, as PySceneDetect sees it.",
    )

    @model_validator(mode="after")
    def _order(self) -> Clips:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s ({self.min_s:g}) must not exceed max_s ({self.max_s:g})")
        if self.kernel_size is not None and not self.kernel_size % 2:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")
        return self


class Frames(Section):
    """Which frames of a clip are kept as pictures."""

    fps: float = Field(1.0, gt=0, le=60, description="Samples per second.")
    short_side: int = Field(384, ge=32, le=4320, description="Short side in pixels; pictures are never enlarged.")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality.")
    min_per_clip: int = Field(3, ge=1, le=100, description="At least so many per clip, spread from 10 to 90 percent.")


class Motion(Section):
    """How motion is estimated."""

    estimator: Literal["blocks", "codec"] = Field(
        "blocks", description="blocks: matching on the analysis picture; codec: the stream's motion vectors."
    )
    fps: float = Field(4.0, gt=0, le=60, description="Steps per second.")


class Quality(Section):
    """How picture quality is measured."""

    fps: float = Field(2.0, gt=0, le=60, description="Samples per second.")


class Dedup(Section):
    """When two clips are the same."""

    method: Literal["phash", "dhash", "ahash", "whash"] = Field("phash", description="Hash of imagededup.")
    frames: int = Field(3, ge=1, le=32, description="At least so many hashed frames per clip.")
    fps: float = Field(
        10.0, gt=0, le=60, description="Frames looked at per second; a hash is kept when the picture has changed."
    )
    step: int = Field(
        4, ge=0, le=16, description="A hash is kept once it differs by more bits than this from the last one kept."
    )
    distance: int = Field(
        10, ge=0, le=16, description="Largest Hamming distance of two frames, of 64, that makes them a match."
    )
    matches: int = Field(2, ge=1, le=32, description="Frames that must match; fewer only if a clip has fewer.")
    agree: int = Field(
        14,
        ge=0,
        le=24,
        description="Largest distance at which the other frames, once aligned by the matches, still agree.",
    )
    coverage: float = Field(
        0.6, gt=0, le=1, description="Least share of the shorter clip's hashed frames that must agree."
    )
    center: bool = Field(
        True, description="Whether the central part is hashed too: it meets copies with a logo, caption or crop."
    )
    flipped: bool = Field(False, description="Whether mirrored copies count.")
    course: bool = Field(
        True,
        description="Whether what changes in the course of two clips must agree: speakers before one background are then no duplicates.",
    )
    crops: bool = Field(
        True, description="Whether crops to a part of the picture, and copies turned by a few degrees, are looked for."
    )
    confirm_cosine: float | None = Field(
        None, ge=0, le=1, description="Least cosine of mean embeddings, where both exist."
    )
    survivor: Literal["best", "first_seen"] = Field(
        "best", description="best: highest, longest, sharpest, smallest id; first_seen: the earlier shard."
    )


class Text(Section):
    """How burned-in text is found."""

    samples: Literal["three", "all"] = Field(
        "three", description="Frames looked at: those at 10, 50 and 90 percent, or all sampled ones."
    )
    words: bool = Field(
        True,
        description="Whether words are read, or only boxes found, which is cheaper and lets more false boxes through.",
    )
    limit: int = Field(
        736, ge=160, le=1920, description="Long side at which text is looked for, pixels; frames are never enlarged."
    )
    confidence: float = Field(
        0.5, ge=0, le=1, description="Least confidence of a text: of its words, or of its box if words are not read."
    )
    where: Rules = Field(default=[], description="Rules that a clip must pass to be looked at.")


class Audio(Section):
    """How a clip's sound is measured."""

    quiet: float = Field(-50.0, ge=-70, le=0, description="Momentary loudness below which sound is quiet, LUFS.")


class Embeddings(Section):
    """The CLIP model of the recipe: an open_clip architecture with a tag or a checkpoint, a hub repository, or a local folder."""

    model: str = Field(
        "ViT-L-14",
        description="open_clip architecture; or hf-hub:org/name, or local-dir:/folder with open_clip_config.json and weights.",
    )
    pretrained: str = Field(
        "openai", description="open_clip tag, or path or URI of a checkpoint; ignored with hf-hub: and local-dir:."
    )
    batch: int = Field(64, ge=1, le=4096, description="Frames per batch.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp16 on CUDA, bf16 on CPUs that have it, else fp32."
    )
    where: Rules = Field(default=[], description="Rules that a clip must pass to be embedded.")


class Aesthetic(Section):
    """The aesthetic head."""

    head: str = Field(
        "improved",
        description="improved or improved-relu: the MLPs of improved-aesthetic-predictor (ViT-L-14); linear: LAION v1 (ViT-L-14 or ViT-B-32);"
        " or path or URL of a state dict.",
    )
    activation: Literal["auto", "none", "relu"] = Field(
        "auto", description="What stands between the head's layers; auto: what the layout of its file suggests."
    )
    sha256: str | None = Field(None, description="Expected hash of the weights, hexadecimal.")
    reduce: Literal["mean", "min"] = Field("mean", description="How frame scores become a clip's.")


class PromptSet(Section):
    """A set of categories among which the probability is shared."""

    prompts: dict[str, list[str]] = Field(min_length=1, description="Category to one or several prompts.")

    @field_validator("prompts", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, list):
            value = {str(v): [str(v)] for v in value}
        if isinstance(value, Mapping):
            return {k: [v] if isinstance(v, str) else v for k, v in value.items()}
        return value


class TextModel(Section):
    """A text model behind an OpenAI-compatible server that refines captions."""

    url: str = Field(description="Base URL, ending in /v1.")
    model: str = Field(description="Model name.")
    prompt: str = Field(
        "Rewrite this video caption as plain, factual sentences: {caption}", description="Prompt with {caption}."
    )
    max_tokens: int = Field(256, ge=1, description="Longest answer.")


class Cleaning(Section):
    """How captions are cleaned."""

    boilerplate: bool = Field(True, description="Whether openers such as 'The video shows' are removed.")
    drop_sentences: list[Literal["negations", "not_visible"]] = Field(
        default=[], description="Kinds of sentences to drop."
    )
    max_chars: int | None = Field(None, ge=1, description="Longest caption; cut at the end of a sentence.")
    refine: TextModel | None = Field(None, description="Refinement by a text model.")
    suffixes: list[Literal["motion", "aesthetic"]] = Field(default=[], description="Scores put into words at the end.")


class Captions(Section):
    """Where captions come from."""

    backend: Literal["source", "subtitles", "transformers", "openai"] = Field("source", description="Backend.")
    model: str | None = Field(
        None, description="Hub id, `@revision` to hold on to one, or local path (transformers), or model name (openai)."
    )
    prompt: str = Field("Describe this video clip in one or two sentences.", description="Prompt.")
    frames: int = Field(8, ge=1, le=64, description="Frames per request, evenly spread.")
    max_tokens: int = Field(128, ge=1, le=8192, description="Longest answer.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature; 0 takes the likeliest answer.")
    seed: int = Field(0, ge=0, description="Seed of the sampling.")
    batch: int = Field(4, ge=1, le=256, description="Clips per batch (transformers).")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N (transformers).")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the weights (transformers)."
    )
    url: str | None = Field(None, description="Base URL of the server, ending in /v1 (openai).")
    key_env: str = Field("OPENAI_API_KEY", description="Environment variable with the key (openai).")
    concurrency: int = Field(16, ge=1, le=1024, description="Requests at the same time (openai).")
    timeout_s: float = Field(120, gt=0, description="Longest wait for an answer.")
    attempts: int = Field(5, ge=1, le=20, description="Attempts at one request (openai).")
    price_per_mtok: tuple[float, float] | None = Field(
        None, description="Price of a million prompt and completion tokens."
    )
    window_s: float | None = Field(
        None, gt=0, description="Longer clips are captioned in equal windows of at most this length."
    )
    languages: list[str] = Field(
        default=[], description="Preferred languages of subtitles, best first; default the track's order."
    )
    several: Literal["first", "longest", "join"] = Field(
        "first",
        description="For `source`: which of several captions of one span or video is taken; join: all of them, as paragraphs.",
    )
    clean: Cleaning = Field(default_factory=lambda: Cleaning())
    where: Rules = Field(default=["keep"], description="Rules that a clip must pass to be captioned.")
    misaligned: Literal["warn", "block"] = Field(
        "warn",
        description="What a shard whose captions match their own clips no better than those of other videos gives: a warning, or a failed run.",
    )

    @model_validator(mode="after")
    def _backend_needs(self) -> Captions:
        if self.backend in ("transformers", "openai") and not self.model:
            raise ValueError(f"backend {self.backend} needs `model`")
        if self.backend == "openai" and not self.url:
            raise ValueError("backend openai needs `url`")
        return self


class OnnxLayout(Section):
    """What the tensors of an ONNX detector mean."""

    layout: Literal["fastestdet", "yolov5", "yolov8"] = Field("yolov8", description="Output layout.")
    size: int = Field(640, ge=32, le=4096, description="Side of the square input, pixels.")
    scale: float = Field(1 / 255, gt=0, description="Factor on pixel values.")
    bgr: bool = Field(False, description="Whether channels are blue, green, red.")
    letterbox: bool = Field(True, description="Whether the aspect ratio is kept by padding.")


class Tracks(Section):
    """How objects are detected and tracked."""

    detector: Literal["faces", "owlv2", "grounding-dino", "onnx"] = Field("faces", description="Detector.")
    model: str | None = Field(None, description="Hub id, `@revision` to hold on to one, or path of the detector.")
    onnx: OnnxLayout = Field(default_factory=lambda: OnnxLayout())
    vocabulary: str = Field(
        "faces", description="lvis, coco, faces, or path of a file with a name per line or LVIS JSON."
    )
    prompt: str | None = Field(
        None,
        description="Prompt template with {name} of text detectors; null is 'a photo of a {name}' for owlv2, '{name}' for grounding-dino.",
    )
    fps: float = Field(8.0, gt=0, le=60, description="Frames per second that are looked at.")
    confidence: float = Field(0.2, ge=0, le=1, description="Least score of a detection.")
    nms: float = Field(
        0.5, ge=0, le=1, description="IoU above which the weaker of two detections is dropped, whatever their classes."
    )
    tracker: Literal["botsort", "bytetrack", "ocsort"] | None = Field(
        None,
        description="How boxes are joined: BoT-SORT without camera motion, ByteTrack, or OC-SORT, which leaves weak boxes out and confuses least; null is botsort, or bytetrack with `appearance`.",
    )
    high: float = Field(0.6, ge=0, le=1, description="Least score of a strong box; strong ones are matched first.")
    begin: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least score that begins a track; null is `high` + 0.1, as ByteTrack's authors have it.",
    )
    low: float = Field(0.1, ge=0, le=1, description="Least score that prolongs a track.")
    match: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least similarity of a match: IoU times the overlap of the heights, and for botsort times the score, by default 0.15 for botsort, else 0.1; with `appearance` the weighted mean of IoU and cosine, by default 0.55.",
    )
    buffer_s: float = Field(1.0, ge=0, description="How long a lost track is looked for.")
    fill_gaps_s: float = Field(
        0.0,
        ge=0,
        description="Longest gap of a lost and found track that is filled with boxes on a straight line; 0 fills none.",
    )
    appearance: bool = Field(False, description="TrackVerse's appearance term: motion weight 0.4.")
    motion_weight: float = Field(
        0.4, ge=0, le=1, description="Share of IoU in the similarity; the rest is the cosine of appearance."
    )
    feature_momentum: float = Field(
        0.9, ge=0, le=1, description="Share of a track's earlier appearance when it sees a new box."
    )
    min_area: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least mean area, share of the frame, of a track that is `large_enough`; smaller ones are kept too.",
    )
    min_length_s: float = Field(0.0, ge=0, description="Least length of a track that is `large_enough`, seconds.")
    blur_faces: bool = Field(
        False,
        description="Whether faces are covered before objects are looked for, so that no detector or appearance sees them.",
    )
    batch: int = Field(8, ge=1, le=256, description="Frames per forward pass of the detector.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    where: Rules = Field(default=["keep"], description="Rules that a clip must pass to be tracked.")

    @model_validator(mode="after")
    def _detector_needs(self) -> Tracks:
        if self.detector != "faces" and not self.model:
            raise ValueError(f"detector {self.detector} needs `model`")
        if self.detector == "faces" and self.blur_faces:
            raise ValueError("`blur_faces` would hide what the detector faces looks for")
        if self.appearance and self.tracker not in (None, "bytetrack"):
            raise ValueError(f"`appearance` needs `tracker: bytetrack`, not {self.tracker}")
        if self.prompt is not None and "{name}" not in self.prompt:
            raise ValueError("`prompt` must contain {name}")
        if self.low > self.high:
            raise ValueError(f"`low` ({self.low}) must not exceed `high` ({self.high})")
        return self


class Select(Section):
    """Which of the clips that pass the rules are taken."""

    criterion: Literal[
        "all", "random", "video_balanced", "class_balanced", "min_redundancy", "max_motion", "cluster_balanced"
    ] = Field("all", description="How the clips that pass are chosen; docs/reference/subsets.md says what each does.")
    count: int | None = Field(None, ge=1, description="How many in all.")
    per_video: int = Field(1, ge=1, description="For video_balanced: at most so many of one video, before filling.")
    per_class: int | None = Field(
        None, ge=1, description="For class_balanced and min_redundancy: how many of each class."
    )
    class_by: str | None = Field(
        None,
        description="Column or category set that gives the class; tracks default to label, clips to their near-duplicate cluster for"
        " cluster_balanced and to one class for min_redundancy.",
    )
    order_by: str | None = Field(
        None, description="For class_balanced: score to take the best by; default seeded random."
    )
    temperature: float | None = Field(
        None, ge=0, description="For class_balanced: class shares proportional to size^temperature."
    )
    max_swaps: int = Field(1000, ge=0, description="For min_redundancy: accepted swaps per class.")
    epochs: int = Field(5, ge=1, le=100, description="For min_redundancy: passes over the candidates.")
    nest: list[int] = Field(
        default=[], description="For min_redundancy: larger sizes per class that the subset is to lie within."
    )
    seed: int = Field(0, description="Another seed makes another random choice.")

    @model_validator(mode="after")
    def _needs(self) -> Select:
        needed = {
            "random": "count",
            "video_balanced": "count",
            "max_motion": "count",
            "cluster_balanced": "count",
            "class_balanced": "per_class",
            "min_redundancy": "per_class",
        }.get(self.criterion)
        if needed and getattr(self, needed) is None and not (self.criterion == "class_balanced" and self.count):
            raise ValueError(f"criterion {self.criterion} needs `{needed}`")
        return self


class Splits(Section):
    """How source videos are split; a video is never divided."""

    train: float = Field(1.0, ge=0, le=1, description="Share of the videos.")
    val: float = Field(0.0, ge=0, le=1, description="Share of the videos.")
    test: float = Field(0.0, ge=0, le=1, description="Share of the videos.")
    seed: int = Field(0, description="Another seed makes another split.")
    lists: dict[Literal["train", "val", "test"], str] = Field(
        default={}, description="Files of video ids with a given split."
    )

    @model_validator(mode="after")
    def _sum(self) -> Splits:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError("train + val + test must be 1")
        return self


class ClipExport(Section):
    """How selected clips are cut and written."""

    format: Literal["webdataset", "folder", "parquet"] = Field(
        "webdataset",
        description="webdataset: tars; folder: files and a list as CSV; parquet: files and a list as Parquet.",
    )
    cut: Literal["exact", "copy"] = Field(
        "exact", description="exact: re-encoded, to the frame; copy: from the previous key frame."
    )
    crf: int = Field(18, ge=0, le=51, description="libx264 quality.")
    preset: str = Field("veryfast", description="libx264 preset.")
    short_side: int | None = Field(
        None, ge=16, description="Scale so that the short side is so many pixels; never enlarged."
    )
    interlaced: Literal["deinterlace", "keep"] = Field(
        "deinterlace", description="For `exact`: deinterlace with bwdif, a picture per frame, or keep the combs."
    )
    crop_border: bool = Field(False, description="Whether found bars are cut off.")
    fps: float | None = Field(None, gt=0, description="Frame rate; null keeps the source's.")
    audio: bool = Field(True, description="Whether the sound is kept.")
    audio_rate: int | None = Field(None, ge=8000, le=192_000, description="Sample rate, Hz; null keeps the source's.")
    blur_faces: bool = Field(False, description="Whether faces are covered.")
    blur: Literal["ellipse", "box", "mosaic"] = Field("ellipse", description="How faces are covered.")
    blur_scale: float = Field(
        1.3, ge=1, le=3, description="Covered area as deface has it: 1.3 adds 30 % of the face's size on every side."
    )
    blur_threshold: float = Field(0.2, ge=0, le=1, description="Least score of a face.")
    leak_model: str | None = Field(
        None,
        description="Path or URI of a YuNet ONNX file, a second detector that looks for faces in a sample of the blurred clips; null looks for none.",
    )
    tracks: bool = Field(False, description="Export one cropped clip per selected track instead of clips.")
    track_max_s: float = Field(180.0, gt=0, description="Longest clip of a track, seconds.")
    tar_bytes: int = Field(1_000_000_000, ge=1_000_000, description="Size at which a tar is closed and another begun.")

    @model_validator(mode="after")
    def _copied_as_it_is(self) -> ClipExport:
        changing = [
            n for n in ("short_side", "crop_border", "fps", "audio_rate", "blur_faces", "tracks") if getattr(self, n)
        ]
        if self.cut == "copy" and changing:
            raise ValueError(f"cut: copy leaves the stream as it is; {', '.join(changing)} needs cut: exact")
        if self.leak_model is not None and not self.blur_faces:
            raise ValueError("`leak_model` looks for faces that blurring left; it needs `blur_faces: true`")
        return self


class EmbeddingExport(Section):
    """How embeddings are written, in clip-video-encode's layout."""

    dtype: Literal["float16", "float32"] = Field("float16", description="Type of the arrays.")
    per_tar: int = Field(10_000, ge=1, description="Triples in a tar.")
    name: str = Field("ds", description="First part of the names of the tars.")
    layout: Literal["tars", "folders"] = Field(
        "tars", description="tars with splits.csv, or train/val/test folders of triples."
    )


class Export(Section):
    """What a subset publishes."""

    clips: ClipExport | None = None
    embeddings: EmbeddingExport | None = None


class Subset(Section):
    """A named selection with its exports."""

    of: Literal["clips", "tracks"] = Field("clips", description="What is selected.")
    datasets: list[str] = Field(default=[], description="Datasets it draws from; default the recipe's own.")
    where: Rules = Field(default=[], description="Rules in order; the first that fails is the drop reason.")
    where_tracks: Rules = Field(default=[], description="For tracks: rules over the columns of the track.")
    exclude: list[str] = Field(default=[], description="Files of video or clip ids that must not be selected.")
    select: Select = Field(default_factory=lambda: Select())
    split: Splits = Field(default_factory=lambda: Splits())
    export: Export = Field(default_factory=lambda: Export())
    partial: bool | Literal["downloads"] = Field(
        False,
        description="Whether it may be published while inputs that it uses are missing, stale or not read in full: false keeps the version in "
        "force; `downloads` allows videos that could not be fetched for reasons that may pass (network, rate limits); true allows "
        "anything. What was left out stands in report, card and Croissant.",
    )

    @model_validator(mode="after")
    def _tracks_to_export(self) -> Subset:
        if self.of == "clips" and self.export.clips is not None and self.export.clips.tracks:
            raise ValueError("export.clips.tracks needs a subset `of: tracks`")
        if self.of == "clips" and self.where_tracks:
            raise ValueError("where_tracks needs a subset `of: tracks`")
        if self.of == "clips" and self.select.criterion == "class_balanced" and not self.select.class_by:
            raise ValueError("criterion class_balanced needs `select.class_by`: a column or a category set")
        return self


class Recipe(Section):
    """One dataset: its source, the parameters of every stage, and its subsets."""

    dataset: str = Field(pattern=NAME, description="Name of the dataset: a-z, 0-9 and _.")
    description: str = Field("", description="For people; goes into the cards of what is published.")
    source: Source
    shard: ShardOptions = Field(default_factory=lambda: ShardOptions())
    download: Download = Field(default_factory=lambda: Download())
    clips: Clips = Field(default_factory=lambda: Clips())
    frames: Frames = Field(default_factory=lambda: Frames())
    motion: Motion = Field(default_factory=lambda: Motion())
    quality: Quality = Field(default_factory=lambda: Quality())
    dedup: Dedup = Field(default_factory=lambda: Dedup())
    text: Text = Field(default_factory=lambda: Text())
    audio: Audio = Field(default_factory=lambda: Audio())
    embeddings: Embeddings = Field(default_factory=lambda: Embeddings())
    aesthetic: Aesthetic = Field(default_factory=lambda: Aesthetic())
    categories: dict[str, PromptSet] = Field(default={}, description="Prompt sets for category_scores.")
    captions: Captions = Field(default_factory=lambda: Captions())
    tracks: Tracks = Field(default_factory=lambda: Tracks())
    subsets: dict[Annotated[str, Field(pattern=NAME)], Subset] = Field(default={})
    _declared_in: str = PrivateAttr("")

    @property
    def declared_in(self) -> str:
        """URI of the file that it was read from; empty if it was not read from one."""
        return self._declared_in

    @field_validator("categories", mode="before")
    @classmethod
    def _bare_prompts(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: v if isinstance(v, Mapping) and "prompts" in v else {"prompts": v} for k, v in value.items()}
        return value


def _where(location: Iterable[Any]) -> str:
    """A pydantic error location as a dotted key: ('source', 'path', 0) -> source.path[0]."""
    key = ""
    for part in location:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    return key or "(top level)"


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field's annotation mentions, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in _sections(argument)]


def _allowed(location: tuple[Any, ...]) -> str:
    """The keys of the section in which the unknown key at `location` stands."""
    section: type[BaseModel] = Recipe
    for part in location[:-1]:
        field = next((f for n, f in section.model_fields.items() if part in (n, f.alias)), None)
        if field is not None:  # otherwise `part` is a key of a mapping or an index, within the same annotation
            section = (_sections(field.annotation) or [section])[0]
    return ", ".join(f.alias or n for n, f in section.model_fields.items())


def parse_recipe(text: str, name: str) -> Recipe:
    """Reads a recipe.

    Args:
        text: YAML.
        name: the file's name, for error messages.

    Raises:
        RecipeError: a sentence per problem, each naming file, key and what is allowed.
    """
    try:
        data = read_yaml(text)
    except YamlError as error:
        at = f" line {error.line}" if error.line else ""
        raise RecipeError(f"{name}{at}: {error}") from error
    if not isinstance(data, dict):
        found = "and this file is empty" if data is None else f"not a {type(data).__name__}"
        raise RecipeError(f"{name}: a recipe is a mapping that begins with `dataset:`, {found}")
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        problems = []
        for e in error.errors():
            key = _where(e["loc"])
            if e["type"] == "extra_forbidden":
                problems.append(f"{name}: {key}: unknown key; allowed are {_allowed(e['loc'])}")
            elif e["type"] == "missing":
                problems.append(f"{name}: {key}: required key is missing")
            else:
                shown = redact_text(repr(e["input"]))
                got = f" (got {shown if len(shown) <= 80 else shown[:77] + '...'})"
                problems.append(f"{name}: {key}: {e['msg'].removeprefix('Value error, ')}{got}")
        raise RecipeError("\n".join(problems)) from error
    faults = [f"{name}: {key}: {text}" for key, text in rule_faults(recipe)]
    if not faults and (text_of_circle := circle([recipe])):
        faults.append(f"{name}: {text_of_circle}")
    if faults:
        raise RecipeError("\n".join(faults))
    return recipe


@dataclass(frozen=True)
class RecipeFault:
    """Why a file, or a subset of it, is left out: a sentence per problem. `dataset` as far as the file says it."""

    file: str
    message: str
    dataset: str | None = None


@dataclass(frozen=True)
class Recipes:
    """The recipes of an installation by dataset name, and what is left out of it because it cannot be used."""

    usable: dict[str, Recipe]
    faults: tuple[RecipeFault, ...] = ()


def load_recipes(uri: str, options: Mapping[str, Any] | None = None) -> dict[str, Recipe]:
    """Recipes of a file, a folder (its `*.yaml` and `*.yml`, not recursive) or a URI of either, by dataset name.

    Raises:
        RecipeError: nothing there, a recipe that cannot be used, or two recipes for one dataset.
    """
    fs, _, files = _files(uri, options)
    found = _usable(fs, files)
    if found.faults:
        raise RecipeError("\n".join(f.message for f in found.faults))
    return found.usable


def read_recipes(uri: str, options: Mapping[str, Any] | None = None) -> Recipes:
    """As `load_recipes`, but of a folder the files that cannot be used are left out and named, so that the others go on.

    A subset that draws on the dataset of a file that was left out is left out too.

    Raises:
        RecipeError: nothing there, or the one file that was named cannot be used.
    """
    fs, path, files = _files(uri, options)
    if files == [path]:
        return Recipes(load_recipes(uri, options))
    found = _usable(fs, files)
    usable, faults = dict(found.usable), list(found.faults)
    lost = {f.dataset for f in faults} - {None, *usable}
    for name, recipe in found.usable.items():
        kept = {n: s for n, s in recipe.subsets.items() if not lost & set(s.datasets)}
        for subset in recipe.subsets.keys() - kept.keys():
            dataset = next(d for d in recipe.subsets[subset].datasets if d in lost)
            text = f"subset {subset_key(name, subset)} is left out: it draws on {dataset}, whose recipe cannot be used"
            faults.append(RecipeFault("", text, name))
        usable[name] = recipe.model_copy(update={"subsets": kept})
    return Recipes(usable, tuple(faults))


def _files(uri: str, options: Mapping[str, Any] | None) -> tuple[fsspec.AbstractFileSystem, str, list[str]]:
    fs, path = fsspec.core.url_to_fs(uri, **(options or {}))
    if not fs.exists(path):
        raise RecipeError(
            f"{uri}: no such file or folder; name a recipe file or a folder of recipes, here or in CURATION_RECIPES; `curation init` writes one"
        )
    if not fs.isdir(path):
        return fs, path, [path]
    return fs, path, sorted(f for f in fs.ls(path, detail=False) if re.search(r"\.ya?ml$", f))


def _usable(fs: fsspec.AbstractFileSystem, files: Iterable[str]) -> Recipes:
    """The recipes of files that can be used, each by itself and beside those before it."""
    usable: dict[str, Recipe] = {}
    origin: dict[str, str] = {}
    faults: list[RecipeFault] = []
    for file in files:
        text = ""
        try:
            text = fs.cat_file(file).decode("utf-8")
            recipe = parse_recipe(text, file)
            recipe._declared_in = fs.unstrip_protocol(file)
            _fits_beside(recipe, file, usable, origin)
        except (RecipeError, OSError, UnicodeDecodeError) as error:
            said = str(error) if isinstance(error, RecipeError) else f"{file}: cannot be read ({error})"
            if isinstance(error, UnicodeDecodeError):
                said = f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8"
            named = re.search(r"^dataset:[ \t]*([a-z0-9][a-z0-9_]{0,200})[ \t]*$", text, re.MULTILINE)
            faults.append(RecipeFault(file, said, named[1] if named else None))
            continue
        usable[recipe.dataset], origin[recipe.dataset] = recipe, file
    for name, recipe in list(usable.items()):
        wrong = [f"{origin[name]}: {key}: {text}" for key, text in rule_faults(recipe, usable)]
        if wrong:
            del usable[name]
            faults.append(RecipeFault(origin[name], "\n".join(wrong), name))
    return Recipes(usable, tuple(faults))


def _fits_beside(recipe: Recipe, file: str, others: Mapping[str, Recipe], origin: Mapping[str, str]) -> None:
    if recipe.dataset in others:
        raise RecipeError(f"{file}: dataset {recipe.dataset!r} is already declared by {origin[recipe.dataset]}")
    if text := circle([*others.values(), recipe]):
        raise RecipeError(f"{file}: beside the other recipes, {text}")


def subset_key(dataset: str, subset: str) -> str:
    """Partition key of a subset: `<recipe>-<subset>`."""
    return f"{dataset}-{subset}"


def subsets(recipes: Mapping[str, Recipe]) -> dict[str, tuple[Recipe, Subset]]:
    """Partition key -> (recipe, subset) over all recipes."""
    return {subset_key(r.dataset, name): (r, s) for r in recipes.values() for name, s in r.subsets.items()}
