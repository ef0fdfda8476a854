"""The arrays of a Marian model, arranged for the builder and checked against its configuration."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from .config import MarianConfig, parse_config
from .folder import MarianFiles, read_options
from .items import ModelItems, Quantized, read_items
from .shortlist import Shortlist

WORDS = "Wemb"
OUTPUT_BIAS = "decoder_ff_logit_out_b"
INPUTS = "_QuantMultA"
OF_THE_OUTPUT = "none" + INPUTS  # `WORDS + INPUTS` has the same number in another form
SHOWN = 4

Shape = tuple[int, int]


class MarianModel(NamedTuple):
    """The sizes and the arrays of one model, complete and checked.

    ``weights`` has the linear layers as (in, out), and the table of words as (words, width).
    ``inputs`` has, for each linear layer, the multiplier of its inputs, and for the words that of the output layer.
    Vectors have the shape (1, n).
    """

    config: MarianConfig
    vectors: dict[str, NDArray[np.float32]]
    weights: dict[str, Quantized]
    inputs: dict[str, float]


def read_model(files: MarianFiles) -> MarianModel:
    """Read a model and check it.

    Raises UsageError for an option that is not supported, ModelError for a damaged or an incomplete file.
    """
    items = read_items(files.model)
    config = parse_config(items.config, read_options(files.options).max_length_factor, files.model)
    _check_names(items, config, files.model)
    model = MarianModel(
        config,
        {name: _vector(items, name, shape, files.model) for name, shape in vectors_of(config)},
        {name: _weight(items, name, shape, files.model) for name, shape in weights_of(config)},
        {name: _multiplier(items, name, files.model) for name, _ in weights_of(config)},
    )
    _check_shortlist(Shortlist(files.shortlist), config, files.shortlist)
    return model


def weights_of(config: MarianConfig) -> Iterator[tuple[str, Shape]]:
    """The name and the shape of each 8-bit array."""
    width = config.width
    yield WORDS, (config.words, width)
    for prefix, attention in blocks_of(config):
        for part in ("Wq", "Wk", "Wv", "Wo"):
            yield f"{prefix}{attention}_{part}", (width, width)
        yield f"{prefix}ffn_W1", (width, config.wide)
        yield f"{prefix}ffn_W2", (config.wide, width)
        if attention == "context":
            yield f"{prefix}rnn_W", (width, width)
            yield f"{prefix}rnn_Wf", (width, width)


def vectors_of(config: MarianConfig) -> Iterator[tuple[str, Shape]]:
    """The name and the shape of each bias and normalization."""
    row = (1, config.width)
    yield OUTPUT_BIAS, (1, config.words)
    for prefix, attention in blocks_of(config):
        for part in ("bq", "bk", "bv", "bo", "Wo_ln_scale", "Wo_ln_bias"):
            yield f"{prefix}{attention}_{part}", row
        yield f"{prefix}ffn_b1", (1, config.wide)
        for part in ("b2", "ffn_ln_scale", "ffn_ln_bias"):
            yield f"{prefix}ffn_{part}", row
        if attention == "context":
            for part in ("bf", "ffn_ln_scale", "ffn_ln_bias"):
                yield f"{prefix}rnn_{part}", row


def blocks_of(config: MarianConfig) -> Iterator[tuple[str, str]]:
    """For each layer the prefix of its names and the name of its attention."""
    for layer in range(1, config.encoder_layers + 1):
        yield f"encoder_l{layer}_", "self"
    for layer in range(1, config.decoder_layers + 1):
        yield f"decoder_l{layer}_", "context"


def _check_names(items: ModelItems, config: MarianConfig, path: Path) -> None:
    weights = {name for name, _ in weights_of(config)}
    vectors = {name for name, _ in vectors_of(config)}
    known = weights | vectors | {name + INPUTS for name in weights} | {OF_THE_OUTPUT}
    if more := sorted((items.floats.keys() | items.quantized.keys()) - known):
        shown = ", ".join(more[:SHOWN]) + (f" and {len(more) - SHOWN} more" if len(more) > SHOWN else "")
        raise ModelError(f"{path} has arrays that its configuration does not ask for: {shown}.")


def _vector(items: ModelItems, name: str, shape: Shape, path: Path) -> NDArray[np.float32]:
    found = items.floats.get(name)
    if found is None:
        raise ModelError(f"{path} lacks the array {name!r} in float32.")
    _check_shape(name, found.shape, shape, path)
    if not np.isfinite(found).all():
        raise ModelError(f"{path} has values in {name} that are not finite numbers.")
    return found


def _weight(items: ModelItems, name: str, shape: Shape, path: Path) -> Quantized:
    found = items.quantized.get(name)
    if found is None:
        raise ModelError(f"{path} lacks the 8-bit array {name!r}.")
    _check_shape(name, found.values.shape, shape, path)
    if not (np.isfinite(found.multiplier) and found.multiplier > 0):
        raise ModelError(f"{path} has the multiplier {found.multiplier} for {name}; it must be above 0.")
    if name == WORDS:
        return found
    return Quantized(found.values.reshape(shape[::-1]).T, found.multiplier)  # the file has (out, in)


def _multiplier(items: ModelItems, name: str, path: Path) -> float:
    """What the inputs of a layer are multiplied by before they are rounded to 8 bits."""
    stored = OF_THE_OUTPUT if name == WORDS else name + INPUTS
    found = items.floats.get(stored)
    if found is None or found.size != 1:
        raise ModelError(f"{path} lacks {stored}: only models with stored multipliers are supported.")
    value = float(found.reshape(()))
    if not (np.isfinite(value) and value > 0):
        raise ModelError(f"{path} has {stored} = {value}; it must be above 0.")
    return value


def _check_shape(name: str, found: tuple[int, ...], wanted: Shape, path: Path) -> None:
    if found != wanted:
        raise ModelError(f"{path} has {name} of the shape {found}, and its configuration asks for {wanted}.")


def _check_shortlist(shortlist: Shortlist, config: MarianConfig, path: Path) -> None:
    if shortlist.words != config.words or shortlist.largest >= config.words:
        raise ModelError(
            f"{path} knows {shortlist.words} source tokens and targets up to {shortlist.largest}, and the model "
            f"has {config.words}."
        )
    if 0 not in shortlist.candidates([]):
        raise ModelError(f"{path} does not have the token 0, the end of a text, in every list.")
