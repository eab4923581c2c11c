"""Small vision-language models with random weights, of real architectures, in the folder layout of the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_resources.torchvision_ops import ensure_torchvision

WORDS = [
    "a",
    "the",
    "dog",
    "cat",
    "man",
    "runs",
    "sleeps",
    "in",
    "on",
    "field",
    "house",
    "red",
    "blue",
    "describe",
    "this",
    "video",
    "clip",
    "one",
    "or",
    "two",
    "sentences",
    ".",
    ",",
]


def _tokenizer(special: list[str], **names: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*special, "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **names)


def _text_config(tokenizer: Any, model_type: str, **more: Any) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        **more,
    }


def _save(folder: Path, network: Any, processor: Any) -> Path:
    network.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    network.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_tiny_idefics3(folder: Path) -> Path:
    """Idefics3, the architecture of the SmolVLM family."""
    ensure_torchvision()
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessor, Idefics3Processor

    special = ["<pad>", "<s>", "<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>"]
    special += [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokenizer = _tokenizer(special, pad_token="<pad>", bos_token="<s>", eos_token="<end_of_utterance>")
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}"
        "{% endfor %}<end_of_utterance>{% endfor %}"
    )
    images = Idefics3ImageProcessor(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template)
    config = Idefics3Config(
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config=_text_config(tokenizer, "llama"),
    )
    torch.manual_seed(0)
    return _save(folder, Idefics3ForConditionalGeneration(config), processor)


def qwen_words() -> tuple[Any, str, dict[str, int]]:
    """Tokenizer, chat template and the ids of special tokens of a Qwen-VL."""
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    tokenizer = _tokenizer(special, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    template = (
        "{% for m in messages %}<|im_start|>{% for c in m['content'] %}{% if c['type'] == 'image' %}<|vision_start|><|image_pad|>"
        "<|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    ids = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in (
            ("image_token_id", "<|image_pad|>"),
            ("video_token_id", "<|video_pad|>"),
            ("vision_start_token_id", "<|vision_start|>"),
            ("vision_end_token_id", "<|vision_end|>"),
        )
    }
    return tokenizer, template, ids


def write_tiny_qwen2_vl(folder: Path, head: int = 8) -> Path:
    """Qwen2-VL.

    Args:
        head: numbers of an attention head of the language model, of which it has four; those of vision have twice as many. vLLM's build for CPUs takes none of fewer than 32.
    """
    ensure_torchvision()
    import torch
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLImageProcessor,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer, template, ids = qwen_words()
    pixels = {"min_pixels": 28 * 28, "max_pixels": 56 * 56}
    processor = Qwen2VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen2VLVideoProcessor(**pixels), chat_template=template
    )
    config = Qwen2VLConfig(
        **ids,
        vision_config={
            "depth": 2,
            "embed_dim": 4 * head,
            "hidden_size": 4 * head,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        text_config=_text_config(
            tokenizer,
            "qwen2_vl_text",
            hidden_size=4 * head,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [head // 8, head // 8, head // 4],
            },
        ),
    )
    torch.manual_seed(0)
    return _save(folder, Qwen2VLForConditionalGeneration(config), processor)
