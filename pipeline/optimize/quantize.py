"""Which channels must be tamed before their activations fit into eight bits.

Trained encoders have a few channels that swing ten times as far as the rest. An int8 activation has one scale
for all channels, so these few take the resolution from all others. Dividing them by a power of two, and
multiplying the weights that they meet by the same, changes no result and halves the error of int8.
Xiao et al. 2022, "SmoothQuant", does this for all channels; the outliers alone were as accurate here, and cheaper.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..graphs.bert_int8 import Scales
from ..graphs.bert_probe import PEAK
from ..runtime.sessions import Session
from ..runtime.tokenizer import Tokenizer

# In medians of the peaks of a layer's channels. Between 3 and 7 the choice hardly matters.
WORTH_TAMING = 7.0  # a layer whose farthest channel stays below keeps its inputs as they are
TAMED = 4.0  # where tamed channels end up, at most

Peaks = Mapping[str, NDArray[np.float32]]


def measure_peaks(probe: Session, tokenizer: Tokenizer, texts: Sequence[str]) -> Peaks:
    """Run ``texts`` through a BertProbe: for each linear layer, the largest magnitude of each input channel."""
    peaks: dict[str, NDArray[np.float32]] = {}
    for windows in tokenizer.encode(texts):
        for window in windows:
            ids = np.array([window], np.int64)
            outputs = probe.run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
            for name, peak in zip(probe.outputs, outputs, strict=True):
                if name.endswith(PEAK):
                    layer = name.removesuffix(PEAK)
                    peaks[layer] = np.maximum(peaks.get(layer, peak), peak)
    return peaks


def taming_scales(peaks: Peaks) -> Scales:
    """Powers of two that bring each outlying channel to at most TAMED medians; 1 for the others.

    Powers of two, so that tiny differences between machines do not change the graph. Layers without a far
    outlier are left out.
    """
    medians = {name: np.median(peak) for name, peak in peaks.items()}
    return {
        name: np.exp2(np.ceil(np.log2(np.maximum(peak / (TAMED * medians[name]), 1)))).astype(np.float32)
        for name, peak in peaks.items()
        if peak.max() > WORTH_TAMING * medians[name]
    }
