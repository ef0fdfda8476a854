"""Where a request goes on that another worker has begun."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Resumed(NamedTuple):
    """Where a request goes on: behind these pieces, under this epoch, with a chunk of this number."""

    pieces: Sequence[Any]
    epoch: int
    seq: int
