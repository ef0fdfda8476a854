"""What training begins with: an encoder, or some of its layers."""

from itertools import count

import msgspec
import numpy as np

from ..compression.bert_layers import EncoderWeights, prefix_of


def with_layers(encoder: EncoderWeights, layers: int) -> EncoderWeights:
    """``layers`` of its layers, evenly spaced, the first and the last among them; the last alone if it is one."""
    whole = encoder.config.num_hidden_layers
    taken = sorted({*np.linspace(whole - 1, 0, layers).round().astype(int).tolist()})
    number = dict(zip(taken, count(), strict=False))
    found = {
        name: weight for name, weight in encoder.weights.items() if not name.startswith("encoder.layer.")
    }
    for old, new in number.items():
        before = prefix_of(old)
        found |= {
            prefix_of(new) + name.removeprefix(before): weight
            for name, weight in encoder.weights.items()
            if name.startswith(before)
        }
    return EncoderWeights(msgspec.structs.replace(encoder.config, num_hidden_layers=layers), found)


def size_of_layers(encoder: EncoderWeights) -> int:
    """The number of weights in its layers."""
    return sum(weight.size for name, weight in encoder.weights.items() if name.startswith("encoder.layer."))


def compared_layers(student: int, original: int) -> list[tuple[int, int]]:
    """Pairs of a layer of the student and the layer of the original whose states it is to give; 3 at most."""
    shown = sorted({round(student * part / 3) for part in (1, 2, 3)} - {0})
    return [(layer - 1, round(layer * original / student) - 1) for layer in shown]
