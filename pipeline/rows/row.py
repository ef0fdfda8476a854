"""One row of a file."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class FileRow(NamedTuple):
    """The values of a row by their columns.

    ``line`` is the number of its first line. A row of CSV has its cells too, in the order of the header line.
    """

    line: int
    values: Mapping[str, Any]
    cells: list[str] | None = None
