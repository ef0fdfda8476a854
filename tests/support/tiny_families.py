"""Encoders and classifiers of a few kilobytes, of each family that is built without torch, in folders as on the hub.

The weights are random numbers of NumPy, so that a machine without torch makes the same ones. The names of tensors and
settings are written out here as `transformers` has them, and not taken from the code that is tested.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from inferstream.pipeline.optimize.sample import load_sample

Arrays = dict[str, NDArray[np.float32]]
Shapes = Iterator[tuple[str, tuple[int, ...]]]

HIDDEN = 32
LAYERS = 2
HEADS = 4
WIDE = 48
POSITIONS = 160
WORDS = 300
LABELS = {"0": "card", "1": "delivery", "2": "login"}


class TinyFamily(NamedTuple):
    """One family: its settings, its tensors, and the kind of its tokenizer."""

    config: Mapping[str, Any]
    shapes: Callable[[str], Shapes]  # with the prefix of a model that has more than the encoder
    head: Callable[[int], Shapes]  # with the number of labels
    prefix: str
    stem: str
    tokenizer: Callable[[], Tokenizer]


def write_tiny(folder: Path, family: str, *, classifier: bool = False, seed: int = 0, **config: Any) -> Path:
    """Write a folder as on the hub; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings_of(family, classifier=classifier) | config))
    TINY[family].tokenizer().save(str(folder / "tokenizer.json"))
    save_file(weights_of(family, classifier=classifier, seed=seed), folder / "model.safetensors")
    return folder


def settings_of(family: str, *, classifier: bool = False) -> dict[str, Any]:
    """The content of config.json."""
    tiny = TINY[family]
    if not classifier:
        return {**tiny.config, "model_type": family, "architectures": [f"{tiny.stem}Model"]}
    named = {"id2label": LABELS, "label2id": {name: int(number) for number, name in LABELS.items()}}
    architectures = [f"{tiny.stem}ForSequenceClassification"]
    return {**tiny.config, "model_type": family, "architectures": architectures, **named}


def weights_of(family: str, *, classifier: bool = False, seed: int = 0) -> Arrays:
    """Weights under the names of the hub; those of a bare encoder have no prefix."""
    tiny = TINY[family]
    shapes = [*tiny.shapes(tiny.prefix), *tiny.head(len(LABELS))] if classifier else [*tiny.shapes("")]
    rng = np.random.default_rng(seed)
    return {name: _random(rng, name, shape) for name, shape in shapes}


BATCHES = ([2], [3], [5, 17, 2], [POSITIONS], [POSITIONS - 1, 3])
"""The lengths of rows that run together: short ones, padded ones, and the longest that the models have."""


def token_rows(lengths: Sequence[int]) -> list[list[int]]:
    """Rows of token ids: the same for the same lengths."""
    rng = np.random.default_rng(sum(lengths))
    return [[0, *rng.integers(4, WORDS, length - 2).tolist(), 2] for length in lengths]


def _random(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    large = "word_embeddings" in name or "attention_bias" in name
    found = rng.normal(0, 1.0 if large else 0.2, shape)
    is_norm = "norm" in name.lower() and name.endswith("weight")
    return (found + 1 if is_norm else found).astype(np.float32)


def _linear(name: str, rows: int, columns: int) -> Shapes:
    yield name + ".weight", (rows, columns)
    yield name + ".bias", (rows,)


def _norm(name: str) -> Shapes:
    yield name + ".weight", (HIDDEN,)
    yield name + ".bias", (HIDDEN,)


def _embeddings(prefix: str, positions: int, types: int) -> Shapes:
    yield f"{prefix}embeddings.word_embeddings.weight", (WORDS, HIDDEN)
    yield f"{prefix}embeddings.position_embeddings.weight", (positions, HIDDEN)
    if types:
        yield f"{prefix}embeddings.token_type_embeddings.weight", (types, HIDDEN)
    yield from _norm(f"{prefix}embeddings.LayerNorm")


def _bert_layers(prefix: str) -> Shapes:
    for layer in range(LAYERS):
        before = f"{prefix}encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            yield from _linear(f"{before}attention.self.{part}", HIDDEN, HIDDEN)
        yield from _linear(before + "attention.output.dense", HIDDEN, HIDDEN)
        yield from _norm(before + "attention.output.LayerNorm")
        yield from _linear(before + "intermediate.dense", WIDE, HIDDEN)
        yield from _linear(before + "output.dense", HIDDEN, WIDE)
        yield from _norm(before + "output.LayerNorm")


def _bert(prefix: str) -> Shapes:
    yield from _embeddings(prefix, POSITIONS, 2)
    yield from _bert_layers(prefix)
    yield from _linear(prefix + "pooler.dense", HIDDEN, HIDDEN)


def _bert_head(labels: int) -> Shapes:
    yield from _linear("classifier", labels, HIDDEN)


def _roberta(prefix: str) -> Shapes:
    yield from _embeddings(prefix, POSITIONS + 2, 1)
    yield from _bert_layers(prefix)


def _roberta_head(labels: int) -> Shapes:
    yield from _linear("classifier.dense", HIDDEN, HIDDEN)
    yield from _linear("classifier.out_proj", labels, HIDDEN)


def _distilbert(prefix: str) -> Shapes:
    yield from _embeddings(prefix, POSITIONS, 0)
    for layer in range(LAYERS):
        before = f"{prefix}transformer.layer.{layer}."
        for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield from _linear(f"{before}attention.{part}", HIDDEN, HIDDEN)
        yield from _norm(before + "sa_layer_norm")
        yield from _linear(before + "ffn.lin1", WIDE, HIDDEN)
        yield from _linear(before + "ffn.lin2", HIDDEN, WIDE)
        yield from _norm(before + "output_layer_norm")


def _distilbert_head(labels: int) -> Shapes:
    yield from _linear("pre_classifier", HIDDEN, HIDDEN)
    yield from _linear("classifier", labels, HIDDEN)


def _mpnet(prefix: str) -> Shapes:
    yield from _embeddings(prefix, POSITIONS + 2, 0)
    for layer in range(LAYERS):
        before = f"{prefix}encoder.layer.{layer}."
        for part in "qkvo":
            yield from _linear(f"{before}attention.attn.{part}", HIDDEN, HIDDEN)
        yield from _norm(before + "attention.LayerNorm")
        yield from _linear(before + "intermediate.dense", WIDE, HIDDEN)
        yield from _linear(before + "output.dense", HIDDEN, WIDE)
        yield from _norm(before + "output.LayerNorm")
    yield f"{prefix}encoder.relative_attention_bias.weight", (32, HEADS)


@cache  # training gives other tokens each time
def wordpiece(start: str = "[CLS]", end: str = "[SEP]", pad: str = "[PAD]", unk: str = "[UNK]") -> Tokenizer:
    """A WordPiece tokenizer, trained on the sample that inferstream ships. Token 1 is the padding."""
    fast = Tokenizer(models.WordPiece(unk_token=unk))
    fast.normalizer = normalizers.BertNormalizer(lowercase=True)
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=WORDS, special_tokens=[start, pad, end, unk], show_progress=False
    )
    fast.train_from_iterator(load_sample()[0], trainer)
    return _framed(fast, start, end)


@cache  # training gives other tokens each time
def byte_bpe() -> Tokenizer:
    """A byte-level BPE tokenizer, as RoBERTa has it."""
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    fast.train_from_iterator(load_sample()[0], trainer)
    return _framed(fast, "<s>", "</s>")


@cache  # training gives other tokens each time
def unigram() -> Tokenizer:
    """A Unigram tokenizer, as XLM-R and CamemBERT have it."""
    fast = Tokenizer(models.Unigram())
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=WORDS - 20,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    fast.train_from_iterator(load_sample()[0], trainer)
    return _framed(fast, "<s>", "</s>")


def _framed(fast: Tokenizer, start: str, end: str) -> Tokenizer:
    """With the special tokens before and behind each text."""
    numbers = [(token, fast.token_to_id(token)) for token in (start, end)]
    fast.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} {end} $B {end}", special_tokens=numbers
    )
    return fast


_COMMON: Mapping[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": WIDE,
    "vocab_size": WORDS,
    "hidden_act": "gelu",
    "pad_token_id": 1,
    "hidden_dropout_prob": 0.1,
}
_ROBERTA: Mapping[str, Any] = {
    **_COMMON,
    "max_position_embeddings": POSITIONS + 2,
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
}

TINY: Mapping[str, TinyFamily] = {
    "bert": TinyFamily(
        {
            **_COMMON,
            "max_position_embeddings": POSITIONS,
            "layer_norm_eps": 1e-12,
            "type_vocab_size": 2,
        },
        _bert,
        _bert_head,
        "bert.",
        "Bert",
        wordpiece,
    ),
    "distilbert": TinyFamily(
        {
            "dim": HIDDEN,
            "n_layers": LAYERS,
            "n_heads": HEADS,
            "hidden_dim": WIDE,
            "vocab_size": WORDS,
            "max_position_embeddings": POSITIONS,
            "activation": "gelu",
            "sinusoidal_pos_embds": False,
            "pad_token_id": 1,
        },
        _distilbert,
        _distilbert_head,
        "distilbert.",
        "DistilBert",
        wordpiece,
    ),
    "roberta": TinyFamily(_ROBERTA, _roberta, _roberta_head, "roberta.", "Roberta", byte_bpe),
    "xlm-roberta": TinyFamily(_ROBERTA, _roberta, _roberta_head, "roberta.", "XLMRoberta", unigram),
    "camembert": TinyFamily(_ROBERTA, _roberta, _roberta_head, "roberta.", "Camembert", unigram),
    "mpnet": TinyFamily(
        {**_COMMON, "max_position_embeddings": POSITIONS + 2, "layer_norm_eps": 1e-5},
        _mpnet,
        _roberta_head,
        "mpnet.",
        "MPNet",
        lambda: wordpiece("<s>", "</s>", "<pad>", "[UNK]"),
    ),
}
"""By `model_type`."""
