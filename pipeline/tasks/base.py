"""The interface between the engine and a task: texts to rows of tokens, rows of output to answers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..runtime.model import Feeds

Row = Sequence[int]
"""The token ids of one row of a batch, with special tokens; the scheduler uses its length."""


class Finished(NamedTuple):
    """The results of all rows of one request: an output vector and a length for each row, in order.

    ``rows`` are those that `Task.prepare` made.
    """

    outputs: Sequence[NDArray[np.float32]]
    lengths: Sequence[int]
    options: Any
    rows: Sequence[Row] = ()


class Task(Protocol):
    """A task with its model. Several threads call it at once; it keeps no state between calls."""

    name: str
    """The name of the task in topic names."""
    model: str
    """The name that selects this model in the model header of a request."""
    version: str
    """Changes whenever the answer to the same input may change."""
    digest: bytes
    """Digest of all that decides an answer besides the request: weights, graph, tokenizer, taxonomy or head."""

    def options(self, given: Mapping[str, Any]) -> Any:
        """The checked options. Raises UnknownOption or WrongType."""
        ...

    def prepare(
        self, texts: Sequence[str], options: Sequence[Any], max_tokens: int | None = None
    ) -> list[list[Row]]:
        """Tokenize each text, by its options. Runs in the preparing thread.

        A text that is too long for the model becomes several overlapping rows; no token is lost. Raises BlankText for
        a text in which there is nothing to read; the caller then prepares each text alone. Of a text whose rows have
        more than ``max_tokens``, the rest need not be tokenized: TooLarge may be raised instead.
        """
        ...

    def collate(self, rows: Sequence[Row]) -> Feeds:
        """The inputs of one run: the rows, padded to the longest one."""
        ...

    def finish(self, finished: Sequence[Finished]) -> list[bytes]:
        """The output of each request, as JSON."""
        ...
