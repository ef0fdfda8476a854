"""The lines of a plain text, as cues without times."""

from .cue import Cue
from .lines import lines_of


def plain_cues(text: str, _: str) -> list[Cue]:
    """A cue for each line that is not blank."""
    return [Cue(line) for line in lines_of(text) if text[line.start : line.end].strip()]
