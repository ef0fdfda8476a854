"""What a reader of a stream gets."""

from msgspec import Struct

from ...errors import InferstreamError


class Caption(Struct, frozen=True):
    """What is shown of one segment now. It replaces the caption of the same segment before it.

    Attributes:
        segment: its number in the stream, from 0.
        revision: of the request whose answer changed what is shown.
        text: the whole translation of the segment as it is shown now.
        final: nothing of this segment follows. Each segment has exactly one.
        settled: how many characters at the start of ``text`` will not change any more.
        error: why a final could not be translated; ``text`` is then what was shown before.
    """

    segment: int
    revision: int
    text: str
    final: bool = False
    settled: int = 0
    error: InferstreamError | None = None
