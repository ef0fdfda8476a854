"""A BERT sentence encoder of a few kilobytes, in a folder with the layout of the hub."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

HIDDEN = 32
LAYERS = 2
HEADS = 4
WIDE = 64
POSITIONS = 64
WORDS = [
    "the",
    "a",
    "i",
    "my",
    "is",
    "not",
    "card",
    "order",
    "refund",
    "login",
    "broken",
    "parcel",
    "late",
    "money",
]
PIECES = [
    *"abcdefghijklmnopqrstuvwxyz0123456789.,'?!-",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *PIECES]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": WIDE,
    "max_position_embeddings": POSITIONS,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "vocab_size": len(VOCABULARY),
}


def write_tiny_model(folder: Path, seed: int = 0, **config: Any) -> Path:
    """Write config.json, tokenizer.json, model.safetensors and sentence_bert_config.json; returns ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_settings()))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 48}))
    save_file(tiny_weights(seed), folder / "model.safetensors")
    return folder


def tiny_weights(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights, named as in the BERT files of the hub."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int, std: float = 0.15) -> NDArray[np.float32]:
        return rng.normal(0, std, shape).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": normal(len(VOCABULARY), HIDDEN, std=1.0),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN),
    }
    shapes = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "intermediate.dense": (WIDE, HIDDEN),
        "output.dense": (HIDDEN, WIDE),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        norms += [prefix + "attention.output.LayerNorm", prefix + "output.LayerNorm"]
        for name, shape in shapes.items():
            weights[f"{prefix}{name}.weight"] = _with_opposite_neighbors(normal(*shape))
            weights[f"{prefix}{name}.bias"] = normal(shape[0])
    for name in norms:
        weights[name + ".weight"] = 1 + normal(HIDDEN)
        weights[name + ".bias"] = normal(HIDDEN)
    return weights


def _with_opposite_neighbors(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """``weight`` (out, in), with the sign of each odd input opposite to the sign of the input before it.

    On AVX2 without VNNI, ONNX Runtime adds the int8 products of two neighboring inputs in 16 bits and saturates.
    Two products of opposite signs never do. So int8 gives the same numbers on every CPU.
    """
    even = weight[:, ::2]
    odd = weight[:, 1::2]
    weight[:, 1::2] = -np.copysign(odd, even)
    return weight


def tokenizer_settings() -> dict[str, Any]:
    """Tokenizer settings as published for the real model: with truncation and fixed padding."""
    return {
        "version": "1.0",
        "truncation": {"max_length": 16, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 16},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [
            {
                "id": index,
                "content": VOCABULARY[index],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for index in range(4)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: index for index, piece in enumerate(VOCABULARY)},
        },
    }
