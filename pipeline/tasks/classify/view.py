"""An answer of classify in a terminal."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ....schemas.classification import ClassifyOutput


def shown(output: ClassifyOutput) -> RenderableType:
    """The best labels with their scores; those that the answer gives are bold."""
    rows = Table.grid(padding=(0, 2))
    for one in output.scores:
        rows.add_row(Text(one.label, "bold" if one.label in output.labels else "dim"), f"{one.score:.1%}")
    if not output.labels:
        rows.add_row(Text("no label reaches the threshold", "yellow"), "")
    if output.windows > 1:
        rows.add_row(Text(f"the mean of {output.windows} pieces of the text", "dim"), "")
    return rows
