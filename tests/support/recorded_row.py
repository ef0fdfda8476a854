"""A row of a generator that keeps what its tokens were chosen from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferstream.pipeline.runtime.generated_row import GeneratedRow


class Recorded(GeneratedRow):
    """Takes the best token, and keeps the scores of each of its steps as bytes."""

    __slots__ = ("bits",)

    def __init__(self, prompt: Sequence[int], max_tokens: int, chunk: int = 64, **others: Any) -> None:
        self.bits: list[bytes] = []
        super().__init__(prompt, max_tokens, chooser=self, **others)
        self.chunk = chunk
        self.next_chunk()

    def choose(self, scores: NDArray[np.float32], generated: Sequence[int]) -> int:
        self.bits.append(scores.tobytes())
        return int(scores.argmax())
