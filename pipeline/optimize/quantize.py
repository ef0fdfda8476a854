"""What the int8 encoder learns from running texts: which input channels to tame, and how to round the weights.

Trained encoders have a few channels that swing ten times as far as the rest. An int8 activation has one scale
for all channels, so these few take the resolution from all others. Dividing them by a power of two, and
multiplying the weights that they meet by the same, changes no result and halves the error of int8.
Xiao et al. 2022, "SmoothQuant", does this for all channels; the outliers alone were as accurate here, and cheaper.
The weights are then rounded by GPTQ, for the inputs that were seen.

Taming and the columns' scales are the same on every machine. Roundings need not be: inputs and linear algebra
differ in their last bits from one kind of CPU to another, and a tie that falls otherwise moves the rest of its
column. So a few columns in a thousand differ there, and with them the graph's digest. Two such graphs are equally
close to float32, and closer to each other (1 - cosine 0.0007 between them, 0.0015 from float32, on minilm with the
linear algebra of another CPU). So they count as one model: its version tells from what and how it was made. On one
machine a pull gives the same bytes each time.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..graphs.bert.int8 import Scales
from ..graphs.bert.probe import INPUT
from ..runtime.sessions import Session
from ..runtime.tokenizer import Tokenizer
from .gptq import Gram, quantize_by_gram

# In medians of the peaks of a layer's channels.
WORTH_TAMING = 4.0  # a layer whose farthest channel stays below keeps its inputs: below, only speed is lost
TAMED = 2.0  # where tamed channels end up, at most
JOINED = (24, 15)  # long texts to calibrate on: of 10 sentences, and of 16, which fill a window
BATCH_TOKENS = 1024  # of one product X'X: large enough to be fast, small enough to be held

Peaks = Mapping[str, NDArray[np.float32]]


class Inputs(msgspec.Struct):
    """What was seen of the inputs X (tokens, in) of one layer."""

    peak: NDArray[np.float32]  # the largest magnitude of each channel
    gram: Gram  # X'X

    def add(self, states: NDArray[np.float32]) -> None:
        """Count in more rows of X."""
        np.maximum(self.peak, np.abs(states).max(axis=0), out=self.peak)
        self.gram += states.T @ states


def calibration_texts(sentences: Sequence[str]) -> list[str]:
    """The sentences, and long texts out of them, each with sentences from everywhere.

    Sentences alone never reach the later positions: int8 is then much worse on long texts.
    """
    joined = (" ".join(sentences[first::count]) for count in JOINED for first in range(count))
    return [*sentences, *joined]


def measure_inputs(probe: Session, tokenizer: Tokenizer, texts: Sequence[str]) -> dict[str, Inputs]:
    """Run ``texts`` through a BertProbe: for each input that it gives, what it saw."""
    seen: dict[str, Inputs] = {}
    for batch in _batches(tokenizer, texts):
        runs = [_run(probe, window) for window in batch]
        for name, *states in zip(probe.outputs, *runs, strict=True):
            if name.endswith(INPUT):
                rows = np.concatenate(states, axis=1)[0]
                width = rows.shape[1]
                empty = Inputs(np.zeros(width, np.float32), np.zeros((width, width)))
                seen.setdefault(name.removesuffix(INPUT), empty).add(rows)
    return seen


def taming_scales(peaks: Peaks) -> Scales:
    """Powers of two that bring each outlying channel to at most TAMED medians; 1 for the others.

    Powers of two, so that tiny differences between machines do not change the scales. Layers without a far
    outlier are left out.
    """
    medians = {name: np.median(peak) for name, peak in peaks.items()}
    return {
        name: np.exp2(np.ceil(np.log2(np.maximum(peak / (TAMED * medians[name]), 1)))).astype(np.float32)
        for name, peak in peaks.items()
        if peak.max() > WORTH_TAMING * medians[name]
    }


class Rounding:
    """Rounds the tamed weights of the layers that ``inputs`` names; a ``Quantizer`` of Int8BertEncoder."""

    def __init__(self, inputs: Mapping[str, Inputs], scales: Scales) -> None:
        self._inputs = inputs
        self._scales = scales

    def __call__(
        self, name: str, weight: NDArray[np.float32]
    ) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """As ``quantize_by_gram``, for the layer's inputs after taming. Raises ModelError when they overflow."""
        gram = self._inputs[name].gram
        if not np.isfinite(gram).all():
            raise ModelError(f"The weights give {name} inputs that are no finite numbers; use another model.")
        if name in self._scales:
            gram = gram / np.outer(self._scales[name], self._scales[name])
        return quantize_by_gram(weight, gram)


def _batches(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[list[int]]]:
    """The windows of the texts, in batches of BATCH_TOKENS or a little more."""
    batch, tokens = list[list[int]](), 0
    for window in (window for windows in tokenizer.encode(texts) for window in windows):
        batch.append(window)
        tokens += len(window)
        if tokens >= BATCH_TOKENS:
            yield batch
            batch, tokens = [], 0
    if batch:
        yield batch


def _run(probe: Session, window: Sequence[int]) -> list[NDArray[np.float32]]:
    ids = np.array([window], np.int64)
    return probe.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
