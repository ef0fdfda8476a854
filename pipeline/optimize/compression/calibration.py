"""Calibration of the int8 encoder on texts: the scales of the activations, which input channels are
tamed, and how the weights are rounded.

An activation has one scale, so that the same row gives the same numbers in every batch. It maps the
range of the layer's inputs on the calibration texts to 256 steps; what lies outside is clipped.
In trained encoders a few channels are ten times as large as the rest and reduce the resolution of
all others. They are tamed: divided by a power of two, while the weights that multiply them are
multiplied by the same power. This changes no result and halves the error of int8. Xiao et al. 2022,
"SmoothQuant", does it for all channels; the outliers alone were as accurate here, and cheaper. Then
GPTQ rounds the weights, using the inputs of the calibration texts.

All of it is the same on every machine, see `layer_inputs` and `gptq`: inputs are rounded to
multiples of a step, and X'X is then a sum of integers below 2⁵³, which float64 adds exactly in any
order.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...graphs.bert.float32 import BertConfig, Weights
from ...graphs.bert.int8 import Calibration, Scales
from ...runtime.tokenizer import Tokenizer
from .bert_layers import Numbers, Windows
from .gptq import Gram, quantize_by_gram
from .layer_inputs import layer_inputs

# Both in medians of the peaks of a layer's channels.
OUTLIER_PEAK = 4.0  # a layer without a larger peak is not tamed: it would only cost speed
MAX_TAMED_PEAK = 2.0
CHUNK_TOKENS = 1024  # of one product X'X: large enough to be fast, small enough for memory
STEPS = 1024  # of the mean magnitude of a layer's inputs; they are rounded to such steps

Peaks = Mapping[str, NDArray[np.float64]]


class Inputs(msgspec.Struct):
    """Statistics of the inputs X (tokens, in) of one layer, in steps of ``step``."""

    step: float  # a power of two
    low: Numbers  # (in,): the smallest of each channel
    high: Numbers
    gram: Gram  # (in, in): X'X

    def add(self, states: Numbers) -> None:
        """Add rows of X, (tokens, in)."""
        steps = np.rint(states / self.step)
        np.minimum(self.low, steps.min(axis=0), out=self.low)
        np.maximum(self.high, steps.max(axis=0), out=self.high)
        self.gram += steps.T @ steps

    @property
    def peak(self) -> Numbers:
        """The largest magnitude of each channel."""
        return np.maximum(-self.low, self.high)


def inputs_like(states: Numbers) -> Inputs:
    """Empty statistics, with a step that suits ``states``."""
    width = states.shape[1]
    size = float(np.sqrt(np.square(states).mean()))
    step = 2.0 ** np.floor(np.log2(size / STEPS)) if 0 < size < np.inf else 1.0
    return Inputs(float(step), np.zeros(width), np.zeros(width), np.zeros((width, width)))


def measure_inputs(
    config: BertConfig, weights: Weights, tokenizer: Tokenizer, texts: Sequence[str]
) -> dict[str, Inputs]:
    """The statistics of the inputs of each linear layer on ``texts``, by the name of the layer.

    Raises ModelError if inputs are not finite numbers.
    """
    seen: dict[str, Inputs] = {}
    with np.errstate(all="ignore"):
        for name, states in layer_inputs(
            config, weights, chunks_of(chain.from_iterable(tokenizer.encode(texts)))
        ):
            if not np.isfinite(states).all():
                raise ModelError(
                    f"With these weights the inputs of {name} are not finite numbers; use another model."
                )
            if name not in seen:
                seen[name] = inputs_like(states)
            seen[name].add(states)
    return seen


def taming_scales(peaks: Peaks) -> Scales:
    """For each layer with an outlier: powers of two that divide each peak down to MAX_TAMED_PEAK
    medians or less.

    The scale of every other channel is 1. Layers without a peak above OUTLIER_PEAK medians are left
    out.
    """
    medians = {name: np.median(peak) for name, peak in peaks.items()}
    return {
        name: np.exp2(np.ceil(np.log2(np.maximum(peak / (MAX_TAMED_PEAK * medians[name]), 1)))).astype(
            np.float32
        )
        for name, peak in peaks.items()
        if peak.max() > OUTLIER_PEAK * medians[name] > 0
    }


def calibration_of(inputs: Mapping[str, Inputs]) -> Calibration:
    """The calibration for the measured inputs."""
    scales = taming_scales({name: seen.peak for name, seen in inputs.items()})
    ranges = {name: _range(seen, scales.get(name)) for name, seen in inputs.items()}

    def rounded(name: str, weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        gram = inputs[name].gram
        if name in scales:
            gram = gram / np.outer(scales[name], scales[name]).astype(np.float64)
        return quantize_by_gram(weight, gram)

    return Calibration(ranges, scales, rounded)


def _range(seen: Inputs, scales: NDArray[np.float32] | None) -> tuple[float, float]:
    """The smallest and the largest input of a layer after taming."""
    divisors = 1.0 if scales is None else scales.astype(np.float64)
    return float((seen.low / divisors).min() * seen.step), float((seen.high / divisors).max() * seen.step)


def chunks_of(windows: Iterable[Sequence[int]]) -> list[Windows]:
    """The windows in order, cut after each CHUNK_TOKENS tokens."""
    chunks: list[Windows] = []
    chunk: list[Sequence[int]] = []
    tokens = 0
    for window in windows:
        chunk.append(window)
        tokens += len(window)
        if tokens >= CHUNK_TOKENS:
            chunks.append(chunk)
            chunk = []
            tokens = 0
    return [*chunks, chunk] if chunk else chunks
