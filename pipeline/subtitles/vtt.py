"""The cues of a WebVTT file (.vtt), as the W3C describes it; notes, styles and regions are no cues."""

import re
from collections.abc import Iterator
from typing import Final

from .cue import Cue, cue_of, times_in
from .lines import NotReadable, Span, lines_of

HEADER: Final = re.compile(r"WEBVTT(?:[ \t].*)?")
NO_CUE: Final = re.compile(r"NOTE(?:[ \t].*)?|(?:STYLE|REGION)[ \t]*")
ARROW: Final = "-->"
EXAMPLE: Final = "00:01.000 --> 00:02.500"


def vtt_cues(text: str, source: str) -> list[Cue]:
    """The cues in the order of the file. Raises NotReadable at the line of a block that is none."""
    lines = lines_of(text)
    if not lines or not HEADER.fullmatch(text[lines[0].start : lines[0].end]):
        raise NotReadable(
            source, 1, "is not WEBVTT, which a WebVTT file begins with; for SubRip add --format srt"
        )
    header, *blocks = _blocks(lines)
    if any(ARROW in text[line.start : line.end] for line in header):  # players read it as a cue
        blocks.insert(0, header[1:])
    return [cue for block in blocks for cue in _cues(text, block, source)]


def _blocks(lines: list[Span]) -> Iterator[list[Span]]:
    """Lines without a blank one between them."""
    block: list[Span] = []
    for line in lines:
        if line.start < line.end:
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _cues(text: str, block: list[Span], source: str) -> Iterator[Cue]:
    """The cue of a block. A line of times ends the words before it, also without a blank line."""
    contents = [text[line.start : line.end] for line in block]
    times = [index for index, content in enumerate(contents) if ARROW in content]
    if NO_CUE.fullmatch(contents[0]) and times[:1] != [1]:
        return
    if not times or times[0] > 1:
        raise NotReadable(
            source,
            block[0].number,
            f"begins neither a cue nor a note: a cue has a line such as {EXAMPLE}, a note begins with NOTE",
        )
    for index, end in zip(times, [*times[1:], len(block)], strict=True):
        read = times_in(contents[index])
        if read is None:
            raise NotReadable(
                source, block[index].number, f"has times that cannot be read: write them as {EXAMPLE}"
            )
        yield cue_of(text, block[index + 1 : end], read)
