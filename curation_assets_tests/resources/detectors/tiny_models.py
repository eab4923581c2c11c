"""Small OWLv2 and Grounding DINO models of the real classes with random weights, saved as the hub has them; and a YOLO of one layer."""

from __future__ import annotations

import json
import string
from pathlib import Path

import numpy as np
import torch

from curation_resources.torchvision_ops import ensure_torchvision

BERT_WORDS = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
"""Grounding DINO has the numbers of BERT's marks built in."""


def save_owlv2(folder: Path) -> Path:
    """An OWLv2 of 64 x 64 pixels and 64 patches whose tokenizer knows single characters."""
    ensure_torchvision()
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    torch.manual_seed(0)
    letters = [*string.ascii_lowercase, *string.digits, *"().,-'"]
    pieces = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "tokens").mkdir(parents=True)
    (folder / "tokens/vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (folder / "tokens/merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "tokens/vocab.json"), merges=str(folder / "tokens/merges.txt"), model_max_length=40
    )
    layers = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {
        "vocab_size": len(pieces),
        "max_position_embeddings": 40,
        "bos_token_id": len(pieces) - 2,
        "eos_token_id": len(pieces) - 1,
        "pad_token_id": 0,
    }
    config = Owlv2Config(
        text_config={**layers, **text}, vision_config={**layers, "image_size": 64, "patch_size": 8}, projection_dim=32
    )
    model = Owlv2ForObjectDetection(config).eval()
    with torch.no_grad():  # Random heads give scores of 0 and 1 only; small ones give scores that can be told apart.
        for head in (model.class_head.logit_shift, model.class_head.logit_scale, model.objectness_head.dense2):
            head.weight *= 0.1
        model.box_head.dense2.weight *= 0.05
    model.save_pretrained(folder / "model")
    Owlv2Processor(Owlv2ImageProcessor(size={"height": 64, "width": 64}), tokenizer).save_pretrained(folder / "model")
    return folder / "model"


def save_grounding_dino(folder: Path, words: list[str], max_text_len: int) -> Path:
    """A Grounding DINO that proposes 20 boxes and whose tokenizer knows `words` as single tokens."""
    ensure_torchvision()
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    pieces = {i: f"[unused{i}]" for i in range(1100)} | BERT_WORDS | dict(enumerate(words, 200))
    tokenizer = BertTokenizer(vocab={p: i for i, p in pieces.items()})
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(
            image_size=64,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=1100,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
        ),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=20,
        num_feature_levels=4,
        max_text_len=max_text_len,
        two_stage=True,
        disable_custom_kernels=True,
    )
    GroundingDinoForObjectDetection(config).eval().save_pretrained(folder / "model")
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(images, tokenizer).save_pretrained(folder / "model")
    return folder / "model"


def save_random_yolo(path: Path, frames: str = "n", together: bool = True) -> str:
    """A network of 64 x 64 pixels in the layout yolov8 with two classes: one convolution with random weights, which proposes 16 boxes.

    Args:
        frames: `n` for an input that takes any number of pictures, `one` for one at a time.
        together: whether its inside does so too, or puts what it finds in several pictures into one answer.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(4)
    weights = {
        "w": random.normal(0, 0.06, (6, 3, 16, 16)).astype(np.float32),
        "shape": np.asarray([0 if together else 1, 6, -1], np.int64),
        "pixels": np.asarray([64, 64, 40, 40, 1, 1], np.float32).reshape(1, 6, 1),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["cells"], strides=[16, 16]),
        helper.make_node("Reshape", ["cells", "shape"], ["boxes"]),
        helper.make_node("Sigmoid", ["boxes"], ["parts"]),
        helper.make_node("Mul", ["parts", "pixels"], ["answer"]),
    ]
    batch = frames if frames == "n" else 1
    graph = helper.make_graph(
        nodes,
        "yolo",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, 64, 64])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, str(path))
    return str(path)
