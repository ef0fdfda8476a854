"""What the engine needs of a task: how texts become rows of tokens, and rows of output become an answer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..runtime.model import Feeds

Row = Sequence[int]
"""Token ids of one row of a batch, special tokens included; its length is what the scheduler sees."""


class Finished(NamedTuple):
    """All that came off the device for one request: one output vector a row, in the order of its rows."""

    outputs: Sequence[NDArray[np.float32]]
    lengths: Sequence[int]
    options: Any


class Task(Protocol):
    """One task served by one model. Called from several threads at once: keeps no state between calls."""

    name: str
    """The task, as in the topic's name."""
    model: str
    """The name that a request's model header selects."""
    version: str
    """Changes whenever the same input may get another answer."""
    digest: bytes
    """Of everything that decides an answer besides the request: weights, graph, tokenizer, taxonomy or head."""

    def options(self, given: Mapping[str, Any]) -> Any:
        """The checked options. Raises UnknownOption or WrongType."""
        ...

    def prepare(self, texts: Sequence[str]) -> list[list[Row]]:
        """Tokenize; a text longer than the model takes becomes several overlapping rows, never fewer tokens."""
        ...

    def collate(self, rows: Sequence[Row]) -> Feeds:
        """Pad the rows to the longest of them."""
        ...

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The JSON of the output of each request."""
        ...
