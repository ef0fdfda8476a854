"""Makes the arrays of `static.safetensors` of a trained network: integers of 8 bits, and their scales."""

from typing import Final, NamedTuple

import numpy as np

from ....tasks.triage.confidence import Floats
from ....tasks.triage.static_file import StaticArrays
from .network import Array, Network
from .rows import Rows

LEVELS: Final = 127
WEIGHT_LEVELS: Final = 65_535
SMALLEST: Final = 1e-20


class Meaning(NamedTuple):
    """Makes the encoder's vectors of the layers of a network, about: ``(vectors, active) @ weights + bias``."""

    weights: Floats  # (width + hidden, dimensions)
    bias: Floats  # (dimensions,)


def exported(rows: Rows, network: Network, meaning: Meaning, temperature: float) -> StaticArrays:
    """The arrays of the tier. A row keeps the precision of 8 bits by a weight of its own, of 16 bits."""
    table, scales = _rounded((np.exp(network.log_weights) * network.rows).T)
    weights = np.rint(scales * (WEIGHT_LEVELS / max(float(scales.max()), SMALLEST)))
    hidden, hidden_scales = _rounded(network.hidden)
    output, output_scales = _rounded(network.output)
    turned, turned_scales = _rounded(meaning.weights)
    return StaticArrays(
        tokens=rows.tokens,
        pairs=rows.pairs,
        table=np.ascontiguousarray(table.T),
        row_weights=weights.astype(np.uint16),
        hidden=hidden,
        hidden_scales=hidden_scales,
        hidden_bias=network.hidden_bias.astype(np.float32),
        output=output,
        output_scales=output_scales,
        output_bias=network.output_bias.astype(np.float32),
        meaning=turned,
        meaning_scales=turned_scales,
        meaning_bias=meaning.bias,
        temperature=np.array([temperature], np.float32),
    )


def _rounded(matrix: Array) -> tuple[Array, Floats]:
    """Integers of 8 bits, and what one of them is worth in each column."""
    scales = np.maximum(np.abs(matrix).max(axis=0), SMALLEST) / LEVELS
    return np.rint(matrix / scales).astype(np.int8), scales.astype(np.float32)
