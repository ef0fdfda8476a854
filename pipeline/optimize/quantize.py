"""Calibration of the int8 encoder on texts: which input channels are tamed, and how the weights are
rounded.

In trained encoders a few channels are ten times as large as the rest. An int8 activation has one
scale for all channels, so these few channels reduce the resolution of all others. They are tamed:
divided by a power of two, while the weights that multiply them are multiplied by the same power.
This changes no result and halves the error of int8. Xiao et al. 2022, "SmoothQuant", does it for
all channels; the outliers alone were as accurate here, and cheaper. Then GPTQ rounds the weights,
using the inputs of the calibration texts.

Taming and the column scales are the same on every machine. The rounding is not: inputs and linear
algebra differ in their last bits between kinds of CPU, and one tie that is rounded the other way
changes the rest of its column. A few columns in a thousand then differ, and so does the digest of
the graph. Two such graphs are equally close to float32, and closer to each other
(on minilm: 1 - cosine is 0.0007 between them, 0.0015 from float32). Therefore they count as one
model: the version is a digest of the inputs of the build, not of the int8 graph. On one machine a
pull gives the same bytes each time.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..graphs.bert.int8 import Scales
from ..graphs.bert.probe import INPUT
from ..runtime.sessions import Session
from ..runtime.tokenizer import Tokenizer
from ..tasks.pooling import collate
from .gptq import Gram, quantize_by_gram

# Both in medians of the peaks of a layer's channels.
OUTLIER_PEAK = 4.0  # a layer without a larger peak is not tamed: it would only cost speed
MAX_TAMED_PEAK = 2.0
JOINED = (
    24,
    15,
)  # numbers of long texts to calibrate on: of 10 sentences each, and of 16, which fill a window
CHUNK_TOKENS = 1024  # of one product X'X: large enough to be fast, small enough for memory

Peaks = Mapping[str, NDArray[np.float32]]


class Inputs(msgspec.Struct):
    """Statistics of the inputs X (tokens, in) of one layer."""

    peak: NDArray[np.float32]  # (in,): the largest magnitude of each channel
    gram: Gram  # (in, in): X'X

    def add(self, states: NDArray[np.float32]) -> None:
        """Add rows of X, (tokens, in)."""
        np.maximum(self.peak, np.abs(states).max(axis=0), out=self.peak)
        self.gram += states.T @ states


def calibration_texts(sentences: Sequence[str]) -> list[str]:
    """The sentences, followed by long texts that join sentences from all parts of the list.

    Single sentences never reach the later positions; without long texts, int8 is much worse on long
    texts.
    """
    joined = (" ".join(sentences[first::count]) for count in JOINED for first in range(count))
    return [*sentences, *joined]


def measure_inputs(probe: Session, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Inputs]:
    """Run ``texts`` through the graph of a BertProbe; returns the statistics by the name of the linear layer."""
    seen: dict[str, Inputs] = {}
    for windows in _chunks(tokenizer, texts):
        runs = [probe.run(collate([window], tokenizer.pad_id)) for window in windows]
        for name, *states in zip(probe.outputs, *runs, strict=True):
            if name.endswith(INPUT):
                rows = np.concatenate(states, axis=1)[0]
                width = rows.shape[1]
                empty = Inputs(np.zeros(width, np.float32), np.zeros((width, width)))
                seen.setdefault(name.removesuffix(INPUT), empty).add(rows)
    return seen


def taming_scales(peaks: Peaks) -> Scales:
    """For each layer with an outlier: powers of two that divide each peak down to MAX_TAMED_PEAK
    medians or less.

    The scale of every other channel is 1. With powers of two, small differences between machines do
    not change the scales. Layers without a peak above OUTLIER_PEAK medians are left out.
    """
    medians = {name: np.median(peak) for name, peak in peaks.items()}
    return {
        name: np.exp2(np.ceil(np.log2(np.maximum(peak / (MAX_TAMED_PEAK * medians[name]), 1)))).astype(
            np.float32
        )
        for name, peak in peaks.items()
        if peak.max() > OUTLIER_PEAK * medians[name]
    }


class Rounding:
    """Rounds the tamed weights of the layers in ``inputs``; a ``Quantizer`` for Int8BertEncoder."""

    def __init__(self, inputs: Mapping[str, Inputs], scales: Scales) -> None:
        self._inputs = inputs
        self._scales = scales

    def __call__(
        self, name: str, weight: NDArray[np.float32]
    ) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """``quantize_by_gram`` for the layer's inputs after taming. Raises ModelError if their products overflow."""
        gram = self._inputs[name].gram
        if not np.isfinite(gram).all():
            raise ModelError(
                f"With these weights the inputs of {name} are not finite numbers; use another model."
            )
        if name in self._scales:
            gram = gram / np.outer(self._scales[name], self._scales[name])
        return quantize_by_gram(weight, gram)


def _chunks(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[list[int]]]:
    """The windows of the texts in order, cut after each CHUNK_TOKENS tokens.

    Not the batches of `tasks/pooling`: the order of the sums in X'X decides the last bits of the
    int8 graph.
    """
    chunk: list[list[int]] = []
    tokens = 0
    for window in chain.from_iterable(tokenizer.encode(texts)):
        chunk.append(window)
        tokens += len(window)
        if tokens >= CHUNK_TOKENS:
            yield chunk
            chunk = []
            tokens = 0
    if chunk:
        yield chunk
