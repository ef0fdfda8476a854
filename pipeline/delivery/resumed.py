"""Where a request goes on that another worker has begun."""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Resumed(NamedTuple):
    """Where a request goes on: behind these pieces, under this epoch, with a chunk of this number.

    ``version``: of the model that made the pieces; empty if there are none.
    """

    pieces: Sequence[Any]
    epoch: int
    seq: int
    version: str = ""
