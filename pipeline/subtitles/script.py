"""A file of subtitles, or a text, that is translated in place."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from ..errors import UsageError
from .cue import Cue
from .entities import escaped, unescaped
from .joining import joined, placed
from .lines import LINE
from .part import CuePart, parts_of
from .plain import plain_cues
from .splitting import split, wrap
from .srt import srt_cues
from .vtt import vtt_cues

ScriptFormat = Literal["srt", "vtt", "txt"]
FORMATS: Final[dict[ScriptFormat, Callable[[str, str], list[Cue]]]] = {
    "srt": srt_cues,
    "vtt": vtt_cues,
    "txt": plain_cues,
}
OTHERS: Final = frozenset({"ass", "ssa", "sub", "sbv", "smi", "ttml", "dfxp", "stl", "lrc"})
MAX_LINE: Final = 42
"""Characters of a line of subtitles, by most guides for subtitlers."""


class Passage(NamedTuple):
    """Parts that are translated as one text."""

    parts: list[CuePart]
    text: str

    @property
    def line(self) -> int:
        """The number of its first line in the file."""
        return self.parts[0].place.number


class Script:
    """The text of a file, and its passages in the order of the file.

    Args:
        source: what errors call the file.
        join: translate a sentence that goes over several cues (or lines of a wrapped text) as one.

    Raises UsageError that names the line of a text that is not of this format.
    """

    def __init__(self, text: str, kind: ScriptFormat, source: str, *, join: bool = True) -> None:
        self._text = text
        self._kind = kind
        first = LINE.match(text)
        self._newline = (first[2] if first else "") or "\n"
        self.cues = [cue for cue in FORMATS[kind](text, source) if cue.place.start < cue.place.end]
        parts = (one for cue in self.cues for one in placed(cue, parts_of(text, cue)))
        groups = joined(parts) if join else ([one.part] for one in parts)
        self.passages = [self._passage(group) for group in groups]

    @property
    def unit(self) -> str:
        """What the file consists of."""
        return "lines" if self._kind == "txt" else "cues"

    def _passage(self, parts: list[CuePart]) -> Passage:
        return Passage(parts, " ".join(map(self._words, parts)))

    def _words(self, part: CuePart) -> str:
        return unescaped(part.text) if self._kind == "vtt" else part.text

    def translated(self, translations: Sequence[str | None]) -> str:
        """The text with these translations in place of the passages; None leaves a passage as it is."""
        pieces = []
        at = 0
        for place, words in self._replacements(translations):
            pieces += [self._text[at : place[0]], words]
            at = place[1]
        return "".join(pieces) + self._text[at:]

    def _replacements(self, translations: Sequence[str | None]) -> Iterator[tuple[tuple[int, int], str]]:
        for passage, translation in zip(self.passages, translations, strict=True):
            if translation is None or not translation.strip():
                continue
            safe = translation.replace("-->", "->")
            sources = [self._words(part) for part in passage.parts]
            shares = split(safe, sources, at_clauses=self._kind != "txt")
            for part, share in zip(passage.parts, shares, strict=True):
                yield (part.place.start, part.place.end), self._laid_out(part, share)

    def _laid_out(self, part: CuePart, words: str) -> str:
        """The words in as many lines as before; a line that became too long is broken once."""
        if self._kind == "txt":
            return words
        lines = wrap(words, part.lines)
        length = max(len(line) for line in lines)
        if len(lines) == 1 and length > MAX_LINE and length > len(part.text):
            lines = wrap(words, 2)
        line_break = part.line_break if part.lines > 1 else self._newline
        content = [escaped(line) for line in lines] if self._kind == "vtt" else lines
        return line_break.join(content)


def format_of(path: Path, given: ScriptFormat | None = None) -> ScriptFormat:
    """The format by the option or the name of the file. Raises UsageError if it is none that is read here."""
    suffix = path.suffix.lower().lstrip(".")
    if given is not None:
        return given
    for kind in FORMATS:
        if suffix == kind:
            return kind
    if suffix in OTHERS:
        raise UsageError(f"{path} is of a format that is not read here: convert it to .srt or .vtt first.")
    raise UsageError(f"The name of {path} does not show its format: add --format {', '.join(FORMATS)}.")
