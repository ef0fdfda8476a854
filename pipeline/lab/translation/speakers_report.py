"""What speakers say, and what the readers of their captions see, as files of JSON for the processes of a run."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from msgspec import Struct, field

from ...config import KafkaConfig

PARTS: Final = 6
"""A segment is known after each sixth of its words; the last of them is the final."""

PLAIN: Final = "plain"
"""Plain re-translation: each text is sent at once, whole, as a request of its own."""

FINAL_S: Final = 30.0
LOOK_S: Final = 0.02

SpeakersMode = Literal["live", "stable", "final", "plain"]


class SpeakersPlan(Struct, frozen=True):
    """What the speakers of one process say: ``texts`` has the segments of each. ``begin`` is Unix time."""

    kafka: KafkaConfig
    mode: SpeakersMode
    source: str
    target: str
    texts: list[list[str]]
    segment_s: float
    begin: float


class SpeakersReport(Struct):
    """What the readers have seen.

    Attributes:
        finals_ms: of each final that was answered: from when it was sent to when it was received.
        failed: finals with an error, and those that never came.
        behind: streams with a final that came after the first words of the next segment were due.
        erased: words that were taken back, of ``words`` in the finals.
        first_s: of each segment the lag of its first word, as in `StreamReport`.
        last_s: of each segment the lag of its last word.
        word_s: the lag of each word.
        loop_ms: how late the event loop of this process was, each `LOOK_S`.
    """

    finals_ms: list[float] = field(default_factory=list)
    failed: int = 0
    behind: int = 0
    partials: int = 0
    superseded: int = 0
    passed_over: int = 0
    erased: int = 0
    words: int = 0
    first_s: list[float] = field(default_factory=list)
    last_s: list[float] = field(default_factory=list)
    word_s: list[float] = field(default_factory=list)
    loop_ms: list[float] = field(default_factory=list)


def together(reports: Sequence[SpeakersReport]) -> SpeakersReport:
    """What the readers of all processes have seen."""
    names = SpeakersReport.__struct_fields__
    of_all = {name: [getattr(report, name) for report in reports] for name in names}
    sums: dict[str, Any] = {
        name: sum(values, [] if isinstance(values[0], list) else 0) for name, values in of_all.items()
    }
    return SpeakersReport(**sums)
