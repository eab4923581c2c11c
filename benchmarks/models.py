"""The model stages on a GPU (or, small, on a CPU): `python -m benchmarks.models [feed] [clip] [detectors] [captions] [--small] [--videos FOLDER]`.

Models of the published sizes with random weights, saved and loaded the way real ones are. A large matrix product, measured first in
the format that the models compute in, is the baseline: the practical limit of the device. Arithmetic is counted by torch
(matrix products, convolutions and attention).

feed
    Reading stored frames for CLIP, from their pictures and from the inputs beside them, and how long a stand-in for a GPU waits: `benchmarks/feed.py`.
clip
    `frame_embeddings` over frames of 683 x 384 in a tar, with the model's input beside each as the decode keeps it by default, and without. The network on a batch that lies on
    the device, `encode_images` on pixels in memory (with copies and normalisation), and eight shards through the stage's line, for several batch sizes.
detectors
    OWLv2 and Grounding DINO over 640 x 360 frames with the COCO and LVIS vocabularies: frames per second in the stage's precision and in
    float32, with preprocessing, with the boxes that random scores leave and without; the largest difference of class scores between both.
captions
    A Qwen2-VL of 2 B parameters: clips and tokens per second, 8 frames a clip, at most 64 tokens an answer, 1, 16 and 64 clips at once, by transformers, and by
    vLLM where it is installed.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import platform
import string
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.feed import feed as reading
from benchmarks.feed import frames_of_pictures, packed, repeated
from curation_assets.decode.frames import Frames
from curation_assets.scores import embedding as frame_embeddings
from curation_assets.scores.embedding_line import EmbeddingLine
from curation_assets.scores.frame_embeddings import Embeddings
from curation_resources.captioners.base import Captioner, CaptionRequest
from curation_resources.captioners.transformers_model import load_transformers_captioner
from curation_resources.captioners.vllm_model import VllmOptions, load_vllm_captioner
from curation_resources.detectors import DetectorOptions, load_detector, load_vocabulary, text_prompted
from curation_resources.extras import installed
from curation_resources.model_input import FILTERS, Fit
from curation_resources.storage import Storage
from curation_resources.torchvision_ops import ensure_torchvision

DEFAULT_FORM = str(Frames().model_input)
CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"


def sync() -> None:
    if CUDA:
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], least: float = 0.5, warm: int = 2) -> float:
    """Median wall seconds of a call, over calls for at least `least` seconds."""
    for _ in range(warm):
        work()
    times: list[float] = []
    end = time.perf_counter() + least
    while time.perf_counter() < end or len(times) < 3:
        sync()
        begun = time.perf_counter()
        work()
        sync()
        times.append(time.perf_counter() - begun)
    return float(np.median(times))


def flops(work: Callable[[], Any]) -> float:
    """Floating-point operations of a call, a multiplication with its addition counted as two."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return float(counter.get_total_flops())


def dearest(work: Callable[[], Any]) -> str:
    """The operations that take most of the device's time in a call, with their share."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if CUDA else [])]) as seen:
        begun = time.perf_counter()
        work()
        sync()
        wall = 1e6 * (time.perf_counter() - begun)
    attribute = "self_device_time_total" if CUDA else "self_cpu_time_total"
    spent = {e.key: float(getattr(e, attribute)) for e in seen.key_averages() if e.key.startswith("aten::")}
    total = sum(spent.values())
    best = sorted(spent, key=lambda k: -spent[k])[:8]
    shares = ", ".join(f"{k.removeprefix('aten::')} {100 * spent[k] / total:.0f} %" for k in best)
    return f"{shares}; device busy {100 * total / wall:.0f} % of the time under the profiler"


def release() -> None:
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()


def matmul_limit(dtype: torch.dtype) -> float:
    """FLOP/s of a large square matrix product on random data."""
    n = 8192 if CUDA else 1024
    a, b = (torch.randn(n, n, device=DEVICE).to(dtype) for _ in range(2))
    rate = 2 * n**3 / seconds(lambda: a @ b)
    print(f"limit: {n} x {n} product in {str(dtype).removeprefix('torch.')}: {rate / 1e12:.2f} TFLOP/s", flush=True)
    return rate


def picture(seed: int, width: int, height: int) -> np.ndarray:
    """Large smooth shapes under fine grain, so that a JPEG of quality 90 is about as large as a video frame's."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 20, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain = rng.normal(0, 4, (height, width, 1))
    return np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)


# ---- CLIP


@contextmanager
def light_processes() -> Iterator[None]:
    """Keeps worker processes from importing this module, and torch with it, which those of a run do not."""
    own: Any = sys.modules["__main__"]
    before = own.__spec__, own.__file__
    own.__spec__ = own.__file__ = None
    try:
        yield
    finally:
        own.__spec__, own.__file__ = before


def clip_checkpoint(architecture: str, folder: Path) -> Path:
    """A checkpoint of random weights."""
    ensure_torchvision()
    import open_clip

    path = folder / f"{architecture}.pt"
    with torch.device(DEVICE):
        network = open_clip.create_model(architecture, device=DEVICE)
    torch.save(network.state_dict(), path)
    return path


def clip(folder: Path, small: bool) -> None:
    storage = Storage(str(folder / "storage"))
    pictures = (picture(k, 683, 384) for k in range(16 if small else 256))
    table = frames_of_pictures(storage, pictures, Fit(224, (224, 224), FILTERS["bicubic"]))
    stored = {form: repeated(packed(table, storage, form), 1 if small else 32) for form in (None, DEFAULT_FORM)}
    for architecture in ("ViT-S-32",) if small else ("ViT-B-32", "ViT-L-14"):
        params = Embeddings(model=architecture, pretrained=str(clip_checkpoint(architecture, folder)))
        model = frame_embeddings.load_model(params)
        limit = matmul_limit(model._dtype)
        height, width = model.image_size
        one = torch.zeros(1, 3, height, width, device=DEVICE, dtype=model._dtype)
        network: Any = model._network
        # With gradients on: the fused attention of inference is not among the operations that the counter knows.
        per_frame = flops(partial(network.encode_image, one))
        ceiling = limit / per_frame
        print(
            f"{architecture} {model.precision}: {per_frame / 1e9:.1f} GFLOP a frame, so at most {ceiling:.0f} frames/s",
            flush=True,
        )
        full = torch.randn(4 if small else 256, 3, height, width, device=DEVICE).to(model._dtype)
        with torch.inference_mode():
            network.encode_image(full)
            print(f"  operations: {dearest(partial(network.encode_image, full))}", flush=True)
        alone = {}
        batches = (2, 4) if small else (64, 256, 1024)
        for batch in batches:
            pixels = np.random.default_rng(0).integers(0, 255, (batch, height, width, 3), dtype=np.uint8)
            given = torch.randn(batch, 3, height, width, device=DEVICE).to(model._dtype)
            with torch.inference_mode():
                alone[batch] = batch / seconds(partial(network.encode_image, given))
            encode = batch / seconds(partial(model.encode_images, pixels))
            host = torch.from_numpy(pixels)
            copy = seconds(partial(host.to, DEVICE)) / batch
            print(
                f"  batch {batch:5d}: network {alone[batch]:8.0f} frames/s = {alone[batch] * per_frame / 1e12:6.2f} TFLOP/s,"
                f" {100 * alone[batch] / ceiling:3.0f} % of the limit; encode_images {encode:8.0f} frames/s; copy to device {1e6 * copy:.0f} us a frame",
                flush=True,
            )
        most = 2 if small else 16
        for form, workers in ((None, 0), (None, most), (DEFAULT_FORM, 0)):
            for batch in batches:
                line = EmbeddingLine(model, storage, batch, workers)
                frames = stored[form]
                size = len(frames) // 8
                began, cpu = time.perf_counter(), time.process_time()
                with light_processes():
                    for n in range(8):
                        line.ahead(frames.slice(n * size, size), str(n))
                    made = [frame_embeddings.embed_frames(frames.slice(n * size, size), line, str(n)) for n in range(8)]
                spent, cpu = time.perf_counter() - began, time.process_time() - cpu
                if failed := sum(stats.failed for _, stats in made):
                    raise SystemExit(f"{failed} frames failed")
                rate, waited = len(frames) / spent, sum(stats.waited_s for _, stats in made)
                how = f"{form or 'stored pictures'}, {f'{workers} processes' if workers else 'threads'}"
                print(
                    f"  eight shards, {how}, batch {batch:5d}: {rate:6.0f} frames/s, {100 * rate / alone[batch]:3.0f} % of the network alone;"
                    f" waited {100 * waited / spent:3.0f} % of the time, {1e3 * cpu / len(frames):.2f} CPU ms a frame of this process",
                    flush=True,
                )
        columns = np.zeros((len(stored[None]), model.dimension), np.float16)
        print(
            f"  making the vector column: {1e6 * seconds(partial(frame_embeddings.vector_column, columns, [False] * len(columns)), 0.2) / len(columns):.1f} us a frame"
        )
        del model, network
        release()


# ---- detectors


@dataclass(frozen=True)
class Size:
    """A published size of a detector."""

    kind: str
    name: str
    save: Callable[[Path], Path]


def owlv2(pixels: int, patch: int, hidden: int, layers: int, text: int, heads: int) -> Callable[[Path], Path]:
    """Saves an OWLv2 with a tokenizer that knows single letters; prompts are padded, so the work is that of the real one."""

    def save(folder: Path) -> Path:
        from transformers import (
            CLIPTokenizer,
            Owlv2Config,
            Owlv2ForObjectDetection,
            Owlv2ImageProcessor,
            Owlv2Processor,
        )

        letters = [*string.ascii_lowercase, *string.digits, *"().,-'"]
        pieces = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        tokenizer = CLIPTokenizer(
            vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=16
        )
        marks = {"bos_token_id": len(pieces) - 2, "eos_token_id": len(pieces) - 1, "pad_token_id": 0}
        config = Owlv2Config(
            text_config={
                "hidden_size": text,
                "intermediate_size": 4 * text,
                "num_hidden_layers": min(layers, 12),
                "num_attention_heads": heads,
                "max_position_embeddings": 16,
                **marks,
            },
            vision_config={
                "hidden_size": hidden,
                "intermediate_size": 4 * hidden,
                "num_hidden_layers": layers,
                "num_attention_heads": hidden // 64,
                "image_size": pixels,
                "patch_size": patch,
            },
            projection_dim=text,
        )
        with torch.device(DEVICE):
            network = Owlv2ForObjectDetection(config).eval()
        with torch.no_grad():  # Random heads give scores of 0 and 1 only.
            for head in (
                network.class_head.logit_shift,
                network.class_head.logit_scale,
                network.objectness_head.dense2,
            ):
                head.weight *= 0.1
            network.box_head.dense2.weight *= 0.05
        network.save_pretrained(folder / "model")
        images = Owlv2ImageProcessor(size={"height": pixels, "width": pixels})
        Owlv2Processor(images, tokenizer).save_pretrained(folder / "model")
        return folder / "model"

    return save


def grounding_dino(swin: dict[str, Any], edge: tuple[int, int], **more: Any) -> Callable[[Path], Path]:
    """Saves a Grounding DINO whose tokenizer knows every word of the vocabularies as one token, so captions are fewer than with BERT's own."""

    def save(folder: Path) -> Path:
        from transformers import (
            BertConfig,
            BertTokenizer,
            GroundingDinoConfig,
            GroundingDinoForObjectDetection,
            GroundingDinoImageProcessor,
            GroundingDinoProcessor,
            SwinConfig,
        )

        names = " ".join([*load_vocabulary("lvis"), *load_vocabulary("coco")]).lower()
        words = sorted(
            set("".join(c if c.isalnum() else " " for c in names).split()) | set(string.punctuation) - set(".?")
        )
        marks = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
        pieces = {i: f"[unused{i}]" for i in range(30522)} | marks | dict(enumerate(words, 2000))
        tokenizer = BertTokenizer(vocab={p: i for i, p in pieces.items()})
        config = GroundingDinoConfig(
            backbone_config=SwinConfig(**swin, out_features=["stage2", "stage3", "stage4"]),
            text_config=BertConfig(),
            two_stage=True,
            disable_custom_kernels=True,
            **more,
        )
        with torch.device(DEVICE):
            network = GroundingDinoForObjectDetection(config).eval()
        network.save_pretrained(folder / "model")
        images = GroundingDinoImageProcessor(size={"shortest_edge": edge[0], "longest_edge": edge[1]})
        GroundingDinoProcessor(images, tokenizer).save_pretrained(folder / "model")
        return folder / "model"

    return save


SWIN_TINY = {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7, "image_size": 224}
SWIN_BASE = {
    "embed_dim": 128,
    "depths": [2, 2, 18, 2],
    "num_heads": [4, 8, 16, 32],
    "window_size": 12,
    "image_size": 384,
}
SWIN_SMALL = {"embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2], "window_size": 7, "image_size": 224}
REAL = (
    Size("owlv2", "OWLv2 base, patch 16, 960 px", owlv2(960, 16, 768, 12, 512, 8)),
    Size("owlv2", "OWLv2 large, patch 14, 1008 px", owlv2(1008, 14, 1024, 24, 768, 12)),
    Size("grounding-dino", "Grounding DINO tiny, 800 px", grounding_dino(SWIN_TINY, (800, 1333))),
    Size("grounding-dino", "Grounding DINO base, 800 px", grounding_dino(SWIN_BASE, (800, 1333))),
)
SMALL = (
    Size("owlv2", "OWLv2, 2 layers, 128 px", owlv2(128, 16, 128, 2, 64, 4)),
    Size(
        "grounding-dino",
        "Grounding DINO, small",
        grounding_dino(SWIN_SMALL, (128, 200), encoder_layers=1, decoder_layers=2, num_queries=50),
    ),
)


def best_scores(detector: Any, frame: np.ndarray) -> np.ndarray:
    """The at most 50 best scores among all boxes that the network proposes, best first."""
    seen: list[torch.Tensor] = []
    strongest = text_prompted._strongest

    def watch(scores: torch.Tensor) -> torch.Tensor:
        seen.append(scores.flatten())
        return strongest(scores)

    text_prompted._strongest = watch
    try:
        detector.detect([frame])
    finally:
        text_prompted._strongest = strongest
    return np.sort(torch.cat(seen).cpu().numpy())[::-1][:50]


def detectors(folder: Path, small: bool) -> None:
    ensure_torchvision()
    limit = matmul_limit(torch.float16 if CUDA else torch.float32)
    frames = [picture(k, 640, 360) for k in range(4 if small else 16)]
    for number, size in enumerate(SMALL if small else REAL):
        path = size.save(folder / f"detector{number}")
        for vocabulary in ("coco",) if small else ("coco", "lvis"):
            detector: Any = load_detector(
                size.kind,
                DetectorOptions(model=str(path), vocabulary=vocabulary, confidence=0.2, nms=0.5, device=DEVICE),
            )
            captions = f", {len(detector.captions)} captions" if size.kind == "grounding-dino" else ""
            detector.detect(frames[:1])  # text is encoded once
            work = flops(partial(detector.detect, frames[:1]))
            ceiling = limit / work
            print(
                f"{size.name}, {vocabulary}{captions}: {work / 1e9:.0f} GFLOP a frame, so at most {ceiling:.1f} frames/s",
                flush=True,
            )
            prepare = (
                seconds(
                    partial(detector.processor.image_processor, frames[:4], return_tensors="pt", device=DEVICE), 0.2
                )
                / 4
            )
            before = seconds(partial(detector.processor.image_processor, frames[:4], return_tensors="pt"), 0.2) / 4
            if vocabulary == "coco":
                given = frames[: detector.batch]
                detector.detect(given)
                print(f"  operations: {dearest(partial(detector.detect, given))}", flush=True)
            print(f"  preparing pixels: {1e3 * prepare:.2f} ms a frame on the device, {1e3 * before:.2f} ms on the CPU")
            for batch in (2,) if small else (8, 16) if vocabulary == "coco" else (8,):
                detector.batch = batch
                rates = {}
                given = frames[:batch]
                for name, confidence, precision in (
                    ("confidence 0.2", 0.2, detector.precision),
                    ("no boxes", 2.0, detector.precision),
                    ("no boxes, float32", 2.0, lambda _: nullcontext()),
                ):
                    detector.confidence, detector.precision = confidence, precision
                    rates[name] = batch / seconds(partial(detector.detect, given), 0.5, 1)
                    del detector.precision
                text = "; ".join(f"{name} {rate:.2f}" for name, rate in rates.items())
                best = rates["no boxes"]
                print(
                    f"  batch {batch:2d}, frames/s: {text}; {best * work / 1e12:.2f} TFLOP/s, {100 * best / ceiling:.0f} % of the limit",
                    flush=True,
                )
            detector.confidence = 0.2
            boxes = len(detector.detect(frames[:1])[0])
            half = best_scores(detector, frames[0])
            detector.precision = lambda _: nullcontext()
            difference = np.abs(half - best_scores(detector, frames[0])).max()
            print(
                f"  {boxes} boxes in a frame; largest difference of its best scores from float32: {difference:.1e}",
                flush=True,
            )
            del detector
            release()


# ---- captions


def qwen2_vl(folder: Path, small: bool) -> Path:
    """Saves a Qwen2-VL of 2 B parameters (or a tiny one) with random weights and a tokenizer of its marks and a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    marks = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    inner = Tokenizer(
        models.WordLevel(
            {w: i for i, w in enumerate([*marks, "<unk>", "describe", "this", "video"])}, unk_token="<unk>"
        )
    )
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens(marks)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", pad_token=marks[0], eos_token=marks[2]
    )
    template = (
        "{% for m in messages %}<|im_start|>{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|>"
        "<|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>{% endfor %}<|im_start|>"
    )
    images = {"min_pixels": 28 * 28, "max_pixels": 28 * 28 * (16 if small else 336)}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**images), tokenizer, Qwen2VLVideoProcessor(**images), chat_template=template
    )
    ids = dict(
        zip(
            ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id"),
            range(3, 7),
            strict=True,
        )
    )
    config = Qwen2VLConfig(
        **ids,
        tie_word_embeddings=True,
        vision_config={
            "depth": 2 if small else 32,
            "embed_dim": 64 if small else 1280,
            "num_heads": 2 if small else 16,
            "hidden_size": 64 if small else 1536,
            "mlp_ratio": 4,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        text_config={
            "model_type": "qwen2_vl_text",
            "vocab_size": 512 if small else 151936,
            "hidden_size": 64 if small else 1536,
            "intermediate_size": 128 if small else 8960,
            "num_hidden_layers": 2 if small else 28,
            "num_attention_heads": 4 if small else 12,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "pad_token_id": 0,
            "eos_token_id": 2,
            "bos_token_id": 0,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [2, 3, 3] if small else [16, 24, 24],
            },
        },
    )
    torch.set_default_dtype(torch.bfloat16 if CUDA else torch.float32)
    with torch.device(DEVICE):
        network = Qwen2VLForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    network.generation_config.pad_token_id, network.generation_config.eos_token_id = 0, 2
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def captions(folder: Path, small: bool) -> None:
    ensure_torchvision()
    path = qwen2_vl(folder / "vlm", small)
    release()
    tokens = 8 if small else 64
    jpegs = []
    for k in range(2 if small else 8):
        buffer = io.BytesIO()
        Image.fromarray(picture(k, 683, 384)).save(buffer, "JPEG", quality=90)
        jpegs.append(buffer.getvalue())
    for at_once in (2,) if small else (1, 16, 64):
        for backend in ("transformers", "vllm") if installed("vllm") else ("transformers",):
            requests = [CaptionRequest(str(i), "describe this video", lambda: jpegs) for i in range(2 * at_once)]
            for wanted in (1, tokens):
                captioner = _captioner(backend, str(path), wanted, at_once, len(jpegs))
                list(captioner.answer(requests[:1]))
                begun = time.perf_counter()
                answers = list(captioner.answer(requests))
                spent = time.perf_counter() - begun
                wrong = [a.error for a in answers if a.error]
                if wrong:
                    raise SystemExit(f"{len(wrong)} captions failed: {wrong[0]}")
                print(
                    f"Qwen2-VL{'' if small else ' 2B'}, {backend}, {at_once} clips at once, {len(jpegs)} frames, {answers[0].prompt_tokens} prompt tokens, at most {wanted} tokens:"
                    f" {len(requests) / spent:.2f} clips/s, {sum(a.completion_tokens or 0 for a in answers) / spent:.0f} tokens/s",
                    flush=True,
                )
                del captioner
                release()


def _captioner(backend: str, path: str, tokens: int, at_once: int, frames: int) -> Captioner:
    if backend == "vllm":
        return load_vllm_captioner(path, VllmOptions(tokens, frames=frames, concurrency=at_once))
    return load_transformers_captioner(path, max_tokens=tokens, batch=at_once, device=DEVICE)


def feed(folder: Path, small: bool, videos: Path | None = None) -> None:
    reading(folder, small, (picture(k, 683, 384) for k in range(32 if small else 256)), videos)


PARTS: dict[str, Callable[[Path, bool], None]] = {
    "feed": feed,
    "clip": clip,
    "detectors": detectors,
    "captions": captions,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--small", action="store_true", help="small models and few frames; without a GPU always")
    parser.add_argument("--videos", type=Path, help="for feed: a folder of videos whose frames are read")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {sorted(unknown)[0]!r}; give some of {', '.join(PARTS)}")
    name = torch.cuda.get_device_name() if CUDA else f"no GPU, so on the CPU with small models ({platform.machine()})"
    print(f"{name}, {os.cpu_count()} cores, torch {torch.__version__}", flush=True)
    parts = {**PARTS, "feed": partial(feed, videos=options.videos)}
    for part in options.parts or parts:
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            parts[part](Path(folder), options.small or not CUDA)
        print(f"{part}: {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
