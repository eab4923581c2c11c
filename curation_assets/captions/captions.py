"""Table captions: what is said of each clip."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.component import Component, Made, RecipeKey, Stage, if_named
from curation_assets.contracts.costs import Figure
from curation_assets.contracts.open_section import OpenSection
from curation_assets.contracts.sections import Rules, Section
from curation_assets.contracts.tables import CLIP_KEYS, ERROR, INT32, STRING, Column, TableSchema
from curation_assets.engine.pods import GPU
from curation_assets.scores.prefilter import passing_clips
from curation_assets.showing.clips import pictured_table
from curation_assets.showing.figures import counts, histograms
from curation_resources.captioners.vllm_model import require_vllm
from curation_resources.devices import computes_on_gpu
from curation_resources.extras import require
from curation_resources.faults import ReadFault
from curation_resources.journal import Journal
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.captions.captioning import CaptionInputs
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe
    from curation_resources.captioners.base import Captioner, CaptionRequest


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
    remove: list[
        Literal[
            "person",
            "ip_numbers",
            "file_names",
            "sizes",
            "page_numbers",
            "codes",
            "advertising",
            "decoration",
            "joined_words",
            "narration",
        ]
    ] = Field(default=[], description="What else is removed; docs/explanation/captions.md says what each is.")
    max_chars: int | None = Field(None, ge=1, description="Longest caption; cut at the end of a sentence.")
    refine: TextModel | None = Field(None, description="Refinement by a text model.")
    suffixes: list[Literal["motion", "aesthetic"]] = Field(default=[], description="Scores put into words at the end.")


class Captions(OpenSection):
    """Where captions come from."""

    backend: Annotated[
        str,
        OneOf(
            "captioners",
            (
                "source",
                "subtitles",
                "transformers",
                "vllm",
                "openai",
            ),
        ),
    ] = Field("source", description="Backend.")
    model: str | None = Field(
        None,
        description="Hub id, `@revision` to hold on to one, or local path (transformers, vllm), or model name (openai).",
    )
    prompt: str = Field("Describe this video clip in one or two sentences.", description="Prompt.")
    frames: int = Field(8, ge=1, le=64, description="Frames per request, evenly spread.")
    max_tokens: int = Field(128, ge=1, le=8192, description="Longest answer.")
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature; 0 takes the likeliest answer.")
    seed: int = Field(0, ge=0, description="Seed of the sampling.")
    batch: int = Field(4, ge=1, le=256, description="Clips per batch (transformers).")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N (transformers).")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the weights (transformers, vllm)."
    )
    engine: dict[str, bool | int | float | str] = Field(
        default={}, description="Further arguments of `vllm.LLM`, such as max_model_len (vllm)."
    )
    url: str | None = Field(None, description="Base URL of the server, ending in /v1 (openai).")
    key_env: str = Field("OPENAI_API_KEY", description="Environment variable with the key (openai).")
    concurrency: int = Field(16, ge=1, le=1024, description="Requests at the same time (openai, vllm).")
    timeout_s: float = Field(120, gt=0, description="Longest wait for an answer.")
    attempts: int = Field(5, ge=1, le=20, description="Attempts at one request (openai).")
    price_per_mtok: tuple[float, float] | None = Field(
        None, description="Price of a million prompt and completion tokens."
    )
    window_s: float | None = Field(
        None, gt=0, description="Longer clips are captioned in equal windows of at most this length."
    )
    languages: list[str] = Field(
        default=[],
        description="Preferred languages of subtitles, best first; default the tracks' order. Clips from subtitles are cut by the track that this chooses.",
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

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.backend in ("transformers", "vllm", "openai") and not self.model:
            yield f"backend {self.backend} needs `model`"
        if self.backend == "openai" and not self.url:
            yield "backend openai needs `url`"


TABLE = TableSchema(
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
        Column(
            "kept_answer",
            STRING,
            "Of a skipped clip, the answers that an earlier run was given, canonical JSON; they are taken back when the clip passes `where` again.",
            volatile=True,
        ),
    ),
)


HOW = {"batch", "device", "concurrency", "timeout_s", "attempts", "price_per_mtok", "key_env", "misaligned"}
"""Parameters that change how fast or dear captioning is, or how it is judged, not what it says."""


AHEAD_SHARDS = 2
"""Shards whose questions may be on their way to a GPU while tables of those before are written."""
JOURNAL = "captions 1"
"""Answers are kept by a hash of all that was asked, so they hold whatever else changes in the recipe."""


def in_line(params: Captions) -> bool:
    """Whether a device of this machine answers, which waits between shards unless it has questions of the next.

    Servers are not asked ahead: they answer others meanwhile, and what they answered a run that is killed would have to be paid again.
    """
    from curation_resources.devices import choose_device

    if params.backend == "transformers":
        return choose_device(params.device).startswith("cuda")
    return params.backend == "vllm"


def _captioner(shard: Shard, params: Captions) -> Captioner | None:
    """The backend, for all shards of a run; where a GPU of this machine answers, the questions of the next shards are on their way to it."""
    from curation_assets.captions.caption_backends import load_captioner
    from curation_assets.captions.captioning import questions_of
    from curation_resources.captioners.line import CaptionLine

    captioner: Captioner | None = shard.model(load_captioner, params)
    if captioner is None or not in_line(params):
        return captioner

    def open_line(params: Captions) -> CaptionLine:
        under_way = params.concurrency if params.backend == "vllm" else params.batch
        return CaptionLine(captioner, 2 * under_way)

    def questions(later: Shard) -> list[CaptionRequest]:
        answered = Journal(later.storage, later.folder("captions"), JOURNAL).items
        return [q for q in questions_of(_inputs(later), params, later.storage) if q.key not in answered]

    line: CaptionLine = shard.model(open_line, params)
    for key in shard.coming.keys(AHEAD_SHARDS):
        later = shard.coming.look(key, questions)
        if later is not None and line.ask_ahead(later) < len(later):
            break
    return line


def _inputs(shard: Shard) -> CaptionInputs:
    from curation_assets.captions.captioning import CaptionInputs
    from curation_assets.rules.columns import clip_facts

    params = shard.recipe.captions
    scores: dict[str, dict[str, float | None]] | None = None
    if params.clean.suffixes:
        facts = clip_facts(params.clean.suffixes, shard.recipe, shard.table)
        scores = {row["clip_id"]: {s: row[s] for s in params.clean.suffixes} for row in facts.to_pylist()}
    return CaptionInputs(
        shard.table("clips"),
        shard.table("frames"),
        shard.table("video_metadata"),
        shard.table("raw_shards"),
        wanted=set(passing_clips(shard, params.where)["clip_id"].drop_null().to_pylist()),
        scores=scores,
        previous=shard.previous("captions"),
    )


def _caption(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.captions.caption_backends import load_refiner
    from curation_assets.captions.captioning import caption_shard

    params = shard.recipe.captions
    journal = Journal(shard.storage, shard.folder("captions"), JOURNAL)
    with journal:
        table, stats = caption_shard(
            _inputs(shard),
            params,
            shard.storage,
            journal=journal,
            captioner=_captioner(shard, params),
            refiner=shard.model(load_refiner, params),
        )
    _nothing_seen(table, shard.key)
    numbers = {
        k: getattr(stats, k)
        for k in (
            "ok",
            "empty",
            "failed",
            "skipped",
            "requests",
            "reused",
            "resumed",
            "prompt_tokens",
            "completion_tokens",
        )
    }
    numbers |= {
        "caption_cost": stats.cost,
        "cost_per_clip": stats.cost_per_clip,
        "prompt_tokens_per_clip": pc.mean(table["prompt_tokens"]).as_py(),
        "completion_tokens_per_clip": pc.mean(table["completion_tokens"]).as_py(),
        "seconds_per_clip": stats.seconds_per_clip,
    }
    good = table.filter(pc.equal(table["status"], "ok"))
    lengths = pa.table({"characters": pc.utf8_length(good["caption"])})
    metadata: dict[str, Any] = {"languages": counts(good, "language"), "lengths": histograms(lengths, ["characters"])}
    shown = good.select(["clip_id", "caption"]).slice(0, 12).to_pylist()
    metadata["samples"] = pictured_table(
        shard.storage, shard.table("frames"), ("clip", "caption"), [tuple(r.values()) for r in shown]
    )
    return {"captions": Made(table, {k: v for k, v in numbers.items() if v is not None}, metadata)}


def _nothing_seen(table: pa.Table, shard: str) -> None:
    """Raises ReadFault if storage gave the pictures of not one clip: such a table would say nothing and replace one that does."""
    from curation_resources.captioners.base import UNREADABLE

    asked = table.filter(pc.not_equal(table["status"], "skipped"))
    unread = pc.starts_with(asked["error"], UNREADABLE)
    if asked.num_rows and pc.all(pc.fill_null(unread, False)).as_py():
        raise ReadFault(
            f"captions of {shard}: 0 of {plural(asked.num_rows, 'clip')} could be looked at: {asked['error'][0].as_py()}"
        )


def _params(recipe: Recipe) -> dict[str, Any]:
    """What captions depend on; what is newer than the other keys only where it changes something."""
    unsaid: dict[str, Any] = {"several": True} if recipe.captions.several == "first" else {}
    unsaid |= {} if recipe.captions.clean.remove else {"clean": {"remove"}}
    unsaid |= {} if recipe.captions.engine else {"engine": True}
    repeats = {"repeats": "kept"} if recipe.captions.backend == "subtitles" else {}
    return recipe.captions.model_dump(exclude=dict.fromkeys((*HOW, "model"), True) | unsaid) | repeats


def _installed(recipe: Recipe) -> None:
    if recipe.captions.backend == "transformers":
        require(f"the caption model {recipe.captions.model}", "torch", "torchvision", "transformers", "huggingface_hub")
    if recipe.captions.backend == "vllm":
        require_vllm(str(recipe.captions.model))


def _caption_model(recipe: Recipe) -> dict[str, str]:
    from curation_assets.captions.caption_backends import caption_identity

    return {"captioner": caption_identity(recipe.captions)}


GIVEN_S = (0.0025, 0.0025)
"""CPU seconds to look a clip's words up: 16 clips (docs/reference/estimates.md)."""


def _figure(recipe: Recipe, _: object) -> Figure | None:
    """For a clip: of a server what asking it takes here, its own seconds apart; of models the one that was measured, 64 tokens, batches of 16 and of 4."""
    model = (recipe.captions.model or "").lower()
    if recipe.captions.backend == "openai":
        return Figure("clip", (0.0046, 0.0051), None, where="explanation/captions.md, without the server's own")
    if recipe.captions.backend == "transformers" and "qwen2-vl-2b" in model:
        return Figure("clip", None, (1 / 2.9, 1 / 0.84), where="explanation/models.md, all clips, an H100")
    if recipe.captions.backend in ("source", "subtitles"):
        return Figure("clip", GIVEN_S, where="reference/estimates.md, all clips")
    return None


COMPONENT = Component(
    TABLE,
    "captions",
    "What is said of each clip, by its source, its subtitles or a model, as the recipe asks, raw and cleaned.",
    keys=(RecipeKey("captions", Captions),),
    asked_by=if_named("captions"),
    params=_params,
    inputs=("clips", "frames", "video_metadata", "raw_shards"),
    prefilter="captions",
    rules=lambda r: [f"{s} is not null" for s in r.captions.clean.suffixes],
    weights=_caption_model,
    installed=_installed,
    complete="clips",
    journal=True,
    every_row=True,
    curated=("caption", "language"),
    heading="caption",
    words=("caption", "caption_raw", "kept_answer"),
    unexplained=frozenset({"prompt_tokens", "completion_tokens", "kept_answer"}),
    figure=_figure,
)

STAGE = Stage(
    "captions",
    (COMPONENT,),
    _caption,
    gpus=lambda r: r.captions.backend in ("transformers", "vllm") and computes_on_gpu(r.captions.device),
    pool="gpu",
    op_tags=GPU,
    up_to_date=lambda header, shard: header.stats.get("failed", 0) == 0,
)
