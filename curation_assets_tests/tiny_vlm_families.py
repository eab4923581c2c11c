"""Small models with random weights of further families that captions are asked of: LLaVA (ShareGPT4V), LLaVA-NeXT, Qwen2.5-VL, Qwen3-VL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets_tests.tiny_vlm import _save, _text_config, _tokenizer, qwen_words
from curation_resources.torchvision_ops import ensure_torchvision

VICUNA = """{% for m in messages %}{% if m['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}\
{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>
{% endif %}{% endfor %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}\
{% if add_generation_prompt %}ASSISTANT:{% endif %}"""
"""The form in which Vicuna's descendants were trained, as docs/explanation/captions.md has it for models that carry none."""
CLIP_VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def write_tiny_llava(folder: Path, template: bool = False) -> Path:
    """LLaVA 1.5, the architecture of ShareGPT4V-7B in the library's form, which carries no chat template; with `template` the one of the docs beside it."""
    ensure_torchvision()
    import torch
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = _tokenizer(["<pad>", "<s>", "</s>", "<image>"], pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    images = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    config = LlavaConfig(
        vision_config=CLIP_VISION,
        text_config=_text_config(tokenizer, "llama"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
    )
    torch.manual_seed(0)
    _save(folder, LlavaForConditionalGeneration(config), processor)
    if template:
        (folder / "chat_template.jinja").write_text(VICUNA)
    return folder


def write_tiny_llava_next(folder: Path) -> Path:
    """LLaVA-NeXT, which is LLaVA 1.6."""
    ensure_torchvision()
    import torch
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer = _tokenizer(["<pad>", "<s>", "</s>", "<image>"], pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    grids = [[28, 56], [56, 28]]
    images = LlavaNextImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}, image_grid_pinpoints=grids
    )
    processor = LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA,
    )
    config = LlavaNextConfig(
        vision_config=CLIP_VISION,
        text_config=_text_config(tokenizer, "llama"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=grids,
    )
    torch.manual_seed(0)
    return _save(folder, LlavaNextForConditionalGeneration(config), processor)


def _qwen(folder: Path, names: tuple[str, str, str], vision: dict[str, Any], text: dict[str, Any], patch: int) -> Path:
    """A Qwen-VL of the given classes: configuration, model, processor."""
    ensure_torchvision()
    import torch
    import transformers

    tokenizer, template, ids = qwen_words()
    pixels = {"min_pixels": 4 * patch**2, "max_pixels": 16 * patch**2, "patch_size": patch}
    config_class, model_class, processor_class = (getattr(transformers, n) for n in names)
    videos = transformers.Qwen3VLVideoProcessor if "Qwen3" in names[0] else transformers.Qwen2VLVideoProcessor
    processor = processor_class(
        transformers.Qwen2VLImageProcessor(**pixels), tokenizer, videos(**pixels), chat_template=template
    )
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = config_class(
        **ids,
        vision_config={**vision, "patch_size": patch, "spatial_merge_size": 2, "temporal_patch_size": 2},
        text_config=_text_config(tokenizer, rope_parameters=rope, **text),
    )
    torch.manual_seed(0)
    return _save(folder, model_class(config), processor)


def write_tiny_qwen2_5_vl(folder: Path) -> Path:
    """Qwen2.5-VL."""
    return _qwen(
        folder,
        ("Qwen2_5_VLConfig", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor"),
        {
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        {"model_type": "qwen2_5_vl_text"},
        14,
    )


def write_tiny_qwen3_vl(folder: Path) -> Path:
    """Qwen3-VL."""
    return _qwen(
        folder,
        ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration", "Qwen3VLProcessor"),
        {
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        {"model_type": "qwen3_vl_text", "head_dim": 8},
        16,
    )


FAMILIES = {
    "llava": lambda folder: write_tiny_llava(folder, template=True),
    "llava_next": write_tiny_llava_next,
    "qwen2_5_vl": write_tiny_qwen2_5_vl,
    "qwen3_vl": write_tiny_qwen3_vl,
}
