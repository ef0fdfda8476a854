"""Models of architectures that no builder knows: a few kilobytes each, with graphs that torch has exported.

The graphs and what torch gives for them are in tests/optimize/pull/imported, written by make_graphs.py there.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.tiny_families import HEADS, HIDDEN, LABELS, POSITIONS, WIDE, WORDS, byte_bpe, unigram

GRAPHS = Path(__file__).parents[1] / "optimize" / "pull" / "imported"

_COMMON: Mapping[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": HIDDEN,
    "intermediate_size": WIDE,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
    "pad_token_id": 1,
    "max_position_embeddings": POSITIONS,
}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "modernbert": {
        **_COMMON,
        "model_type": "modernbert",
        "num_hidden_layers": 3,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "cls_token_id": 0,
        "sep_token_id": 2,
        "local_attention": 8,
    },
    "deberta-v2": {
        **_COMMON,
        "model_type": "deberta-v2",
        "relative_attention": True,
        "position_buckets": 16,
        "pos_att_type": ["p2c", "c2p"],
    },
    "nomic_bert": {**_COMMON, "model_type": "nomic_bert"},
    "electra": {**_COMMON, "model_type": "electra", "embedding_size": HIDDEN},
}
"""By the name of the file with the graph. Classifiers have the same settings, and labels."""

KINDS = [("modernbert", False), ("nomic_bert", False), ("deberta-v2", True)]
"""(name, whether it is a classifier) of the graphs that are stored."""
ALL_KINDS = [(name, classifier) for name in CONFIGS for classifier in (False, True)]


def file_of(name: str, classifier: bool) -> str:
    return f"{name}-classifier.onnx" if classifier else f"{name}.onnx"


def write_imported(folder: Path, name: str, *, classifier: bool = False, **config: Any) -> Path:
    """Write a folder as on the hub, with a graph and without weights; returns it."""
    write_small_files(folder, name, classifier=classifier, **config)
    (folder / "onnx").mkdir()
    shutil.copyfile(GRAPHS / file_of(name, classifier), folder / "onnx" / "model.onnx")
    return folder


def write_small_files(folder: Path, name: str, *, classifier: bool = False, **config: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kind = "ForSequenceClassification" if classifier else "Model"
    named = {"id2label": LABELS} if classifier else {}
    settings = {**CONFIGS[name], "architectures": [f"Tiny{kind}"], **named, **config}
    (folder / "config.json").write_text(json.dumps(settings))
    tokenizer = unigram() if name == "deberta-v2" else byte_bpe()
    tokenizer.save(str(folder / "tokenizer.json"))
