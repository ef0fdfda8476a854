"""The families of encoders that are BERT but for the names of their parts, their positions, and what is added to the
scores of their attention.

A model of any of them becomes one with the settings and the names of BERT when it is read. All else (graphs,
calibration, pruning) then knows BERT alone.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

HEAD_DENSE: Final = "head.dense"
HEAD_OUT: Final = "head.out"
"""The two linear layers of a classifier's own head, under their names here."""


class Family(NamedTuple):
    """How a family differs from BERT.

    Attributes:
        stem: of the names of its architectures, as Bert in BertForSequenceClassification.
        prefix: before the names of the encoder's tensors in a model that has more than the encoder.
        renamed: parts of the names of tensors, and what they are here; in this order.
        head: the same for the head of a classifier.
        without_effect: beginnings of the names of tensors on which no vector depends.
        settings: names in `config.json`, and what they are here.
        defaults: settings that `config.json` may leave out.
        fixed: settings that it does not have, or that have no effect.
        offset: whether the positions begin behind the number of the token of padding.
    """

    stem: str
    prefix: str
    head: Mapping[str, str]
    without_effect: tuple[str, ...]
    renamed: Mapping[str, str] = {}
    settings: Mapping[str, str] = {}
    defaults: Mapping[str, Any] = {}
    fixed: Mapping[str, Any] = {}
    offset: bool = False

    @property
    def encoders(self) -> tuple[str, ...]:
        """Architectures whose encoder is complete without what they add to it."""
        return (f"{self.stem}Model", f"{self.stem}ForMaskedLM", f"{self.stem}ForPreTraining")

    @property
    def classifier(self) -> str:
        """The architecture with a head that classifies texts."""
        return f"{self.stem}ForSequenceClassification"

    def name_of(self, name: str, *, with_head: bool) -> str:
        """The name of a tensor here; that of a head stays as it is if the model is read without it."""
        name = name.removeprefix(self.prefix)
        for old, new in {**OLD_NAMES, **self.renamed, **(self.head if with_head else {})}.items():
            name = name.replace(old, new)
        return name

    def has_effect(self, name: str) -> bool:
        """Whether a vector depends on the tensor with this name here."""
        return not name.startswith((*self.without_effect, *POSITIONS))


OLD_NAMES: Final = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
POSITIONS: Final = ("embeddings.position_ids", "embeddings.token_type_ids")
"""Numbers that older files have stored beside the weights."""

_BERT: Final = Family(
    stem="Bert",
    prefix="bert.",
    head={"pooler.dense.": f"{HEAD_DENSE}.", "classifier.": f"{HEAD_OUT}."},
    without_effect=("pooler.", "cls."),
)
_ROBERTA: Final = Family(
    stem="Roberta",
    prefix="roberta.",
    head={"classifier.dense.": f"{HEAD_DENSE}.", "classifier.out_proj.": f"{HEAD_OUT}."},
    without_effect=("pooler.", "lm_head."),
    defaults={"pad_token_id": 1},
    offset=True,
)
_DISTILBERT: Final = Family(
    stem="DistilBert",
    prefix="distilbert.",
    head={"pre_classifier.": f"{HEAD_DENSE}.", "classifier.": f"{HEAD_OUT}."},
    without_effect=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    renamed={
        "transformer.layer.": "encoder.layer.",
        "attention.q_lin.": "attention.self.query.",
        "attention.k_lin.": "attention.self.key.",
        "attention.v_lin.": "attention.self.value.",
        "attention.out_lin.": "attention.output.dense.",
        "sa_layer_norm.": "attention.output.LayerNorm.",
        "ffn.lin1.": "intermediate.dense.",
        "ffn.lin2.": "output.dense.",
        "output_layer_norm.": "output.LayerNorm.",
    },
    settings={
        "dim": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "hidden_dim": "intermediate_size",
        "activation": "hidden_act",
    },
    fixed={"type_vocab_size": 1, "head_activation": "relu"},
)
_MPNET: Final = _ROBERTA._replace(
    stem="MPNet",
    prefix="mpnet.",
    renamed={
        "attention.attn.q.": "attention.self.query.",
        "attention.attn.k.": "attention.self.key.",
        "attention.attn.v.": "attention.self.value.",
        "attention.attn.o.": "attention.output.dense.",
        "attention.LayerNorm.": "attention.output.LayerNorm.",
    },
    defaults={},
    fixed={"type_vocab_size": 1, "pad_token_id": 1, "relative_attention_num_buckets": 32},
)

FAMILIES: Final[Mapping[str, Family]] = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA._replace(stem="XLMRoberta"),
    "camembert": _ROBERTA._replace(stem="Camembert"),
    "mpnet": _MPNET,
}
"""By `model_type` in `config.json`."""

SHARED_BIAS: Final = "encoder.relative_attention_bias.weight"
"""MPNet: what is added to the scores of all layers, by the bucket of the distance and by the head."""


def bert_settings(family: Family, found: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of `config.json` under the names of BERT."""
    named = {family.settings.get(name, name): value for name, value in found.items()}
    for name, value in family.defaults.items():
        if named.get(name) is None:
            named[name] = value
    named |= family.fixed
    if family.offset and all(isinstance(named.get(name), int) for name in OFFSET_BY):
        named["max_position_embeddings"] -= first_position(named["pad_token_id"])
    return named


OFFSET_BY: Final = ("max_position_embeddings", "pad_token_id")


def first_position(padding: int) -> int:
    """The position of the first token, in a family with an offset."""
    return padding + 1


def bert_weights(
    family: Family, weights: Mapping[str, NDArray[np.float32]], padding: int, layers: int
) -> dict[str, NDArray[np.float32]]:
    """Weights with the names of BERT as those of BERT: positions from 0, a row of types, a bias for each layer."""
    found = dict(weights)
    table = found.get("embeddings.position_embeddings.weight")
    if family.offset and table is not None:
        found["embeddings.position_embeddings.weight"] = table[first_position(padding) :]
    words = found.get("embeddings.word_embeddings.weight")
    if family.fixed.get("type_vocab_size") and words is not None:
        no_types = np.zeros((1, words.shape[-1]), np.float32)
        found.setdefault("embeddings.token_type_embeddings.weight", no_types)
    if (bias := found.pop(SHARED_BIAS, None)) is not None:
        found |= {bias_of(f"encoder.layer.{layer}."): bias for layer in range(layers)}
    return found


def bias_of(prefix: str) -> str:
    """The name here of what a layer adds to its scores, by the bucket of the distance and by the head."""
    return f"{prefix}attention.self.relative_attention_bias.weight"
