"""The configuration inside of a Marian model, and what of it the builder supports."""

from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from ...errors import UsageError

REQUIRED: dict[str, tuple[Any, ...]] = {
    "type": ("transformer",),
    "transformer-decoder-autoreg": ("rnn",),
    "dec-cell": ("ssru",),
    "tied-embeddings-all": (True,),
    "transformer-ffn-activation": ("relu",),
    "transformer-ffn-depth": (2,),
    "transformer-preprocess": ("",),
    "transformer-postprocess": ("dan", "an"),  # dropout is for training only
}
"""By option: the values that the graph is built for. An absent option has another value in Marian."""

FIXED: dict[str, tuple[Any, ...]] = {
    "transformer-postprocess-emb": ("d", ""),
    "transformer-postprocess-top": ("",),
    "transformer-no-projection": (False,),
    "transformer-train-position-embeddings": (False,),
    "transformer-pool": (False,),
    "transformer-rnn-projection": (False,),
    "transformer-tied-layers": ([],),
    "transformer-decoder-dim-ffn": (0,),
    "lemma-dim-emb": (0,),
    "output-omit-bias": (False,),
    "right-left": (False,),
    "input-types": ([],),
    "ulr": (False,),
}
"""The same of options whose absence means the first value."""


class MarianConfig(Struct, frozen=True):
    """The sizes of one model. The vocabulary is one for both languages; its token 0 is the end of a text."""

    width: int
    wide: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    words: int
    length_factor: float
    """A translation has at most this many tokens for each token of its source, the end included."""


class _Options(Struct, rename="kebab"):
    dim_emb: int
    transformer_dim_ffn: int
    transformer_heads: int
    enc_depth: int
    dec_depth: int
    dim_vocabs: tuple[int, ...]


def parse_config(text: str, length_factor: float, path: Path) -> MarianConfig:
    """The configuration in the YAML ``text`` of the model ``path``.

    Raises UsageError with the option that the builder does not support.
    """
    try:
        found = yaml.safe_load(text)
        options = msgspec.convert(found, _Options)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise UsageError(f"{path} does not describe a translator: {' '.join(str(error).split())}.") from error
    for name, values in {**REQUIRED, **FIXED}.items():
        default = None if name in REQUIRED else values[0]
        if (value := found.get(name, default)) not in values:
            raise UsageError(f"{path} has {name} = {value!r}; only {values[0]!r} is supported.")
    if len(set(options.dim_vocabs)) != 1:
        raise UsageError(
            f"{path} has dim-vocabs = {list(options.dim_vocabs)}; only one vocabulary for both languages is "
            "supported."
        )
    sizes = MarianConfig(
        options.dim_emb,
        options.transformer_dim_ffn,
        options.transformer_heads,
        options.enc_depth,
        options.dec_depth,
        options.dim_vocabs[0],
        length_factor,
    )
    _check(sizes, path)
    return sizes


def _check(config: MarianConfig, path: Path) -> None:
    for name, value in msgspec.structs.asdict(config).items():
        if value <= 0:
            raise UsageError(f"{path} has {name} = {value}; it must be above 0.")
    if config.width % config.heads or config.width % 2:
        raise UsageError(
            f"{path} has dim-emb = {config.width}, which 2 and transformer-heads = {config.heads} do not divide."
        )
