"""The network of a static tier in floats: its scores, its loss, and the gradient by hand."""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....tasks.triage.confidence import softmax

Array = NDArray[Any]  # float32; float64 where a gradient is checked

TINY: Final = 1e-12  # below the square of any length that a text has


@dataclass
class Network:
    """Parameters. A text is the sum of its rows, each with its weight, scaled to a mean square of 1."""

    rows: Array  # (rows, width)
    log_weights: Array  # (rows, 1)
    hidden: Array  # (width, hidden)
    hidden_bias: Array  # (hidden,)
    output: Array  # (hidden, labels)
    output_bias: Array  # (labels,)

    def copy(self) -> "Network":
        """The same parameters in other memory."""
        return Network(**{name: array.copy() for name, array in vars(self).items()})


class TextLayers(NamedTuple):
    """What the network makes of some texts."""

    lengths: Array  # (texts, 1): of the sum of rows: the root of its mean square
    vectors: Array  # (texts, width): the sums, scaled
    active: Array  # (texts, hidden)


class Gradients(NamedTuple):
    """Of the loss; those of the table are for the rows ``used`` alone, all others are 0."""

    used: NDArray[np.intp]
    rows: Array
    log_weights: Array
    hidden: Array
    hidden_bias: Array
    output: Array
    output_bias: Array


def layers(network: Network, bags: Any) -> TextLayers:
    """``bags``: how often each row is in each text, (texts, rows); sparse."""
    return _layers(network, bags @ (np.exp(network.log_weights) * network.rows))


def scores(network: Network, bags: Any) -> Array:
    """Logits of shape (texts, labels)."""
    found: Array = layers(network, bags).active @ network.output + network.output_bias
    return found


def loss_and_gradients(network: Network, bags: Any, targets: Array, kept: Array) -> tuple[float, Gradients]:
    """The mean cross-entropy to ``targets``, (texts, labels), whose rows add up to 1.

    ``kept`` (texts, hidden) is what the hidden layer is multiplied by: 0 drops a unit.
    """
    used = np.unique(bags.indices)
    of_used = bags[:, used]
    weights = np.exp(network.log_weights[used])
    rows = network.rows[used]
    weighted = weights * rows
    found = _layers(network, of_used @ weighted)
    active = found.active * kept
    logits = active @ network.output + network.output_bias
    confidences = softmax(logits)
    loss = float(np.mean(_log_of_sum(logits) - (targets * logits).sum(axis=1)))

    by_logits = (confidences - targets) / len(targets)
    by_active = (by_logits @ network.output.T) * kept
    by_hidden = by_active * (found.active > 0)
    by_vectors = by_hidden @ network.hidden.T
    along = (by_vectors * found.vectors).mean(axis=1, keepdims=True)
    by_sums = (by_vectors - found.vectors * along) / found.lengths
    by_weighted = of_used.T @ by_sums
    return loss, Gradients(
        used=used,
        rows=by_weighted * weights,
        log_weights=(by_weighted * weighted).sum(axis=1, keepdims=True),
        hidden=found.vectors.T @ by_hidden,
        hidden_bias=by_hidden.sum(axis=0),
        output=active.T @ by_logits,
        output_bias=by_logits.sum(axis=0),
    )


def _layers(network: Network, sums: Array) -> TextLayers:
    lengths = np.sqrt((sums * sums).mean(axis=1, keepdims=True) + TINY)
    vectors = sums / lengths
    active = np.maximum(vectors @ network.hidden + network.hidden_bias, 0)
    return TextLayers(lengths, vectors, active)


def _log_of_sum(logits: Array) -> Array:
    """The logarithm of the sum of the exponentials of each row."""
    top = logits.max(axis=1)
    found: Array = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return found
