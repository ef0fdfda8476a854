"""What a student learns from: texts, cut into tokens, and what the original says of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...models.progress import Progress
from ...runtime.tokenizer import Tokenizer
from ..sample import calibration_texts, load_sample
from ..triage.cascade.foreign import mangled
from .network import EncoderNetwork, fast_numbers, pooled

MAX_BYTES = 600_000_000  # of the original's states, in memory
SIZE = 32  # texts in a batch
MAX_TOKENS = 2_048  # of a batch: about 0.4 MB a token for minilm and texts of 256 [computed]
READ_AT_ONCE = 1_000


class Targets(NamedTuple):
    """Token ids of texts; of the original the states behind some layers, and the vectors."""

    windows: list[list[int]]
    states: NDArray[np.float16]  # (tokens of all, layers, hidden_size)
    starts: NDArray[np.int64]  # the first row of each text in ``states``
    vectors: NDArray[np.float32]  # (texts, hidden_size)

    def states_of(self, texts: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of texts of one length: (texts, length, layers, hidden_size)."""
        length = len(self.windows[texts[0]])
        found: NDArray[np.float32] = self.states[self.starts[texts][:, None] + np.arange(length)].astype(
            np.float32
        )
        return found


def windows_of(texts: Sequence[str], tokenizer: Tokenizer, max_tokens: int) -> list[list[int]]:
    """The texts and each of them mangled, in turn, and the sample; ``max_tokens`` together at most."""
    sentences, _ = load_sample()
    found: list[list[int]] = []
    left = max_tokens
    for some in chain([calibration_texts(sentences)], _with_mangled(texts)):
        for window in chain.from_iterable(tokenizer.encode(some)):
            left -= len(window)
            if left < 0:
                return found
            found.append(list(window))
    return found


def _with_mangled(texts: Sequence[str]) -> Iterator[list[str]]:
    """Each text and a mangled one, some texts at a time: of a large file only what is read is cut into tokens."""
    for start in range(0, len(texts), READ_AT_ONCE):
        numbers = range(start, min(start + READ_AT_ONCE, len(texts)))
        others = [(texts[number], texts[(number * 7 + 1) % len(texts)], number) for number in numbers]
        yield [one for text, other, number in others for one in (text, mangled(text, other, number))]


def targets_of(
    original: EncoderNetwork,
    pooling: str,
    layers: Sequence[int],
    windows: list[list[int]],
    progress: Progress,
) -> Targets:
    """What the original gives behind these layers, the last among them."""
    import torch

    starts = np.cumsum([0, *map(len, windows)])
    width = original.config.hidden_size
    states = np.empty((starts[-1], len(layers), width), np.float16)
    vectors = np.empty((len(windows), width), np.float32)
    seen = 0
    for texts in batches(windows):
        progress("reading the texts with the original", seen, len(windows))
        with torch.no_grad(), fast_numbers():
            found = original.states(ids_of(windows, texts))
            vectors[texts] = pooled(found[-1], pooling).numpy()
            some = torch.stack([found[layer] for layer in layers], dim=2).numpy()
        for text, one in zip(texts, some, strict=True):
            states[starts[text] : starts[text + 1]] = one
        seen += len(texts)
    return Targets(windows, states, starts[:-1], vectors)


def batches(
    windows: Sequence[Sequence[int]], draw: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """The numbers of texts of one length each time, in the order that is drawn."""
    lengths: defaultdict[int, list[int]] = defaultdict(list)
    for number, window in enumerate(windows):
        lengths[len(window)].append(number)
    found = []
    for length in sorted(lengths):
        texts = np.array(lengths[length], np.int64)
        if draw:
            draw.shuffle(texts)
        size = max(1, min(SIZE, MAX_TOKENS // max(1, length)))
        ends = np.linspace(0, len(texts), max(1, round(len(texts) / size)) + 1).astype(int)
        found += [texts[start:stop] for start, stop in pairwise(ends.tolist())]
    return [found[place] for place in draw.permutation(len(found))] if draw else found


def ids_of(windows: Sequence[Sequence[int]], texts: NDArray[np.int64]) -> Any:
    """The token ids of texts of one length, as torch has them."""
    import torch

    return torch.tensor([windows[text] for text in texts])
